"""Runs one strategy so that whatever it does costs its own cycle and nothing more."""

from __future__ import annotations

import asyncio
import inspect
import math
import traceback
from collections.abc import Awaitable
from decimal import Decimal
from typing import Final, cast

import msgspec

from perpstrader.domain import Action, MarketView, Side, Signal
from perpstrader.runtime.clock import Clock
from perpstrader.runtime.executor import Executor
from perpstrader.strategies.port import BaseStrategy, Strategy

DEFAULT_DEADLINE_MS: Final = 1_000
BACKOFF_AFTER: Final = 3
MAX_SKIPPED_CYCLES: Final = 64
WELL_AFTER: Final = 3
"""A strategy that failed on a symbol works again when it has answered so often in a row for that symbol."""

_PRICE: Final = (Decimal, type(None))
_FIELDS: Final[tuple[tuple[str, type | tuple[type, ...], str], ...]] = (
    ("id", str, "a text"),
    ("action", Action, "an Action"),
    ("side", Side, "a Side"),
    ("confidence", (float, int), "a number in 0..1"),
    ("created_ms", int, "whole milliseconds"),
    ("ttl_ms", int, "whole milliseconds"),
    ("entry_price", _PRICE, "a Decimal or None; price_level() makes one from a statistic"),
    ("stop_price", _PRICE, "a Decimal or None; price_level() makes one from a statistic"),
    ("target_price", _PRICE, "a Decimal or None; price_level() makes one from a statistic"),
    ("size_hint", _PRICE, "a Decimal or None"),
)
"""What a signal's fields must be: a struct made by hand is not checked by ``msgspec``, and a float must not become
money."""


class Outcome(msgspec.Struct, frozen=True):
    """What a cycle of a strategy came to: a signal, an error in one sentence, or neither; ``skipped`` says why it was
    not asked."""

    signal: Signal | None = None
    error: str | None = None
    elapsed_ns: int = 0
    skipped: str | None = None


class StrategyRunner:
    """Asks a strategy and contains it: errors, wrong answers and lateness end in the ``Outcome``, never in an
    exception.

    * A synchronous strategy is called in place: no task, no timer, a microsecond. Nothing can interrupt it there, so
      this is for strategies one trusts to return, such as those that come with the program. If it comes back after
      the deadline, that is an error.
    * With an ``executor`` (``isolated``) it is called in that executor's thread and waited for until the deadline. A
      thread cannot be killed: while a hanging call is out, further cycles are skipped, and what it may still return
      is dropped. Each isolated strategy needs an executor of its own, or it would hang its neighbours.
    * An asynchronous strategy is cancelled at the deadline.

    A late entry is dropped, because its market is gone; a late exit is kept, because a position should still be left.
    ``failing_since_ms`` is when it began to fail, ``None`` while it works: one good answer between two errors, or one
    for another symbol, ends nothing. After ``BACKOFF_AFTER`` errors in a row 1, 2, 4, … up to ``MAX_SKIPPED_CYCLES``
    cycles are skipped between attempts; the first success ends that. Positions stay protected by their stops at the
    venue meanwhile.
    """

    def __init__(
        self,
        strategy: Strategy,
        clock: Clock,
        deadline_ms: int = DEFAULT_DEADLINE_MS,
        *,
        executor: Executor | None = None,
    ) -> None:
        self.strategy = strategy
        self.name = strategy.name
        self.calls = 0
        self.errors = 0
        self.errors_in_a_row = 0
        self.skipped_cycles = 0
        self.last_error: str | None = None
        self.last_error_ms: int | None = None
        self.failing_since_ms: int | None = None
        self._unwell: dict[str, int] = {}
        self._clock = clock
        self._deadline_ms = deadline_ms
        self._executor = executor
        self._to_skip = 0
        self._call_is_out = False

    def wants(self, symbol: str, interval: str) -> bool:
        """True when the strategy asked to be shown this market."""
        symbols, intervals = self.strategy.symbols, self.strategy.intervals
        return (not symbols or symbol in symbols) and (not intervals or interval in intervals)

    def indicators(self, symbol: str) -> dict[str, float]:
        """The finite values that the strategy shows for ``symbol``; empty when it has none, fails, or is busy."""
        if not isinstance(self.strategy, BaseStrategy) or self._call_is_out:
            return {}
        try:
            shown = self.strategy.indicators(symbol)
            return {str(name): float(value) for name, value in shown.items() if math.isfinite(value)}
        except Exception:
            return {}

    def explain(self, symbol: str) -> str:
        """The strategy's words on ``symbol``, or why it has none; never raises."""
        if self._call_is_out:
            return f"{self.name} has not come back from its last call yet"
        if self.errors_in_a_row:
            return f"{self.name} failed {self.errors_in_a_row} times in a row: {self.last_error}"
        if not isinstance(self.strategy, BaseStrategy):
            return ""
        try:
            return str(self.strategy.explain(symbol))
        except Exception as error:
            return f"{self.name} could not explain itself: {_sentence(error)}"

    async def on_market(self, view: MarketView) -> Outcome:
        """The strategy's answer to ``view``; raises only when the caller itself is cancelled."""
        if self._call_is_out:
            return self._skip("its last call has not come back yet")
        if self._to_skip:
            self._to_skip -= 1
            return self._skip(f"it failed {self.errors_in_a_row} times in a row: {self.last_error}")
        self.calls += 1
        started = self._clock.monotonic_ns()
        try:
            answer = (
                self.strategy.on_market(view)
                if self._executor is None
                else await self._ask_elsewhere(self._executor, view)
            )
            if answer is not None and not isinstance(answer, Signal) and inspect.isawaitable(answer):
                answer = await self._await_within_deadline(answer)
        except asyncio.CancelledError:
            if _is_cancelled_from_outside():
                raise
            return self._failed("it cancelled itself", view, started)
        except TimeoutError as error:
            return self._failed(str(error) or "TimeoutError", view, started)
        except (Exception, SystemExit) as error:
            return self._failed(_sentence(error), view, started)
        elapsed = self._clock.monotonic_ns() - started
        if answer is None and elapsed <= self._deadline_ms * 1_000_000:
            self._succeeded(view.symbol)
            return Outcome(None, None, elapsed)
        return self._judge(answer, view, started)

    def _judge(self, answer: object, view: MarketView, started: int) -> Outcome:
        elapsed = self._clock.monotonic_ns() - started
        fault = None if answer is None else _fault(answer, self.name, view)
        if fault:
            return self._failed(fault, view, started)
        signal = cast("Signal | None", answer)
        if elapsed > self._deadline_ms * 1_000_000:
            kept = signal if signal is not None and signal.is_exit else None
            return self._failed(
                f"it took {elapsed / 1e6:.0f} ms, more than its deadline of {self._deadline_ms} ms", view, started, kept
            )
        self._succeeded(view.symbol)
        return Outcome(signal, None, elapsed)

    async def _ask_elsewhere(self, executor: Executor, view: MarketView) -> object:
        def ask() -> object:
            try:
                return self.strategy.on_market(view)
            finally:
                self._call_is_out = False

        self._call_is_out = True
        try:
            return await executor.run(ask, timeout_s=self._deadline_ms / 1000)
        except TimeoutError as error:
            if not self._call_is_out:  # the strategy raised it itself
                raise
            raise TimeoutError(f"it did not come back within its deadline of {self._deadline_ms} ms") from error

    async def _await_within_deadline(self, answer: Awaitable[object]) -> object:
        try:
            async with asyncio.timeout(self._deadline_ms / 1000) as deadline:
                return await answer
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise TimeoutError(f"it did not come back within its deadline of {self._deadline_ms} ms") from error

    def _succeeded(self, symbol: str) -> None:
        self.errors_in_a_row = 0
        if symbol not in self._unwell:
            return
        self._unwell[symbol] -= 1
        if not self._unwell[symbol]:
            del self._unwell[symbol]
            self.failing_since_ms = self.failing_since_ms if self._unwell else None

    def _failed(self, error: str, view: MarketView, started: int, kept: Signal | None = None) -> Outcome:
        self.errors += 1
        self.errors_in_a_row += 1
        self.last_error = error
        self._unwell[view.symbol] = WELL_AFTER
        self.last_error_ms = self._clock.now_ms()
        if self.failing_since_ms is None:
            self.failing_since_ms = self.last_error_ms
        beyond = self.errors_in_a_row - BACKOFF_AFTER
        if beyond >= 0:
            self._to_skip = min(2 ** min(beyond, 16), MAX_SKIPPED_CYCLES)
        return Outcome(kept, error, self._clock.monotonic_ns() - started)

    def _skip(self, why: str) -> Outcome:
        self.skipped_cycles += 1
        return Outcome(None, None, 0, why)


def _fault(answer: object, name: str, view: MarketView) -> str | None:
    """What is wrong with an answer, in one sentence; a signal that passes is safe to hand to the risk manager."""
    if not isinstance(answer, Signal):
        return f"it returned {type(answer).__name__} where a Signal or None is expected"
    if answer.strategy != name:
        return f"its signal says strategy {answer.strategy!r}, but only {name!r} may speak here"
    if answer.symbol != view.symbol:
        return f"its signal is for {answer.symbol!r}, but it was asked about {view.symbol!r}"
    for field, allowed, expected in _FIELDS:
        value = getattr(answer, field)
        if not isinstance(value, allowed) or isinstance(value, bool):
            return f"its signal has {field} {value!r}, which must be {expected}"
        if isinstance(value, Decimal) and not value.is_finite():
            return f"its signal has {field} {value!r}, which must be finite"
    return None if answer.id else "its signal has no id; BaseStrategy.open and close make one"


def _is_cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _sentence(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
