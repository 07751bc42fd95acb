"""Watching a whole run from outside: what execution tells its observer, and every decision."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from perpstrader.domain import Order, Trace
from perpstrader.execution.observer import ExecutionObserver, NoObserver
from perpstrader.execution.positions import FillEffect
from perpstrader.risk.contract import HaltChange


class Observer(ExecutionObserver, Protocol):
    """An observer of execution that is told of decisions too; must not raise."""

    def on_decision(self, trace: Trace) -> None:
        """A decision, as it was first recorded."""
        ...

    def on_halt(self, change: HaltChange) -> None:
        """A halt began, got stricter, or ended."""
        ...

    def on_equity(self, equity_usd: Decimal) -> None:
        """The equity as the loss limits judge it: at each mark of what is held."""
        ...


class Nobody(NoObserver):
    """Nobody watches."""

    def on_decision(self, trace: Trace) -> None:
        """Nothing."""

    def on_halt(self, change: HaltChange) -> None:
        """Nothing."""

    def on_equity(self, equity_usd: Decimal) -> None:
        """Nothing."""


class FillListener(Protocol):
    """Told of fills alone."""

    def on_fill(self, effect: FillEffect, order: Order | None) -> None:
        """A fill that was applied."""
        ...


class Relay:
    """An execution observer that tells the recorder of fills first, and then the observer from outside of everything.
    """

    def __init__(self, first: FillListener, then: Observer) -> None:
        self._first = first
        self._then = then
        self.on_bar = then.on_bar
        self.on_order = then.on_order
        self.on_funding = then.on_funding

    def on_fill(self, effect: FillEffect, order: Order | None) -> None:
        """Both are told."""
        self._first.on_fill(effect, order)
        self._then.on_fill(effect, order)
