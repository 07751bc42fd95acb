"""Opening ``traces.db``, and what SQLite says when it fails, in sentences for a person."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import apsw

from perpstrader.traces import schema
from perpstrader.traces.copies import keep_before_upgrade
from perpstrader.traces.errors import TraceError, TraceFileError
from perpstrader.traces.packing import KNOWN

T = TypeVar("T")
Synchronous = Literal["NORMAL", "FULL", "OFF"]
MEMORY = ":memory:"


def connect(name: str, synchronous: Synchronous, *, read_only: bool, busy_ms: int, page_size: int) -> apsw.Connection:
    """A connection with the pragmas set and the schema at this program's version; ``TraceFileError`` when it cannot be.

    ``page_size`` is for a new file alone.
    """
    with _as_file_error(name):
        if read_only:
            connection = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READWRITE)
        else:
            if name != MEMORY:
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                _keep_private(name)
            connection = apsw.Connection(name)
        try:
            connection.set_busy_timeout(busy_ms)
            if read_only:
                _check_readable(connection, name)
            else:
                keep_before_upgrade(connection, name)
                schema.prepare_file(connection, name, page_size=page_size)
            _know_dictionaries(connection)
            schema.apply_pragmas(connection, synchronous=synchronous, busy_ms=busy_ms)
            connection.execute(f"PRAGMA query_only = {int(read_only)}")
        except BaseException:
            connection.close()
            raise
    return connection


def _keep_private(name: str) -> None:
    """The file is its owner's alone, and with it SQLite's log beside it: decisions tell of the account's money."""
    fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(fd).st_mode & 0o077:
            os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def transact(connection: apsw.Connection, work: Callable[[], T], *, upgrade_from: Synchronous | None = None) -> T:
    """Run ``work`` in one transaction; with ``upgrade_from`` the commit is fully synced, whatever that setting is."""
    upgrade = upgrade_from == "NORMAL"
    if upgrade:
        connection.execute("PRAGMA synchronous = FULL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result
    finally:
        if upgrade:
            connection.execute(f"PRAGMA synchronous = {upgrade_from}")


@contextmanager
def as_trace_error(name: str) -> Iterator[None]:
    """What SQLite raises as a ``TraceError`` that says what to do."""
    try:
        yield
    except apsw.FullError as error:
        raise TraceError(
            f"the disk of the trace store {name} is full; free space or prune, recording goes on by itself then"
        ) from error
    except apsw.BusyError as error:
        raise TraceError(f"the trace store {name} is locked by another process; the trace was not recorded") from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise TraceFileError(
            f"the trace store {name} is damaged: {error}; move it aside, a new one is made at the next start"
        ) from error
    except (apsw.Error, OverflowError, UnicodeEncodeError) as error:
        raise TraceError(f"the trace store {name} failed: {error}") from error


def _know_dictionaries(connection: apsw.Connection) -> None:
    """Whatever the file's payloads were packed with can be unpacked from now on."""
    for (content,) in connection.execute("SELECT content FROM dictionary"):
        KNOWN.add(content)


def _check_readable(connection: apsw.Connection, name: str) -> None:
    if schema.check_file(connection, name) != schema.VERSION:
        raise TraceFileError(
            f"{name} is from an older program; let the trader open it once, which brings it up to date"
        )


@contextmanager
def _as_file_error(name: str) -> Iterator[None]:
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise TraceFileError(
            f"the trace store {name} cannot be opened: {error}; if it is damaged, move it aside and a new one is made"
        ) from error
