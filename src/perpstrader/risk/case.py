"""A case: everything that one judgement reads, in one frozen value; the rules are functions of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from perpstrader.domain import AssetSpec, MarketSnapshot, Portfolio, Reservation, RiskState, Signal
from perpstrader.settings.limits import RiskSettings
from perpstrader.settings.trading import ExecutionSettings

_BPS: Final = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Case:
    """One wish to enter, and the evidence for and against it.

    ``reservations`` are the risk manager's own (the portfolio's copy is for display), ``assets`` the venue's metadata
    of all coins, because a trade changes the liquidation price of every position.
    """

    signal: Signal
    portfolio: Portfolio
    market: MarketSnapshot
    asset: AssetSpec | None
    state: RiskState
    now_ms: int
    limits: RiskSettings
    execution: ExecutionSettings
    leverage: int
    assets: Mapping[str, AssetSpec]
    reservations: tuple[Reservation, ...]

    @property
    def buys(self) -> bool:
        """True when the entry is a buy."""
        return self.signal.side.opens_with_buy

    @property
    def knows_prices(self) -> bool:
        """True when bid, ask and mark are usable numbers of this symbol and the book is not crossed."""
        market = self.market
        if market.symbol != self.signal.symbol or market.bid is None or market.ask is None or market.mark is None:
            return False
        return all(is_positive(price) for price in (market.bid, market.ask, market.mark)) and market.bid < market.ask

    @property
    def knows_account(self) -> bool:
        """True when every number of the account that a limit reads is usable."""
        portfolio = self.portfolio
        amounts = (portfolio.equity_usd, portfolio.available_usd)
        numbers = [n for p in portfolio.positions.values() for n in (p.size, p.mark_price)]
        return (
            portfolio.as_of_ms > 0 and all(a.is_finite() for a in amounts) and all(is_positive(n) for n in numbers)
        )

    @property
    def limits_equity_usd(self) -> Decimal:
        """The equity that limits are fractions of: a deposit of today counts from tomorrow (S39)."""
        cap = self.state.limits_equity_usd
        return self.portfolio.equity_usd if cap is None else min(self.portfolio.equity_usd, cap)

    @property
    def slip_cap_fraction(self) -> Decimal:
        """How far from the mid an entry may fill."""
        execution, major = self.execution, self.signal.symbol in self.limits.majors
        return (execution.entry_slip_majors_bps if major else execution.entry_slip_others_bps) / _BPS

    @property
    def spread_cap_bps(self) -> Decimal:
        """The widest spread to enter on."""
        major = self.signal.symbol in self.limits.majors
        return self.limits.max_spread_majors_bps if major else self.limits.max_spread_others_bps


def is_positive(number: Decimal) -> bool:
    """True for a finite number above zero; never raises."""
    return number.is_finite() and number > 0
