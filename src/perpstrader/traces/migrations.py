"""Bringing ``traces.db`` to another version, for a program that knows no newer one: down and up again, a copy first.

A step down keeps every decision. What an older program could not read is written as it does: bars go back into the
decisions that saw them, packed payloads become plain. Where payloads change, the chain is linked anew from there on; so
nobody who knows it by its old digests may be waiting for its rest: archived months, and a shared database.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from perpstrader.traces import bars, cold, dictionaries, outbox, schema
from perpstrader.traces.codec import DROPPED, PLAIN, ZSTD, decode, encode_whole, unpack
from perpstrader.traces.copies import copy_beside
from perpstrader.traces.errors import TraceError
from perpstrader.traces.files import as_trace_error, transact
from perpstrader.traces.packing import KNOWN, Packer
from perpstrader.traces.rows import chain_seal, link

_PAGE: Final = 200
_BARS: Final = 5
_PACKING: Final = 2
_COLD: Final = 6

LOSES: Final[dict[int, str]] = {
    2: "trained dictionaries",
    3: "the sums of days whose decisions were pruned, and leases of analyses",
    4: "what the days won, where their decisions were pruned",
}
"""What the step down from a version takes; the copy beside the file still has it."""

Stored = tuple[int, int, bytes]
"""Codec, length of the JSON, data."""


class Migrated(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: the versions, the copy from before (``None`` where nothing was to be done), what is not kept."""

    before: int
    after: int
    copy: str | None
    loses: tuple[str, ...]


def version_of(path: Path) -> int:
    """The version of a file; raises ``TraceFileError`` for one that is no trace store or is newer than this program."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return schema.check_file(connection, str(path))
    finally:
        connection.close()


def migrate(path: Path, to: int, *, busy_ms: int = 5_000) -> Migrated:
    """Bring the file to version ``to``, in one transaction, after a copy beside it; nobody may have it open.

    Raises ``TraceError`` for a version that there is no way to, and changes nothing then.
    """
    if not 1 <= to <= schema.VERSION:
        raise TraceError(f"version {to} is none that this program leads to; it knows 1 to {schema.VERSION}")
    with as_trace_error(str(path)):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(busy_ms)
            before = schema.check_file(connection, str(path))
            if before == to:
                return Migrated(before=before, after=to, copy=None, loses=())
            _check_way(connection, path, before, to)
            copy = copy_beside(connection, str(path), before)
            if before < to:
                schema.prepare_file(connection, str(path), to=to)
            else:
                transact(connection, lambda: _down(connection, before, to))
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.close()
    loses = tuple(LOSES[step] for step in range(before, to, -1) if step in LOSES)
    return Migrated(before=before, after=to, copy=str(copy), loses=loses)


def _check_way(connection: apsw.Connection, path: Path, before: int, to: int) -> None:
    if before >= _COLD > to:
        months = cold.months(connection)
        if months:
            raise TraceError(
                f"version {to} knows no archived months, and {path} has {', '.join(months)}: bring them back first,"
                f" `perpstrader traces restore {min(months)}`"
            )
    rewrites = any(before >= step > to for step in (_BARS, _PACKING))
    if rewrites and before >= _PACKING and outbox.is_on(connection):
        raise TraceError(
            f"{path} is shipped to a shared database, which knows its entries by their digests: turn that off first"
            " (without traces.postgres_url, the trader's next start does), or migrate a copy"
        )


def _down(connection: apsw.Connection, before: int, to: int) -> None:
    for content in dictionaries.contents(connection) if before >= _PACKING else ():
        KNOWN.add(content)
    for step in range(before, to, -1):
        if step == _BARS:
            packer = Packer(dictionaries.current(connection, may_write=False))
            _rewrite(connection, partial(_with_bars, connection, packer))
        if step == _PACKING:
            _rewrite(connection, _unpacked)
        for statement in schema.DOWN[step - 1]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {step - 1}")


def _with_bars(connection: apsw.Connection, packer: Packer, stored: Stored) -> Stored:
    codec, raw_len, data = stored
    if b'"stored":{' not in unpack(codec, raw_len, data):
        return stored
    json = encode_whole(bars.resolved(connection, decode(codec, raw_len, data)))
    packed = packer.pack(json) if codec == ZSTD else None
    return (PLAIN, len(json), json) if packed is None else (ZSTD, len(json), packed)


def _unpacked(stored: Stored) -> Stored:
    codec, raw_len, data = stored
    return stored if codec == PLAIN else (PLAIN, raw_len, unpack(codec, raw_len, data))


def _rewrite(connection: apsw.Connection, change: Callable[[Stored], Stored]) -> None:
    """Write every payload as ``change`` gives it, and link the chain anew; digests of dropped payloads stay."""
    after, digest = chain_seal(connection)
    while True:
        page: list[tuple[Any, ...]] = connection.execute(
            "SELECT payload.entry, trace.uid, payload.codec, payload.raw_len, payload.data, payload.digest FROM payload"
            " JOIN trace ON trace.seq = payload.seq WHERE payload.entry > ? ORDER BY payload.entry LIMIT ?",
            (after, _PAGE),
        ).fetchall()
        for entry, uid, codec, raw_len, data, old in page:
            after = entry
            if codec == DROPPED:
                digest = old
                continue
            stored = change((codec, raw_len, data))
            digest = link(digest, uid, stored[2])
            if digest != old or stored[2] != data:
                connection.execute(
                    "UPDATE payload SET codec = ?, raw_len = ?, data = ?, digest = ? WHERE entry = ?",
                    (*stored, digest, entry),
                )
        if len(page) < _PAGE:
            return
