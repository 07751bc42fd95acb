"""Health checks: one after another, each within its deadline; what cannot be known is unhealthy (S46)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from perpstrader.breakers.contract import (
    CircuitBreakers,
    ComponentHealth,
    Done,
    Finding,
    HealthCheck,
    HealthReport,
    HealthStatus,
    UnavailableError,
    worst,
)
from perpstrader.domain.breakers import BreakerState
from perpstrader.runtime import Clock

HISTORY: Final = 500
_STALE_INTERVALS: Final = 3
_NS: Final = 1_000_000


class HealthChecks:
    """Implements ``contract.HealthChecks`` for the given checks; an unknown breaker in one of them raises here."""

    def __init__(
        self, checks: Sequence[HealthCheck], breakers: CircuitBreakers, clock: Clock, *, deadline_ms: int,
        interval_ms: int,
    ) -> None:  # fmt: skip
        self._checks = [(check, breakers.watch(check.breaker) if check.breaker else None) for check in checks]
        self._breakers = breakers
        self._clock = clock
        self._deadline_ms = deadline_ms
        self._interval_ms = interval_ms
        self._running = asyncio.Lock()
        self._last: tuple[ComponentHealth, ...] = ()
        self._checked_ms = 0
        self._history: deque[ComponentHealth] = deque(maxlen=HISTORY)

    async def check(self) -> HealthReport:
        """See the contract."""
        if self._running.locked():
            async with self._running:
                return self.report()
        async with self._running:
            found = []
            for check, watch in self._checks:
                found.append(await self._one(check, watch() if watch is not None else None))
            self._last = tuple(found)
            self._checked_ms = self._clock.now_ms()
            self._history.extend(found)
        return self.report()

    def report(self) -> HealthReport:
        """See the contract."""
        opened = [status for status in self._breakers.statuses() if status.state is not BreakerState.CLOSED]
        status = worst(component.status for component in self._last)
        words = [f"{c.component}: {c.text}" for c in self._last if c.status is not HealthStatus.HEALTHY]
        if self._clock.now_ms() - self._checked_ms > _STALE_INTERVALS * self._interval_ms:
            status = worst((status, HealthStatus.UNHEALTHY))
            words.insert(0, "nothing has been checked yet" if not self._checked_ms else "the checks are overdue")
        if any(breaker.stops_entries for breaker in opened):
            status = HealthStatus.CRITICAL
        words += [f"the breaker {breaker.name} is {breaker.state.value}" for breaker in opened]
        return HealthReport(
            status=status, text="; ".join(words) or "all is well", checked_ms=self._checked_ms, components=self._last,
            open_breakers=tuple(breaker.name for breaker in opened),
        )  # fmt: skip

    def history(self, component: str | None = None, limit: int = 100) -> tuple[ComponentHealth, ...]:
        """See the contract."""
        found = [row for row in reversed(self._history) if component in (None, row.component)]
        return tuple(found[: max(0, limit)])

    async def _one(self, check: HealthCheck, done: Done | None) -> ComponentHealth:
        """One check. What keeps it from being made counts as a failed call of its breaker, what it finds does not."""
        began, failure = self._clock.monotonic_ns(), None
        try:
            async with asyncio.timeout(self._deadline_ms / 1000) as deadline:
                finding = await check.look()
        except asyncio.CancelledError as error:
            if done is not None:
                done(error)
            raise
        except Exception as error:
            late = isinstance(error, TimeoutError) and deadline.expired()
            failure = UnavailableError(f"no answer within {self._deadline_ms} ms") if late else error
            text = str(failure) if late else f"{type(error).__name__}: {error}"
            finding = Finding(status=HealthStatus.UNHEALTHY, text=f"not known: {text}")
        if done is not None:
            done(failure)
        return ComponentHealth(
            component=check.component, status=finding.status, text=finding.text, checked_ms=self._clock.now_ms(),
            took_ms=(self._clock.monotonic_ns() - began) // _NS, known=failure is None, breaker=check.breaker,
            figures=finding.figures,
        )  # fmt: skip
