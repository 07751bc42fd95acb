"""Reading the shared record: each question in one place, the answers those of ``traces.queries``.

``Bots`` narrows every question to some bots, or to none in particular.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from perpstrader.domain.traces import Trace, TraceKind
from perpstrader.traces import bars
from perpstrader.traces.codec import DROPPED, decode, unpack
from perpstrader.traces.contract import MAX_LIMIT
from perpstrader.traces.errors import TraceError
from perpstrader.traces.queries import clamp
from perpstrader.traces.records import Counters, CycleNote, DeadLetter, Nearby, NoteCode, Page, TraceStats, TraceSummary
from perpstrader.traces.schema import SUMMARY_COLUMNS

SUMMARY: Final = f"trace.number, {', '.join(f'trace.{name}' for name in SUMMARY_COLUMNS)}, trace.analyzed, trace.batch"
PAYLOAD: Final = "payload.codec, payload.raw_len, payload.data, trace.bot, trace.bars"
_JOIN: Final = (
    "perpstrader.trace JOIN perpstrader.payload ON payload.bot = trace.bot AND payload.entry = trace.entry"
    f" AND payload.accepted_ms = trace.accepted_ms AND payload.codec <> {DROPPED}"
)
_NEWEST: Final = "ORDER BY trace.accepted_ms DESC, trace.number DESC"
_OLDEST: Final = "ORDER BY trace.accepted_ms, trace.number"
_SEARCH_PAGE: Final = 200
_SEARCHED: Final = 20_000
_LATE_MS: Final = 300_000
_NAMES: Final = ("seq", "id", *SUMMARY_COLUMNS[1:], "analyzed", "batch")

_CONDITIONS: Final[dict[str, str]] = {
    "symbol": "trace.symbol = {}", "strategy": "trace.strategy = {}", "kind": "trace.kind = {}",
    "regime": "trace.regime = {}", "since_ms": "trace.accepted_ms >= {}", "until_ms": "trace.accepted_ms <= {}",
    "min_risk": "trace.risk_score >= {}", "max_risk": "trace.risk_score <= {}",
    "reason": "trace.reason = {} AND trace.reason <> ''",
}  # fmt: skip
_FLAGS: Final[dict[tuple[str, object], str]] = {
    ("executed", True): "trace.executed", ("executed", False): "NOT trace.executed",
    ("error", True): "trace.error <> ''", ("error", False): "trace.error = ''",
    ("verdict", "approved"): "trace.verdict = 'approved'", ("verdict", "refused"): "trace.verdict = 'refused'",
}  # fmt: skip


class Where:
    """Conditions and their values, numbered as PostgreSQL wants them."""

    def __init__(self, bots: Sequence[int] | None, table: str = "trace") -> None:
        self.values: list[object] = []
        self._conditions: list[str] = []
        if bots is not None:
            self.add(f"{table}.bot = ANY({{}}::integer[])", list(bots))

    def add(self, condition: str, *values: object) -> None:
        """All that is added must hold; each ``{}`` stands for the next value."""
        places = []
        for value in values:
            self.values.append(value)
            places.append(f"${len(self.values)}")
        self._conditions.append(condition.format(*places))

    def place(self, value: object) -> str:
        """Where a further value of the statement stands."""
        self.values.append(value)
        return f"${len(self.values)}"

    def __str__(self) -> str:
        return f"WHERE {' AND '.join(self._conditions)}" if self._conditions else ""


Bots = Sequence[int] | None
_Series = tuple[int, str, str]
_Rows = dict[tuple[int, int], tuple[Any, ...]]


async def one(connection: Any, bots: Bots, trace_id: str) -> Trace | None:
    """The trace with this id; of two bots of one account, that of the later one. ``TraceError`` if accounts differ."""
    where = Where(bots)
    where.add("trace.uid = {}", trace_id)
    rows = await connection.fetch(
        f"SELECT bot.account, bot.network, {PAYLOAD} FROM {_JOIN} JOIN perpstrader.bot ON bot.id = trace.bot {where}"
        " ORDER BY trace.bot DESC",
        *where.values,
    )
    if len({tuple(row)[:2] for row in rows}) > 1:
        raise TraceError(f"bots of several accounts have a trace {trace_id}; name one of them")
    found = await whole(connection, [tuple(row)[2:] for row in rows[:1]])
    return found[0] if found else None


async def traces(connection: Any, where: Where, order: str, limit: int) -> list[Trace]:
    """Whole traces that are still told."""
    sql = f"SELECT {PAYLOAD} FROM {_JOIN} {where} {order} LIMIT {where.place(clamp(limit))}"
    return await whole(connection, [tuple(row) for row in await connection.fetch(sql, *where.values)])


async def whole(connection: Any, rows: Iterable[tuple[Any, ...]]) -> list[Trace]:
    """The traces of rows of ``PAYLOAD``, with the bars that they saw."""
    found = [(decode(*row[:3]), row[3], row[4]) for row in rows]
    spans: dict[_Series, tuple[int, int]] = {}
    for trace, bot, versions in found:
        stored = trace.view.stored if trace.view is not None else None
        if stored is not None and versions is not None:
            first, last = stored.opens[0], stored.opens[-1]
            known = spans.get((bot, stored.symbol, stored.interval), (first, last))
            spans[bot, stored.symbol, stored.interval] = (min(known[0], first), max(known[1], last))
    held = {series: await _bars_of(connection, series, ends) for series, ends in spans.items()}
    return [_with_bars(trace, bot, versions, held) for trace, bot, versions in found]


async def _bars_of(connection: Any, series: _Series, ends: tuple[int, int]) -> _Rows:
    rows = await connection.fetch(
        f"SELECT {', '.join(bars.COLUMNS)} FROM perpstrader.bar WHERE bot = $1 AND symbol = $2 AND interval = $3"
        " AND open_ms BETWEEN $4 AND $5",
        *series, *ends,
    )  # fmt: skip
    return {(row[0], row[1]): tuple(row) for row in rows}


def _with_bars(trace: Trace, bot: int, versions: str | None, held: dict[_Series, _Rows]) -> Trace:
    stored = trace.view.stored if trace.view is not None else None
    if stored is None or versions is None:
        return trace
    return bars.assembled(trace, versions, held[bot, stored.symbol, stored.interval])


async def recent(connection: Any, bots: Bots, limit: int, strategy: str | None) -> list[Trace]:
    """The newest traces."""
    where = Where(bots)
    if strategy is not None:
        where.add("trace.strategy = {}", strategy)
    return await traces(connection, where, _NEWEST, limit)


async def between(
    connection: Any, bots: Bots, start_ms: int, end_ms: int, symbol: str | None, limit: int
) -> list[Trace]:
    """The traces of an inclusive range, oldest first."""
    where = Where(bots)
    where.add("trace.accepted_ms BETWEEN {} AND {}", start_ms, end_ms)
    if symbol is not None:
        where.add("trace.symbol = {}", symbol)
    return await traces(connection, where, _OLDEST, limit)


async def unanalyzed(connection: Any, bots: Bots, limit: int) -> list[Trace]:
    """The oldest that are not marked."""
    where = Where(bots)
    where.add("NOT trace.analyzed")
    return await traces(connection, where, "ORDER BY trace.number", limit)


async def find(connection: Any, bots: Bots, filters: dict[str, Any], limit: int, cursor: str | None) -> Page:
    """A page of the summaries that match every filter that is not ``None``."""
    size = clamp(limit)
    rows = await _found(connection, bots, filters, size + 1, cursor)
    more = len(rows) > size
    last = rows[size - 1] if more else None
    return Page(rows=tuple(rows[:size]), cursor=None if last is None else _cursor(last))


async def search(
    connection: Any, bots: Bots, filters: dict[str, Any], text: str, limit: int, cursor: str | None
) -> Page:
    """As ``find``, of those whose record holds ``text``; at most ``_SEARCHED`` records are read for a page."""
    wanted, size, found, read = text.casefold(), clamp(limit), list[TraceSummary](), 0
    while True:
        where = _filtered(bots, filters, cursor)
        sql = (
            f"SELECT {SUMMARY}, payload.codec, payload.raw_len, payload.data FROM {_JOIN} {where} {_NEWEST}"
            f" LIMIT {_SEARCH_PAGE}"
        )
        rows = [tuple(row) for row in await connection.fetch(sql, *where.values)]
        for row in rows:
            summary, payload = summary_of(row[:-3]), row[-3:]
            read, cursor = read + 1, _cursor(summary)
            if wanted in unpack(*payload).decode("utf-8", "replace").casefold():
                found.append(summary)
            if len(found) == size or read == _SEARCHED:
                return Page(rows=tuple(found), cursor=cursor)
        if len(rows) < _SEARCH_PAGE:
            return Page(rows=tuple(found), cursor=None)


async def after(connection: Any, bots: Bots, number: int, limit: int) -> list[TraceSummary]:
    """What arrived after ``number``."""
    where = Where(bots)
    where.add("trace.number > {}", number)
    return await _summaries(connection, where, "ORDER BY trace.number", clamp(limit))


async def near(connection: Any, bots: Bots, time_ms: int, symbol: str, within_ms: int) -> Nearby:
    """What is recorded from ``time_ms`` on for ``within_ms``, else of the newest bar before."""
    end_ms = time_ms + max(1, within_ms)
    decisions, notes = await _window(connection, bots, symbol, time_ms, end_ms)
    exact = bool(decisions or notes)
    if not exact:
        bar_ms = await _bar_before(connection, bots, symbol, time_ms)
        if bar_ms is not None:
            decisions, notes = await _window(connection, bots, symbol, bar_ms, bar_ms + 1)
    before = await _edge(connection, bots, symbol, "<", time_ms, _NEWEST)
    later = await _edge(connection, bots, symbol, ">=", end_ms, _OLDEST)
    first_ms, last_ms = await _coverage(connection, bots, symbol)
    return Nearby(
        symbol=symbol, time_ms=time_ms, exact=exact, decisions=tuple(decisions), notes=tuple(notes),
        before=before, after=later, first_ms=first_ms, last_ms=last_ms,
    )  # fmt: skip


async def stats(connection: Any, bots: Bots) -> TraceStats:
    """Totals of what is there."""
    where = Where(bots)
    rows = await connection.fetch(
        "SELECT kind, verdict, reason, symbol, strategy, count(*), count(*) FILTER (WHERE executed),"
        " count(*) FILTER (WHERE error <> ''), count(*) FILTER (WHERE NOT analyzed)"
        f" FROM perpstrader.trace {where} GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5",
        *where.values,
    )
    groups: tuple[dict[str, int], ...] = ({}, {}, {}, {}, {})
    sums = [0, 0, 0, 0]
    for row in rows:
        *names, count, executed, failed, open_ = row
        sums = [have + more for have, more in zip(sums, (count, executed, failed, open_), strict=True)]
        for totals, name in zip(groups, names, strict=True):
            if name:
                totals[name] = totals.get(name, 0) + count
    kinds, verdicts, reasons, symbols, strategies = groups
    return TraceStats(
        total=sums[0], unanalyzed=sums[3], executed=sums[1], with_error=sums[2],
        dead_letters=await _count(connection, bots, "dead_letter"), notes=await _count(connection, bots, "cycle_note"),
        by_kind=kinds, by_verdict=verdicts, by_reason=reasons, by_symbol=symbols, by_strategy=strategies,
        counters=Counters(),
    )  # fmt: skip


async def dead_letters(connection: Any, bots: Bots, limit: int) -> list[DeadLetter]:
    """What the server refused, newest first."""
    where = Where(bots, "dead_letter")
    sql = (
        f"SELECT number, uid, accepted_ms, reason, codec, raw_len, data FROM perpstrader.dead_letter {where}"
        f" ORDER BY number DESC LIMIT {where.place(clamp(limit))}"
    )
    return [
        DeadLetter(
            number=row["number"], id=row["uid"], accepted_ms=row["accepted_ms"], reason=row["reason"],
            data=b"" if row["codec"] == DROPPED else unpack(row["codec"], row["raw_len"], row["data"]),
        )
        for row in await connection.fetch(sql, *where.values)
    ]  # fmt: skip


def summary_of(row: Iterable[Any]) -> TraceSummary:
    """A row of ``SUMMARY``."""
    fields = dict(zip(_NAMES, row, strict=True))
    fields["kind"] = TraceKind(fields["kind"])
    return TraceSummary(**fields)


def _cursor(row: TraceSummary) -> str:
    return f"{row.accepted_ms}:{row.seq}"


def _filtered(bots: Bots, filters: dict[str, Any], cursor: str | None) -> Where:
    where = Where(bots)
    for name, value in filters.items():
        if value is None:
            continue
        if (name, value) in _FLAGS:
            where.add(_FLAGS[name, value])
        elif name in _CONDITIONS:
            where.add(_CONDITIONS[name], str(value) if isinstance(value, str) else value)
        else:
            raise TraceError(f"{name} {value!r} cannot be searched for; a verdict is 'approved' or 'refused'")
    if cursor is not None:
        accepted_ms, _, number = cursor.partition(":")
        try:
            place = int(accepted_ms), int(number)
        except ValueError as error:
            raise TraceError(f"{cursor!r} is no cursor; hand back the one that the page before gave") from error
        where.add("(trace.accepted_ms, trace.number) < ({}::bigint, {}::bigint)", *place)
    return where


async def _found(
    connection: Any, bots: Bots, filters: dict[str, Any], limit: int, cursor: str | None
) -> list[TraceSummary]:
    return await _summaries(connection, _filtered(bots, filters, cursor), _NEWEST, limit)


async def _summaries(connection: Any, where: Where, order: str, limit: int) -> list[TraceSummary]:
    sql = f"SELECT {SUMMARY} FROM perpstrader.trace {where} {order} LIMIT {where.place(limit)}"
    return [summary_of(row) for row in await connection.fetch(sql, *where.values)]


async def _edge(connection: Any, bots: Bots, symbol: str, side: str, at_ms: int, order: str) -> TraceSummary | None:
    where = Where(bots)
    where.add(f"trace.symbol = {{}} AND trace.accepted_ms {side} {{}}", symbol, at_ms)
    found = await _summaries(connection, where, order, 1)
    return found[0] if found else None


async def _window(
    connection: Any, bots: Bots, symbol: str, start_ms: int, end_ms: int
) -> tuple[list[Trace], list[CycleNote]]:
    """Decisions accepted, or on a bar ended, from ``start_ms`` to before ``end_ms``; a bar ends 1 ms after close."""
    where = Where(bots)
    where.add("trace.symbol = {}", symbol)
    where.add("trace.accepted_ms BETWEEN {} AND {}", start_ms - 1, end_ms + _LATE_MS)
    where.add(
        "(trace.accepted_ms BETWEEN {} AND {} OR trace.bar_close_ms BETWEEN {} AND {})",
        start_ms, end_ms - 1, start_ms - 1, end_ms - 2,
    )  # fmt: skip
    decisions = await traces(connection, where, _OLDEST, MAX_LIMIT)
    noted = Where(bots, "cycle_note")
    noted.add("symbol = {} AND bar_close_ms BETWEEN {} AND {}", symbol, start_ms - 1, end_ms - 2)
    rows = await connection.fetch(
        "SELECT symbol, interval, bar_close_ms, code, text, strategy FROM perpstrader.cycle_note"
        f" {noted} ORDER BY bar_close_ms, strategy, bot LIMIT {MAX_LIMIT}",
        *noted.values,
    )
    return decisions, [CycleNote(row[0], row[1], row[2], NoteCode(row[3]), row[4], row[5]) for row in rows]


async def _bar_before(connection: Any, bots: Bots, symbol: str, time_ms: int) -> int | None:
    """When the newest recorded bar before ``time_ms`` ended; for a decision without a bar, when it was accepted."""
    before = await _edge(connection, bots, symbol, "<", time_ms, _NEWEST)
    where = Where(bots, "cycle_note")
    where.add("symbol = {} AND bar_close_ms < {}", symbol, time_ms)
    noted = await connection.fetchval(
        f"SELECT max(bar_close_ms) + 1 FROM perpstrader.cycle_note {where}", *where.values
    )
    ends = [noted]
    if before is not None:
        ends.append(before.accepted_ms if before.bar_close_ms is None else before.bar_close_ms + 1)
    return max((end for end in ends if end is not None), default=None)


async def _coverage(connection: Any, bots: Bots, symbol: str) -> tuple[int | None, int | None]:
    ends: list[tuple[int, int]] = []
    for table, by in (("trace", "accepted_ms"), ("cycle_note", "bar_close_ms")):
        where = Where(bots, table)
        where.add("symbol = {}", symbol)
        row = await connection.fetchrow(f"SELECT min({by}), max({by}) FROM perpstrader.{table} {where}", *where.values)
        if row[0] is not None:
            ends.append((row[0], row[1]))
    if not ends:
        return None, None
    return min(first for first, _ in ends), max(last for _, last in ends)


async def _count(connection: Any, bots: Bots, table: str) -> int:
    where = Where(bots, table)
    return int(await connection.fetchval(f"SELECT count(*) FROM perpstrader.{table} {where}", *where.values))
