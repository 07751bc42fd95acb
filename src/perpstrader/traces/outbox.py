"""The local record as an outbox: what has not been shipped yet, in the order of its commits, and how far shipping got.

The payloads of ``traces.db`` are a log without gaps: one entry a revision. A parcel is a piece of it, with the summary
as it was at that entry, so that whoever takes in the parcels one after the other goes through the same states as the
file. Marks of analysis and notes of cycles are no entries; while shipping is on, two triggers write them down in
``ship_change``. All of this is made by ``begin`` and gone after ``end``: a file that is not shipped has none of it.

While shipping is on, what has not been shipped is not pruned for its age. The bounds of size and number hold whatever
happens (S64): what they take is counted, and the parcel that misses it says so.
"""

from __future__ import annotations

from typing import Any, Final

import apsw
import msgspec

from perpstrader.traces.bars import COLUMNS
from perpstrader.traces.codec import DROPPED, decode
from perpstrader.traces.records import CycleNote, NoteCode
from perpstrader.traces.rows import chain_seal
from perpstrader.traces.schema import GENESIS, SUMMARY_COLUMNS, SummaryValues, summary_values

MAX_CHANGES: Final = 1_000_000
"""Marks and notes that wait at most; beyond it the oldest are not shipped, which is counted."""
_FIRST_NOTES: Final = 20_000
"""Notes from before shipping was turned on; more would hold up the writer."""

_BEGIN: Final = (
    """CREATE TABLE IF NOT EXISTS ship_change (
        number INTEGER PRIMARY KEY, seq INTEGER, symbol TEXT, bar_close_ms INTEGER, strategy TEXT) STRICT""",
    """CREATE TRIGGER IF NOT EXISTS ship_mark AFTER UPDATE OF analyzed ON trace WHEN new.analyzed <> old.analyzed BEGIN
        INSERT INTO ship_change (seq) VALUES (new.seq); END""",
    """CREATE TRIGGER IF NOT EXISTS ship_note AFTER INSERT ON cycle_note BEGIN
        INSERT INTO ship_change (symbol, bar_close_ms, strategy) VALUES (new.symbol, new.bar_close_ms, new.strategy);
        END""",
)
_END: Final = (
    "DROP TRIGGER IF EXISTS ship_mark", "DROP TRIGGER IF EXISTS ship_note", "DROP TABLE IF EXISTS ship_change",
    "DELETE FROM meta WHERE key IN ('ship_bot', 'shipped', 'ship_lost')",
)  # fmt: skip
_PIECE: Final = (
    "SELECT payload.entry, payload.seq, payload.codec, payload.raw_len, payload.data, payload.digest, trace.entry,"
    " trace.analyzed, trace.batch, trace_bars.symbol, trace_bars.interval, trace_bars.first_ms, trace_bars.last_ms,"
    f" trace_bars.versions, {', '.join(f'trace.{name}' for name in SUMMARY_COLUMNS)}"
    " FROM payload JOIN trace ON trace.seq = payload.seq LEFT JOIN trace_bars ON trace_bars.seq = payload.seq"
    " WHERE payload.entry > ? ORDER BY payload.entry LIMIT ?"
)
_BARS: Final = (
    f"SELECT symbol, interval, {', '.join(COLUMNS)} FROM candle WHERE symbol = ? AND interval = ?"
    " AND open_ms BETWEEN ? AND ? ORDER BY open_ms, version"
)
_SERIES_BYTES: Final = 40_000
"""What the bars of one symbol take in a parcel, about."""
_CHANGES: Final = (
    "SELECT ship_change.number, trace.seq, trace.accepted_ms, trace.batch, cycle_note.symbol, cycle_note.interval,"
    " cycle_note.bar_close_ms, cycle_note.code, cycle_note.text, cycle_note.strategy FROM ship_change"
    " LEFT JOIN trace ON trace.seq = ship_change.seq AND trace.analyzed = 1 AND trace.batch <> ''"
    " LEFT JOIN cycle_note ON (cycle_note.symbol, cycle_note.bar_close_ms, cycle_note.strategy)"
    " = (ship_change.symbol, ship_change.bar_close_ms, ship_change.strategy)"
    " ORDER BY ship_change.number LIMIT ?"
)


class Origin(msgspec.Struct, frozen=True):
    """Where a file stands: its own number (hex), the bot it was last shipped for, and the last entry shipped."""

    file: str
    bot: str
    shipped: int


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of a decision, packed as in the file; ``summary`` is the decision's as it was at that revision.

    ``bars`` says which versions of the bars from ``bars_ms`` on it saw (``traces.bars``); ``None``: it saw none.
    """

    entry: int
    seq: int
    codec: int
    raw_len: int
    data: bytes
    digest: bytes
    previous: bytes
    analyzed: bool
    batch: str
    summary: SummaryValues
    bars: str | None = None
    bars_ms: int | None = None

    @property
    def accepted_ms(self) -> int:
        """When it was decided; by this the record is cut into months."""
        return self.summary.accepted_ms


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """``waiting`` entries are not shipped; ``lost`` were pruned before they could be, since shipping was turned on."""

    waiting: int = 0
    lost: int = 0


class Mark(msgspec.Struct, frozen=True):
    """A decision that was analysed, and in which batch."""

    seq: int
    accepted_ms: int
    batch: str


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the outbox: ``entries`` follow on ``after``, except for those that were pruned unshipped before the
    first of them. ``bars`` (symbol, interval, and the columns of a bar) are those that its decisions saw. ``changes``
    is the number of the last mark or note in it, ``newest`` the file's last entry.
    """

    after: int
    entries: tuple[Entry, ...] = ()
    marks: tuple[Mark, ...] = ()
    notes: tuple[CycleNote, ...] = ()
    bars: tuple[tuple[Any, ...], ...] = ()
    changes: int = 0
    newest: int = 0

    @property
    def is_empty(self) -> bool:
        """True when there is nothing to ship."""
        return not self.entries and self.changes == 0

    @property
    def last(self) -> int:
        """The entry up to which everything is shipped once this is."""
        return self.entries[-1].entry if self.entries else self.after

    @property
    def missing(self) -> tuple[int, int] | None:
        """The first and the last of the entries that were pruned before they were shipped."""
        if not self.entries or self.entries[0].entry == self.after + 1:
            return None
        return self.after + 1, self.entries[0].entry - 1


def begin(connection: apsw.Connection, new_file: str) -> Origin:
    """Turn shipping on; ``new_file`` is the file's number if it has none. Gives where the file stands."""
    is_new = not is_on(connection)
    for statement in _BEGIN:
        connection.execute(statement)
    if is_new:
        connection.execute(
            "INSERT INTO ship_change (symbol, bar_close_ms, strategy) SELECT symbol, bar_close_ms, strategy FROM"
            " (SELECT * FROM cycle_note ORDER BY bar_close_ms DESC LIMIT ?) ORDER BY bar_close_ms",
            (_FIRST_NOTES,),
        )
        _set(connection, "shipped", "0")
    if _meta(connection, "ship_file") is None:
        _set(connection, "ship_file", new_file)
    return Origin(
        _meta(connection, "ship_file") or "", _meta(connection, "ship_bot") or "", shipped(connection) or 0
    )


def is_history_of(connection: apsw.Connection, entry: int, digest: bytes | None) -> bool:
    """Whether the file can be the one whose ``entry`` has this digest; a copy that went its own way cannot."""
    newest = connection.execute("SELECT max(entry) FROM payload").get or chain_seal(connection)[0]
    if entry > newest:
        return False
    ours = connection.execute("SELECT digest FROM payload WHERE entry = ?", (entry,)).get
    return ours is None or digest is None or ours == digest


def renumber(connection: apsw.Connection, new_file: str) -> Origin:
    """The file is another one than it said: a copy of its own history from now on. Where it stands."""
    _set(connection, "ship_file", new_file)
    return begin(connection, new_file)


def adopt(connection: apsw.Connection, bot: str, entry: int) -> None:
    """The file is shipped for ``bot`` from now on, whose server holds everything up to ``entry``."""
    _set(connection, "ship_bot", bot)
    _set(connection, "shipped", str(entry))


def end(connection: apsw.Connection) -> None:
    """Turn shipping off: nothing is held back for it any more."""
    for statement in _END:
        connection.execute(statement)


def is_on(connection: apsw.Connection) -> bool:
    """Whether the file is held for shipping."""
    return shipped(connection) is not None


def shipped(connection: apsw.Connection) -> int | None:
    """The last entry that was shipped; ``None`` where shipping is off."""
    value = _meta(connection, "shipped")
    return None if value is None else int(value)


def lost(connection: apsw.Connection) -> int:
    """Entries that were pruned, and marks and notes that were dropped, before they could be shipped."""
    return int(_meta(connection, "ship_lost") or 0)


def backlog(connection: apsw.Connection) -> Backlog:
    """What waits to be shipped, and what was lost to it."""
    newest: int = connection.execute("SELECT max(entry) FROM payload").get or 0
    gone = chain_seal(connection)[0]  # what was pruned waits no more
    return Backlog(waiting=max(0, newest - max(shipped(connection) or 0, gone)), lost=lost(connection))


def count_lost(connection: apsw.Connection, first: int, end_: int) -> None:
    """Count what pruning takes of the entries from ``first`` to before ``end_`` that are not shipped."""
    upto = shipped(connection)
    if upto is not None and end_ - 1 > upto:
        _add_lost(connection, end_ - 1 - max(upto, first - 1))


def parcel(connection: apsw.Connection, after: int, limit: int, max_bytes: int) -> Parcel:
    """The next piece after the entry ``after``: at most ``limit`` entries and changes, and about ``max_bytes``."""
    entries: list[Entry] = []
    seen: dict[tuple[str, str], tuple[int, int]] = {}
    size = 0
    previous = _digest_before(connection, after)
    for row in connection.execute(_PIECE, (after, limit)):
        if not entries and row[0] != after + 1:
            previous = _digest_before(connection, row[0] - 1)
        entries.append(_entry(row, previous))
        previous, size = row[5], size + len(row[4]) + _widen(seen, *row[9:13])
        if size >= max_bytes:
            break
    bars = [row for series, ends in seen.items() for row in connection.execute(_BARS, (*series, *ends))]
    newest = connection.execute("SELECT max(entry) FROM payload").get or 0
    marks: list[Mark] = []
    notes: list[CycleNote] = []
    changes = 0
    for number, seq, accepted_ms, batch, *note in connection.execute(_CHANGES, (limit,)):
        changes = number
        if seq is not None:
            marks.append(Mark(seq, accepted_ms, batch))
        elif note[0] is not None:
            symbol, interval, bar_close_ms, code, text, strategy = note
            notes.append(CycleNote(symbol, interval, bar_close_ms, NoteCode(code), text, strategy))
    return Parcel(
        after=after, entries=tuple(entries), marks=tuple(marks), notes=tuple(notes), bars=tuple(bars), changes=changes,
        newest=newest,
    )  # fmt: skip


def advance(connection: apsw.Connection, entry: int, changes: int) -> None:
    """Everything up to ``entry``, and the marks and notes up to ``changes``, have arrived."""
    _set(connection, "shipped", str(entry))
    connection.execute("DELETE FROM ship_change WHERE number <= ?", (changes,))


def trim(connection: apsw.Connection) -> None:
    """Keep at most ``MAX_CHANGES`` marks and notes waiting."""
    newest = connection.execute("SELECT max(number) FROM ship_change").get or 0
    connection.execute("DELETE FROM ship_change WHERE number <= ?", (newest - MAX_CHANGES,))
    if connection.changes():
        _add_lost(connection, connection.changes())


def dictionaries(connection: apsw.Connection) -> dict[int, bytes]:
    """What the payloads of the file were packed with, by number."""
    return dict(connection.execute("SELECT number, content FROM dictionary ORDER BY rowid"))


def _entry(row: tuple[Any, ...], previous: bytes) -> Entry:
    entry, seq, codec, raw_len, data, digest, newest, analyzed, batch, _, _, first_ms, _, versions, *columns = row
    if entry == newest or codec == DROPPED:
        summary = SummaryValues(*columns)
    else:  # a later revision has its own entry: what is shipped now is the decision as it was then
        summary = summary_values(decode(codec, raw_len, data))
    return Entry(
        entry=entry, seq=seq, codec=codec, raw_len=raw_len, data=data, digest=digest, previous=previous,
        analyzed=bool(analyzed), batch=batch, summary=summary, bars=versions, bars_ms=first_ms,
    )  # fmt: skip


def _widen(
    seen: dict[tuple[str, str], tuple[int, int]], symbol: str | None, interval: str, first_ms: int, last_ms: int
) -> int:
    """Take in what a decision saw of a series; the bytes that a new series takes, about."""
    if symbol is None:
        return 0
    known = seen.get((symbol, interval))
    first, last = known or (first_ms, last_ms)
    seen[symbol, interval] = (min(first, first_ms), max(last, last_ms))
    return 0 if known else _SERIES_BYTES


def _digest_before(connection: apsw.Connection, entry: int) -> bytes:
    """The digest of ``entry``, or of the seal where it was pruned."""
    if entry == 0:
        return GENESIS
    found: bytes | None = connection.execute("SELECT digest FROM payload WHERE entry = ?", (entry,)).get
    if found is None:
        sealed, digest = chain_seal(connection)
        found = digest if sealed == entry else GENESIS
    return found


def _meta(connection: apsw.Connection, key: str) -> str | None:
    found: str | None = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).get
    return found


def _set(connection: apsw.Connection, key: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))


def _add_lost(connection: apsw.Connection, count: int) -> None:
    _set(connection, "ship_lost", str(lost(connection) + count))
