"""Health checks: one after another, each with its deadline, unknown is unhealthy, reading changes nothing (S46)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from tests.unit.breakers.support import NAME, SPEC, Kept

from perpstrader.breakers import BreakerSpec, Finding, HealthCheck, HealthChecks, HealthStatus, worst
from perpstrader.breakers.health import HISTORY
from perpstrader.domain.errors import PerpsTraderError, StateError
from perpstrader.runtime import VirtualClock, run_virtual

T = TypeVar("T")
WELL = Finding(status=HealthStatus.HEALTHY, text="well")


def virtual(main: Callable[[VirtualClock], Awaitable[T]]) -> T:
    return run_virtual(main, start_ms=1_700_000_000_000)


def finds(status: HealthStatus) -> Callable[[], Awaitable[Finding]]:
    async def look() -> Finding:
        return Finding(status=status, text=status.value)

    return look


def raises(error: Exception) -> Callable[[], Awaitable[Finding]]:
    async def look() -> Finding:
        raise error

    return look


def made(clock: Any, *checks: HealthCheck, kept: Kept | None = None) -> HealthChecks:
    breakers = (kept or Kept(clock=clock)).breakers
    return HealthChecks(checks, breakers, clock, deadline_ms=5_000, interval_ms=30_000)


def test_S46_CB_25_a_hung_check_and_a_broken_one_are_unhealthy_and_the_others_are_still_made() -> None:
    async def main(clock: VirtualClock) -> None:
        async def hangs() -> Finding:
            await clock.sleep(10**6)
            return WELL

        health = made(
            clock, HealthCheck(component="hangs", look=hangs),
            HealthCheck(component="breaks", look=raises(KeyError("typo"))),
            HealthCheck(component="works", look=finds(HealthStatus.HEALTHY)),
        )  # fmt: skip
        began = clock.now_ms()
        report = await health.check()
        assert clock.now_ms() - began == 5_000
        rows = [(c.component, c.status, c.known) for c in report.components]
        assert rows == [
            ("hangs", HealthStatus.UNHEALTHY, False), ("breaks", HealthStatus.UNHEALTHY, False),
            ("works", HealthStatus.HEALTHY, True),
        ]  # fmt: skip
        assert report.components[0].text == "not known: no answer within 5000 ms"
        assert report.components[0].took_ms == 5_000
        assert report.status is HealthStatus.UNHEALTHY

    virtual(main)


@pytest.mark.parametrize("order", [1, -1])
def test_S46_CB_23_severity_is_the_maximum_in_whatever_order(order: int) -> None:
    async def main(clock: VirtualClock) -> None:
        statuses = list(HealthStatus)[::order]
        health = made(clock, *(HealthCheck(component=s.value, look=finds(s)) for s in statuses))
        assert (await health.check()).status is HealthStatus.CRITICAL

    virtual(main)
    assert worst([HealthStatus.DEGRADED, HealthStatus.HEALTHY]) is HealthStatus.DEGRADED
    assert worst([]) is HealthStatus.UNHEALTHY


def test_S46_CB_25_a_round_that_runs_already_is_waited_for_and_not_made_twice() -> None:
    async def main(clock: VirtualClock) -> None:
        looked = []

        async def slow() -> Finding:
            looked.append(clock.now_ms())
            await clock.sleep(2)
            return WELL

        health = made(clock, HealthCheck(component="slow", look=slow))
        reports = await asyncio.gather(*(health.check() for _ in range(5)))
        assert len(looked) == 1
        assert {report.checked_ms for report in reports} == {clock.now_ms()}

    virtual(main)


def test_the_checks_are_made_one_after_another() -> None:
    async def main(clock: VirtualClock) -> None:
        busy: list[int] = []

        async def alone() -> Finding:
            assert not busy
            busy.append(1)
            await clock.sleep(1)
            busy.pop()
            return WELL

        health = made(clock, *(HealthCheck(component=str(n), look=alone) for n in range(4)))
        assert (await health.check()).status is HealthStatus.HEALTHY

    virtual(main)


def test_S46_CB_17_reading_checks_nothing_and_changes_nothing() -> None:
    async def main(clock: VirtualClock) -> None:
        looked = []

        async def look() -> Finding:
            looked.append(1)
            return WELL

        health = made(clock, HealthCheck(component="a", look=look))
        assert health.report().status is HealthStatus.UNHEALTHY
        assert "nothing has been checked yet" in health.report().text
        await health.check()
        first = health.report()
        for _ in range(20):
            assert health.report() == first
            assert len(health.history()) == 1
        assert looked == [1]

    virtual(main)


def test_S46_what_has_not_been_checked_for_three_intervals_is_unhealthy() -> None:
    async def main(clock: VirtualClock) -> None:
        health = made(clock, HealthCheck(component="a", look=finds(HealthStatus.HEALTHY)))
        assert (await health.check()).text == "all is well"
        await clock.sleep(90)
        assert health.report().status is HealthStatus.HEALTHY
        await clock.sleep(0.001)
        assert health.report().status is HealthStatus.UNHEALTHY
        assert "overdue" in health.report().text

    virtual(main)


def test_CBF_09_the_history_is_bounded_newest_first_and_by_component() -> None:
    async def main(clock: VirtualClock) -> None:
        health = made(
            clock, HealthCheck(component="a", look=finds(HealthStatus.HEALTHY)),
            HealthCheck(component="b", look=finds(HealthStatus.DEGRADED)),
        )  # fmt: skip
        for _ in range(400):
            await health.check()
            await clock.sleep(1)
        assert len(health.history(limit=10_000)) == HISTORY == 500
        assert len(health.history("b", 30)) == 30
        assert {row.component for row in health.history("b")} == {"b"}
        times = [row.checked_ms for row in health.history("a")]
        assert times == sorted(times, reverse=True)
        assert health.history(limit=-1) == ()

    virtual(main)


def test_CB_18_a_check_that_cannot_be_made_counts_against_its_breaker_and_a_bad_finding_does_not() -> None:
    async def main(clock: VirtualClock) -> None:
        other = BreakerSpec(name="other", threshold=5, period_ms=60_000, window_ms=60_000, guards="x")
        kept = Kept(SPEC, other, clock=clock)  # type: ignore[arg-type]
        health = made(
            clock, HealthCheck(component="a", look=raises(StateError("no disk")), breaker=NAME),
            HealthCheck(component="b", look=finds(HealthStatus.CRITICAL), breaker="other"), kept=kept,
        )  # fmt: skip
        for _ in range(5):
            report = await health.check()
        assert [(s.name, s.state.value) for s in kept.breakers.statuses()] == [("dep", "open"), ("other", "closed")]
        assert report.components[0].breaker == NAME

    virtual(main)


def test_CB_10_a_check_that_names_an_unknown_breaker_raises_at_wiring() -> None:
    async def main(clock: VirtualClock) -> None:
        with pytest.raises(PerpsTraderError, match="there is no breaker 'nope'"):
            made(clock, HealthCheck(component="a", look=finds(HealthStatus.HEALTHY), breaker="nope"))

    virtual(main)


def test_CBF_10_an_open_breaker_that_stops_entries_makes_the_whole_critical_and_another_one_does_not() -> None:
    async def main(clock: VirtualClock) -> None:
        mild = BreakerSpec(
            name="mild", threshold=5, period_ms=60_000, window_ms=60_000, guards="x", stops_entries=False
        )
        kept = Kept(SPEC, mild, clock=clock)  # type: ignore[arg-type]
        health = made(clock, HealthCheck(component="a", look=finds(HealthStatus.HEALTHY)), kept=kept)
        await health.check()
        kept.fail(5, name="mild")
        assert (health.report().status, health.report().open_breakers) == (HealthStatus.HEALTHY, ("mild",))
        kept.fail(5)
        assert health.report().status is HealthStatus.CRITICAL
        assert "the breaker dep is open" in health.report().text

    virtual(main)


def test_a_check_that_is_cancelled_ends_the_round_and_says_nothing_of_its_breaker() -> None:
    async def main(clock: VirtualClock) -> None:
        kept = Kept(clock=clock)  # type: ignore[arg-type]

        async def hangs() -> Finding:
            await clock.sleep(10**6)
            return WELL

        health = made(clock, HealthCheck(component="a", look=hangs, breaker=NAME), kept=kept)
        for _ in range(6):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await health.check()
        assert kept.state == "closed"
        assert health.history() == ()

    virtual(main)
