"""One circuit breaker as a state machine, without I/O: admissions, outcomes, periods, probes (S42-S44).

Every admitted call bears the generation that it began in. A change of state begins another one, so that what began
before an opening neither closes the breaker nor opens it again (CB-04).
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Final

import msgspec

from perpstrader.breakers.contract import BreakerSpec, BreakerStatus, CallMetrics
from perpstrader.breakers.failures import Outcome
from perpstrader.breakers.policy import open_period_ms
from perpstrader.domain.breakers import BreakerRow, BreakerState
from perpstrader.runtime import Clock
from perpstrader.settings.services import BreakerSettings

_MAX_WINDOW: Final = 10_000
_NS: Final = 1_000_000
_NEWEST_WEIGHT: Final = 0.1
_TEXT: Final = 300


class Call(msgspec.Struct, frozen=True):
    """A call that was let through, or is only observed."""

    generation: int
    is_probe: bool
    began_ns: int


class Breaker:
    """The machine of one name; every method is synchronous and touches nothing else."""

    def __init__(self, spec: BreakerSpec, settings: BreakerSettings, clock: Clock, rng: Random) -> None:
        self.spec = spec
        self.state = BreakerState.CLOSED
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._generation = 0
        self._since_ms = clock.now_ms()
        self._until_ns = 0
        self._failed_probes = 0
        self._good_probes = 0
        self._probing = 0
        self._window: deque[tuple[int, bool]] = deque(maxlen=_MAX_WINDOW)
        self._failures = 0
        self._last_failure = ""
        self._last_opened_ms: int | None = None
        self._openings = 0
        self._actor = ""
        self._reason = ""
        self._metrics = CallMetrics()

    # --- calls ---

    def admit(self) -> Call | None:
        """A call that may go, ``None`` where it is rejected. The period's end is noticed here, and nowhere else."""
        now_ns = self._clock.monotonic_ns()
        if self.state is BreakerState.OPEN and now_ns >= self._until_ns:
            self._enter(BreakerState.HALF_OPEN)
        if self.state is BreakerState.CLOSED:
            return Call(self._generation, False, now_ns)
        if self.state is BreakerState.HALF_OPEN and self._probing < self._settings.max_probes:
            self._probing += 1
            return Call(self._generation, True, now_ns)
        self._metrics = msgspec.structs.replace(self._metrics, rejected=self._metrics.rejected + 1)
        return None

    def observe(self) -> Call:
        """A call that goes whatever the state; it counts for the window alone, and never as a probe."""
        counts = self.state is BreakerState.CLOSED
        return Call(self._generation if counts else -1, False, self._clock.monotonic_ns())

    def settle(self, call: Call, outcome: Outcome, text: str) -> None:
        """How a call ended. One that is ignored gives its place back and changes nothing else."""
        mine = call.generation == self._generation
        if mine and call.is_probe:
            self._probing -= 1
        if outcome is Outcome.IGNORED:
            return
        failed = outcome is Outcome.FAILED
        self._measure(call, failed, text)
        if not mine:
            return
        if call.is_probe:
            self._settle_probe(failed)
        else:
            self._count(failed)

    @property
    def is_due(self) -> bool:
        """True when a probe may go now; looking changes nothing."""
        if self.state is BreakerState.HALF_OPEN:
            return self._probing < self._settings.max_probes
        return self.state is BreakerState.OPEN and self._clock.monotonic_ns() >= self._until_ns

    # --- by hand ---

    def latch(self, actor: str, reason: str) -> None:
        """Open until ``close``, whatever happens meanwhile (S43)."""
        self._actor, self._reason = actor, reason
        self._until_ns = 0
        self._opened()
        self._enter(BreakerState.LATCHED)

    def close(self, actor: str = "", reason: str = "") -> None:
        """Closed, with an empty window; by hand where there is an actor."""
        self._actor, self._reason = actor, reason
        self._failed_probes = 0
        self._window.clear()
        self._failures = 0
        self._enter(BreakerState.CLOSED)

    # --- over a restart ---

    def row(self) -> BreakerRow:
        """What the next process has to know."""
        return BreakerRow(
            name=self.spec.name, state=self.state, since_ms=self._since_ms, until_ms=self._until_ms(),
            failed_probes=self._failed_probes, failure=self._last_failure, actor=self._actor, reason=self._reason,
        )  # fmt: skip

    def restore(self, row: BreakerRow) -> None:
        """As the last process left it: a latched one stays latched, what is left of an open period is waited for.

        A clock that was set back makes no period longer than it may be.
        """
        half_open = row.state is BreakerState.HALF_OPEN
        self.state = BreakerState.OPEN if half_open else row.state
        self._since_ms, self._failed_probes = row.since_ms, row.failed_probes
        self._last_failure, self._actor, self._reason = row.failure, row.actor, row.reason
        self._generation += 1
        if self.state is not BreakerState.CLOSED:
            self._last_opened_ms = row.since_ms
        if self.state is BreakerState.OPEN:
            left_ms = max(0, (row.until_ms or 0) - self._clock.now_ms())
            self._until_ns = self._clock.monotonic_ns() + min(left_ms, self._period_ms(1.0)) * _NS

    def status(self) -> BreakerStatus:
        """Everything about it now; reading changes nothing."""
        volume, failures = self._in_window()
        return BreakerStatus(
            name=self.spec.name, guards=self.spec.guards, state=self.state, stops_entries=self.spec.stops_entries,
            since_ms=self._since_ms, until_ms=self._until_ms(), failures=failures, volume=volume,
            threshold=self.spec.threshold, window_ms=self.spec.window_ms, period_ms=self._period_ms(0.0),
            probing=self._probing, good_probes=self._good_probes, failed_probes=self._failed_probes,
            needs_a_person=self._failed_probes >= self._settings.max_recovery_attempts,
            last_failure=self._last_failure, last_opened_ms=self._last_opened_ms, openings=self._openings,
            actor=self._actor, reason=self._reason, metrics=self._metrics,
        )  # fmt: skip

    # --- inside ---

    def _settle_probe(self, failed: bool) -> None:
        if failed:
            self._failed_probes += 1
            self._trip()
            return
        self._good_probes += 1
        if self._good_probes >= self._settings.probes_to_close:
            self.close()

    def _count(self, failed: bool) -> None:
        """The rule that trips: enough failures within the window, and enough of all calls (CB-07)."""
        self._expire()
        if len(self._window) == _MAX_WINDOW:
            self._failures -= self._window.popleft()[1]
        self._window.append((self._clock.monotonic_ns(), failed))
        self._failures += failed
        if not failed or self._failures < self.spec.threshold:
            return
        if self._failures >= self._settings.failure_rate_fraction * len(self._window):
            self._trip()

    def _trip(self) -> None:
        self._actor, self._reason = "", ""
        self._until_ns = self._clock.monotonic_ns() + self._period_ms(self._rng.random()) * _NS
        self._opened()
        self._enter(BreakerState.OPEN)

    def _opened(self) -> None:
        if self.state is BreakerState.CLOSED:
            self._last_opened_ms = self._clock.now_ms()
            self._openings += 1

    def _enter(self, state: BreakerState) -> None:
        if state is not self.state:
            self._since_ms = self._clock.now_ms()
        self.state = state
        self._generation += 1
        self._good_probes = 0
        self._probing = 0

    def _period_ms(self, draw: float) -> int:
        return open_period_ms(
            self.spec.period_ms, self._failed_probes, base_ms=self._settings.base_backoff_ms,
            cap_ms=self._settings.max_backoff_ms, draw=draw,
        )  # fmt: skip

    def _until_ms(self) -> int | None:
        """In UTC milliseconds, rounded up so that it never says too early a time."""
        if self.state is not BreakerState.OPEN:
            return None
        return self._clock.now_ms() + -(-(self._until_ns - self._clock.monotonic_ns()) // _NS)

    def _expire(self) -> None:
        oldest = self._clock.monotonic_ns() - self.spec.window_ms * _NS
        while self._window and self._window[0][0] <= oldest:
            self._failures -= self._window.popleft()[1]

    def _in_window(self) -> tuple[int, int]:
        """Volume and failures within the window, without forgetting what is older."""
        oldest = self._clock.monotonic_ns() - self.spec.window_ms * _NS
        kept = [failed for at_ns, failed in self._window if at_ns > oldest]
        return len(kept), sum(kept)

    def _measure(self, call: Call, failed: bool, text: str) -> None:
        if failed:
            self._last_failure = text[:_TEXT]
        took_ms = (self._clock.monotonic_ns() - call.began_ns) / _NS
        before, was = self._metrics, self._metrics.latency_ms
        self._metrics = CallMetrics(
            succeeded=before.succeeded + (not failed), failed=before.failed + failed, rejected=before.rejected,
            latency_ms=took_ms if was is None else was + _NEWEST_WEIGHT * (took_ms - was),
        )  # fmt: skip
