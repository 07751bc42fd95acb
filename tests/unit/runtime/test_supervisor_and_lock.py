"""Loops are restarted, reported and stopped for certain; an account has one writer."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from perpstrader.domain.errors import AccountLockedError
from perpstrader.runtime import AccountLock, Supervisor, VirtualClock, lock_holder, run_virtual


def test_a_failing_loop_is_reported_and_restarted_after_a_growing_pause() -> None:
    async def main(clock: VirtualClock) -> tuple[list[int], list[str]]:
        starts: list[int] = []
        failures: list[str] = []

        async def body(beat: Callable[[], None]) -> None:
            starts.append(clock.now_ms())
            if len(starts) < 4:
                raise RuntimeError("broken")
            while True:
                beat()
                await clock.sleep(1)

        supervisor = Supervisor(clock, lambda name, error: failures.append(f"{name}: {error}"))
        supervisor.start("watch", body, deadline_ms=5_000)
        await clock.sleep(60)
        assert not supervisor.heartbeats()[0].late
        await supervisor.stop()
        before = len(starts)
        await clock.sleep(60)
        assert len(starts) == before
        return starts, failures

    starts, failures = run_virtual(main)
    assert starts == [0, 500, 1500, 3500]
    assert failures == ["watch: broken"] * 3


def test_a_loop_that_had_recovered_is_restarted_as_fast_as_the_first_time() -> None:
    async def main(clock: VirtualClock) -> list[int]:
        starts: list[int] = []

        async def body(beat: Callable[[], None]) -> None:
            starts.append(clock.now_ms())
            if len(starts) > 8:
                await clock.sleep(61)
            raise RuntimeError("broken")

        supervisor = Supervisor(clock, lambda name, error: None)
        supervisor.start("watch", body, deadline_ms=100_000)
        await clock.sleep(600)
        await supervisor.stop()
        return starts

    starts = run_virtual(main)
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert pauses[6:8] == [30_000, 30_000]
    assert set(pauses[8:]) == {61_500}


def test_a_loop_that_fails_thousands_of_times_is_still_restarted() -> None:
    async def main(clock: VirtualClock) -> int:
        starts = 0

        async def body(beat: Callable[[], None]) -> None:
            nonlocal starts
            starts += 1
            raise RuntimeError("broken")

        supervisor = Supervisor(clock, lambda name, error: None)
        supervisor.start("broken", body, deadline_ms=5_000)
        await clock.sleep(30 * 1_500)
        await supervisor.stop()
        return starts

    assert run_virtual(main) > 1_400


def test_a_silent_loop_is_late() -> None:
    async def main(clock: VirtualClock) -> bool:
        async def body(beat: Callable[[], None]) -> None:
            await clock.sleep(3600)

        supervisor = Supervisor(clock, lambda name, error: None)
        supervisor.start("stuck", body, deadline_ms=1_000)
        await clock.sleep(2)
        late = supervisor.heartbeats()[0].late
        await supervisor.stop()
        return late

    assert run_virtual(main)


def test_S75_a_second_writer_of_an_account_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with AccountLock(path, "0xabc"), pytest.raises(AccountLockedError, match="already trades account 0xabc"):
        AccountLock(path, "0xabc").__enter__()
    assert lock_holder(path) is None
    with AccountLock(path, "0xabc"):
        assert lock_holder(path) is not None
