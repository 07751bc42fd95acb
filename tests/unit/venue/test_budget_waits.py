"""Waiting for room in the venue's minute: until there is some, and not a thousand times a second."""

from __future__ import annotations

import contextlib

import pytest

from perpstrader.runtime import VirtualClock, run_virtual
from perpstrader.venue.budget import IpBudget, NoRoomError


def test_S18_who_waits_for_room_looks_when_something_becomes_free_and_sleeps_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0
    fits = IpBudget._fits

    def counted(budget: IpBudget, weight: int, ceiling: int) -> bool:
        nonlocal looks
        looks += 1
        return fits(budget, weight, ceiling)

    monkeypatch.setattr(IpBudget, "_fits", counted)

    async def story(clock: VirtualClock) -> int:
        budget = IpBudget(clock, limit=1_200, reserve=0.3)
        budget.take_action(1, entry=False).answered(1)  # is free again while the reads are waited for
        await clock.sleep(30)
        with contextlib.suppress(NoRoomError):
            while True:
                (await budget.take_read(20, 120, 0.0, patient=True)).answered(120)
        begun_ms = clock.now_ms()
        (await budget.take_read(20, 120, 120.0, patient=True)).answered(20)
        return clock.now_ms() - begun_ms

    assert 50_000 < run_virtual(story, start_ms=1_760_000_000_000) <= 61_000
    assert looks < 40
