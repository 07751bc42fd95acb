"""A PostgreSQL server as the shipper sees it: parcels go in whole, in their order, once, however often they are sent.

A parcel is one transaction. Its rows go as arrays (``unnest``), which was measured ten times as fast as an INSERT each,
with ON CONFLICT for those that are there already. If the server refuses one of its rows, the parcel is halved until
that row is alone, and the row is put into the dead letter with the server's reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from perpstrader.traces.bars import COLUMNS
from perpstrader.traces.outbox import Entry, Mark, Origin, Parcel
from perpstrader.traces.postgres import schema
from perpstrader.traces.postgres.address import Address
from perpstrader.traces.postgres.link import RefusedError, connect, server_errors
from perpstrader.traces.postgres.port import BotName, Delivery, ServerAwayError
from perpstrader.traces.postgres.schema import Month
from perpstrader.traces.records import CycleNote
from perpstrader.traces.schema import SUMMARY_COLUMNS

TIMEOUT_S: Final = 30.0
_SHOWN: Final = 500
_REMEMBERED_BARS: Final = 50_000

_NAMES: Final = ", ".join(SUMMARY_COLUMNS)
_PAYLOAD: Final = """
    INSERT INTO perpstrader.payload (bot, entry, seq, accepted_ms, codec, raw_len, data, digest, previous)
    SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[], $6::integer[], $7::bytea[],
    $8::bytea[], $9::bytea[]) ON CONFLICT DO NOTHING"""
_ARRAYS: Final = ", ".join(
    f"${place}::{schema.column_type(name)}[]" for place, name in enumerate(SUMMARY_COLUMNS, start=8)
)
# the numbers of arrival are given in the order of storing; a later revision keeps its decision's number
_TRACE: Final = f"""
    INSERT INTO perpstrader.trace (bot, number, entry, seq, analyzed, batch, bars, bars_ms, {_NAMES})
    SELECT $1, nextval('perpstrader.arrival'), found.* FROM (SELECT * FROM
    unnest($2::bigint[], $3::bigint[], $4::boolean[], $5::text[], $6::text[], $7::bigint[], {_ARRAYS})
    AS t(entry, seq, analyzed, batch, bars, bars_ms, {_NAMES}) ORDER BY seq) AS found
    ON CONFLICT (bot, seq, accepted_ms) DO UPDATE SET entry = excluded.entry,
    {", ".join(f"{name} = excluded.{name}" for name in SUMMARY_COLUMNS if name != "accepted_ms")},
    bars = coalesce(excluded.bars, trace.bars), bars_ms = coalesce(excluded.bars_ms, trace.bars_ms),
    batch = CASE WHEN trace.analyzed THEN trace.batch ELSE excluded.batch END,
    analyzed = trace.analyzed OR excluded.analyzed WHERE trace.entry < excluded.entry"""
_MARK: Final = """
    UPDATE perpstrader.trace SET analyzed = true, batch = mark.batch, leased_until_ms = 0
    FROM unnest($2::bigint[], $3::bigint[], $4::text[]) AS mark(seq, accepted_ms, batch)
    WHERE trace.bot = $1 AND trace.seq = mark.seq AND trace.accepted_ms = mark.accepted_ms AND NOT trace.analyzed"""
_NOTE: Final = """
    INSERT INTO perpstrader.cycle_note (bot, symbol, interval, bar_close_ms, code, text, strategy)
    SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[])
    ON CONFLICT (bot, symbol, bar_close_ms, strategy) DO UPDATE
    SET interval = excluded.interval, code = excluded.code, text = excluded.text"""
_BAR: Final = f"""
    INSERT INTO perpstrader.bar (bot, symbol, interval, {", ".join(COLUMNS)})
    SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::integer[], $6::bigint[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::bigint[], $13::bytea[]) ON CONFLICT DO NOTHING"""
_DEAD: Final = """
    INSERT INTO perpstrader.dead_letter (bot, entry, uid, accepted_ms, reason, codec, raw_len, data)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (bot, entry) DO NOTHING"""
_GAP: Final = """
    INSERT INTO perpstrader.gap (bot, first_entry, last_entry, reason) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"""


class PostgresServer:
    """One bot's connection to a server; keeps the contract of ``port.Server``."""

    def __init__(self, address: Address, *, timeout_s: float = TIMEOUT_S) -> None:
        self._address = address
        self.timeout_s = timeout_s
        self._connection: Any = None
        self._bot = 0
        self._months: set[Month] = set()
        self._dictionaries: set[int] = set()
        self._bars: set[tuple[Any, ...]] = set()

    async def connect(self, bot: BotName, origin: Origin, now_ms: int) -> int:
        """See ``port.Server``; brings the schema up to date and makes the months ahead."""
        await self.close()
        with self._errors():
            self._connection = await connect(self._address, timeout_s=self.timeout_s)
            await schema.migrate(self._connection, str(self._address))
            self._dictionaries = {
                number for (number,) in await self._connection.fetch("SELECT number FROM perpstrader.dictionary")
            }
            self._months.clear()
            self._bars.clear()
            await self._make_months([], now_ms)
            name = bot.of_file(origin.file)
            # a file that was shipped for another bot is a restored one: what that bot shipped is there
            first = origin.shipped if origin.bot not in ("", name) else 0
            self._bot, entry = await self._connection.fetchrow(
                "INSERT INTO perpstrader.bot AS bot (name, account, network, entry, first_ms, seen_ms)"
                " VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (name) DO UPDATE SET seen_ms = $5 RETURNING id, entry",
                name, bot.account, bot.network, first, now_ms,
            )  # fmt: skip
        return int(entry)

    async def digest(self, entry: int) -> bytes | None:
        """See ``port.Server``."""
        with self._errors():
            found: bytes | None = await self._open().fetchval(
                "SELECT digest FROM perpstrader.payload WHERE bot = $1 AND entry = $2", self._bot, entry
            )
        return found

    async def learn(self, dictionaries: Mapping[int, bytes]) -> None:
        """See ``port.Server``."""
        with self._errors():
            for number, content in dictionaries.items():
                if number not in self._dictionaries:
                    await self._open().execute(
                        "INSERT INTO perpstrader.dictionary (number, content) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                        number, content,
                    )  # fmt: skip
                    self._dictionaries.add(number)

    async def take(self, parcel: Parcel, now_ms: int) -> Delivery:
        """See ``port.Server``."""
        with self._errors():
            times = [entry.accepted_ms for entry in parcel.entries] + [note.bar_close_ms for note in parcel.notes]
            await self._make_months(times, now_ms)
        return await self._take(parcel, now_ms)

    async def close(self) -> None:
        """See ``port.Server``; a server that is away is not waited for."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                await connection.close(timeout=1)
            connection.terminate()

    # --- inside ---

    def _open(self) -> Any:
        if self._connection is None:
            raise ServerAwayError(f"the shared record {self._address} is not connected")
        return self._connection

    def _errors(self) -> Any:
        return server_errors(self._address)

    async def _make_months(self, times: list[int], now_ms: int) -> None:
        for month in schema.months_for(times, now_ms):
            if month not in self._months:
                await schema.make_month(self._open(), month)
                self._months.add(month)

    async def _take(self, parcel: Parcel, now_ms: int) -> Delivery:
        """The parcel as one transaction; where a row of it is refused, its halves."""
        try:
            with server_errors(self._address, refuses=True):
                await self._store(parcel, now_ms)
            return Delivery(stored=len(parcel.entries))
        except RefusedError as refused:
            if len(parcel.entries) == 1 and not parcel.marks and not parcel.notes:
                return await self._bury(parcel, str(refused), now_ms)
            return await self._apart(parcel, str(refused), now_ms)

    async def _apart(self, parcel: Parcel, reason: str, now_ms: int) -> Delivery:
        entries, pieces = parcel.entries, []
        if parcel.marks or parcel.notes:
            pieces = _kinds(parcel)
        if len(pieces) < 2 and len(entries) > 1:
            middle = len(entries) // 2
            pieces = [
                Parcel(after=parcel.after, entries=entries[:middle], bars=parcel.bars),
                Parcel(after=entries[middle - 1].entry, entries=entries[middle:], bars=parcel.bars),
            ]
        if len(pieces) < 2:  # a single mark or note
            return Delivery(stored=0, dead=1, reason=reason)
        done = [await self._take(piece, now_ms) for piece in pieces]
        said = [delivery.reason for delivery in done if delivery.reason]
        return Delivery(
            stored=sum(delivery.stored for delivery in done), dead=sum(delivery.dead for delivery in done),
            reason=said[-1] if said else "",
        )  # fmt: skip

    async def _store(self, parcel: Parcel, now_ms: int) -> None:
        connection = self._open()
        bars = [row for row in parcel.bars if row[:4] not in self._bars]
        async with connection.transaction():
            if bars:
                await connection.execute(_BAR, self._bot, *map(list, zip(*bars, strict=True)))
            if parcel.entries:
                await connection.execute("SELECT pg_advisory_xact_lock($1)", schema.ARRIVAL_LOCK)
                await self._note_gap(parcel)
                await connection.execute(_PAYLOAD, self._bot, *_payloads(parcel.entries))
                await connection.execute(_TRACE, self._bot, *_traces(parcel.entries))
            if parcel.marks:
                await connection.execute(_MARK, self._bot, *_marks(parcel.marks))
            if parcel.notes:
                await connection.execute(_NOTE, self._bot, *_notes(parcel.notes))
            await self._advance(parcel.last, now_ms)
        if len(self._bars) > _REMEMBERED_BARS:
            self._bars.clear()
        self._bars.update(row[:4] for row in bars)

    async def _bury(self, parcel: Parcel, reason: str, now_ms: int) -> Delivery:
        (dead,) = parcel.entries
        with self._errors():
            async with self._open().transaction():
                await self._note_gap(parcel)
                await self._open().execute(
                    _DEAD, self._bot, dead.entry, schema.without_nul(dead.summary.uid[:_SHOWN]), dead.accepted_ms,
                    schema.without_nul(reason[:_SHOWN]), dead.codec, dead.raw_len, dead.data,
                )  # fmt: skip
                await self._advance(dead.entry, now_ms)
        return Delivery(stored=0, dead=1, reason=reason)

    async def _note_gap(self, parcel: Parcel) -> None:
        if parcel.missing is not None:
            first, last = parcel.missing
            await self._open().execute(_GAP, self._bot, first, last, "pruned by its bot before it was shipped")

    async def _advance(self, entry: int, now_ms: int) -> None:
        await self._open().execute(
            "UPDATE perpstrader.bot SET entry = greatest(entry, $2), seen_ms = $3 WHERE id = $1",
            self._bot, entry, now_ms,
        )  # fmt: skip


def _kinds(parcel: Parcel) -> list[Parcel]:
    """Entries, marks and notes by themselves, marks and notes halved where there is nothing else."""
    pieces = [Parcel(after=parcel.after, entries=parcel.entries, bars=parcel.bars)] if parcel.entries else []
    for name, rows in (("marks", parcel.marks), ("notes", parcel.notes)):
        if rows:
            empty = Parcel(after=parcel.last)
            alone = not parcel.entries and len(parcel.marks) + len(parcel.notes) == len(rows)
            middle = len(rows) // 2 if alone else 0
            halves = [half for half in (rows[:middle], rows[middle:]) if half]
            pieces += [msgspec.structs.replace(empty, **{name: half}) for half in halves]
    return pieces


def _payloads(entries: Sequence[Entry]) -> tuple[list[Any], ...]:
    return (
        [e.entry for e in entries], [e.seq for e in entries], [e.accepted_ms for e in entries],
        [e.codec for e in entries], [e.raw_len for e in entries], [e.data for e in entries],
        [e.digest for e in entries], [e.previous for e in entries],
    )  # fmt: skip


def _traces(entries: Sequence[Entry]) -> tuple[list[Any], ...]:
    """The newest revision of each decision: one statement cannot change a row twice."""
    rows = list({entry.seq: entry for entry in entries}.values())
    columns = zip(*(schema.storable(entry.summary) for entry in rows), strict=True)
    return (
        [e.entry for e in rows], [e.seq for e in rows], [e.analyzed for e in rows],
        [schema.without_nul(e.batch) for e in rows], [e.bars for e in rows], [e.bars_ms for e in rows],
        *(list(column) for column in columns),
    )  # fmt: skip


def _marks(marks: Sequence[Mark]) -> tuple[list[Any], ...]:
    last = {mark.seq: mark for mark in marks}
    return list(last), [m.accepted_ms for m in last.values()], [schema.without_nul(m.batch) for m in last.values()]


def _notes(notes: Sequence[CycleNote]) -> tuple[list[Any], ...]:
    clean = schema.without_nul
    last = {(note.symbol, note.bar_close_ms, note.strategy): note for note in notes}
    rows = list(last.values())
    return (
        [clean(n.symbol) for n in rows], [clean(n.interval) for n in rows], [n.bar_close_ms for n in rows],
        [n.code.value for n in rows], [clean(n.text) for n in rows], [clean(n.strategy) for n in rows],
    )  # fmt: skip
