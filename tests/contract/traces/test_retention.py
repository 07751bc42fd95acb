"""The record stays within its bounds, and what stays is whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from tests.contract.traces.samples import START_MS, executed, trace

from perpstrader.domain import Trace
from perpstrader.traces import TraceError, TraceRejectedError, chain
from perpstrader.traces.baseline import TraceStore as Plain
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.records import MIN_RETENTION_MS, Retention
from perpstrader.traces.retention import SLICE
from perpstrader.traces.store import TraceStore as Batching

DAY = MIN_RETENTION_MS
Opener = Callable[..., AbstractAsyncContextManager[TraceStore]]
OPENERS: dict[str, Opener] = {"baseline": Plain.open, "optimized": Batching.open}


@pytest.fixture(params=sorted(OPENERS))
def opener(request: pytest.FixtureRequest) -> Opener:
    return OPENERS[request.param]


def play(opener: Opener, body: Callable[[TraceStore], Awaitable[None]], path: Path | None = None) -> None:
    async def main() -> None:
        async with opener(path) as store:
            await body(store)

    asyncio.run(main())


def on_day(number: int, day: int, made: Callable[..., Trace] = trace, **changes: Any) -> Trace:
    return msgspec.structs.replace(made(number, **changes), accepted_ms=START_MS + day * DAY + number)


async def fill(store: TraceStore, days: int, each: int = 4) -> None:
    """Each day some routine decisions, and one that led to an order."""
    number = 0
    for day in range(days):
        for turn in range(each):
            number += 1
            await store.store(on_day(number, day, executed if turn == 0 else trace))


def test_S64_details_of_routine_decisions_go_first_and_the_rest_is_whole(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        await fill(store, 10)
        before = await store.summaries(100)
        kept = await store.retain(Retention(payload_ms=3 * DAY, kept_payload_ms=6 * DAY))
        after = await store.summaries(100)
        assert [msgspec.structs.replace(row, analyzed=False) for row in after] == before
        told = {item.sequence for item in await store.between(0, 2**60)}
        # the newest is of day 9: three days back routine ones go, six days back those that led to an order
        assert told == {17, 21, 25, *range(29, 41)}
        assert kept.payloads == 40 - len(told)
        assert await store.get("t000002") is None
        assert (await store.verify()).ok
        assert (await store.stats()).total == 40
        assert (await store.retain(Retention(payload_ms=3 * DAY, kept_payload_ms=6 * DAY))).payloads == 0
        assert (await store.find(text="nothing says this")).rows == ()

    play(opener, body)


def test_S64_whole_traces_go_by_age_and_by_number_and_their_sums_stay(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        await fill(store, 12)
        assert (await store.retain(Retention(trace_ms=8 * DAY))).traces > 0
        assert (await store.stats()).total == len(await store.summaries(100)) < 48
        await store.retain(Retention(max_rows=10))
        assert (await store.stats()).total <= 10 + 4
        assert (await store.verify()).ok
        assert (await store.stats()).executed == len([row for row in await store.summaries(100) if row.executed])

    play(opener, body)


def test_S64_the_file_shrinks_to_its_bound_but_keeps_the_newest_day(opener: Opener, tmp_path: Path) -> None:
    path = tmp_path / "traces.db"

    async def body(store: TraceStore) -> None:
        for day in range(6):
            for turn in range(60):
                number = day * 60 + turn + 1
                words = tuple(f"{number * 7919 % 104729:x}{n * number:x}" for n in range(200))
                await store.store(on_day(number, day, errors=words))
        size = path.stat().st_size
        kept = await store.retain(Retention(max_bytes=100_000))
        assert kept.traces > 100
        assert kept.freed_bytes > 0
        newest = await store.summaries(400)
        assert newest[0].sequence == 360
        assert len(newest) >= 60
        assert (await store.verify()).ok
        assert size > 300_000

    play(opener, body, path)


def test_one_decision_of_years_ahead_makes_no_other_old(opener: Opener) -> None:
    """The clock was wrong for a moment."""

    async def body(store: TraceStore) -> None:
        await fill(store, 10)
        await store.store(on_day(500, 20_000))
        bounds = Retention(payload_ms=30 * DAY, kept_payload_ms=60 * DAY, trace_ms=90 * DAY)
        now_ms = START_MS + 10 * DAY
        kept = await store.retain(msgspec.structs.replace(bounds, now_ms=now_ms))
        assert (kept.payloads, kept.traces) == (0, 0)
        assert (await store.stats()).total == 41

    play(opener, body)


def test_what_retention_emptied_is_off_the_queue_and_the_rest_is_still_analysed(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        await fill(store, 10)
        await store.retain(Retention(payload_ms=3 * DAY, kept_payload_ms=6 * DAY))
        left = [item.id for item in await store.between(0, 2**60)]
        assert (await store.stats()).unanalyzed == len(left)
        claimed = await store.claim(5, by="a", now_ms=1_000, lease_ms=500)
        assert [item.id for item in claimed] == left[:5]

    play(opener, body)


def test_a_queue_of_an_older_program_with_emptied_ones_goes_on(opener: Opener, tmp_path: Path) -> None:
    async def body(store: TraceStore) -> None:
        await fill(store, 3)
        other = apsw.Connection(str(tmp_path / "traces.db"))
        other.execute("UPDATE payload SET codec = 255, data = x'' WHERE seq <= 9")
        other.close()
        claimed = await store.claim(2, by="a", now_ms=1_000, lease_ms=500)
        assert [item.sequence for item in claimed] == [10, 11]
        assert (await store.stats()).unanalyzed == 3

    play(opener, body, tmp_path / "traces.db")


@pytest.mark.parametrize(
    "policy",
    [
        Retention(payload_ms=30 * DAY, kept_payload_ms=60 * DAY, trace_ms=90 * DAY),
        Retention(max_rows=10**6),
        Retention(cold_ms=90 * DAY),
    ],
    ids=["ages", "rows", "months"],
)
def test_a_pass_without_anything_due_reads_no_more_where_there_is_more(policy: Retention) -> None:
    steps: dict[int, int] = {}

    async def body(store: Any) -> None:
        for size in (100, 2_000):
            for number in range(sum(steps, 1), size + 1):
                await store.store(on_day(number, 0))
            counted = 0

            def count() -> bool:
                nonlocal counted
                counted += 1
                return False

            store._connection.set_progress_handler(count, 10)
            await store.retain(policy)
            store._connection.set_progress_handler(None)
            steps[size] = counted

    play(Plain.open, body)
    assert steps[2_000] <= 2 * steps[100] + 10, steps


def test_a_file_that_is_far_too_large_is_brought_back_in_even_slices() -> None:
    """Each slice reads about as much as it removes, however much is left."""

    async def body(store: Any) -> None:
        for number in range(1, 2_501):
            await store.store(on_day(number, number // 500))
        looks: list[int] = []
        real = chain.prune_limit

        def watched(connection: apsw.Connection, *args: Any, **kwargs: Any) -> int:
            counted = 0

            def count() -> bool:
                nonlocal counted
                counted += 1
                return False

            connection.set_progress_handler(count, 10)
            limit = real(connection, *args, **kwargs)
            connection.set_progress_handler(None)
            looks.append(counted)
            return limit

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(chain, "prune_limit", watched)
            kept = await store.retain(Retention(max_rows=300))
        assert kept.traces >= 1_900
        assert max(looks) < 2 * SLICE, looks
        assert (await store.verify()).ok

    play(Plain.open, body)


def test_what_retention_closed_is_not_revised(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        await fill(store, 5)
        await store.retain(Retention(payload_ms=DAY, kept_payload_ms=DAY))
        with pytest.raises(TraceRejectedError, match="older"):
            await store.update(on_day(2, 0, errors=("late",)))
        await store.store(on_day(2, 0))
        assert (await store.verify()).ok

    play(opener, body)


def test_TS19_a_retention_below_a_day_is_refused() -> None:
    with pytest.raises(TraceError, match="least"):
        Retention(payload_ms=DAY - 1)
    with pytest.raises(TraceError, match="least"):
        Retention(trace_ms=0)


def test_an_empty_record_is_left_alone(opener: Opener) -> None:
    async def body(store: TraceStore) -> None:
        kept = await store.retain(Retention(payload_ms=DAY, trace_ms=DAY, max_rows=1, max_bytes=1))
        assert (kept.payloads, kept.traces) == (0, 0)

    play(opener, body)
