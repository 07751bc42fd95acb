"""No benchmark reaches a network: while the guard stands, a connection, a name look-up or a listener raises; a Unix
socket, which is a file of this machine, is none.

Python's audit events see every socket call of this process, whatever library makes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from perpstrader.domain.errors import PerpsTraderError

_FORBIDDEN: Final = frozenset(
    {"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}
)


class NetworkForbiddenError(PerpsTraderError):
    """Something in a benchmark reached for the network; nothing was sent."""


class _Guard:
    """The hook, which Python never lets go of again, and whether it is to act."""

    def __init__(self) -> None:
        self.standing = 0
        self._hooked = False

    def hook(self) -> None:
        if not self._hooked:
            self._hooked = True
            sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        is_file = event == "socket.connect" and isinstance(arguments[-1], str | bytes)
        if self.standing and event in _FORBIDDEN and not is_file:
            raise NetworkForbiddenError(f"a benchmark may not use the network, and {event} was called; it was stopped")


_GUARD: Final = _Guard()


@contextmanager
def no_network() -> Iterator[None]:
    """Within the block no socket of this process connects, binds, sends to an address or looks a name up."""
    _GUARD.hook()
    _GUARD.standing += 1
    try:
        yield
    finally:
        _GUARD.standing -= 1
