"""What the trader does with its breakers: entries wait for what they rely on, and time alone leads to a probe.

Nothing here stands in the way of an exit, a stop, a cancel or a read for them (S01): what an open breaker stops is an
entry, in the decision before its reads and once more right before it would go out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Final

from perpstrader.breakers import (
    EXECUTION,
    FAILURES,
    RECOVERY,
    RISK,
    SPECS,
    STATE,
    TRACES,
    VENUE,
    BreakerChange,
    BreakerRow,
    BreakerState,
    BreakerStatus,
    CircuitBreakers,
    CircuitBreakersContract,
    Done,
    GuardedTransport,
    HealthChecksContract,
    Outcome,
    UnavailableError,
    Watch,
)
from perpstrader.domain import Reason, Refusal, StateError, make_cloid
from perpstrader.domain.wording import moment_text
from perpstrader.execution import Journal
from perpstrader.runtime import Clock
from perpstrader.runtime.tasks import FailureSink
from perpstrader.settings import Settings
from perpstrader.state import StateStore
from perpstrader.traces.errors import TraceError, TraceRejectedError, UnknownTraceError
from perpstrader.venue.contract import NotSent, Unknown

if TYPE_CHECKING:
    from perpstrader.trader.trader import Trader

Probe = Callable[[], Awaitable[object]]

TRADER_FAILURES: Final = (
    (TraceRejectedError, Outcome.SUCCEEDED),
    (UnknownTraceError, Outcome.SUCCEEDED),
    (TraceError, Outcome.FAILED),
    *FAILURES,
)
"""The record's own errors before the table of all others: one bad trace is no bad store."""

_PROBE_NUMBER: Final = 0
"""No intent has it, so no order has the cloid that the probe of the order road cancels."""


async def make_breakers(
    settings: Settings, clock: Clock, rng: Random, store: StateStore, journal: Journal, on_failure: FailureSink
) -> CircuitBreakers:
    """The breakers as the last process left them; raises ``StateError`` where that cannot be read."""
    deadline_s = settings.breakers.call_deadline_ms / 1000

    async def commit(row: BreakerRow) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                await journal.commit(lambda tx: tx.breakers.put(row))
        except TimeoutError as error:
            raise StateError(f"state.db did not take the breaker {row.name} within {deadline_s:g} s") from error

    breakers = CircuitBreakers(
        SPECS, settings.breakers, clock, rng, persist=lambda row: journal.later(lambda tx: tx.breakers.put(row)),
        commit=commit, on_failure=on_failure, failures=TRADER_FAILURES,
    )  # fmt: skip
    breakers.restore(await store.read(lambda tx: tx.breakers.all()))
    store.watch = breakers.watch(STATE)
    return breakers


def entry_refusal(breakers: CircuitBreakersContract) -> Refusal | None:
    """Why entries wait for a breaker, or ``None``; a half-open one still stops them: an entry is no probe."""
    for name in breakers.names:
        status = breakers.status(name)
        if status.stops_entries and status.state is not BreakerState.CLOSED:
            return Refusal(reason=Reason.BREAKER_OPEN, value=_why(status), hint=_what_to_do(status))
    return None


def _why(status: BreakerStatus) -> str:
    since = f"{status.name} is {status.state.value.replace('_', '-')} since {moment_text(status.since_ms)} UTC"
    if status.state is BreakerState.LATCHED:
        return f"{since}: {status.actor}, {status.reason}"
    return f"{since}: {status.last_failure}" if status.last_failure else since


def _what_to_do(status: BreakerStatus) -> str:
    if status.state is BreakerState.LATCHED:
        return f"an operator opened it: perpstrader breakers reset {status.name} --reason ..."
    if status.until_ms is not None:
        return f"it is tried again by itself from {moment_text(status.until_ms)} UTC on; exits go on"
    return "it is being tried; exits go on"


def recovery_watch(breakers: CircuitBreakersContract) -> Watch:
    """How checks of recovery are observed: whatever keeps one from being made is a failure, a mistake in it, too.

    Nobody looks after the positions meanwhile, and that has to be told (PR-29). It stops nothing.
    """
    watch = breakers.watch(RECOVERY)

    def begin() -> Done:
        ended = watch()

        def end(error: BaseException | None) -> None:
            broken = isinstance(error, Exception)
            ended(UnavailableError(f"{type(error).__name__}: {error}") if broken else error)

        return end

    return begin


def make_probes(trader: Trader, transport: GuardedTransport) -> dict[str, Probe]:
    """How each dependency is tried after its breaker's period; none of them changes a position or an order but
    recovery, which does what it always does.
    """
    settings, store, desk = trader.settings, trader.store, trader.execution.desk
    timeout_s = settings.breakers.call_deadline_ms / 1000

    async def execution_road() -> None:
        """A cancel of an order that never was: signed, taken and answered as an order is, and without effect."""
        [ack] = await desk.client.cancel([(settings.trader.symbols[0], make_cloid(desk.epoch, _PROBE_NUMBER, 0))])
        if isinstance(ack, NotSent | Unknown):
            raise UnavailableError(f"a signed request got no answer: {ack.text}")

    return {
        VENUE: lambda: transport.ask(timeout_s),
        STATE: lambda: store.transact(lambda tx: tx.meta.put_int("state_probe_ms", desk.clock.now_ms())),
        RISK: lambda: store.read(lambda tx: (tx.risk.load(), tx.halts.active())),
        EXECUTION: execution_road,
        RECOVERY: trader.recovery.check,
        TRACES: trader.recorder.probe,
    }


class Guard:
    """The breakers and the health of one trader, and the loop that tries what is broken."""

    def __init__(
        self, breakers: CircuitBreakersContract, health: HealthChecksContract, probes: Mapping[str, Probe],
        clock: Clock, *, interval_ms: int, tick_s: float,
    ) -> None:  # fmt: skip
        self.breakers = breakers
        self.health = health
        self._probes = dict(probes)
        self._clock = clock
        self._interval_ms = interval_ms
        self._tick_s = tick_s
        self._next_ms = clock.now_ms() + interval_ms
        self._doubted: tuple[str, ...] = ()

    def refusal(self) -> Refusal | None:
        """See ``entry_refusal``."""
        return entry_refusal(self.breakers)

    async def run(self, beat: Callable[[], None]) -> None:
        """Try what is due, look after everything's health at its interval; what could not be known, sooner."""
        while True:
            beat()
            for name, work in self._probes.items():
                await self.breakers.probe(name, work)
                beat()
            if self._clock.now_ms() >= self._next_ms or self._is_in_doubt():
                self._next_ms = self._clock.now_ms() + self._interval_ms
                report = await self.health.check()
                self._doubted = tuple(c.breaker for c in report.components if not c.known and c.breaker)
            await self._clock.sleep(self._tick_s)

    def _is_in_doubt(self) -> bool:
        """A check failed and its breaker has not tripped yet: it is made again at once, so that it soon does."""
        return any(self.breakers.status(name).state is BreakerState.CLOSED for name in self._doubted)


def change_text(change: BreakerChange) -> str:
    """A change of a breaker in one sentence."""
    status = change.status
    if status.state is BreakerState.CLOSED:
        by = f" by {status.actor}: {status.reason}" if status.actor else ": its probes succeeded"
        return f"{status.name} is closed again{by}"
    if status.state is BreakerState.HALF_OPEN:
        return f"{status.name} is tried again"
    effect = "entries wait, exits go on" if status.stops_entries else "trading goes on"
    if status.state is BreakerState.LATCHED:
        return f"{status.name} was opened by {status.actor}: {status.reason}; {effect}"
    if status.failed_probes:
        return f"{status.name} stays open, failed probe {status.failed_probes}: {status.last_failure}; {effect}"
    return (
        f"{status.name} opened after {status.failures} failures of {status.volume} calls: {status.last_failure}; "
        f"{effect}"
    )
