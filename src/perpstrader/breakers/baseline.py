"""The plain circuit breakers: a window kept exactly, a period by the rule, one look at each call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import TypeVar

import msgspec

from perpstrader.breakers.contract import (
    BreakerChange,
    BreakerOpenError,
    BreakerSpec,
    BreakerStatus,
    Done,
    Listener,
    UnavailableError,
    Watch,
)
from perpstrader.breakers.failures import FAILURES, Outcome, Rows, outcome_of
from perpstrader.breakers.machine import Breaker, Call
from perpstrader.domain import PerpsTraderError, StateError
from perpstrader.domain.breakers import BreakerRow, BreakerState
from perpstrader.runtime import Clock
from perpstrader.runtime.tasks import FailureSink
from perpstrader.settings.services import BreakerSettings

T = TypeVar("T")


class CircuitBreakers:
    """Implements ``contract.CircuitBreakers``.

    ``persist`` queues a row for the disk; ``commit`` has it there when it returns, or raises ``StateError``. ``rng``
    draws the jitter. ``failures`` is the classification, ``on_failure`` hears of listeners that raise.
    """

    def __init__(
        self,
        specs: Sequence[BreakerSpec],
        settings: BreakerSettings,
        clock: Clock,
        rng: Random,
        *,
        persist: Callable[[BreakerRow], None],
        commit: Callable[[BreakerRow], Awaitable[None]],
        on_failure: FailureSink,
        failures: Rows = FAILURES,
    ) -> None:
        self._breakers = {spec.name: Breaker(spec, settings, clock, rng) for spec in specs}
        self._deadline_ms = settings.call_deadline_ms
        self._clock = clock
        self._persist = persist
        self._commit = commit
        self._on_failure = on_failure
        self._failures = failures
        self._listeners: dict[int, Listener] = {}
        self._heard = 0

    @property
    def names(self) -> tuple[str, ...]:
        """See the contract."""
        return tuple(self._breakers)

    # --- calls ---

    async def call(
        self, name: str, work: Callable[[], Awaitable[T]], *, deadline_ms: int | None = None,
        fallback: Callable[[], Awaitable[T]] | None = None,
    ) -> T:  # fmt: skip
        """See the contract."""
        breaker = self._of(name)
        call = self._admit(breaker)
        if call is not None:
            return await self._run(breaker, call, work, deadline_ms, strict=False)
        if fallback is not None:
            return await fallback()
        raise _closed_to(breaker.status())

    def watch(self, name: str) -> Watch:
        """See the contract."""
        breaker = self._of(name)

        def begin() -> Done:
            return partial(self._settle, breaker, breaker.observe())

        return begin

    async def probe(self, name: str, work: Callable[[], Awaitable[object]]) -> bool | None:
        """See the contract."""
        breaker = self._of(name)
        call = self._admit(breaker) if breaker.is_due else None
        if call is None:
            return None
        try:
            await self._run(breaker, call, work, None, strict=True)
        except Exception as error:
            return outcome_of(error, self._failures) is Outcome.SUCCEEDED
        return True

    # --- reading ---

    def status(self, name: str) -> BreakerStatus:
        """See the contract."""
        return self._of(name).status()

    def statuses(self) -> tuple[BreakerStatus, ...]:
        """See the contract."""
        return tuple(breaker.status() for breaker in self._breakers.values())

    # --- by hand ---

    async def open(self, name: str, *, actor: str, reason: str) -> BreakerStatus:
        """See the contract."""
        breaker = self._of(name)
        _require(name, actor, reason)
        before = breaker.state
        breaker.latch(actor, reason)
        self._tell(breaker, before)
        try:
            await self._commit(breaker.row())
        except StateError:
            self._persist(breaker.row())
            raise
        return breaker.status()

    async def reset(self, name: str, *, actor: str, reason: str) -> BreakerStatus:
        """See the contract."""
        breaker = self._of(name)
        _require(name, actor, reason)
        closed = msgspec.structs.replace(
            breaker.row(), state=BreakerState.CLOSED, since_ms=self._clock.now_ms(), until_ms=None, failed_probes=0,
            actor=actor, reason=reason,
        )  # fmt: skip
        await self._commit(closed)
        before = breaker.state
        breaker.close(actor, reason)
        self._tell(breaker, before)
        return breaker.status()

    # --- listeners, restarts ---

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """See the contract."""
        self._heard += 1
        number = self._heard
        self._listeners[number] = listener
        return lambda: self._listeners.pop(number, None) and None

    def restore(self, rows: Sequence[BreakerRow]) -> None:
        """See the contract."""
        for row in rows:
            breaker = self._breakers.get(row.name)
            if breaker is not None:
                breaker.restore(row)

    # --- inside ---

    def _of(self, name: str) -> Breaker:
        breaker = self._breakers.get(name)
        if breaker is None:
            raise PerpsTraderError(f"there is no breaker {name!r}; there are {', '.join(self._breakers)}")
        return breaker

    def _admit(self, breaker: Breaker) -> Call | None:
        before = breaker.state
        call = breaker.admit()
        if breaker.state is not before:
            self._changed(breaker, before)
        return call

    async def _run(
        self, breaker: Breaker, call: Call, work: Callable[[], Awaitable[T]], deadline_ms: int | None, *, strict: bool
    ) -> T:
        """The call with its deadline; whatever happens it is settled, or its place would be lost for ever."""
        limit_ms = self._deadline_ms if deadline_ms is None else deadline_ms
        try:
            async with asyncio.timeout(limit_ms / 1000) as deadline:
                result = await work()
        except BaseException as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                late = UnavailableError(f"{breaker.spec.name} did not answer within {limit_ms} ms")
                self._settle(breaker, call, late)
                raise late from error
            self._settle(breaker, call, error, strict=strict)
            raise
        self._settle(breaker, call, None)
        return result

    def _settle(self, breaker: Breaker, call: Call, error: BaseException | None, *, strict: bool = False) -> None:
        outcome = outcome_of(error, self._failures)
        if strict and outcome is Outcome.IGNORED and isinstance(error, Exception):
            outcome = Outcome.FAILED  # a probe has to show that it works
        before, was_closed = breaker.state, breaker.state is BreakerState.CLOSED
        breaker.settle(call, outcome, f"{type(error).__name__}: {error}" if error is not None else "")
        failed_probe = call.is_probe and outcome is Outcome.FAILED
        if breaker.state is not before or (failed_probe and not was_closed):
            self._changed(breaker, before)

    def _changed(self, breaker: Breaker, before: BreakerState) -> None:
        self._persist(breaker.row())
        self._tell(breaker, before)

    def _tell(self, breaker: Breaker, before: BreakerState) -> None:
        change = BreakerChange(before=before, status=breaker.status())
        for listener in tuple(self._listeners.values()):
            try:
                listener(change)
            except Exception as error:
                self._on_failure(f"breaker-listener-{breaker.spec.name}", error)


def _require(name: str, actor: str, reason: str) -> None:
    if not actor.strip() or not reason.strip():
        raise PerpsTraderError(
            f"the breaker {name} is opened or reset only with an actor and a reason; say who and why"
        )


def _closed_to(status: BreakerStatus) -> BreakerOpenError:
    what = f"the breaker {status.name} is {status.state.value}: {status.guards}"
    if status.state is BreakerState.LATCHED:
        text = f"{what}; {status.actor} opened it ({status.reason}) and an operator has to reset it"
    else:
        text = f"{what}; last failure: {status.last_failure or 'none'}; it is tried again by itself"
    return BreakerOpenError(text, name=status.name, until_ms=status.until_ms)
