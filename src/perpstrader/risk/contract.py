"""The contract of risk: what a risk manager answers, and what its keeper is told.

``RiskManager`` judges entries; it reads what it is handed and its own reservations, and nothing else. ``RiskEvents`` is
how execution tells the keeper of money that moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from perpstrader.domain import (
    AssetSpec,
    Check,
    Halt,
    MarketSnapshot,
    Portfolio,
    Position,
    Reservation,
    RiskState,
    Signal,
    Verdict,
)

Wish = tuple[Signal, MarketSnapshot, AssetSpec | None]
"""One entry of a batch."""


class PortfolioRisk(msgspec.Struct, frozen=True, kw_only=True):
    """A portfolio with everything in flight; ratios are of equity and ``None`` where that is not positive.

    ``concentration_fraction`` is the largest coin, ``margin_ratio`` maintenance margin (1 is liquidation),
    ``nearest_liquidation_fraction`` the smallest distance of a mark to its liquidation price, also after the joint
    shock of the others, ``liquidity_ratio`` the largest position over what may be closed at once. ``score`` is the
    greatest share of a limit in use, 0 to 1.
    """

    equity_usd: Decimal
    gross_notional_usd: Decimal
    net_notional_usd: Decimal
    gross_leverage: Decimal | None
    net_leverage: Decimal | None
    concentration_fraction: Decimal | None
    margin_ratio: Decimal | None
    nearest_liquidation_symbol: str
    nearest_liquidation_fraction: Decimal | None
    liquidity_ratio: Decimal
    score: float


class PositionRisk(msgspec.Struct, frozen=True, kw_only=True):
    """One position: its share of equity, its profit over its cost, its stop, and how far liquidation is.

    ``risk_usd`` is what the way from mark to stop costs; without a listed stop the widest one allowed is taken.
    """

    symbol: str
    notional_usd: Decimal
    equity_fraction: Decimal | None
    profit_fraction: Decimal
    stop_fraction: Decimal | None
    risk_usd: Decimal
    liquidation_price: Decimal | None
    liquidation_fraction: Decimal | None
    least_liquidation_fraction: Decimal
    warnings: tuple[str, ...] = ()


class RiskMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The day against its limits, in USD; ``None`` while the equity at 00:00 UTC, or now, is not known.

    ``loss_utilisation`` is the loss over the loss that stops entries; a profit uses nothing.
    """

    day: str
    realized_usd: Decimal
    fees_usd: Decimal
    funding_usd: Decimal
    loss_usd: Decimal
    entry_stop_usd: Decimal | None
    flatten_usd: Decimal | None
    loss_utilisation: Decimal | None
    drawdown_fraction: Decimal | None
    size_multiplier: Decimal
    loss_streak: int
    entries: int
    halts: tuple[Halt, ...]


class HaltChange(msgspec.Struct, frozen=True, kw_only=True):
    """A halt that began or got stricter, or one that ended; ``actor`` and ``reason`` are those of this change."""

    halt: Halt
    began: bool
    time_ms: int
    actor: str
    reason: str


class RiskManager(Protocol):
    """May this signal be traded, and how large. Synchronous: between a verdict and its reservation nothing can happen.

    The one source of truth about reservations is ``reservations``; ``Portfolio.reservations`` is a copy for display.
    Signals that close or reduce raise ``ValueError``: they take the exit road and are never judged here (S01, S38).
    """

    @property
    def reservations(self) -> tuple[Reservation, ...]:
        """Exposure that is approved or in flight, oldest first."""
        ...

    def evaluate(
        self,
        signal: Signal,
        portfolio: Portfolio,
        market: MarketSnapshot,
        asset: AssetSpec | None,
        state: RiskState,
        now_ms: int,
    ) -> Verdict:
        """What ``approve`` would answer, without reserving: not to be handed to the executor."""
        ...

    def approve(
        self,
        signal: Signal,
        portfolio: Portfolio,
        market: MarketSnapshot,
        asset: AssetSpec | None,
        state: RiskState,
        now_ms: int,
    ) -> Verdict:
        """Every limit holds after this trade and everything in flight, and its exposure is reserved (S32); or refused.

        ``now_ms`` is UTC, by the clock that stamps the evidence. An approval bears the number of its reservation.
        """
        ...

    def evaluate_batch(
        self, items: Sequence[Wish], portfolio: Portfolio, state: RiskState, now_ms: int
    ) -> tuple[Verdict, ...]:
        """As ``approve`` for each in order: each is judged with the reservations of those before it."""
        ...

    def release(self, reservation: int) -> None:
        """Its exposure is settled or will never be; an unknown number does nothing."""
        ...

    def settle(self, reservation: int, filled_size: Decimal, price: Decimal) -> None:
        """``filled_size`` more of it is a position now, as the portfolio shows; the rest stays reserved."""
        ...

    def portfolio_risk(self, portfolio: Portfolio, assets: Mapping[str, AssetSpec]) -> PortfolioRisk:
        """The risk of the whole account, everything in flight included."""
        ...

    def position_risk(
        self, position: Position, portfolio: Portfolio, assets: Mapping[str, AssetSpec]
    ) -> PositionRisk:
        """The risk of one position of the portfolio."""
        ...

    def within_limits(
        self, portfolio: Portfolio, state: RiskState, assets: Mapping[str, AssetSpec]
    ) -> tuple[Check, ...]:
        """Each limit of the portfolio, everything in flight included; the account is within them when all passed."""
        ...

    def metrics(self, state: RiskState, equity_usd: Decimal | None) -> RiskMetrics:
        """The day so far against its limits."""
        ...


class RiskEvents(Protocol):
    """What execution tells the keeper; each call changes memory at once and queues its own write."""

    def on_fill(self, net_usd: Decimal, fee_usd: Decimal, time_ms: int) -> None:
        """Realised profit of one fill, net of its fee."""
        ...

    def on_episode_end(self, symbol: str, net_usd: Decimal, time_ms: int) -> None:
        """A position is flat; its whole net profit, fees and funding included."""
        ...

    def on_funding(self, usd: Decimal, time_ms: int) -> None:
        """A funding payment, negative when paid."""
        ...

    def on_cash_flow(self, usd: Decimal, time_ms: int) -> None:
        """Money that came (positive) or went; told before the equity that it changed (S39)."""
        ...

    def on_entry(self, symbol: str, now_ms: int) -> None:
        """An entry's first fill."""
        ...
