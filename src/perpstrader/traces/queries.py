"""Reading rows: each query in one place, served by an index; limits are clamped (TS-19)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import apsw

from perpstrader.domain.traces import Trace, TraceKind
from perpstrader.traces import bars, cold
from perpstrader.traces.codec import DROPPED, decode, unpack
from perpstrader.traces.contract import MAX_LIMIT
from perpstrader.traces.errors import TraceError
from perpstrader.traces.records import Counters, CycleNote, DeadLetter, Nearby, NoteCode, Page, TraceStats, TraceSummary
from perpstrader.traces.schema import SUMMARY_COLUMNS, summary_values

_SUMMARY = f"trace.seq, {', '.join(f'trace.{column}' for column in SUMMARY_COLUMNS)}, trace.analyzed, trace.batch"
_FULL = (
    "SELECT payload.codec, payload.raw_len, payload.data FROM trace"
    f" JOIN payload ON payload.entry = trace.entry AND payload.codec <> {DROPPED}"
)
"""Those whose payload retention has removed are still listed, but no longer told."""
_NEWEST = "ORDER BY trace.accepted_ms DESC, trace.seq DESC"
_OLDEST = "ORDER BY trace.accepted_ms, trace.seq"
_SEARCH_PAGE: Final = 500
_SEARCHED: Final = 20_000
_LATE_MS: Final = 300_000
"""A decision on a bar is looked for until so long after the instant that was asked for."""
_SHARED_BAR_BYTES: Final = 40

_CONDITIONS: Final[dict[str, str]] = {
    "symbol": "trace.symbol = ?", "strategy": "trace.strategy = ?", "kind": "trace.kind = ?",
    "regime": "trace.regime = ?", "since_ms": "trace.accepted_ms >= ?", "until_ms": "trace.accepted_ms <= ?",
    "min_risk": "trace.risk_score >= ?", "max_risk": "trace.risk_score <= ?",
}  # fmt: skip
_FLAGS: Final[dict[tuple[str, object], str]] = {
    ("executed", True): "trace.executed = 1", ("executed", False): "trace.executed = 0",
    ("error", True): "trace.error <> ''", ("error", False): "trace.error = ''",
    # written out, because a partial index serves no bound parameter
    ("verdict", "approved"): "trace.verdict = 'approved'", ("verdict", "refused"): "trace.verdict = 'refused'",
}  # fmt: skip


def clamp(limit: int) -> int:
    """The limit within 1..MAX_LIMIT."""
    return max(1, min(int(limit), MAX_LIMIT))


def one(connection: apsw.Connection, trace_id: str) -> Trace | None:
    """The trace with this id in its newest revision."""
    found = _traces(connection, f"{_FULL} WHERE trace.uid = ?", (trace_id,))
    return found[0] if found else None


def one_sized(
    connection: apsw.Connection, trace_id: str, known: bars.Histories | None = None
) -> tuple[Trace, int] | None:
    """As ``one``, with the length of its JSON; ``known`` keeps histories."""
    row = connection.execute(f"{_FULL} WHERE trace.uid = ?", (trace_id,)).fetchone()
    return None if row is None else _sized(connection, row, known)


def summary_of(seq: int, trace: Trace) -> TraceSummary:
    """The summary that the file gives of a trace that nobody has analysed."""
    # SQLite stores NaN as NULL; in the payload it stays what it is
    values = [None if isinstance(value, float) and value != value else value for value in summary_values(trace)]
    return _summary(seq, *values, 0, "")


def recent(connection: apsw.Connection, limit: int, strategy: str | None) -> list[Trace]:
    """The newest traces."""
    return [trace for trace, _ in recent_sized(connection, limit, strategy)]


def recent_sized(
    connection: apsw.Connection, limit: int, strategy: str | None, known: bars.Histories | None = None
) -> list[tuple[Trace, int]]:
    """As ``recent``, each with the length of its JSON; ``known`` keeps histories."""
    where, values = ("WHERE trace.strategy = ?", (strategy,)) if strategy is not None else ("", ())
    rows = connection.execute(f"{_FULL} {where} {_NEWEST} LIMIT ?", (*values, clamp(limit)))
    return [_sized(connection, row, known) for row in rows]


def between(connection: apsw.Connection, start_ms: int, end_ms: int, symbol: str | None, limit: int) -> list[Trace]:
    """The traces of an inclusive range, oldest first."""
    where, values = ("trace.symbol = ? AND ", (symbol,)) if symbol is not None else ("", ())
    sql = f"{_FULL} WHERE {where}trace.accepted_ms BETWEEN ? AND ? {_OLDEST} LIMIT ?"
    return _traces(connection, sql, (*values, start_ms, end_ms, clamp(limit)))


def unanalyzed(connection: apsw.Connection, limit: int) -> list[Trace]:
    """The oldest that are not marked."""
    return _traces(connection, f"{_FULL} WHERE trace.analyzed = 0 ORDER BY trace.seq LIMIT ?", (clamp(limit),))


def find(connection: apsw.Connection, filters: dict[str, Any], limit: int, cursor: str | None) -> Page:
    """A page of the summaries that match every filter that is not ``None``."""
    size = clamp(limit)
    sql, values = find_sql(filters, cursor)
    rows = _summaries(connection.execute(sql, (*values, size + 1)))
    more = len(rows) > size
    last = rows[size - 1] if more else None
    return Page(rows=tuple(rows[:size]), cursor=None if last is None else f"{last.accepted_ms}:{last.seq}")


def search(
    connection: apsw.Connection, filters: dict[str, Any], text: str, limit: int, cursor: str | None
) -> Page:
    """As ``find``, of those whose record holds ``text``; at most ``_SEARCHED`` records are read for a page."""
    wanted, size, found, read = text.casefold(), clamp(limit), list[TraceSummary](), 0
    while True:
        page = find(connection, filters, _SEARCH_PAGE, cursor)
        for row in page.rows:
            read, cursor = read + 1, f"{row.accepted_ms}:{row.seq}"
            if wanted in _json_of(connection, row.id).casefold():
                found.append(row)
            if len(found) == size or read == _SEARCHED:
                return Page(rows=tuple(found), cursor=cursor)
        if page.cursor is None:
            return Page(rows=tuple(found), cursor=None)


def after(connection: apsw.Connection, seq: int, limit: int) -> list[TraceSummary]:
    """What was stored after ``seq``."""
    return _summaries(
        connection.execute(f"SELECT {_SUMMARY} FROM trace WHERE seq > ? ORDER BY seq LIMIT ?", (seq, clamp(limit)))
    )


def some(connection: apsw.Connection, ids: Iterable[str]) -> list[Trace]:
    """The traces with these ids, in their order; those that are not there are left out."""
    found = (one(connection, trace_id) for trace_id in ids)
    return [trace for trace in found if trace is not None]


def find_sql(filters: dict[str, Any], cursor: str | None) -> tuple[str, tuple[object, ...]]:
    """The statement of ``find`` with its values, without the limit; ``TraceError`` for a filter that cannot be."""
    where: list[str] = []
    values: list[object] = []
    for name, value in filters.items():
        if value is None:
            continue
        if name == "reason":
            where.append("trace.reason = ? AND trace.reason <> ''")
            values.append(value)
        elif name in _CONDITIONS:
            where.append(_CONDITIONS[name])
            values.append(value.value if isinstance(value, TraceKind) else value)
        elif (name, value) in _FLAGS:
            where.append(_FLAGS[name, value])
        else:
            raise TraceError(f"{name} {value!r} cannot be searched for; a verdict is 'approved' or 'refused'")
    if cursor is not None:
        where.append("(trace.accepted_ms, trace.seq) < (?, ?)")
        values.extend(_read_cursor(cursor))
    condition = f"WHERE {' AND '.join(where)} " if where else ""
    return f"SELECT {_SUMMARY} FROM trace {condition}{_NEWEST} LIMIT ?", tuple(values)


def near(connection: apsw.Connection, time_ms: int, symbol: str, within_ms: int) -> Nearby:
    """What is recorded from ``time_ms`` on for ``within_ms``, else of the newest bar before."""
    end_ms = time_ms + max(1, within_ms)
    decisions, notes = _window(connection, symbol, time_ms, end_ms)
    exact = bool(decisions or notes)
    if not exact:
        bar_ms = _bar_before(connection, symbol, time_ms)
        if bar_ms is not None:
            decisions, notes = _window(connection, symbol, bar_ms, bar_ms + 1)
    edge = "SELECT {0} FROM trace WHERE trace.symbol = ? AND trace.accepted_ms {1} ? {2} LIMIT 1"
    before = _summaries(connection.execute(edge.format(_SUMMARY, "<", _NEWEST), (symbol, time_ms)))
    after = _summaries(connection.execute(edge.format(_SUMMARY, ">=", _OLDEST), (symbol, end_ms)))
    first_ms, last_ms = _coverage(connection, symbol)
    return Nearby(
        symbol=symbol, time_ms=time_ms, exact=exact, decisions=tuple(decisions), notes=tuple(notes),
        before=before[0] if before else None, after=after[0] if after else None, first_ms=first_ms, last_ms=last_ms,
    )  # fmt: skip


def stats(connection: apsw.Connection, counters: Counters) -> TraceStats:
    """Totals of what the file holds, from the sums that it keeps."""
    kinds: dict[str, int] = {}
    verdicts: dict[str, int] = {}
    reasons: dict[str, int] = {}
    symbols: dict[str, int] = {}
    strategies: dict[str, int] = {}
    total = executed = failed = 0
    groups = (
        "SELECT kind, verdict, reason, symbol, strategy, sum(n - gone_n) AS there, sum(executed - gone_executed),"
        " sum(failed - gone_failed) FROM overall GROUP BY 1, 2, 3, 4, 5 HAVING there > 0 ORDER BY 1, 2, 3, 4, 5"
    )
    for kind, verdict, reason, symbol, strategy, count, orders, errors in connection.execute(groups):
        total, executed, failed = total + count, executed + orders, failed + errors
        for totals, name in (
            (kinds, kind),
            (verdicts, verdict),
            (reasons, reason),
            (symbols, symbol),
            (strategies, strategy),
        ):
            if name:
                totals[name] = totals.get(name, 0) + count
    return TraceStats(
        total=total, unanalyzed=connection.execute("SELECT count(*) FROM trace WHERE analyzed = 0").get,
        executed=executed, with_error=failed,
        dead_letters=connection.execute("SELECT count(*) FROM dead_letter").get,
        notes=connection.execute("SELECT count(*) FROM cycle_note").get,
        by_kind=kinds, by_verdict=verdicts, by_reason=reasons, by_symbol=symbols, by_strategy=strategies,
        counters=counters, archived=tuple(cold.months(connection)),
    )  # fmt: skip


def dead_letters(connection: apsw.Connection, limit: int) -> list[DeadLetter]:
    """The newest dead letters."""
    sql = "SELECT number, uid, accepted_ms, reason, data FROM dead_letter ORDER BY number DESC LIMIT ?"
    return [
        DeadLetter(number=number, id=uid, accepted_ms=accepted_ms, reason=reason, data=data)
        for number, uid, accepted_ms, reason, data in connection.execute(sql, (clamp(limit),))
    ]


def _window(
    connection: apsw.Connection, symbol: str, start_ms: int, end_ms: int
) -> tuple[list[Trace], list[CycleNote]]:
    """Decisions accepted, or on a bar ended, from ``start_ms`` to before ``end_ms``; a bar ends 1 ms after close."""
    decisions = _traces(
        connection,
        f"{_FULL} WHERE trace.symbol = ?1 AND trace.accepted_ms BETWEEN ?2 - 1 AND ?3 + {_LATE_MS}"
        " AND (trace.accepted_ms BETWEEN ?2 AND ?3 - 1"
        f" OR trace.bar_close_ms BETWEEN ?2 - 1 AND ?3 - 2) {_OLDEST} LIMIT {MAX_LIMIT}",
        (symbol, start_ms, end_ms),
    )
    notes = connection.execute(
        "SELECT symbol, interval, bar_close_ms, code, text, strategy FROM cycle_note"
        f" WHERE symbol = ? AND bar_close_ms BETWEEN ? AND ? ORDER BY bar_close_ms, strategy LIMIT {MAX_LIMIT}",
        (symbol, start_ms - 1, end_ms - 2),
    )
    return decisions, [
        CycleNote(symbol, interval, bar_close_ms, NoteCode(code), text, strategy)
        for symbol, interval, bar_close_ms, code, text, strategy in notes
    ]


def _bar_before(connection: apsw.Connection, symbol: str, time_ms: int) -> int | None:
    """When the newest recorded bar before ``time_ms`` ended; for a decision without a bar, when it was accepted."""
    bar_ms: int | None = connection.execute(
        "SELECT max(ms) FROM (SELECT * FROM (SELECT coalesce(bar_close_ms + 1, accepted_ms) AS ms FROM trace"
        " WHERE symbol = ?1 AND accepted_ms < ?2 ORDER BY accepted_ms DESC, seq DESC LIMIT 1)"
        " UNION ALL SELECT max(bar_close_ms) + 1 FROM cycle_note WHERE symbol = ?1 AND bar_close_ms < ?2)",
        (symbol, time_ms),
    ).get
    return bar_ms


def _coverage(connection: apsw.Connection, symbol: str) -> tuple[int | None, int | None]:
    ends: list[int | None] = []
    for pick in ("min", "max"):
        sql = (
            f"SELECT {pick}(ms) FROM (SELECT {pick}(accepted_ms) AS ms FROM trace WHERE symbol = ?1"
            f" UNION ALL SELECT {pick}(bar_close_ms) FROM cycle_note WHERE symbol = ?1)"
        )
        ends.append(connection.execute(sql, (symbol,)).get)
    return ends[0], ends[1]


def _read_cursor(cursor: str) -> tuple[int, int]:
    accepted_ms, _, seq = cursor.partition(":")
    try:
        return int(accepted_ms), int(seq)
    except ValueError as error:
        raise TraceError(f"{cursor!r} is no cursor; hand back the one that the page before gave") from error


def _json_of(connection: apsw.Connection, trace_id: str) -> str:
    row: tuple[Any, ...] | None = connection.execute(f"{_FULL} WHERE trace.uid = ?", (trace_id,)).fetchone()
    return unpack(*row).decode("utf-8", "replace") if row is not None else ""


def _traces(connection: apsw.Connection, sql: str, values: tuple[object, ...]) -> list[Trace]:
    return [bars.resolved(connection, decode(*row)) for row in connection.execute(sql, values)]


def _sized(connection: apsw.Connection, row: tuple[Any, ...], known: bars.Histories | None) -> tuple[Trace, int]:
    trace = bars.resolved(connection, decode(*row), known)
    return trace, sized(trace, row[1])


def sized(trace: Trace, json_bytes: int) -> int:
    """What a trace of so much JSON is counted with in memory: of a bar, which others share, a part."""
    return json_bytes + _SHARED_BAR_BYTES * (len(trace.view.history) if trace.view is not None else 0)


def _summaries(rows: Iterable[tuple[Any, ...]]) -> list[TraceSummary]:
    return [_summary(*row) for row in rows]


def _summary_reader() -> Callable[..., TraceSummary]:
    names = ("seq", "id", *SUMMARY_COLUMNS[1:], "analyzed", "batch")
    booleans = ("executed", "completed", "analyzed")

    def read(*row: Any) -> TraceSummary:
        fields = dict(zip(names, row, strict=True))
        fields["kind"] = TraceKind(fields["kind"])
        for name in booleans:
            fields[name] = bool(fields[name])
        return TraceSummary(**fields)

    return read


_summary = _summary_reader()
