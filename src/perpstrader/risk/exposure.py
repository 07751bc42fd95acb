"""What the account holds and may come to hold, and what its limits are in USD: one ledger of exposure for every rule.

Positions count at mark, reservations at the dearest price they may fill at. What is reserved may fill or not, so each
limit is held against the worse case of both (S32).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Final

from perpstrader.domain import ZERO, AssetSpec, Portfolio, Reservation, Side
from perpstrader.risk.liquidation import Exposure
from perpstrader.risk.losses import stricter
from perpstrader.settings.limits import RiskSettings
from perpstrader.settings.trading import ExecutionSettings

_DOWN: Final = Context(prec=28, rounding=ROUND_FLOOR)
_MARKET_CAPS: Final = ((25, Decimal(15_000_000)), (20, Decimal(5_000_000)), (10, Decimal(2_000_000)))
_SMALLEST_MARKET_CAP: Final = Decimal(500_000)


@dataclass(frozen=True, slots=True)
class UsdLimits:
    """The limits of an account in USD, the stricter of fraction and cap each."""

    risk: Decimal
    order: Decimal
    symbol: Decimal
    gross: Decimal
    net: Decimal
    cluster: Decimal
    margin: Decimal
    crash: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """Positions and reservations of an account; ``new`` is the trade under judgement, where there is one."""

    held: tuple[Exposure, ...]
    reserved: tuple[Exposure, ...]
    new: Exposure | None = None

    @property
    def everything(self) -> tuple[Exposure, ...]:
        """All of them; those of one coin and side as one, for they move together."""
        merged: dict[tuple[str, Side], Exposure] = {}
        for exposure in (*self.held, *self.reserved, *((self.new,) if self.new is not None else ())):
            if exposure.size > 0:
                key = exposure.symbol, exposure.side
                merged[key] = _merge(merged[key], exposure) if key in merged else exposure
        return tuple(merged.values())

    @property
    def in_flight(self) -> tuple[Exposure, ...]:
        """What is not yet a position."""
        return (*self.reserved, *((self.new,) if self.new is not None else ()))

    @property
    def symbols(self) -> tuple[str, ...]:
        """The coins with any exposure, in order of appearance."""
        return tuple(dict.fromkeys(exposure.symbol for exposure in self.everything))

    @property
    def gross_usd(self) -> Decimal:
        """All notionals."""
        return _total(self.everything)

    @property
    def in_flight_usd(self) -> Decimal:
        """The notional that a trader who dies now may leave without a stop (S25)."""
        return _total(self.in_flight)

    @property
    def long_usd(self) -> Decimal:
        """The greatest net notional: every reserved long filled, no reserved short."""
        return self._net_held() + _total(e for e in self.in_flight if e.side is Side.LONG)

    @property
    def short_usd(self) -> Decimal:
        """The greatest net short notional, as a positive number (negative where the account stays long)."""
        return _total(e for e in self.in_flight if e.side is Side.SHORT) - self._net_held()

    @property
    def net_usd(self) -> Decimal:
        """The greater of both."""
        return max(self.long_usd, self.short_usd)

    @property
    def margin_usd(self) -> Decimal:
        """Initial margin of all of them, each at its own leverage."""
        return sum((margin_usd(e) for e in self.everything), ZERO)

    def symbol_usd(self, symbol: str) -> Decimal:
        """The notional in one coin."""
        return _total(e for e in self.everything if e.symbol == symbol)

    def side_usd(self, side: Side) -> Decimal:
        """The net notional that an entry of this side adds to."""
        return self.long_usd if side is Side.LONG else self.short_usd

    def _net_held(self) -> Decimal:
        return sum((e.notional_usd * e.side.sign for e in self.held), ZERO)


def usd_limits(limits: RiskSettings, execution: ExecutionSettings, equity_usd: Decimal) -> UsdLimits:
    """The limits of an account whose limits are fractions of ``equity_usd`` (zero for a negative one)."""
    base = max(ZERO, equity_usd)
    order = stricter(limits.max_order_notional_fraction * base, limits.max_order_notional_usd)
    return UsdLimits(
        risk=stricter(limits.risk_per_trade_fraction * base, limits.risk_per_trade_usd),
        order=order,
        symbol=stricter(limits.max_position_fraction * base, limits.max_position_usd),
        gross=stricter(limits.max_gross_notional_ratio * base, limits.max_gross_notional_usd),
        net=stricter(limits.max_net_notional_ratio * base, limits.max_net_notional_usd),
        cluster=limits.max_cluster_notional_ratio * base,
        margin=limits.max_margin_fraction * base,
        crash=order if execution.max_crash_exposure_usd is None else execution.max_crash_exposure_usd,
    )


def open_book(portfolio: Portfolio, reservations: Iterable[Reservation], limits: RiskSettings, leverage: int) -> Book:
    """The account as it stands. A position without a known stop counts with the widest stop allowed."""
    held = []
    for p in portfolio.positions.values():
        stop_fraction = limits.max_stop_distance_fraction
        if p.stop is not None:
            stop_fraction = max(ZERO, (p.mark_price - p.stop.trigger_price) * p.side.sign / p.mark_price)
        held.append(Exposure(p.symbol, p.side, p.size, p.mark_price, p.leverage, stop_fraction))
    reserved = [Exposure(r.symbol, r.side, r.size, r.price, leverage, _risk_fraction(r)) for r in reservations]
    return Book(tuple(held), tuple(reserved))


def margin_usd(exposure: Exposure) -> Decimal:
    """Initial margin: notional over leverage (API sheet 7.2); the whole notional where the leverage is unknown."""
    return exposure.notional_usd / max(1, exposure.leverage)


def market_order_cap_usd(asset: AssetSpec) -> Decimal:
    """What one market order may carry, by the stricter of the two published tables (API sheet, section 4)."""
    return next((cap for least, cap in _MARKET_CAPS if asset.max_leverage >= least), _SMALLEST_MARKET_CAP)


def divide_down(amount: Decimal, by: Decimal) -> Decimal:
    """The quotient rounded down, and never below zero, so that it times ``by`` is at most ``amount``."""
    return max(ZERO, _DOWN.divide(amount, by))


def unknown_coins(book: Book, assets: Mapping[str, AssetSpec]) -> tuple[str, ...]:
    """The coins of the book that have no metadata: without their margin table nothing can be said of liquidation."""
    return tuple(symbol for symbol in book.symbols if symbol not in assets)


def _risk_fraction(reservation: Reservation) -> Decimal:
    return reservation.risk_usd / reservation.notional_usd if reservation.notional_usd > 0 else ZERO


def _total(exposures: Iterable[Exposure]) -> Decimal:
    return sum((exposure.notional_usd for exposure in exposures), ZERO)


def _merge(first: Exposure, second: Exposure) -> Exposure:
    size = first.size + second.size
    return Exposure(
        symbol=first.symbol, side=first.side, size=size, price=(first.notional_usd + second.notional_usd) / size,
        leverage=min(first.leverage, second.leverage), stop_fraction=max(first.stop_fraction, second.stop_fraction),
    )  # fmt: skip
