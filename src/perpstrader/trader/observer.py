"""Watching a whole run from outside: what execution tells its observer, and every decision."""

from __future__ import annotations

from typing import Protocol

from perpstrader.domain import Trace
from perpstrader.execution.observer import ExecutionObserver, NoObserver


class Observer(ExecutionObserver, Protocol):
    """An observer of execution that is told of decisions too; must not raise."""

    def on_decision(self, trace: Trace) -> None:
        """A decision, as it was first recorded."""
        ...


class Nobody(NoObserver):
    """Nobody watches."""

    def on_decision(self, trace: Trace) -> None:
        """Nothing."""
