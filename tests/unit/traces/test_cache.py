"""What is kept decoded: bounded, unchangeable, and right whoever else writes the file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.traces.samples import START_MS, executed, trace

from perpstrader.domain import Step
from perpstrader.runtime import InlineExecutor
from perpstrader.runtime.loop import VirtualClock, run_virtual
from perpstrader.traces.baseline import TraceStore as Plain
from perpstrader.traces.cache import Ring, TraceCache
from perpstrader.traces.queries import summary_of
from perpstrader.traces.store import FOREIGN_MS, CacheLimits, TraceStore

T = TypeVar("T")
Body = Callable[[TraceStore, VirtualClock], Awaitable[None]]


def play(body: Body, path: Path | None = None, cache: CacheLimits | None = None) -> None:
    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(path, clock=clock, cache=cache) as store:
            await body(store, clock)

    run_virtual(main)


def test_TS09_what_a_reader_got_it_cannot_change_for_others() -> None:
    async def body(store: TraceStore, clock: VirtualClock) -> None:
        await store.store(trace(1, indicators={"ema": 1.0}))
        got = await store.get("t000001")
        assert got is not None
        for change in (got.indicators.clear, lambda: got.indicators.update(ema=2.0), got.ages_ms.clear):
            with pytest.raises(TypeError):
                change()
        assert await store.get("t000001") == trace(1, indicators={"ema": 1.0})
        assert msgspec.json.decode(msgspec.json.encode(got), type=type(got)) == got

    play(body)


def test_a_second_lookup_is_a_hit_and_no_read() -> None:
    async def body(store: TraceStore, clock: VirtualClock) -> None:
        await store.store(trace(1))
        await store.get("t000001")
        hits = store.cache_counters.hits
        await store.get("t000001")
        assert store.cache_counters.hits == hits + 1
        assert await store.get("nobody") is None
        assert store.cache_counters.misses == 1

    play(body)


def test_the_newest_are_read_once_and_then_kept(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"

    async def write(store: TraceStore, clock: VirtualClock) -> None:
        for number in range(1, 8):
            await store.store(trace(number))

    async def read(store: TraceStore, clock: VirtualClock) -> None:
        first = await store.recent(5)
        hits = store.cache_counters.hits
        assert await store.recent(5) == first == [trace(n) for n in (7, 6, 5, 4, 3)]
        assert store.cache_counters.hits == hits + 5

    play(write, path)
    play(read, path)


class Interrupted(InlineExecutor):
    """Something else happens between a read and its answer."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def run(self, fn: Callable[[], T], *, timeout_s: float | None = None) -> T:
        answer = fn()
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return answer


@pytest.mark.parametrize("asks", ["recent", "summaries"])
def test_a_trace_stored_while_the_newest_are_read_is_among_the_newest_afterwards(tmp_path: Path, asks: str) -> None:
    async def main(clock: VirtualClock) -> None:
        reader = Interrupted()
        async with TraceStore.open(tmp_path / "traces.db", clock=clock, reader=reader) as store:
            for number in (1, 2, 3):
                await store.store(trace(number))
            reader.meanwhile = lambda: asyncio.ensure_future(stored(store, 4))
            ask = store.recent if asks == "recent" else store.summaries
            assert [row.id for row in await ask(3)] == ["t000003", "t000002", "t000001"]
            assert [row.id for row in await ask(3)] == ["t000004", "t000003", "t000002"]
            assert [row.id for row in await store.summaries(9)] == [f"t00000{number}" for number in (4, 3, 2, 1)]

    async def stored(store: TraceStore, number: int) -> None:
        await store.store(trace(number))

    run_virtual(main)


def test_marking_while_the_newest_are_read_shows_afterwards(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        reader = Interrupted()
        async with TraceStore.open(tmp_path / "traces.db", clock=clock, reader=reader) as store:
            await store.store(trace(1))
            reader.meanwhile = lambda: store.mark_analyzed(["t000001"], "b1")
            await store.summaries(5)
            assert [row.analyzed for row in await store.summaries(5)] == [True]

    run_virtual(main)


def test_what_was_read_before_it_was_told_is_there_once() -> None:
    ring = Ring(5)
    ring.load([summary_of(2, trace(2)), summary_of(1, trace(1))], is_whole=True)
    ring.add(summary_of(2, trace(2)))
    ring.add(summary_of(3, trace(3)))
    newest = ring.newest(9)
    assert newest is not None
    assert [row.seq for row in newest] == [3, 2, 1]


def test_asking_for_more_of_the_newest_than_are_known_reads_again(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"

    async def write(store: TraceStore, clock: VirtualClock) -> None:
        for number in range(1, 8):
            await store.store(trace(number))

    async def read(store: TraceStore, clock: VirtualClock) -> None:
        assert len(await store.recent(2)) == 2
        assert [one.id for one in await store.recent(5)] == [f"t00000{number}" for number in (7, 6, 5, 4, 3)]
        hits = store.cache_counters.hits
        assert len(await store.recent(5)) == 5
        assert store.cache_counters.hits == hits + 5
        assert len(await store.recent(9_999)) == len(await store.summaries(9_999)) == 7

    play(write, path)
    play(read, path)


def test_S64_the_cache_is_bounded_by_count_and_by_bytes() -> None:
    cache = TraceCache(3, 10_000)
    for number in range(1, 6):
        cache.put(trace(number), 100)
    assert cache.counters.entries == 3
    assert cache.counters.evictions == 2
    cache.put(trace(9), 1_000_000)
    assert cache.get("t000009") is None
    cache.put(trace(7), 2_400)
    assert cache.counters.bytes <= 10_000
    assert cache.get("t000007") is not None
    off = TraceCache(0, 10_000)
    off.put(trace(1), 10)
    assert off.get("t000001") is None


def test_TS08_what_another_process_wrote_shows_within_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"

    async def body(store: TraceStore, clock: VirtualClock) -> None:
        await store.store(trace(1))
        await store.get("t000001")
        assert len(await store.summaries()) == 1
        async with Plain.open(path) as other:
            await other.attach_outcome("t000001", Decimal("1.5"), START_MS)
            await other.store(trace(2))
            await other.mark_analyzed(["t000002"], "b")
        await clock.sleep(FOREIGN_MS / 1000)
        found = await store.get("t000001")
        assert found is not None
        assert found.outcome_usd == "1.5"
        assert [(row.id, row.analyzed) for row in await store.summaries()] == [("t000002", True), ("t000001", False)]
        assert [one.id for one in await store.recent(2)] == ["t000002", "t000001"]

    play(body, path)


def test_TS08_what_another_process_wrote_before_the_first_look_shows_too(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"

    async def body(store: TraceStore, clock: VirtualClock) -> None:
        await store.store(trace(1))
        async with Plain.open(path) as other:
            await other.attach_outcome("t000001", Decimal("1.5"), START_MS)
        found = await store.get("t000001")
        assert found is not None
        assert found.outcome_usd == "1.5"

    play(body, path)


def test_S63_an_outcome_is_attached_to_what_is_there_and_not_to_what_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"

    async def body(store: TraceStore, clock: VirtualClock) -> None:
        await store.store(trace(1))
        await store.get("t000001")
        async with Plain.open(path) as other:
            await other.update(trace(1, errors=("told by another process",)))
        await store.attach_outcome("t000001", Decimal("1.5"), START_MS)
        found = await store.get("t000001")
        assert found is not None
        assert (found.outcome_usd, found.errors) == ("1.5", ("told by another process",))

    play(body, path)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(1, 8), st.integers(-3, 3)),
        st.tuples(st.just("order"), st.integers(1, 8), st.just(0)),
        st.tuples(st.just("step"), st.integers(1, 8), st.integers(0, 3)),
        st.tuples(st.just("outcome"), st.integers(1, 8), st.integers(-5, 5)),
        st.tuples(st.just("mark"), st.integers(1, 8), st.just(0)),
        st.tuples(st.just("read"), st.integers(1, 12), st.just(0)),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_both_stores_answer_the_same(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is written and marked, in whatever order: every answer, and the counters that both have, are equal."""

    async def main(clock: VirtualClock) -> None:
        async with Plain.open(None) as plain, TraceStore.open(None, clock=clock) as quick:
            for verb, number, extra in steps:
                answers = [await act(store, verb, number, extra) for store in (plain, quick)]
                assert answers[0] == answers[1]
            assert (await quick.verify()).ok
            mine, theirs = quick.counters, plain.counters
            assert (mine.stored, mine.dead, mine.dropped, mine.duplicates, mine.updates) == (
                theirs.stored, theirs.dead, theirs.dropped, theirs.duplicates, theirs.updates,
            )  # fmt: skip

    run_virtual(main)


async def act(store: Plain | TraceStore, verb: str, number: int, extra: int) -> object:
    name = f"t{number:06}"
    try:
        if verb == "store":
            moved = msgspec.structs.replace(trace(number), accepted_ms=START_MS + number * 10 + extra)
            return await store.store(moved)
        if verb == "order":
            return await store.store(executed(number))
        if verb == "step":
            known = await store.get(name)
            base = known if known is not None else trace(number)
            return await store.update(msgspec.structs.replace(base, steps=(Step(time_ms=extra, text="s" * extra),)))
        if verb == "outcome":
            return await store.attach_outcome(name, Decimal(extra), START_MS)
        if verb == "mark":
            return await store.mark_analyzed([name], "batch")
    except Exception as error:
        return type(error)
    return (
        await store.get(name), await store.recent(number), await store.summaries(number),
        await store.unanalyzed(), (await store.stats()).by_verdict,
    )  # fmt: skip
