"""What every trace store keeps, whatever its implementation."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.traces.samples import BAR_MS, START_MS, executed, refused, signal, trace

from perpstrader.domain import Reason, Step, Trace, TraceKind
from perpstrader.runtime import InlineExecutor, ThreadedExecutor
from perpstrader.traces import CycleNote, NoteCode, TraceError, TraceRejectedError, UnknownTraceError
from perpstrader.traces.baseline import TraceStore as BaselineStore
from perpstrader.traces.contract import MAX_LIMIT, TraceStore
from perpstrader.traces.records import MIN_RETENTION_MS
from perpstrader.traces.store import TraceStore as BatchingStore

Opener = Callable[..., AbstractAsyncContextManager[TraceStore]]
Body = Callable[[TraceStore], Awaitable[None]]

IMPLEMENTATIONS: dict[str, Opener] = {"baseline": BaselineStore.open, "optimized": BatchingStore.open}


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def opener(request: pytest.FixtureRequest) -> Opener:
    return IMPLEMENTATIONS[request.param]


def with_store(opener: Opener, body: Body, path: Path | None = None, **options: Any) -> None:
    async def main() -> None:
        async with opener(path, **options) as store:
            await body(store)

    asyncio.run(main())


def test_S60_what_was_acknowledged_is_read_back_equal_also_after_reopening(opener: Opener, tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    traces = [trace(1), executed(2), trace(3, errors=("the book was crossed",), completed=False)]

    async def write(store: TraceStore) -> None:
        for item in traces:
            await store.store(item)
            assert await store.get(item.id) == item

    async def read(store: TraceStore) -> None:
        assert await store.between(0, 2**60) == traces
        assert await store.recent(2) == traces[:0:-1]
        assert await store.get("nobody") is None
        assert (await store.verify()).ok

    with_store(opener, write, path)
    with_store(opener, read, path)


def test_a_store_works_on_a_worker_thread_as_in_place(opener: Opener, tmp_path: Path) -> None:
    async def body(store: TraceStore) -> None:
        await asyncio.gather(*(store.store(trace(number)) for number in range(1, 30)))
        assert len(await store.summaries(100)) == 29
        assert (await store.verify()).checked == 29

    executor = ThreadedExecutor("traces")
    with_store(opener, body, tmp_path / "threaded.db", executor=executor)
    executor.close()
    with_store(opener, body, tmp_path / "inline.db", executor=InlineExecutor())


def test_TS21_storing_the_same_trace_again_is_done_once_and_acknowledged(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        for _ in range(3):
            await store.store(trace(1))
        await store.update(executed_later := msgspec.structs.replace(trace(1), steps=(Step(time_ms=1, text="later"),)))
        await store.store(trace(1))
        assert await store.get("t000001") == executed_later
        assert (await store.stats()).total == 1
        counters = store.counters
        assert (counters.stored, counters.duplicates, counters.updates) == (5, 3, 1)

    with_store(opener, body)


def test_S61_another_content_under_a_known_id_costs_one_dead_letter(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        await store.store(trace(1))
        with pytest.raises(TraceRejectedError, match="already recorded with other content"):
            await store.store(trace(1, regime="range"))
        assert await store.get("t000001") == trace(1)
        (letter,) = await store.dead_letters()
        assert letter.id == "t000001"
        assert "other content" in letter.reason
        assert b'"regime":"range"' in letter.data

    with_store(opener, body)


POISON: dict[str, Any] = {
    "no symbol": {"symbol": None},
    "no id": {"id": ""},
    "an id that is no text": {"id": 7},
    "a huge integer": {"sequence": 2**70},
    "an object": {"orders": (object(),)},
    "a list where a number belongs": {"accepted_ms": [1]},
    "a verdict of nobody": {"verdict": {"type": "maybe"}},
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
def test_S61_one_bad_trace_among_many_costs_one_dead_letter(opener: Opener, poison: dict[str, Any]) -> None:
    async def body(store: TraceStore) -> None:
        outcomes = await asyncio.gather(
            *(store.store(trace(number, **(poison if number == 5 else {}))) for number in range(1, 10)),
            return_exceptions=True,
        )
        assert [isinstance(outcome, TraceRejectedError) for outcome in outcomes].count(True) == 1
        assert isinstance(outcomes[4], TraceRejectedError)
        stats = await store.stats()
        assert (stats.total, stats.dead_letters) == (8, 1)
        counters = store.counters
        assert (counters.accepted, counters.stored, counters.dead) == (9, 8, 1)
        assert (await store.verify()).ok

    with_store(opener, body)


def test_what_is_no_trace_at_all_is_buried_too(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        for thing in ({"id": "x"}, None, trace(1, indicators=deep)):
            with pytest.raises(TraceRejectedError):
                await store.store(thing)  # type: ignore[arg-type]  # the point of the test
        assert (await store.stats()).dead_letters == 3

    with_store(opener, body)


def test_S63_non_finite_numbers_survive(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        odd = {"nan": math.nan, "up": math.inf, "down": -math.inf, "fine": 0.1}
        await store.store(trace(1, indicators=odd, signal=signal(confidence=math.nan)))
        back = await store.get("t000001")
        assert back is not None
        assert back.signal is not None
        assert math.isnan(back.indicators["nan"])
        assert math.isnan(back.signal.confidence)
        assert {**back.indicators, "nan": 0} == {"nan": 0, "up": math.inf, "down": -math.inf, "fine": 0.1}
        with suppress(TypeError):  # a store may hand out what cannot be changed at all
            back.indicators.clear()
        again = await store.get("t000001")
        assert again is not None
        assert "nan" in again.indicators, "a later read never sees what an earlier reader did to its copy"
        assert (await store.verify()).ok
        assert (await store.summaries())[0].confidence is None

    with_store(opener, body)


def test_S63_text_that_is_no_unicode_is_kept_readable(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        await store.store(trace(1, regime="broken \ud800 text", steps=(Step(time_ms=1, text='quotes " and \x00'),)))
        back = await store.get("t000001")
        assert back is not None
        assert back.regime == "broken \\ud800 text"
        assert back.steps[0].text == 'quotes " and \x00'

    with_store(opener, body)


def test_an_update_adds_the_later_life_of_a_decision(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        whole = executed(1)
        first = msgspec.structs.replace(whole, orders=(), fills=(), steps=(), led_to_order=False, episode="")
        await store.store(first)
        await store.store(trace(2))
        await store.update(whole)
        await store.update(whole)
        assert await store.get(whole.id) == whole
        page = await store.find(executed=True)
        assert [row.id for row in page.rows] == [whole.id]
        assert page.rows[0].episode == "BTC-1"
        finding = await store.verify()
        assert (finding.ok, finding.checked) == (True, 3)

    with_store(opener, body)


@pytest.mark.parametrize(
    "change",
    [
        {"regime": "range"},
        {"verdict": None},
        {"indicators": {}},
        {"accepted_ms": 1},
        {"signal": signal(confidence=0.9)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_S63_an_update_cannot_change_what_was_decided_on(opener: Opener, change: dict[str, Any]) -> None:
    async def body(store: TraceStore) -> None:
        await store.store(trace(1))
        with pytest.raises(TraceRejectedError, match="would change what was decided"):
            await store.update(trace(1, **change))
        assert await store.get("t000001") == trace(1)
        assert store.counters.dead == 1

    with_store(opener, body)


def test_an_update_of_a_decision_whose_record_was_lost_stores_it(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        await store.update(executed(1))
        assert await store.get("t000001") == executed(1)

    with_store(opener, body)


def test_a_trace_with_nan_can_be_updated(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        odd = trace(1, indicators={"x": math.nan})
        await store.store(odd)
        await store.update(msgspec.structs.replace(odd, outcome_usd="1.5", outcome_ms=3))
        assert (await store.summaries())[0].outcome_usd == "1.5"

    with_store(opener, body)


def test_TS10_between_is_inclusive_at_both_ends_and_in_order_of_acceptance(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        times = [300, 100, 200, 200, 400]
        for number, at in enumerate(times, 1):
            await store.store(trace(number, accepted_ms=at, symbol="ETH" if at == 300 else "BTC"))
        assert [item.accepted_ms for item in await store.between(100, 300)] == [100, 200, 200, 300]
        assert [item.id for item in await store.between(200, 200)] == ["t000003", "t000004"]
        assert [item.id for item in await store.between(100, 400, "ETH")] == ["t000001"]
        assert await store.between(301, 399) == []
        assert [item.id for item in await store.recent(3)] == ["t000005", "t000001", "t000004"]

    with_store(opener, body)


def test_TS19_limits_are_clamped(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        for number in range(1, 4):
            await store.store(trace(number))
        for limit, expected in ((-1, 1), (0, 1), (2, 2), (MAX_LIMIT * 9, 3)):
            assert len(await store.recent(limit)) == expected
            assert len(await store.summaries(limit)) == expected
            assert len(await store.unanalyzed(limit)) == expected
            assert len((await store.find(limit=limit)).rows) == expected
            assert len(await store.between(0, 2**60, limit=limit)) == expected

    with_store(opener, body)


def test_TS17_a_summary_says_what_its_trace_says(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        await store.store(executed(1))
        await store.store(trace(2, errors=("late", "later"), symbol="ETH"))
        second, first = await store.summaries()
        assert (first.strategy, first.verdict, first.reason, first.executed) == ("trend", "approved", "", True)
        assert (first.risk_score, first.confidence, first.action, first.side) == (0.31, 0.62, "open", "long")
        assert first.bar_close_ms == START_MS + BAR_MS - 1
        assert (second.verdict, second.reason, second.error) == ("refused", "SPREAD_TOO_WIDE", "late")
        assert (second.seq, second.symbol, second.analyzed) == (2, "ETH", False)
        assert await store.summaries(symbol="ETH") == [second]
        assert await store.summaries(strategy="nobody") == []
        assert await store.summaries(kind=TraceKind.EXIT) == []

    with_store(opener, body)


FILTERS: list[tuple[dict[str, Any], Callable[[Trace], bool]]] = [
    ({"symbol": "ETH"}, lambda t: t.symbol == "ETH"),
    ({"strategy": "carry"}, lambda t: t.strategy == "carry"),
    ({"kind": TraceKind.EXIT}, lambda t: t.kind is TraceKind.EXIT),
    ({"regime": "range"}, lambda t: t.regime == "range"),
    ({"verdict": "approved"}, lambda t: t.id.endswith("approved")),
    ({"verdict": "refused"}, lambda t: t.id.endswith("refused")),
    ({"reason": Reason.DAILY_LOSS}, lambda t: t.verdict == refused(reason=Reason.DAILY_LOSS)),
    ({"executed": True}, lambda t: t.led_to_order),
    ({"executed": False}, lambda t: not t.led_to_order),
    ({"error": True}, lambda t: bool(t.errors)),
    ({"error": False}, lambda t: not t.errors),
    ({"since_ms": 30}, lambda t: t.accepted_ms >= 30),
    ({"until_ms": 30}, lambda t: t.accepted_ms <= 30),
]


def _varied(number: int, choice: tuple[int, int, int, int]) -> Trace:
    market, verdict, rest, at = choice
    changes: dict[str, Any] = {
        "symbol": ("BTC", "ETH")[market],
        "accepted_ms": at,
        "strategy": ("trend", "carry")[rest % 2],
        "kind": (TraceKind.DECISION, TraceKind.EXIT)[rest // 2 % 2],
        "regime": ("range", "trend")[rest // 4 % 2],
        "errors": ((), ("broken",))[rest // 8 % 2],
        "led_to_order": rest // 16 % 2 == 1,
    }
    if verdict == 0:
        return trace(number, id=f"{number}-none", verdict=None, **changes)
    if verdict == 1:
        return trace(number, id=f"{number}-approved", **{**changes, "verdict": executed(number).verdict})
    reason = (Reason.DAILY_LOSS, Reason.SPREAD_TOO_WIDE)[verdict % 2]
    return trace(number, id=f"{number}-refused", **{**changes, "verdict": refused(reason=reason)})


choices = st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 31), st.integers(0, 60))


@given(made=st.lists(choices, min_size=1, max_size=25), picked=st.sets(st.integers(0, len(FILTERS) - 1), max_size=3))
def test_find_gives_exactly_what_matches_page_by_page(made: list[tuple[int, int, int, int]], picked: set[int]) -> None:
    for name, opener in IMPLEMENTATIONS.items():
        traces = [_varied(number, choice) for number, choice in enumerate(made, 1)]
        chosen = [FILTERS[index] for index in sorted(picked)]
        filters = {key: value for keys, _ in chosen for key, value in keys.items()}
        kept = [FILTERS[i] for i in range(len(FILTERS)) if FILTERS[i][0].items() <= filters.items()]
        order = sorted(enumerate(traces), key=lambda pair: (pair[1].accepted_ms, pair[0]), reverse=True)
        expected = [item.id for _, item in order if all(matches(item) for _, matches in kept)]

        async def body(
            store: TraceStore,
            traces: list[Trace] = traces,
            filters: dict[str, Any] = filters,
            expected: list[str] = expected,
            name: str = name,
        ) -> None:
            for item in traces:
                await store.store(item)
            found: list[str] = []
            cursor: str | None = None
            while True:
                page = await store.find(**filters, limit=4, cursor=cursor)
                found.extend(row.id for row in page.rows)
                cursor = page.cursor
                if cursor is None:
                    break
            assert found == expected, name

        with_store(opener, body)


def test_TS16_a_search_that_cannot_be_is_an_error_and_not_an_empty_page(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        with pytest.raises(TraceError, match="no cursor"):
            await store.find(cursor="yesterday")
        with pytest.raises(TraceError, match="approved"):
            await store.find(verdict="maybe")
        assert (await store.find()).rows == ()

    with_store(opener, body)


def test_TS07_marking_counts_what_changed_and_names_what_is_unknown(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        for number in range(1, 6):
            await store.store(trace(number))
        assert [item.sequence for item in await store.unanalyzed(2)] == [1, 2]
        changed, unknown = await store.mark_analyzed(["t000001", "t000002", "ghost", "t000001"], "batch-1")
        assert (changed, unknown) == (2, ("ghost",))
        assert await store.mark_analyzed(["t000001"], "batch-2") == (0, ())
        assert [item.sequence for item in await store.unanalyzed()] == [3, 4, 5]
        assert [row.batch for row in await store.summaries()] == ["", "", "", "batch-1", "batch-1"]
        assert (await store.stats()).unanalyzed == 3

    with_store(opener, body)


def test_two_analysers_never_get_the_same_traces(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        for number in range(1, 8):
            await store.store(trace(number))
        lease = {"now_ms": 1_000, "lease_ms": 500}
        assert [item.sequence for item in await store.claim(3, by="a", **lease)] == [1, 2, 3]
        assert [item.sequence for item in await store.claim(3, by="b", **lease)] == [4, 5, 6]
        assert [item.sequence for item in await store.claim(9, by="a", **lease)] == [1, 2, 3, 7]
        await store.mark_analyzed(["t000001"], "one")
        assert [item.sequence for item in await store.claim(9, by="c", now_ms=1_499, lease_ms=500)] == []
        assert [item.sequence for item in await store.claim(2, by="c", now_ms=1_500, lease_ms=500)] == [2, 3]

    with_store(opener, body)


def test_a_text_is_found_wherever_a_trace_says_it(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        for number in range(1, 7):
            said = (f"the Moon is {'full' if number % 2 else 'new'}",)
            await store.store(trace(number, errors=said))
        page = await store.find(text="moon is FULL", limit=2)
        assert [row.sequence for row in page.rows] == [5, 3]
        page = await store.find(text="moon is FULL", limit=2, cursor=page.cursor)
        assert [row.sequence for row in page.rows] == [1]
        assert (await store.find(text="no such words")).rows == ()
        assert [row.sequence for row in (await store.find(text="moon", since_ms=trace(6).accepted_ms)).rows] == [6]

    with_store(opener, body)


def test_what_came_after_is_told_in_the_order_of_storing(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        for number in (3, 1, 2):
            await store.store(trace(number))
        first = await store.after(0, 2)
        assert [row.sequence for row in first] == [3, 1]
        assert [row.sequence for row in await store.after(first[-1].seq)] == [2]

    with_store(opener, body)


def test_an_outcome_is_attached_and_survives_analysis(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        await store.store(executed(1))
        await store.mark_analyzed(["t000001"], "b")
        await store.attach_outcome("t000001", Decimal("-1E+1"), START_MS)
        row = (await store.summaries())[0]
        assert (row.outcome_usd, row.outcome_ms, row.analyzed) == ("-10", START_MS, True)
        back = await store.get("t000001")
        assert back == msgspec.structs.replace(executed(1), outcome_usd="-10", outcome_ms=START_MS)
        with pytest.raises(UnknownTraceError, match="ghost"):
            await store.attach_outcome("ghost", Decimal(1), 1)
        assert (await store.verify()).ok

    with_store(opener, body)


def test_TS18_stats_of_an_empty_store_are_zeroes(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        stats = await store.stats()
        assert (stats.total, stats.unanalyzed, stats.executed, stats.with_error, stats.dead_letters) == (0, 0, 0, 0, 0)
        assert stats.by_symbol == {}

    with_store(opener, body)


def test_stats_count_by_verdict_reason_symbol_and_strategy(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        await store.store(executed(1))
        await store.store(trace(2, symbol="ETH"))
        await store.store(trace(3, verdict=refused(reason=Reason.DAILY_LOSS), errors=("x",)))
        await store.store(trace(4, verdict=None, signal=None, kind=TraceKind.HALT, strategy=""))
        stats = await store.stats()
        assert (stats.total, stats.executed, stats.with_error) == (4, 1, 1)
        assert stats.by_verdict == {"approved": 1, "refused": 2}
        assert stats.by_reason == {"SPREAD_TOO_WIDE": 1, "DAILY_LOSS": 1}
        assert stats.by_symbol == {"BTC": 3, "ETH": 1}
        assert stats.by_strategy == {"trend": 3}
        assert stats.by_kind == {"decision": 3, "halt": 1}

    with_store(opener, body)


def note(number: int, strategy: str = "trend", symbol: str = "BTC") -> CycleNote:
    return CycleNote(symbol, "5m", START_MS + number * BAR_MS - 1, NoteCode.NO_SIGNAL, f"bar {number}", strategy)


def test_near_finds_the_decision_of_the_bar_that_closed_then(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        for number in (1, 3):
            await store.store(trace(number))
        await store.store_notes([note(2), note(2, "carry"), note(4), note(2, symbol="ETH")])
        at_close = await store.near(START_MS + BAR_MS, "BTC")
        assert at_close.exact
        assert [item.id for item in at_close.decisions] == ["t000001"]
        assert at_close.before is None
        assert at_close.after is not None
        assert at_close.after.id == "t000003"
        silent = await store.near(START_MS + 2 * BAR_MS, "BTC")
        assert (silent.exact, silent.decisions, silent.notes) == (True, (), (note(2, "carry"), note(2)))
        between = await store.near(START_MS + 2 * BAR_MS + 90_000, "BTC")
        assert (between.exact, between.notes) == (False, (note(2, "carry"), note(2)))
        in_force = await store.near(START_MS + 3 * BAR_MS + 90_000, "BTC")
        assert [item.id for item in in_force.decisions] == ["t000003"]
        nothing = await store.near(START_MS, "SOL")
        assert (nothing.exact, nothing.first_ms, nothing.last_ms) == (False, None, None)

    with_store(opener, body)


def test_near_finds_a_decision_that_was_taken_late(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        await store.store(trace(1, accepted_ms=START_MS + BAR_MS + 100_000))
        assert [item.id for item in (await store.near(START_MS + BAR_MS, "BTC")).decisions] == ["t000001"]

    with_store(opener, body)


def test_S64_notes_are_replaced_and_bounded(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        await store.store_notes([note(1), note(1)])
        assert (await store.stats()).notes == 1
        await store.store_notes([note(number) for number in range(1, 201)])
        assert (await store.stats()).notes <= 100
        assert (await store.near(START_MS + 200 * BAR_MS, "BTC")).notes == (note(200),)
        await store.store_notes([])

    with_store(opener, body, max_notes=100)


def test_TS12_pruning_removes_what_is_old_whether_analysed_or_not_and_keeps_the_chain(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        days = [day * MIN_RETENTION_MS for day in range(1, 11)]
        for number, at in enumerate([at for at in days for _ in range(60)], 1):
            await store.store(trace(number, accepted_ms=at + number))
        await store.update(trace(2, accepted_ms=days[0] + 2, steps=(Step(time_ms=1, text="late"),)))
        assert await store.prune(before_ms=days[5]) == 299
        assert (await store.stats()).total == 301
        assert await store.get("t000001") is None
        revised = await store.get("t000002")
        assert revised is not None, "it was revised after younger ones were stored"
        assert revised.steps
        assert (await store.verify()).ok
        await store.store(trace(700))
        assert (await store.verify()).ok
        assert await store.prune(before_ms=days[5]) == 0

    with_store(opener, body)


def test_TS19_retention_below_a_day_is_refused(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        assert await store.prune(before_ms=0) == 0
        await store.store(trace(1))
        for before_ms in (2**60, trace(1).accepted_ms, trace(1).accepted_ms - MIN_RETENTION_MS + 1):
            with pytest.raises(TraceError, match="less than a day"):
                await store.prune(before_ms=before_ms)
        assert (await store.stats()).total == 1

    with_store(opener, body)


def test_TS16_a_closed_store_says_so(opener: Opener) -> None:
    async def main() -> None:
        async with opener(None) as store:
            await store.close()
            await store.close()
            for call in (store.recent(), store.store(trace(1)), store.stats()):
                with pytest.raises(TraceError, match="closed"):
                    await call

    asyncio.run(main())


def test_secrets_are_not_in_the_file(opener: Opener, tmp_path: Path) -> None:
    key = "0x" + "4c0883a69102937d" * 4

    async def body(store: TraceStore) -> None:
        await store.store(trace(1, errors=(f"cannot sign with {key}",), regime=f"token={key}"))
        with pytest.raises(TraceRejectedError):
            await store.store(trace(2, symbol=None, errors=(key,)))
        row = (await store.summaries())[0]
        assert row.error == "cannot sign with [redacted]"

    with_store(opener, body, tmp_path / "traces.db")
    for file in tmp_path.iterdir():
        assert key.encode()[2:] not in file.read_bytes()


def test_S60_the_counters_add_up_after_every_call(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        for number in range(1, 30):
            bad = number % 7 == 0
            try:
                await store.store(trace(number, **({"symbol": None} if bad else {})))
            except TraceRejectedError:
                assert bad
            c = store.counters
            assert c.accepted == c.stored + c.pending + c.dead + c.dropped == number
        assert (store.counters.dead, store.counters.pending) == (4, 0)

    with_store(opener, body)
