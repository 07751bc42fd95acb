"""The journal: in order, tried again until it is on disk, and one bad write holds up nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.unit.state.state_samples import opened

from perpstrader.domain import MoneyError, StateError
from perpstrader.execution import Journal
from perpstrader.monitor import PerformanceMonitor
from perpstrader.runtime import VirtualClock, run_virtual
from perpstrader.state import StateStore, Transaction

Failures = list[tuple[str, Exception]]


def put(key: str) -> Callable[[Transaction], object]:
    """A write that appends to what was written, so that order and repetition show."""

    def write(tx: Transaction) -> None:
        tx.meta.put_text("log", (tx.meta.get_text("log") or "") + key)

    return write


def bad(error: Exception) -> Callable[[Transaction], object]:
    """A write that the store can never take."""

    def write(tx: Transaction) -> None:
        tx.meta.put_text("half", "written")
        raise error

    return write


async def log(store: StateStore) -> tuple[str | None, str | None]:
    """What was written, and what a bad write left behind."""
    return await store.read(lambda tx: (tx.meta.get_text("log"), tx.meta.get_text("half")))


def play(act: Callable[[VirtualClock, StateStore, Journal, Failures], Any]) -> None:
    """Run on a store in memory."""

    async def main(clock: VirtualClock) -> None:
        async with await opened() as store:
            failures: Failures = []
            timer = PerformanceMonitor(clock).timer("state_commit")
            journal = Journal(store, clock, lambda name, error: failures.append((name, error)), timer)
            await act(clock, store, journal, failures)

    run_virtual(main)


def test_writes_reach_the_disk_in_order_and_a_commit_comes_after_all_that_was_queued() -> None:
    async def act(clock: VirtualClock, store: StateStore, journal: Journal, failures: Failures) -> None:
        for key in "abc":
            journal.later(put(key))
        assert await journal.commit(lambda tx: tx.meta.get_text("log")) == "abc"
        assert journal.pending == 0

    play(act)


def test_a_store_that_cannot_be_written_is_tried_again_and_nothing_is_lost_or_reordered() -> None:
    async def act(clock: VirtualClock, store: StateStore, journal: Journal, failures: Failures) -> None:
        transact, broken = store.transact, {"on": True}

        async def sometimes(fn: Any, *, timeout_s: float | None = None) -> Any:
            if broken["on"]:
                raise StateError("the disk is full")
            return await transact(fn, timeout_s=timeout_s)

        store.transact = sometimes  # type: ignore[method-assign]
        loop = asyncio.create_task(journal.run(lambda: None))
        for key in "abcd":
            journal.later(put(key))
        await clock.sleep(5)
        assert journal.pending == 4
        assert failures
        broken["on"] = False
        await clock.sleep(1)
        assert (await log(store))[0] == "abcd"
        assert journal.refused == 0
        loop.cancel()

    play(act)


def test_a_write_that_can_never_be_taken_is_put_aside_and_told_whatever_it_raises() -> None:
    async def act(clock: VirtualClock, store: StateStore, journal: Journal, failures: Failures) -> None:
        for write in (put("a"), bad(StateError("no")), put("b"), bad(MoneyError("NaN")), bad(KeyError("x")), put("c")):
            journal.later(write)
        await journal.flush()
        assert await log(store) == ("abc", None)
        assert journal.refused == 3
        assert [type(error) for _, error in failures] == [StateError, MoneyError, KeyError]

    play(act)


def test_a_passing_trouble_costs_no_row() -> None:
    async def act(clock: VirtualClock, store: StateStore, journal: Journal, failures: Failures) -> None:
        transact, troubles = store.transact, [StateError("busy"), StateError("busy")]

        async def busy_twice(fn: Any, *, timeout_s: float | None = None) -> Any:
            if troubles:
                raise troubles.pop()
            return await transact(fn, timeout_s=timeout_s)

        store.transact = busy_twice  # type: ignore[method-assign]
        journal.later(put("a"))
        await journal.flush()
        assert (await log(store))[0] == "a"
        assert journal.refused == 0

    play(act)


def test_S01_waiting_ends_at_the_deadline_and_the_write_stays_queued() -> None:
    async def act(clock: VirtualClock, store: StateStore, journal: Journal, failures: Failures) -> None:
        transact = store.transact

        async def slow(fn: Any, *, timeout_s: float | None = None) -> Any:
            await clock.sleep(30)
            return await transact(fn, timeout_s=timeout_s)

        store.transact = slow  # type: ignore[method-assign]
        journal.later(put("a"))
        before = clock.now_ms()
        assert not await journal.within(put("b"), 100)
        assert clock.now_ms() - before == 100
        assert journal.pending == 2
        store.transact = transact  # type: ignore[method-assign]
        assert await journal.within(put("c"), 100)
        assert (await log(store))[0] == "abc"

    play(act)
