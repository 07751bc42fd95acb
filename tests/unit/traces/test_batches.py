"""Group commit: when a batch goes to the disk, what is told when it cannot, and what makes room."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import apsw
import msgspec
import pytest
from tests.contract.traces.samples import executed, refused, trace

from perpstrader.runtime import InlineExecutor
from perpstrader.runtime.loop import VirtualClock, run_virtual
from perpstrader.traces import TraceError, TraceRejectedError
from perpstrader.traces.batches import MAX_ROWS, BatchLimits
from perpstrader.traces.store import TraceStore

T = TypeVar("T")


class Disk(InlineExecutor):
    """An executor that counts what it runs."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(self, fn: Callable[[], T], *, timeout_s: float | None = None) -> T:
        self.runs += 1
        return fn()


def fail(store: TraceStore, kind: type[apsw.Error] | None) -> None:
    """From now on every transaction of batches ends as SQLite would end it; ``None``: no longer."""

    def spoiled(work: object) -> NoReturn:
        assert kind is not None
        raise kind("injected")

    if kind is None:
        del store._batches._together
    else:
        store._batches._together = spoiled  # type: ignore[method-assign]


def play(body: Callable[[TraceStore, Disk, asyncio.AbstractEventLoop], Awaitable[None]], limits: BatchLimits,
         path: Path | None = None, told: list[str] | None = None) -> None:  # fmt: skip
    async def main(clock: VirtualClock) -> None:
        disk = Disk()
        heard = told if told is not None else []
        async with TraceStore.open(path, executor=disk, clock=clock, batches=limits) as store:
            store.on_trouble = heard.append
            await body(store, disk, asyncio.get_running_loop())

    run_virtual(main)


def test_a_batch_waits_for_its_flush_time_when_nobody_awaits_it() -> None:
    async def body(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        store.store(trace(1))
        await asyncio.sleep(0.6)
        store.store(trace(2))
        await asyncio.sleep(0.3)
        assert store.counters.pending == 2
        await asyncio.sleep(0.2)
        assert store.counters.stored == 2

    play(body, BatchLimits(batch_size=100, flush_ms=1_000))


def test_a_full_batch_goes_at_once() -> None:
    async def body(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        for number in range(1, 4):
            store.store(trace(number))
        await asyncio.sleep(0.001)
        assert store.counters.stored == 3

    play(body, BatchLimits(batch_size=3, flush_ms=60_000))


def test_what_is_awaited_takes_all_that_waits_along() -> None:
    async def body(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        store.store(trace(1))
        before, runs = loop.time(), disk.runs
        await store.store(trace(2))
        assert loop.time() == before
        assert store.counters.stored == 2
        assert disk.runs == runs + 1, "one transaction for both"

    play(body, BatchLimits(batch_size=100, flush_ms=60_000))


def test_awaiting_what_is_not_urgent_hurries_nothing() -> None:
    async def body(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        before = loop.time()
        await store.store(trace(1), urgent=False)
        assert loop.time() - before == pytest.approx(2.0, abs=0.01)

    play(body, BatchLimits(batch_size=100, flush_ms=2_000))


def test_S60_closing_writes_what_waits(tmp_path: Path) -> None:
    async def body(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        store.store(trace(1))

    async def read(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        assert await store.get("t000001") == trace(1)

    path = tmp_path / "traces.db"
    play(body, BatchLimits(flush_ms=60_000), path)
    play(read, BatchLimits(), path)


@pytest.mark.parametrize("kind", [apsw.FullError, apsw.BusyError, apsw.IOError])
def test_S62_a_disk_that_is_full_or_locked_is_tried_again_and_told_of_once(kind: type[apsw.Error]) -> None:
    told: list[str] = []

    async def body(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        fail(store, kind)
        receipt = store.store(trace(1))
        waiting = asyncio.gather(receipt, store.store(trace(2)))
        await asyncio.sleep(3)
        assert store.counters.pending == 2
        assert len(told) == 1
        fail(store, None)
        await waiting
        assert store.counters.stored == 2

    play(body, BatchLimits(flush_ms=100), told=told)


def test_S62_a_disk_that_stays_full_costs_those_traces_and_says_so() -> None:
    async def body(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        fail(store, apsw.FullError)
        with pytest.raises(TraceError, match="full"):
            await store.store(trace(1))
        assert store.counters.dropped == 1
        fail(store, None)
        await store.store(trace(2))
        assert (store.counters.stored, store.counters.accepted, store.counters.pending) == (1, 2, 0)

    play(body, BatchLimits(patience_ms=2_000))


def test_S61_one_that_spoils_the_transaction_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        pack = store._batches.pack

        def spoil(json: bytes) -> bytes | None:
            if b"t000002" in json:
                raise apsw.MismatchError("injected")
            return pack(json)

        monkeypatch.setattr(store._batches, "pack", spoil)
        receipts = [store.store(trace(number)) for number in (1, 2, 3)]
        results = await asyncio.gather(*receipts, return_exceptions=True)
        assert [type(result) for result in results] == [type(None), TraceRejectedError, type(None)]
        assert [row.id for row in await store.summaries()] == ["t000003", "t000001"]
        assert [letter.id for letter in await store.dead_letters()] == ["t000002"]
        assert (await store.verify()).ok

    play(body, BatchLimits())


def test_S64_routine_decisions_make_room_oldest_first_and_an_order_is_never_shed() -> None:
    async def body(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        oldest = store.store(trace(1, verdict=refused()))
        order = store.store(executed(2))
        store.store(trace(3))
        newest = store.store(trace(4))
        with pytest.raises(TraceError, match="waiting"):
            await oldest
        assert store.counters.dropped == 1
        more = [store.store(executed(number)) for number in (5, 6, 7)]
        routine = store.store(trace(8))
        with pytest.raises(TraceError):
            await routine
        await asyncio.gather(order, *more)
        with pytest.raises(TraceError):
            await newest
        counters = store.counters
        assert counters.accepted == counters.stored + counters.dropped == 8
        assert counters.stored == 4

    play(body, BatchLimits(batch_size=100, flush_ms=60_000, max_pending=3))


def test_S64_the_bytes_that_wait_are_bounded_too() -> None:
    async def body(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        for number in range(1, 200):
            store.store(trace(number))
        assert 0 < store.counters.pending < 20
        await store.flush()
        assert store.counters.pending == 0

    play(body, BatchLimits(batch_size=1_000, flush_ms=60_000, max_pending_bytes=10_000))


class SlowDisk(Disk):
    """A disk that takes a second for each transaction."""

    async def run(self, fn: Callable[[], T], *, timeout_s: float | None = None) -> T:
        await asyncio.sleep(1)
        return fn()


def on_a_slow_disk(body: Callable[[TraceStore], Awaitable[None]], limits: BatchLimits) -> None:
    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(None, executor=SlowDisk(), clock=clock, batches=limits) as store:
            await body(store)

    run_virtual(main)


def test_S64_room_that_is_made_during_a_write_loses_nothing_else() -> None:
    """The write that runs had counted on what was then shed."""

    async def body(store: TraceStore) -> None:
        count = MAX_ROWS + 20
        for number in range(1, count + 1):
            store.store(trace(number))
        await asyncio.sleep(0.5)  # the first transaction runs, and twenty wait for the second
        orders = [store.store(executed(count + number)) for number in (1, 2)]
        large = store.store(msgspec.structs.replace(executed(count + 3), regime="x" * 2_000_000))
        await asyncio.gather(*orders, large)
        await store.flush()
        counters = store.counters
        assert counters.dropped == 20
        assert counters.accepted == counters.stored + counters.dropped == count + 3
        assert counters.pending == 0

    on_a_slow_disk(body, BatchLimits(batch_size=1_000, flush_ms=100, max_pending_bytes=2_000_000))


def test_one_that_makes_room_for_the_next_starts_no_second_writer() -> None:
    async def body(store: TraceStore) -> None:
        for number in range(1, 10):
            store.store(trace(number))
            await asyncio.sleep(0.01)
        assert len(store._batches._pool._tasks) == 1
        await store.flush()
        assert (store.counters.stored, store.counters.dropped) == (1, 8)

    on_a_slow_disk(body, BatchLimits(batch_size=1_000, flush_ms=1_000, max_pending=1))


def test_a_routine_decision_that_never_fits_costs_no_other() -> None:
    async def body(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        kept = [store.store(trace(number)) for number in (1, 2)]
        large = store.store(trace(3, regime="x" * 20_000))
        with pytest.raises(TraceError, match="waiting"):
            await large
        await asyncio.gather(*kept)
        assert (store.counters.stored, store.counters.dropped) == (2, 1)

    play(body, BatchLimits(batch_size=1_000, flush_ms=60_000, max_pending_bytes=15_000))


def test_flush_waits_for_what_was_there_and_not_for_all_that_ever_comes() -> None:
    async def body(store: TraceStore) -> None:
        async def feed() -> None:
            for number in range(2, 200):
                store.store(trace(number), urgent=False)
                await asyncio.sleep(0.2)

        first = store.store(trace(1), urgent=False)
        feeding = asyncio.create_task(feed())
        await asyncio.sleep(0.3)
        loop = asyncio.get_running_loop()
        before = loop.time()
        await store.flush()
        await first
        assert loop.time() - before < 3, "what it waits for, in the transaction that runs and the next"
        await asyncio.sleep(2.5)
        before = loop.time()
        await store.flush()
        assert loop.time() - before < 3
        await feeding

    on_a_slow_disk(body, BatchLimits(batch_size=1_000, flush_ms=60_000))


def test_a_reader_that_gives_up_harms_no_other() -> None:
    async def body(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        receipt = store.store(trace(1), urgent=False)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await receipt
        await receipt
        assert store.counters.stored == 1

    play(body, BatchLimits(flush_ms=500))


def test_a_rejected_trace_is_told_when_its_batch_is_written() -> None:
    async def body(store: TraceStore, disk: Disk, loop: asyncio.AbstractEventLoop) -> None:
        with pytest.raises(TraceRejectedError):
            await store.store("no trace")  # type: ignore[arg-type]
        assert store.counters.dead == 1
        assert len(await store.dead_letters()) == 1

    play(body, BatchLimits())
