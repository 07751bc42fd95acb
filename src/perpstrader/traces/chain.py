"""Trust and retention: the digest chain is checked row by row, and pruning leaves it whole."""

from __future__ import annotations

from typing import Any, Final

import apsw
import msgspec

from perpstrader.domain.wording import moment_text
from perpstrader.traces import bars, outbox
from perpstrader.traces.codec import DROPPED, decode
from perpstrader.traces.errors import TraceError, TraceFileError
from perpstrader.traces.records import MIN_RETENTION_MS, Verification
from perpstrader.traces.rows import chain_seal, link, note_gone
from perpstrader.traces.schema import SUMMARY_COLUMNS, summary_values

SLICE: Final = 200
"""Entries removed in one transaction, so that no writer waits long behind a pruning."""

_JOINED = (
    "SELECT payload.entry, payload.codec, payload.raw_len, payload.data, payload.digest, trace.uid, trace.entry,"
    f" {', '.join(f'trace.{name}' for name in SUMMARY_COLUMNS)} FROM payload LEFT JOIN trace ON trace.seq = payload.seq"
)


def verify(connection: apsw.Connection) -> Verification:
    """Walk the chain from the seal: numbers without gaps, digests, and each summary against its newest payload."""
    expected, digest = chain_seal(connection)
    checked = 0
    for row in connection.execute(f"{_JOINED} ORDER BY payload.entry"):
        entry, uid = row[0], row[5]
        expected += 1
        problem = f"entry {expected} is missing" if entry != expected else _problem(connection, row, digest)
        if problem:
            return Verification(
                checked=checked, bad_entry=expected, bad_id=uid if entry == expected else None, problem=problem
            )
        digest = row[4]
        checked += 1
    lost = connection.execute(
        "SELECT uid, entry FROM trace WHERE entry > ? ORDER BY entry LIMIT 1", (expected,)
    ).fetchone()
    if lost is not None:
        return Verification(checked=checked, bad_entry=lost[1], bad_id=lost[0], problem="its payload is missing")
    return Verification(checked=checked, problem=bars.changed(connection) or _damage(connection))


def _damage(connection: apsw.Connection) -> str:
    """What SQLite finds wrong with its pages and indices, its first finding; empty where nothing is."""
    found = str(connection.execute("PRAGMA integrity_check(1)").get)
    return "" if found == "ok" else f"the file is damaged: {found}"


def _problem(connection: apsw.Connection, row: tuple[Any, ...], previous: bytes) -> str:
    entry, codec, raw_len, data, digest, uid, newest, *summary = row
    if uid is None:
        return "its summary is missing"
    if codec == DROPPED:  # retention removed its content; the next one still follows from its digest
        return "" if not data else "retention removed it, and yet it has content"
    if link(previous, uid, data) != digest:
        return "its digest does not follow from the one before it, its id and its content"
    try:
        trace = decode(codec, raw_len, data)
    except TraceFileError as error:
        return str(error)
    if entry == newest and [_null_nan(value) for value in summary_values(trace)] != summary:
        return "its summary differs from its content"
    return bars.missing(connection, trace) if entry == newest else ""


def _null_nan(value: object) -> object:
    """SQLite stores NaN as NULL; in the payload it stays what it is."""
    return None if isinstance(value, float) and value != value else value


def prune_limit(
    connection: apsw.Connection, before_ms: int, *, unshipped: bool = False, within: int | None = None
) -> int:
    """The number of the first entry that stays; raises ``TraceError`` when too little would stay (TS-19).

    What waits to be shipped stays, unless ``unshipped`` says otherwise. With ``within`` only so many of the oldest
    traces are looked at, and what follows on them is said to stay.
    """
    newest_ms = connection.execute("SELECT max(accepted_ms) FROM trace").get
    if newest_ms is None:
        return 0
    latest_ms = newest_ms - MIN_RETENTION_MS
    if before_ms > latest_ms:
        raise TraceError(
            f"pruning before {moment_text(before_ms)} would keep less than a day up to the newest trace; choose at most"
            f" {moment_text(latest_ms)} UTC"
        )
    if within is None:
        sql = "SELECT first_entry FROM trace WHERE seq = (SELECT min(seq) FROM trace WHERE accepted_ms >= ?)"
        limit = int(connection.execute(sql, (before_ms,)).get)
    else:
        limit = 0
        sql = "SELECT first_entry, accepted_ms FROM trace ORDER BY seq LIMIT ?"
        for first_entry, accepted_ms in connection.execute(sql, (within + 1,)):
            limit = first_entry
            if accepted_ms >= before_ms:
                break
    shipped = None if unshipped else outbox.shipped(connection)
    return limit if shipped is None else min(limit, shipped + 1)


def prune_slice(connection: apsw.Connection, limit: int) -> tuple[int, bool]:
    """Remove the oldest ``SLICE`` entries below ``limit`` and the traces that end there: (traces removed, more left).

    Every entry below the first one of a trace that stays belongs to an older trace, so a prefix of the chain is all
    that ever goes.
    """
    oldest = connection.execute("SELECT min(entry) FROM payload").get
    if oldest is None or oldest >= limit:
        return 0, False
    end = min(limit, oldest + SLICE)
    digest = connection.execute("SELECT digest FROM payload WHERE entry = ?", (end - 1,)).get
    if digest is None:
        raise TraceError(
            f"entry {end - 1} of the chain is missing; nothing was pruned, `perpstrader traces verify` tells more"
        )
    going = "FROM trace WHERE entry < ?1 AND seq IN (SELECT seq FROM payload WHERE entry < ?1)"
    note_gone(connection, connection.execute(f"SELECT max(accepted_ms) {going}", (end,)).get)
    connection.execute(f"DELETE {going}", (end,))
    removed = connection.changes()
    outbox.count_lost(connection, oldest, end)
    _note_pruned(connection, oldest, end - 1, digest)
    connection.execute("DELETE FROM payload WHERE entry < ?", (end,))
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('sealed', ?)", (f"{end - 1}:{digest.hex()}",))
    return removed, end < limit


class Span(msgspec.Struct, frozen=True):
    """Entries ``first`` to ``last`` of the chain that pruned behind an archived month; ``digest`` is the last's."""

    first: int
    last: int
    digest: str


def pruned(connection: apsw.Connection) -> list[Span]:
    """What was pruned behind archived months, in the order of the chain."""
    text = connection.execute("SELECT value FROM meta WHERE key = 'pruned'").get
    return [] if text is None else msgspec.json.decode(text, type=list[Span])


def _note_pruned(connection: apsw.Connection, first: int, last: int, digest: bytes) -> None:
    """Where something is archived, its end is no longer the seal: what lies between was pruned, not lost."""
    if connection.execute("SELECT 1 FROM cold_part LIMIT 1").get is None:
        return
    spans = pruned(connection)
    if spans and spans[-1].last == first - 1:
        first = spans.pop().first
    text = msgspec.json.encode([*spans, Span(first, last, digest.hex())]).decode()
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('pruned', ?)", (text,))
