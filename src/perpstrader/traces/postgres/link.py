"""Talking to a PostgreSQL server through asyncpg: what it says when it fails, in sentences without a password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from perpstrader.traces.errors import TraceError
from perpstrader.traces.export import needed
from perpstrader.traces.postgres.address import Address
from perpstrader.traces.postgres.port import ServerAwayError

_NEVER: Final = ("22", "23", "44", "54", "P0")
"""Classes of SQLSTATE that the same rows would meet again: wrong data, a constraint, a limit of the program, a trigger.
"""


def driver() -> Any:
    """asyncpg, or a ``TraceError`` that says how it is had."""
    return needed("asyncpg", "postgres")


class RefusedError(Exception):
    """The server refuses this very data; the text says why."""


@contextmanager
def server_errors(address: Address, *, refuses: bool = False) -> Iterator[None]:
    """What fails as ``ServerAwayError``; with ``refuses``, what would always fail again as ``RefusedError``."""
    asyncpg = driver()
    try:
        yield
    except asyncpg.PostgresError as error:
        text = address.hide(str(error))
        if refuses and str(error.sqlstate or "").startswith(_NEVER):
            raise RefusedError(f"{text} ({error.sqlstate})") from None
        raise ServerAwayError(f"the shared record {address} takes nothing now: {text} ({error.sqlstate})") from None
    except asyncpg.InterfaceError as error:
        text = address.hide(str(error))
        if refuses and isinstance(error, ValueError):  # a value that its column's type cannot hold
            raise RefusedError(text) from None
        raise ServerAwayError(f"the shared record {address} cannot be used: {text}") from None
    except (OSError, TimeoutError, EOFError) as error:
        text = address.hide(str(error)) or type(error).__name__
        raise ServerAwayError(f"the shared record {address} cannot be reached: {text}") from None
    except (ValueError, OverflowError) as error:
        if refuses:
            raise RefusedError(address.hide(str(error))) from None
        raise TraceError(
            f"the address of the shared record, {address}, cannot be used; write postgresql://user@host:5432/database"
        ) from None


async def connect(address: Address, *, timeout_s: float) -> Any:
    """A connection that answers within ``timeout_s`` or fails."""
    return await driver().connect(
        address.url, timeout=timeout_s, command_timeout=timeout_s, server_settings={"application_name": "perpstrader"}
    )
