"""Watching execution from outside, in the order in which things happen; it changes nothing."""

from __future__ import annotations

from typing import Protocol

from perpstrader.domain import Candle, FundingPayment, Order
from perpstrader.execution.positions import FillEffect


class ExecutionObserver(Protocol):
    """Told of each thing right when it happens; must not raise. Replay's fingerprint and report come from here."""

    def on_bar(self, candle: Candle) -> None:
        """A bar of some symbol closed."""
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

    def on_bar(self, candle: Candle) -> None:
        """Nothing."""

    def on_order(self, order: Order) -> None:
        """Nothing."""

    def on_fill(self, effect: FillEffect, order: Order | None) -> None:
        """Nothing."""

    def on_funding(self, payment: FundingPayment) -> None:
        """Nothing."""
