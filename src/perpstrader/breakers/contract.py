"""The contract of circuit breakers and health checks; ``tests/contract/breakers`` holds every implementation to it.

A breaker watches one dependency. What goes through ``call`` is refused while it is not let through; what must go
whatever happens (exits, protection, reads for them) is only observed with ``watch`` (S01). A breaker never stops
anything by itself: who asks it decides what an open one means.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar

import msgspec

from perpstrader.domain import PerpsTraderError
from perpstrader.domain.breakers import BreakerRow, BreakerState

T = TypeVar("T")

EXECUTION: Final = "execution"
RISK: Final = "risk"
VENUE: Final = "venue"
STATE: Final = "state"
RECOVERY: Final = "recovery"
TRACES: Final = "traces"


class BreakerOpenError(PerpsTraderError):
    """A call was not made because its breaker is open; trying again at once is of no use."""

    def __init__(self, message: str, *, name: str, until_ms: int | None) -> None:
        super().__init__(message)
        self.name = name
        self.until_ms = until_ms


class UnavailableError(PerpsTraderError):
    """A dependency did not do its part: no answer in time, a status of a server in trouble, a page instead of data."""


class BreakerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One named breaker. It trips when ``threshold`` calls failed within ``window_ms`` and they are at least the
    settings' share of all; it then stays open for ``period_ms`` or longer (S42). ``guards`` says what, for a person.
    """

    name: str
    threshold: int
    period_ms: int
    window_ms: int
    guards: str
    stops_entries: bool = True


class CallMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Calls since the start of this process: ``total = succeeded + failed + rejected`` (CB-20).

    What was cancelled or raised a mistake of the caller's is no call. ``latency_ms`` is a moving average over what
    ended, successes and failures alike, which the first one sets; ``None`` before that.
    """

    succeeded: int = 0
    failed: int = 0
    rejected: int = 0
    latency_ms: float | None = None

    @property
    def total(self) -> int:
        """All calls."""
        return self.succeeded + self.failed + self.rejected


class BreakerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker at one moment; times are UTC milliseconds.

    ``since_ms`` is when the state began, ``until_ms`` the earliest probe of an open one (``None`` otherwise: a latched
    one waits for an operator). ``failures`` of ``volume`` calls failed within the window. ``failed_probes`` is how
    often a probe has failed since it tripped, ``good_probes`` how many succeeded in a row. ``actor`` and ``reason``
    are those of the last opening or reset by hand.
    """

    name: str
    guards: str
    state: BreakerState
    stops_entries: bool
    since_ms: int
    until_ms: int | None
    failures: int
    volume: int
    threshold: int
    window_ms: int
    period_ms: int
    probing: int
    good_probes: int
    failed_probes: int
    needs_a_person: bool
    last_failure: str
    last_opened_ms: int | None
    openings: int
    actor: str
    reason: str
    metrics: CallMetrics


class BreakerChange(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker has changed its state; ``status`` is the new one."""

    before: BreakerState
    status: BreakerStatus


Done = Callable[[BaseException | None], None]
"""Told once how a watched call ended: ``None``, or what it raised."""
Watch = Callable[[], Done]
"""Told that a call begins."""
Listener = Callable[[BreakerChange], None]


def unwatched() -> Done:
    """The watch of a part whose calls nobody observes."""
    return lambda error: None


class CircuitBreakers(Protocol):
    """All breakers of one process. A name that was not registered raises ``PerpsTraderError`` wherever it is used."""

    @property
    def names(self) -> tuple[str, ...]:
        """The registered names."""
        ...

    async def call(
        self, name: str, work: Callable[[], Awaitable[T]], *, deadline_ms: int | None = None,
        fallback: Callable[[], Awaitable[T]] | None = None,
    ) -> T:  # fmt: skip
        """What ``work`` gives or raises; made only when the breaker lets it through.

        Otherwise what ``fallback`` gives, else ``BreakerOpenError``. After the deadline (the settings' unless given)
        the work is cancelled, counted as failed, and ``UnavailableError`` raised (S44).
        """
        ...

    def watch(self, name: str) -> Watch:
        """How calls that go whatever the breaker says are observed; resolved once, at wiring."""
        ...

    async def probe(self, name: str, work: Callable[[], Awaitable[object]]) -> bool | None:
        """Try the dependency if its breaker is due for it; whether it works, ``None`` when no probe was due.

        Nothing but cancellation is raised: whatever the work raises is a failed probe, an answer of the venue apart.
        """
        ...

    def status(self, name: str) -> BreakerStatus:
        """A breaker now; reading changes nothing (S46)."""
        ...

    def statuses(self) -> tuple[BreakerStatus, ...]:
        """All of them, in the order of their registration."""
        ...

    async def open(self, name: str, *, actor: str, reason: str) -> BreakerStatus:
        """Open it until an operator resets it, restarts included (S43); holds in memory even where ``StateError`` says
        that it is not on disk.
        """
        ...

    async def reset(self, name: str, *, actor: str, reason: str) -> BreakerStatus:
        """Close it, whatever opened it; on disk first, so ``StateError`` leaves it as it was."""
        ...

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """Have ``listener`` told of every change of state, until the returned function is called.

        What a listener raises is reported and hurts nothing (CB-22).
        """
        ...

    def restore(self, rows: Sequence[BreakerRow]) -> None:
        """Take up where the last process left off; rows of names that are no longer registered are passed over."""
        ...


class HealthStatus(enum.StrEnum):
    """From well to worst; several together are as bad as the worst (S46)."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """A greater one is worse."""
        return tuple(HealthStatus).index(self)


def worst(statuses: Iterable[HealthStatus]) -> HealthStatus:
    """The worst of them; unhealthy where there is none, because nothing is known then."""
    return max(statuses, key=lambda status: status.rank, default=HealthStatus.UNHEALTHY)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found: a status, a sentence, and the numbers behind it."""

    status: HealthStatus
    text: str
    figures: dict[str, float] = msgspec.field(default_factory=dict)


class ComponentHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One component as its last check saw it; ``known`` is False where the check failed or was too slow."""

    component: str
    status: HealthStatus
    text: str
    checked_ms: int
    took_ms: int
    known: bool = True
    breaker: str = ""
    figures: dict[str, float] = msgspec.field(default_factory=dict)


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """The last round of checks. ``status`` is the worst of all components, and critical while a breaker that stops
    entries is not closed; what has not been checked for three intervals is unhealthy.
    """

    status: HealthStatus
    text: str
    checked_ms: int
    components: tuple[ComponentHealth, ...]
    open_breakers: tuple[str, ...]


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How one component is checked, and the breaker that a check which fails counts against (CB-18)."""

    component: str
    look: Callable[[], Awaitable[Finding]]
    breaker: str = ""


class HealthChecks(Protocol):
    """All health checks of one process."""

    async def check(self) -> HealthReport:
        """Make every check, one after another, each within its deadline; a round that runs already is waited for."""
        ...

    def report(self) -> HealthReport:
        """The last round; reading it checks nothing and tells nobody (S46)."""
        ...

    def history(self, component: str | None = None, limit: int = 100) -> tuple[ComponentHealth, ...]:
        """The newest results, newest first; 500 are kept."""
        ...
