"""What came of decisions, how confidence compares with it, and what refusals missed and spared."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.traces.samples import BAR_MS, START_MS, candle, executed, refused, signal, trace

from perpstrader.domain import Candle, Reason, Side, StrategyView, Trace, TraceKind
from perpstrader.traces import TraceError, schema
from perpstrader.traces.baseline import TraceStore as Plain
from perpstrader.traces.hindsight import HORIZONS, Hindsight, Spared
from perpstrader.traces.store import TraceStore
from perpstrader.traces.walk import walk

DAY_MS = 86_400_000
Opener = Callable[..., AbstractAsyncContextManager[Any]]
BOTH = pytest.mark.parametrize("opener", [Plain.open, TraceStore.open], ids=["baseline", "optimized"])


def ended(number: int, usd: str | None, confidence: float = 0.62, **changes: Any) -> Trace:
    made = msgspec.structs.replace(executed(number), signal=signal(number, confidence=confidence), outcome_usd=usd)
    return msgspec.structs.replace(made, **changes)


def with_store(opener: Opener, traces: list[Trace], body: Callable[[Any], Awaitable[None]], path: Any = None) -> None:
    async def main() -> None:
        async with opener(path) as store:
            for item in traces:
                await store.store(item)
            await body(store)

    asyncio.run(main())


@BOTH
def test_outcomes_tell_win_rate_expectancy_and_profit_factor(opener: Opener) -> None:
    async def body(store: Any) -> None:
        [whole] = await store.outcomes()
        assert (whole.decisions, whole.ended, whole.wins, whole.net_usd) == (5, 3, 2, Decimal("6.5"))
        assert (whole.won_usd, whole.lost_usd, whole.profit_factor) == (Decimal("10.5"), Decimal(4), 2.625)
        assert whole.win_rate == pytest.approx(2 / 3)
        assert whole.expectancy_usd == Decimal("2.166667")
        by = await store.outcomes(("strategy", "verdict"))
        assert [(row.key, row.decisions) for row in by] == [
            ({"strategy": "other", "verdict": "approved"}, 1),
            ({"strategy": "trend", "verdict": "approved"}, 3),
            ({"strategy": "trend", "verdict": "refused"}, 1),
        ]
        assert by[2].win_rate is by[2].profit_factor is by[2].expectancy_usd is None
        with pytest.raises(TraceError, match="by one of day"):
            await store.outcomes(("price",))

    traces = [ended(1, "10"), ended(2, "-4"), ended(3, None), trace(4), ended(5, "0.5", strategy="other")]
    with_store(opener, traces, body)


@BOTH
def test_an_outcome_that_comes_later_or_changes_moves_the_sums(opener: Opener) -> None:
    async def body(store: Any) -> None:
        await store.attach_outcome("t000001", Decimal("5"), START_MS)
        assert (await store.outcomes())[0].won_usd == 5
        await store.attach_outcome("t000001", Decimal("-2"), START_MS)
        [row] = await store.outcomes()
        assert (row.won_usd, row.lost_usd, row.net_usd, row.wins) == (0, 2, -2, 0)

    with_store(opener, [ended(1, None)], body)


@BOTH
def test_outcomes_of_some_days_leave_out_the_others(opener: Opener) -> None:
    async def body(store: Any) -> None:
        assert [row.key["day"] for row in await store.outcomes(("day",))] == [20_220, 20_222]
        assert (await store.outcomes(since_ms=START_MS + DAY_MS))[0].net_usd == 7
        assert (await store.outcomes(until_ms=START_MS))[0].net_usd == 1
        assert await store.outcomes(since_ms=START_MS + 5 * DAY_MS) == ()

    with_store(opener, [ended(1, "1"), ended(2, "7", accepted_ms=START_MS + 2 * DAY_MS)], body)


_SUMS_OF_DAYS = (
    f"SELECT {', '.join(['symbol, strategy, regime, kind, verdict, reason', *(f'sum({one})' for one in schema.SUMS)])}"
    " FROM daily GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6"
)

_SUMS_OF_ALL = (
    f"SELECT symbol, strategy, regime, kind, verdict, reason, {', '.join(schema.SUMS)} FROM overall"
    " ORDER BY 1, 2, 3, 4, 5, 6"
)


@BOTH
@given(data=st.data())
def test_the_sums_of_all_days_are_always_those_of_the_days(opener: Opener, data: st.DataObject) -> None:
    days, usd = st.integers(0, 3), st.sampled_from(["7.25", "-3", "0", None])
    some = st.tuples(days, usd, st.sampled_from(["trend", "other"]), st.booleans())
    listed = data.draw(st.lists(some, min_size=1, max_size=12))
    later = data.draw(st.lists(st.tuples(st.integers(1, len(listed)), st.sampled_from(["1", "-8.5"])), max_size=6))
    kept = data.draw(st.integers(1, 4))
    traces = [
        ended(number, made if is_executed else None, strategy=strategy, accepted_ms=START_MS + day * DAY_MS)
        for number, (day, made, strategy, is_executed) in enumerate(listed, start=1)
    ]

    async def body(store: Any) -> None:
        for number, made in later:
            await store.attach_outcome(f"t{number:06d}", Decimal(made), START_MS)
        await store.prune(before_ms=START_MS + (max(day for day, *_ in listed) - kept) * DAY_MS)
        days = await store._read(lambda connection: connection.execute(_SUMS_OF_DAYS).fetchall())
        assert days == await store._read(lambda connection: connection.execute(_SUMS_OF_ALL).fetchall())
        assert await store.outcomes(("strategy",)) == await store.outcomes(("strategy",), since_ms=0)

    with_store(opener, traces, body)


def test_a_file_from_before_learns_what_was_won(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    old = apsw.Connection(str(path))
    for statements in schema.MIGRATIONS[:3]:
        for statement in statements:
            old.execute(statement)
    old.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = 3")
    columns = ", ".join(schema.SUMMARY_COLUMNS)
    for number, usd in enumerate(("3", "-1", None), 1):
        values = schema.summary_values(ended(number, usd))
        marks = ", ".join("?" * len(values))
        old.execute(f"INSERT INTO trace (first_entry, entry, {columns}) VALUES (0, 0, {marks})", values)
    old.close()

    async def body(store: Any) -> None:
        [row] = await store.outcomes()
        assert (row.won_usd, row.lost_usd) == (3, 1)
        await store.store(ended(4, "2"))
        assert (await store.outcomes())[0].won_usd == 5

    with_store(TraceStore.open, [], body, path)


@BOTH
def test_calibration_compares_confidence_with_how_often_it_won(opener: Opener) -> None:
    async def body(store: Any) -> None:
        bins = await store.calibration()
        found = [(b.low, b.ended, b.wins, b.win_rate) for b in bins]
        assert found == [(0.3, 1, 0, 0.0), (0.6, 3, 2, 2 / 3), (0.9, 1, 1, 1.0)]
        assert (bins[1].mean_confidence, bins[1].net_usd) == (0.65, Decimal("1.25"))
        assert await store.calibration(since_ms=START_MS + DAY_MS) == ()

    worth = [("-1", 0.3), ("2", 0.600001), ("0.25", 0.65), ("-1", 0.699999), ("1", 1.0), (None, 0.1)]
    traces = [ended(number, usd, confidence) for number, (usd, confidence) in enumerate(worth, 1)]
    with_store(opener, traces, body)


@BOTH
def test_the_walk_tells_each_once_oldest_first_also_where_a_page_is_one_millisecond(opener: Opener) -> None:
    traces = [trace(number, accepted_ms=START_MS + number // 7) for number in range(1, 40)]

    async def body(store: Any) -> None:
        assert [t.id async for t in walk(store, page=3)] == [t.id for t in traces]
        some = [t.id async for t in walk(store, START_MS + 1, START_MS + 1)]
        assert some == [t.id for t in traces if t.accepted_ms == START_MS + 1]

    with_store(opener, traces, body)


def bar(number: int, close: str, **changes: Any) -> Trace:
    made = msgspec.structs.replace(candle(START_MS + number * BAR_MS), close=Decimal(close))
    return trace(number + 1, candle=made, **({"verdict": None, "kind": TraceKind.EXIT} | changes))


def view(history: list[Candle]) -> StrategyView:
    shown = trace().market
    assert shown is not None
    return StrategyView(time_ms=START_MS, market=shown, history=tuple(history))


def test_a_refusal_is_seen_after_1_5_and_20_bars_where_the_record_has_those_bars() -> None:
    hindsight = Hindsight()
    for item in (bar(0, "100", kind=TraceKind.DECISION, verdict=refused()), bar(1, "101"), bar(20, "90")):
        hindsight.see(item)
    result = hindsight.result()
    whole = {row.bars: row for row in result if not row.reason}
    assert (whole[1].won, whole[5].unknown, whole[20].lost) == (1, 1, 1)
    assert (whole[1].mean_fraction, whole[5].mean_fraction, whole[20].mean_fraction) == (0.01, None, -0.1)
    assert Spared(reason="SPREAD_TOO_WIDE", bars=1, won=1, lost=0, even=0, unknown=0, mean_fraction=0.01) in result


def test_a_fall_is_a_win_of_a_refused_short_and_another_interval_tells_nothing() -> None:
    hindsight = Hindsight()
    short = msgspec.structs.replace(refused(reason=Reason.HALTED), signal=signal(side=Side.SHORT))
    hindsight.see(bar(0, "100", kind=TraceKind.DECISION, verdict=short))
    other = bar(1, "150")
    assert other.candle is not None
    hindsight.see(msgspec.structs.replace(other, candle=msgspec.structs.replace(other.candle, interval="1m")))
    hindsight.see(bar(1, "99"))
    first = hindsight.result()[0]
    assert (first.won, first.lost, first.mean_fraction) == (1, 0, 0.01)


def test_what_a_later_decision_had_seen_tells_of_bars_that_nobody_answered() -> None:
    told = refused()
    quiet = [bar(number, "101").candle for number in range(1, 30)]
    seen = view([c for c in quiet if c is not None])
    hindsight = Hindsight()
    hindsight.see(bar(0, "100", kind=TraceKind.DECISION, verdict=told))
    hindsight.see(bar(2, "99"))  # answers its own bar alone, and does not hide what lies before it
    assert hindsight.is_waiting
    hindsight.see(bar(30, "99", view=seen))
    assert not hindsight.is_waiting
    assert [(row.bars, row.won, row.unknown) for row in hindsight.result()[:3]] == [(bars, 1, 0) for bars in HORIZONS]


def test_of_another_market_s_bars_in_a_history_nothing_is_learnt() -> None:
    strange = [msgspec.structs.replace(c, symbol="DOGE") for n in range(1, 30) if (c := bar(n, "101").candle)]
    hindsight = Hindsight()
    hindsight.see(bar(0, "100", kind=TraceKind.DECISION, verdict=refused()))
    hindsight.see(bar(30, "99", view=view(strange)))
    assert [row.unknown for row in hindsight.result()[:3]] == [1, 1, 1]


def test_a_refusal_without_a_bar_is_not_known_and_never_made_up() -> None:
    hindsight = Hindsight()
    hindsight.see(trace(1, candle=None))
    assert [(row.bars, row.unknown, row.won + row.lost + row.even) for row in hindsight.result()[:3]] == [
        (bars, 1, 0) for bars in HORIZONS
    ]
