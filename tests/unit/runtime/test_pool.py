"""The task pool: every task has an owner, failures are told, and after ``stop`` nothing runs."""

from __future__ import annotations

import asyncio

import pytest

from perpstrader.runtime import VirtualClock, run_virtual
from perpstrader.runtime.pool import TaskPool


def test_what_runs_is_held_and_a_failure_is_told_with_its_name() -> None:
    async def main(clock: VirtualClock) -> None:
        failures: list[tuple[str, Exception]] = []
        pool = TaskPool(lambda name, error: failures.append((name, error)))

        async def fail() -> None:
            raise ValueError("odd")

        pool.spawn("bad", fail())
        pool.spawn("good", clock.sleep(1))
        await pool.drain()
        assert [(name, str(error)) for name, error in failures] == [("bad", "odd")]

    run_virtual(main)


def test_stop_cancels_waits_and_starts_nothing_more() -> None:
    async def main(clock: VirtualClock) -> None:
        pool, ended = TaskPool(lambda name, error: None), []

        async def work(name: str) -> None:
            try:
                await clock.sleep(100)
            finally:
                await clock.sleep(1)
                ended.append(name)

        async def late() -> None:
            ended.append("late")

        for name in ("a", "b"):
            pool.spawn(name, work(name))
        await clock.sleep(0.1)
        await pool.stop()
        assert ended == ["b", "a"]
        assert pool.spawn("late", late()) is None
        await clock.sleep(1)
        assert "late" not in ended

    run_virtual(main)


def test_drain_waits_for_what_tasks_start_in_their_turn() -> None:
    async def main(clock: VirtualClock) -> None:
        pool, ended = TaskPool(lambda name, error: None), []

        async def inner() -> None:
            await clock.sleep(1)
            ended.append("inner")

        async def outer() -> None:
            await clock.sleep(1)
            pool.spawn("inner", inner())

        pool.spawn("outer", outer())
        await pool.drain()
        assert ended == ["inner"]

    run_virtual(main)


def test_who_gives_up_waiting_cancels_nothing_of_what_runs() -> None:
    async def main(clock: VirtualClock) -> None:
        pool, ended = TaskPool(lambda name, error: None), []

        async def work() -> None:
            await clock.sleep(5)
            ended.append("work")

        pool.spawn("work", work())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await pool.drain()
        await pool.settle(1)
        assert ended == []
        await pool.drain()
        assert ended == ["work"]

    run_virtual(main)


def test_a_task_of_the_pool_may_stop_or_drain_it_without_waiting_for_itself() -> None:
    async def main(clock: VirtualClock) -> None:
        pool, done = TaskPool(lambda name, error: None), []

        async def ends_all() -> None:
            await pool.drain()
            await pool.stop()
            done.append("ended")

        task = pool.spawn("ends", ends_all())
        assert task is not None
        await asyncio.wait_for(task, 5)
        assert done == ["ended"]

    run_virtual(main)
