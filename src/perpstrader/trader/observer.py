"""Watching a whole run from outside: what execution tells its observer, and every decision."""

from __future__ import annotations

from typing import Protocol

from perpstrader.domain import Order, Trace
from perpstrader.execution.observer import ExecutionObserver, NoObserver
from perpstrader.execution.positions import FillEffect


class Observer(ExecutionObserver, Protocol):
    """An observer of execution that is told of decisions too; must not raise."""

    def on_decision(self, trace: Trace) -> None:
        """A decision, as it was first recorded."""
        ...


class Nobody(NoObserver):
    """Nobody watches."""

    def on_decision(self, trace: Trace) -> None:
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
