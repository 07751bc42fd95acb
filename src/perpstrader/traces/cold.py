"""Old months in files of their own: which entries of the chain lie where, and moving them there and back.

A *part* is a piece of the chain from its beginning on, in one Parquet file. Its rows leave ``traces.db`` in slices,
each in one transaction that first compares them with what the file holds; what changed meanwhile stays, and begins the
next part. They come back in slices from the end on. Between any two slices the seal, the parts and the rows fit
together, so both may be interrupted anywhere. ``traces.cold_files`` knows the format.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from perpstrader.traces import chain, outbox
from perpstrader.traces.bars import Bars, candle_of, keep
from perpstrader.traces.codec import DROPPED, decode
from perpstrader.traces.copies import sha256_of
from perpstrader.traces.errors import TraceError
from perpstrader.traces.records import MIN_RETENTION_MS
from perpstrader.traces.rows import chain_seal, note_back, note_gone

SLICE: Final = 100
"""Entries of one transaction, and of one row group of a file."""
THAWED_MS: Final = 7 * 86_400_000
"""Months that were brought back stay for so long, by the time of the record; nothing else is archived meanwhile."""

_BARS: Final = 5_000

Row = tuple[Any, ...]
_ENTRIES: Final = "SELECT {0} FROM payload WHERE entry BETWEEN ? AND ? ORDER BY entry"
_ENDED: Final = (
    "SELECT {0} FROM trace WHERE seq IN (SELECT seq FROM payload WHERE entry BETWEEN ?1 AND ?2)"
    " AND entry BETWEEN ?1 AND ?2 ORDER BY seq"
)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Entries ``first`` to ``last`` of the chain in ``file``; ``before`` and ``digest`` are those of the entry before
    the first one and of the last one.
    """

    month: str
    first: int
    last: int
    file: str
    sha256: str = ""
    before: bytes
    digest: bytes

    def slices(self) -> list[tuple[int, int]]:
        """First and last entry of each slice."""
        return [(a, min(a + SLICE - 1, self.last)) for a in range(self.first, self.last + 1, SLICE)]


class Slice(msgspec.Struct, frozen=True):
    """The rows of some entries: payloads, and the decisions whose newest entry is among them."""

    payloads: tuple[Row, ...]
    traces: tuple[Row, ...]


def months(connection: apsw.Connection) -> list[str]:
    """The archived months, oldest first, such as ``2025-03``."""
    return [month for (month,) in connection.execute("SELECT DISTINCT month FROM cold_part ORDER BY month")]


def parts(connection: apsw.Connection) -> list[Part]:
    """What is archived, in the order of the chain."""
    rows = connection.execute(
        "SELECT month, first_entry, last_entry, file, sha256, before, digest FROM cold_part ORDER BY first_entry"
    )
    names = ("month", "first", "last", "file", "sha256", "before", "digest")
    return [msgspec.convert(dict(zip(names, row, strict=True)), Part) for row in rows]


def folder_of(connection: apsw.Connection) -> Path:
    """Where the archived months of an open file lie."""
    return Path(connection.filename).parent / "traces" / "cold"


def due(connection: apsw.Connection, age_ms: int) -> Part | None:
    """The next part to archive: the oldest whole month that ended ``age_ms`` or more before the newest decision.

    What waits to be shipped is not archived.
    """
    # each end is asked for alone, which reads no row
    oldest_ms = connection.execute("SELECT min(accepted_ms) FROM trace").get
    newest_ms = connection.execute("SELECT max(accepted_ms) FROM trace").get
    if oldest_ms is None or not connection.filename:
        return None
    sealed, before = chain_seal(connection)
    month = datetime.fromtimestamp(oldest_ms / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while True:
        following = (month + timedelta(days=32)).replace(day=1)
        end_ms = int(following.timestamp() * 1000)
        if end_ms > newest_ms - max(age_ms, MIN_RETENTION_MS):
            return None
        last = chain.prune_limit(connection, end_ms, unshipped=True) - 1
        if last > sealed:
            shipped = outbox.shipped(connection)
            if shipped is not None and shipped < last:
                return None
            digest = connection.execute("SELECT digest FROM payload WHERE entry = ?", (last,)).get
            if digest is None:
                raise TraceError(
                    f"entry {last} of the chain is missing; nothing was archived,"
                    " `perpstrader traces verify` tells more"
                )
            name = f"{month:%Y-%m}"
            return Part(
                month=name, first=sealed + 1, last=last, file=_free_name(connection, name), before=before, digest=digest
            )
        month = following


def is_thawed(connection: apsw.Connection) -> bool:
    """Whether months that were brought back are still to stay."""
    since = connection.execute("SELECT value FROM meta WHERE key = 'thawed_ms'").get
    newest_ms = connection.execute("SELECT max(accepted_ms) FROM trace").get
    return since is not None and newest_ms is not None and newest_ms - int(since) < THAWED_MS


def columns(connection: apsw.Connection, table: str) -> list[tuple[str, str]]:
    """Names and types."""
    return [(row[1], row[2]) for row in connection.execute(f"PRAGMA table_info({table})")]


def rows_of(connection: apsw.Connection, first: int, last: int) -> Slice:
    """The rows of these entries."""
    payloads = connection.execute(_ENTRIES.format(_names(connection, "payload")), (first, last)).fetchall()
    traces = connection.execute(_ENDED.format(_names(connection, "trace")), (first, last)).fetchall()
    return Slice(tuple(payloads), tuple(traces))


def series_of(connection: apsw.Connection, part: Part) -> list[Row]:
    """Symbol, interval, first and last opening time of the bars that the decisions of a part saw."""
    return connection.execute(
        "SELECT symbol, interval, min(first_ms), max(last_ms) FROM trace_bars WHERE seq IN (SELECT seq FROM payload"
        " WHERE entry BETWEEN ? AND ?) GROUP BY symbol, interval ORDER BY symbol, interval",
        (part.first, part.last),
    ).fetchall()


def bars_of(connection: apsw.Connection, series: Row, after_ms: int) -> list[Row]:
    """The next bars of one of them, whole opening times only."""
    symbol, interval, first_ms, last_ms = series
    return connection.execute(
        f"SELECT {_names(connection, 'candle')} FROM candle WHERE symbol = ?1 AND interval = ?2 AND open_ms IN"
        " (SELECT DISTINCT open_ms FROM candle WHERE symbol = ?1 AND interval = ?2 AND open_ms BETWEEN ?3 AND ?4"
        f" AND open_ms > ?5 ORDER BY open_ms LIMIT {_BARS}) ORDER BY open_ms, version",
        (symbol, interval, first_ms, last_ms, after_ms),
    ).fetchall()


def windows_of(connection: apsw.Connection, first: int, last: int) -> list[Row]:
    """Which bars the decisions whose newest entry is among these saw."""
    return connection.execute(
        f"SELECT {_names(connection, 'trace_bars')} FROM trace_bars WHERE seq IN ({_ENDED.format('seq')}) ORDER BY seq",
        (first, last),
    ).fetchall()


def dictionaries_of(connection: apsw.Connection) -> list[Row]:
    """What payloads were packed with."""
    return connection.execute(f"SELECT {_names(connection, 'dictionary')} FROM dictionary ORDER BY rowid").fetchall()


def take(connection: apsw.Connection, part: Part, first: int, last: int, kept: Slice) -> bool:
    """Remove a slice that the file of ``part`` holds, inside the caller's transaction; ``False`` where it changed."""
    if rows_of(connection, first, last) != kept or chain_seal(connection)[0] != first - 1:
        return False
    names = [name for name, _ in columns(connection, "payload")]
    digest = kept.payloads[-1][names.index("digest")]
    place = [name for name, _ in columns(connection, "trace")].index("accepted_ms")
    note_gone(connection, max((row[place] for row in kept.traces), default=None))
    connection.execute(f"DELETE FROM trace WHERE seq IN ({_ENDED.format('seq')})", (first, last))
    connection.execute("DELETE FROM payload WHERE entry BETWEEN ? AND ?", (first, last))
    _seal(connection, last, digest)
    _note(connection, msgspec.structs.replace(part, last=last, digest=digest))
    connection.execute("DELETE FROM meta WHERE key = 'thawed_ms'")
    return True


def give_back(
    connection: apsw.Connection, part: Part, first: int, before: bytes, kept: Slice, names: dict[str, list[str]],
    windows: dict[int, Bars],
) -> None:  # fmt: skip
    """Have a slice in the record again, inside the caller's transaction; it is the last one of ``part``.

    ``names`` are the columns as the file has them. The sums of the days count these decisions already. Raises
    ``TraceError`` where the record does not follow on the part.
    """
    if chain_seal(connection) != (part.last, kept.payloads[-1][names["payload"].index("digest")]):
        raise TraceError(_does_not_follow(part.month))
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    try:
        for table, rows in (("trace", kept.traces), ("payload", kept.payloads)):
            marks = ", ".join("?" * len(names[table]))
            connection.executemany(f"INSERT INTO {table} ({', '.join(names[table])}) VALUES ({marks})", rows)
    except apsw.ConstraintError as error:
        raise TraceError(
            f"a decision of {part.month} was recorded again after it was archived ({error}); nothing was brought back"
        ) from error
    finally:
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 1)
    place = names["trace"].index("seq")
    for row in kept.traces:
        connection.execute(_COUNTED, (row[place],))
        if row[place] in windows:
            keep(connection, row[place], windows[row[place]])
    _seal(connection, first - 1, before)
    when = names["trace"].index("accepted_ms")
    note_back(connection, min((row[when] for row in kept.traces), default=None), is_whole=first == 1)
    if first == part.first:
        connection.execute("DELETE FROM cold_part WHERE first_entry = ?", (part.first,))
        connection.execute(
            "INSERT OR REPLACE INTO meta (key, value) SELECT 'thawed_ms', max(accepted_ms) FROM trace"
        )
    else:
        _note(connection, msgspec.structs.replace(part, last=first - 1, digest=before))


def bars_seen(kept: Slice, names: dict[str, list[str]], windows: list[Row], bars: list[Row]) -> dict[int, Bars]:
    """By number of a decision, the bars that it saw, from the rows of a file."""
    candle, window, payload = (names[table] for table in ("candle", "trace_bars", "payload"))
    by_time: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for row in bars:
        told = dict(zip(candle, row, strict=True))
        by_time[told["symbol"], told["interval"], told["open_ms"], told["version"]] = (candle_of(told), told["digest"])
    stored = {}
    for row in kept.payloads:  # in their order: the newest revision of each decision stays
        told = dict(zip(payload, row, strict=True))
        if told["codec"] != DROPPED:
            stored[told["seq"]] = decode(told["codec"], told["raw_len"], told["data"])
    found = {}
    for row in windows:
        told = dict(zip(window, row, strict=True))
        view = stored[told["seq"]].view if told["seq"] in stored else None
        if view is None or view.stored is None:
            continue
        ref = view.stored
        versions = dict(each.split(":") for each in told["versions"].split(",") if each)
        keys = [
            (ref.symbol, ref.interval, open_ms, int(versions.get(str(at), 0))) for at, open_ms in enumerate(ref.opens)
        ]
        if all(key in by_time for key in keys):
            candles, digests = zip(*(by_time[key] for key in keys), strict=True)
            found[told["seq"]] = Bars(ref, candles, digests)
    return found


def can_return(connection: apsw.Connection, wanted: list[Part]) -> str:
    """Why these parts, the last ones in the order of the chain, cannot be in the record again; empty where they can."""
    end = chain_seal(connection)
    for part in reversed(wanted):
        if (part.last, part.digest) != end:
            return _does_not_follow(part.month)
        end = (part.first - 1, part.before)
    return ""


def misfit(connection: apsw.Connection) -> tuple[int, str] | None:
    """The first entry that does not follow on what is archived, and why; ``None`` where parts, seal and what was pruned
    between them fit.
    """
    pruned = {span.first: span for span in chain.pruned(connection)}
    end: tuple[int, bytes] | None = None
    for part in parts(connection):
        if end is not None and (part.first - 1, part.before) != _after(end, pruned):
            return part.first, f"the archived month {part.month} does not follow on the one before it"
        end = (part.last, part.digest)
    if end is not None and _after(end, pruned) != chain_seal(connection):
        return end[0] + 1, "the record does not follow on its last archived month"
    return None


def lost_file(connection: apsw.Connection) -> tuple[int, str] | None:
    """The first archived entry whose file is missing or was changed, and which; reads the files outside of any
    transaction.
    """
    for part in parts(connection):
        path = folder_of(connection) / part.file
        lost = "is missing" if not path.is_file() else "was changed" if sha256_of(path) != part.sha256 else ""
        if lost and part in parts(connection):  # else it was brought back meanwhile
            return part.first, f"the archived month {part.month} {lost}: {path}"
    return None


def _after(end: tuple[int, bytes], pruned: dict[int, chain.Span]) -> tuple[int, bytes]:
    """Where the chain goes on after ``end``: behind what was pruned there."""
    span = pruned.get(end[0] + 1)
    return end if span is None else (span.last, bytes.fromhex(span.digest))


def _does_not_follow(month: str) -> str:
    return (
        f"what came after the archived month {month} was pruned from the record, which cannot go on from it any more;"
        " nothing was brought back, its file stays and can be read with any Parquet tool"
    )


_COUNTED: Final = (
    "UPDATE daily SET gone_n = gone_n - 1, gone_executed = gone_executed - trace.executed,"
    " gone_failed = gone_failed - (trace.error <> '') FROM trace WHERE trace.seq = ?"
    " AND daily.day = trace.accepted_ms / 86400000 AND (daily.symbol, daily.strategy, daily.regime, daily.kind,"
    " daily.verdict, daily.reason) = (trace.symbol, trace.strategy, trace.regime, trace.kind, trace.verdict,"
    " trace.reason)"
)


def _names(connection: apsw.Connection, table: str) -> str:
    return ", ".join(name for name, _ in columns(connection, table))


def _seal(connection: apsw.Connection, entry: int, digest: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('sealed', ?)", (f"{entry}:{digest.hex()}",))


def _note(connection: apsw.Connection, part: Part) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO cold_part (first_entry, last_entry, month, file, sha256, before, digest)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (part.first, part.last, part.month, part.file, part.sha256, part.before, part.digest),
    )


def _free_name(connection: apsw.Connection, month: str) -> str:
    folder, number, name = folder_of(connection), 1, f"{month}.parquet"
    while (folder / name).exists():
        number += 1
        name = f"{month}-{number}.parquet"
    return name
