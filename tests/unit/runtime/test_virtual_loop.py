"""Virtual time jumps, keeps the order of equal deadlines, and refuses what it could not repeat."""

from __future__ import annotations

import asyncio

import pytest

from perpstrader.runtime import Deadlock, VirtualClock, run_virtual


def test_a_year_of_sleep_takes_no_time_and_lands_on_the_millisecond() -> None:
    async def main(clock: VirtualClock) -> int:
        await clock.sleep(365 * 86_400)
        return clock.now_ms()

    assert run_virtual(main, start_ms=1_700_000_000_000) == 1_700_000_000_000 + 365 * 86_400_000


def test_equal_deadlines_run_in_the_order_in_which_they_were_set() -> None:
    async def main(clock: VirtualClock) -> list[int]:
        order: list[int] = []

        async def wait(number: int) -> None:
            await clock.sleep(1)
            order.append(number)

        await asyncio.gather(*(wait(n) for n in range(40)))
        return order

    assert run_virtual(main) == list(range(40))


def test_waiting_for_what_cannot_come_is_a_deadlock_and_not_a_hang() -> None:
    async def main(clock: VirtualClock) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run_virtual(main)


def test_threads_are_refused() -> None:
    async def main(clock: VirtualClock) -> None:
        await asyncio.to_thread(lambda: None)

    with pytest.raises(RuntimeError, match="no threads"):
        run_virtual(main)


def test_timeouts_work_in_virtual_time() -> None:
    async def main(clock: VirtualClock) -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await clock.sleep(10)
        return clock.now_ms()

    assert run_virtual(main) == 2500
