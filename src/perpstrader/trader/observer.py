"""Watching a run from outside, in the order in which things happen: decisions, orders, fills, funding. It changes nothing."""

from __future__ import annotations

from typing import Protocol

from perpstrader.domain import FundingPayment, Order, Trace
from perpstrader.execution.positions import FillEffect


class Observer(Protocol):
    """Told of each thing right when it happens; must not raise. Replay takes its fingerprint and its report from here."""

    def on_decision(self, trace: Trace) -> None:
        """A decision, as it was first recorded."""
        ...

    def on_order(self, order: Order) -> None:
        """A change of one order of ours."""
        ...

    def on_fill(self, effect: FillEffect, order: Order | None) -> None:
        """A fill that was applied, with the order it belongs to."""
        ...

    def on_funding(self, payment: FundingPayment) -> None:
        """A funding payment that was booked."""
        ...


class NoObserver:
    """Nobody watches."""

    def on_decision(self, trace: Trace) -> None:
        """Nothing."""

    def on_order(self, order: Order) -> None:
        """Nothing."""

    def on_fill(self, effect: FillEffect, order: Order | None) -> None:
        """Nothing."""

    def on_funding(self, payment: FundingPayment) -> None:
        """Nothing."""
