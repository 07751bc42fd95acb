"""Circuit breakers and health checks: what a guarded call, a refused call and a round of checks cost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final

from perpstrader import breakers
from perpstrader.bench.harness import Arm, Case, Subject, builds
from perpstrader.bench.lab import Lab
from perpstrader.breakers import (
    EXECUTION,
    SPECS,
    BreakerOpenError,
    BreakerRow,
    CircuitBreakersContract,
    Finding,
    HealthCheck,
    HealthChecksContract,
    HealthStatus,
    baseline,
    health,
)
from perpstrader.runtime import SystemClock
from perpstrader.settings.services import BreakerSettings

COMPONENT: Final = "breakers"
_CALLS: Final = 500
_CHECKS: Final = 10
_CHECK_S: Final = 0.005
_DEADLINE_MS: Final = 1_000


def cases(lab: Lab) -> list[Case]:
    """The rows of this component."""
    checked = f"{_CHECKS} checks that each wait {_CHECK_S * 1000:g} ms of real time, as for a dependency that is well"
    return [
        Case(
            COMPONENT, "call-closed", "us/call", _CALLS, _calls,
            note="an async call that does nothing through a closed breaker, its deadline included",
        ),
        Case(
            COMPONENT, "reject-open", "us/call", _CALLS, _rejections,
            note="a call that an open breaker refuses, up to the caught error",
        ),
        Case(
            COMPONENT, "health-checks", "us/round", 1, _checks, claim=3.0,
            note=f"{checked}; a round costs the trader little while it waits",
        ),
        Case(
            COMPONENT, "limit-bare-await", "us/call", _CALLS, _bare,
            note="the same async call without a breaker",
        ),
        Case(
            COMPONENT, "limit-timeout-await", "us/call", _CALLS, _timeouts,
            note="the same async call under asyncio.timeout alone: what a deadline a call asks for",
        ),
        Case(
            COMPONENT, "limit-loop-turn", "us/turn", _CALLS, _turns,
            note="one turn of the event loop: what a call cannot cost less than once it waits for anything",
        ),
        Case(
            COMPONENT, "limit-slowest-check", "us/round", 1, _together,
            note=f"{checked}, all at once: as long as the slowest",
        ),
    ]  # fmt: skip


class _Nothing:
    """An async call without work, and how often it was made."""

    def __init__(self) -> None:
        self.made = 0

    async def __call__(self) -> int:
        self.made += 1
        return self.made


def _registries() -> list[CircuitBreakersContract]:
    """The plain breakers and, once there are others, those."""
    kinds = builds(baseline.CircuitBreakers, breakers.CircuitBreakers)
    settings, clock = BreakerSettings(), SystemClock()
    return [
        kind(SPECS, settings, clock, Random(1), persist=lambda row: None, commit=_commit, on_failure=_fail)
        for kind in kinds
    ]


async def _commit(row: BreakerRow) -> None:
    """No disk is in this measurement."""


def _fail(name: str, error: Exception) -> None:
    raise error


@asynccontextmanager
async def _calls() -> AsyncIterator[Subject]:
    def arm(registry: CircuitBreakersContract) -> Arm:
        work = _Nothing()

        async def run() -> None:
            for _ in range(_CALLS):
                await registry.call(EXECUTION, work)

        async def answer() -> object:
            before = registry.status(EXECUTION).metrics.succeeded
            made = work.made
            await run()
            return work.made - made, registry.status(EXECUTION).metrics.succeeded - before

        return Arm(run=run, answer=answer)

    yield Subject.of([arm(registry) for registry in _registries()], (_CALLS, _CALLS))


@asynccontextmanager
async def _rejections() -> AsyncIterator[Subject]:
    async def arm(registry: CircuitBreakersContract) -> Arm:
        work = _Nothing()
        await registry.open(EXECUTION, actor="bench", reason="to measure refusals")

        async def run() -> None:
            for _ in range(_CALLS):
                with contextlib.suppress(BreakerOpenError):
                    await registry.call(EXECUTION, work)

        async def answer() -> object:
            before = registry.status(EXECUTION).metrics.rejected
            await run()
            return work.made, registry.status(EXECUTION).metrics.rejected - before

        return Arm(run=run, answer=answer)

    yield Subject.of([await arm(registry) for registry in _registries()], (0, _CALLS))


async def _look() -> Finding:
    await asyncio.sleep(_CHECK_S)
    return Finding(status=HealthStatus.HEALTHY, text="well")


def _checkers() -> list[HealthChecksContract]:
    kinds = builds(health.HealthChecks, breakers.HealthChecks)
    listed = [HealthCheck(component=f"part-{number}", look=_look) for number in range(_CHECKS)]
    return [
        kind(listed, registry, SystemClock(), deadline_ms=_DEADLINE_MS, interval_ms=_DEADLINE_MS)
        for kind, registry in zip(kinds, _registries(), strict=False)
    ]


@asynccontextmanager
async def _checks() -> AsyncIterator[Subject]:
    def arm(checks: HealthChecksContract) -> Arm:
        async def answer() -> object:
            return [(part.component, part.status, part.known) for part in (await checks.check()).components]

        return Arm(run=checks.check, answer=answer)

    right = [(f"part-{number}", HealthStatus.HEALTHY, True) for number in range(_CHECKS)]
    yield Subject.of([arm(checks) for checks in _checkers()], right)


# --- limits ---


def _counted(once: Callable[[_Nothing], Awaitable[Any]]) -> Subject:
    """``_CALLS`` times ``once``, which makes the call that it is handed once."""
    work = _Nothing()

    async def run() -> None:
        for _ in range(_CALLS):
            await once(work)

    async def answer() -> int:
        before = work.made
        await run()
        return work.made - before

    return Subject(Arm(run=run, answer=answer), expected=_CALLS)


@asynccontextmanager
async def _bare() -> AsyncIterator[Subject]:
    yield _counted(lambda work: work())


@asynccontextmanager
async def _timeouts() -> AsyncIterator[Subject]:
    async def once(work: _Nothing) -> None:
        async with asyncio.timeout(1):
            await work()

    yield _counted(once)


@asynccontextmanager
async def _turns() -> AsyncIterator[Subject]:
    async def once(work: _Nothing) -> None:
        work.made += 1
        await asyncio.sleep(0)

    yield _counted(once)


@asynccontextmanager
async def _together() -> AsyncIterator[Subject]:
    async def run() -> list[HealthStatus]:
        return [finding.status for finding in await asyncio.gather(*(_look() for _ in range(_CHECKS)))]

    yield Subject(Arm(run=run, answer=run), expected=[HealthStatus.HEALTHY] * _CHECKS)
