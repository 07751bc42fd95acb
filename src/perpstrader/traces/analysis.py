"""The daily analysis: what a day decided and refused, what came of it, and what changed against the day before.

It is made from the record alone, so that making it again gives the same, with what has come to light since.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from perpstrader.domain.market import INTERVAL_MS
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.hindsight import HORIZONS, Hindsight, Spared
from perpstrader.traces.outcomes import Bin, Outcome
from perpstrader.traces.walk import walk

DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)
_SHOWN: Final = 5
_SEEN_BARS: Final = 400
"""A later decision knows as many bars before its own, as the record keeps by default."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that stands out, with what came of it in USD."""

    id: str
    symbol: str
    strategy: str
    side: str
    outcome_usd: Decimal
    why: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What another day had otherwise; ``before`` is the day before."""

    what: str
    before: str
    now: str


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """One UTC day. ``total`` is ``None`` for a day without decisions; ``settings`` and ``versions`` are those in force.
    """

    day: str
    total: Outcome | None
    by_kind: tuple[Outcome, ...]
    by_symbol: tuple[Outcome, ...]
    by_strategy: tuple[Outcome, ...]
    refusals: tuple[tuple[str, int], ...]
    calibration: tuple[Bin, ...]
    refusals_after: tuple[Spared, ...]
    best: tuple[Told, ...]
    worst: tuple[Told, ...]
    errors: tuple[str, ...]
    settings: tuple[str, ...]
    versions: tuple[str, ...]
    changes: tuple[Change, ...]


def day_of(time_ms: int) -> date:
    """The UTC day of an instant."""
    return _EPOCH + timedelta(days=time_ms // DAY_MS)


def start_ms(day: date) -> int:
    """Its first millisecond."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


async def analyse(store: TraceStore, day: date) -> Analysis:
    """The analysis of a day as the record stands now; reads that day, and later bars for what refusals missed."""
    seen = await _read(store, day)
    before = await _read_marks(store, day - timedelta(days=1))
    since, until = start_ms(day), start_ms(day) + DAY_MS - 1
    refusals = await _refusals(store, day)
    total = await total_of(store, day)
    return Analysis(
        day=day.isoformat(), total=total,
        by_kind=await store.outcomes(("kind",), since_ms=since, until_ms=until),
        by_symbol=await store.outcomes(("symbol",), since_ms=since, until_ms=until),
        by_strategy=await store.outcomes(("strategy",), since_ms=since, until_ms=until),
        refusals=refusals, calibration=await store.calibration(since_ms=since, until_ms=until),
        refusals_after=tuple(row for row in seen.hindsight.result() if row.won + row.lost + row.even + row.unknown),
        best=tuple(row for row in seen.ended[::-1] if row.outcome_usd > 0)[:_SHOWN],
        worst=tuple(row for row in seen.ended if row.outcome_usd < 0)[:_SHOWN],
        errors=tuple(seen.errors), settings=tuple(seen.marks.settings), versions=tuple(seen.marks.versions),
        changes=tuple(
            _changes((await total_of(store, day - timedelta(days=1)), total),
                     (dict(await _refusals(store, day - timedelta(days=1))), dict(refusals)), (before, seen.marks))
        ),
    )  # fmt: skip


class _Marks(msgspec.Struct):
    """Settings digests and program versions, in the order of their appearance."""

    settings: dict[str, None] = msgspec.field(default_factory=dict)
    versions: dict[str, None] = msgspec.field(default_factory=dict)


class _Day:
    def __init__(self) -> None:
        self.hindsight = Hindsight()
        self.ended: list[Told] = []
        self.errors: list[str] = []
        self.marks = _Marks()


async def _read(store: TraceStore, day: date) -> _Day:
    """One pass over the day, and over what follows as far as its refusals wait for bars."""
    seen, until, longest_ms = _Day(), start_ms(day) + DAY_MS, 0
    async for trace in walk(store, start_ms(day), until - 1):
        seen.hindsight.see(trace)
        seen.marks.settings[trace.settings_digest] = None
        seen.marks.versions[trace.version] = None
        longest_ms = max(longest_ms, INTERVAL_MS.get(trace.interval, 0))
        usd = _money(trace.outcome_usd)
        if usd is not None:
            side, why = (trace.signal.side.value, trace.signal.reason) if trace.signal is not None else ("", "")
            told = Told(
                id=trace.id, symbol=trace.symbol, strategy=trace.strategy, side=side, outcome_usd=usd, why=why
            )
            seen.ended.append(told)
        if trace.errors and len(seen.errors) < _SHOWN:
            seen.errors.append(f"{trace.id}: {trace.errors[0]}")
    seen.ended.sort(key=lambda row: (row.outcome_usd, row.id))
    async with aclosing(walk(store, until, until + (max(HORIZONS) + _SEEN_BARS) * longest_ms)) as later:
        async for trace in later:
            if not seen.hindsight.is_waiting:
                break
            seen.hindsight.see(trace, counts=False)
    return seen


async def _read_marks(store: TraceStore, day: date) -> _Marks:
    """What was in force at the end of a day: of its newest decision."""
    page = await store.find(since_ms=start_ms(day), until_ms=start_ms(day) + DAY_MS - 1, limit=1)
    trace = await store.get(page.rows[0].id) if page.rows else None
    marks = _Marks()
    if trace is not None:
        marks.settings[trace.settings_digest] = None
        marks.versions[trace.version] = None
    return marks


async def total_of(store: TraceStore, day: date) -> Outcome | None:
    """The sums of a day; ``None`` where nothing was decided."""
    rows = await store.outcomes(since_ms=start_ms(day), until_ms=start_ms(day))
    return rows[0] if rows else None


async def _refusals(store: TraceStore, day: date) -> tuple[tuple[str, int], ...]:
    """The reasons with their numbers, the most frequent first."""
    rows = await store.outcomes(("reason",), since_ms=start_ms(day), until_ms=start_ms(day))
    named = [(str(row.key["reason"]), row.decisions) for row in rows if row.key["reason"]]
    return tuple(sorted(named, key=lambda row: (-row[1], row[0])))


def _changes(
    totals: tuple[Outcome | None, Outcome | None], refusals: tuple[dict[str, int], dict[str, int]],
    marks: tuple[_Marks, _Marks],
) -> list[Change]:  # fmt: skip
    """What differs, where there was a day before."""
    before, now = totals
    if before is None or now is None:
        return []
    pairs = [
        (name, str(getattr(before, name)), str(getattr(now, name)))
        for name in ("decisions", "executed", "failed", "ended", "wins", "net_usd")
    ]
    reasons = sorted({**refusals[0], **refusals[1]})
    pairs += [(f"refused {r}", str(refusals[0].get(r, 0)), str(refusals[1].get(r, 0))) for r in reasons]
    for name, old, new in (
        ("settings", marks[0].settings, marks[1].settings), ("version", marks[0].versions, marks[1].versions),
    ):  # fmt: skip
        pairs.append((name, _short(list(old)), _short(list(new))))
    return [Change(what=what, before=old, now=new) for what, old, new in pairs if old != new]


def _short(names: Sequence[str]) -> str:
    return ", ".join(name[:12] for name in names)


def _money(text: str | None) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        return None
