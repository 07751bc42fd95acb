"""Money and rounding: Decimal in, Decimal out, by the venue's rules, never rounding up what a limit approved.

Prices and sizes follow the API sheet, section 4: a price has at most 5 significant figures and at most
``6 - size_decimals`` decimals, integers are always valid; a size is a multiple of ``10**-size_decimals``.
"""

from __future__ import annotations

from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_FLOOR,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    InvalidOperation,
)
from typing import Final

import msgspec

from perpstrader.domain.errors import MoneyError

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)
MICRO: Final = Decimal("0.000001")
CENT: Final = Decimal("0.01")

MAX_SIGNIFICANT_FIGURES: Final = 5
MAX_PRICE_DECIMALS: Final = 6
MIN_NOTIONAL_USD: Final = Decimal(10)

_EXACT: Final = Context(prec=200)
"""Rounding to a step never runs out of digits, however large the number is."""
_POWERS: Final = {n: Decimal(1).scaleb(n) for n in range(-12, 13)}


def dec(value: str | int | Decimal) -> Decimal:
    """A finite Decimal; raises ``MoneyError`` for a float, NaN, Infinity or text that is no number."""
    if isinstance(value, float):
        raise MoneyError(f"{value!r} is a float; money is made from text or integers")
    try:
        result = Decimal(value)
    except (InvalidOperation, ValueError, TypeError) as error:
        raise MoneyError(f"{value!r} is not a number") from error
    if not result.is_finite():
        raise MoneyError(f"{value!r} is not finite")
    return result


def usd(value: Decimal) -> Decimal:
    """The amount cut to micro-USD, as the venue cuts its own rows (API sheet 7.1: truncated, not rounded)."""
    return value.quantize(MICRO, rounding=ROUND_DOWN)


def plain(value: Decimal) -> str:
    """The number as a person writes it: no exponent, no trailing zeros, ``-0`` as ``0``."""
    if value == 0:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def tick_exponent(price: Decimal, size_decimals: int) -> int:
    """The power of ten of the smallest valid price step at ``price`` (positive and finite).

    Never coarser than 1, because integers are valid whatever their significant figures are.
    """
    by_figures = price.adjusted() - (MAX_SIGNIFICANT_FIGURES - 1)
    by_decimals = -(MAX_PRICE_DECIMALS - size_decimals)
    return min(0, max(by_figures, by_decimals))


class MarginTier(msgspec.Struct, gc=False, frozen=True):
    """Above ``lower_bound_usd`` of notional at most ``max_leverage`` applies (API sheet 7.2)."""

    lower_bound_usd: Decimal
    max_leverage: int


class AssetSpec(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """What the venue's metadata says of one perpetual; the rules of rounding hang on it.

    ``index`` is the asset id in actions and belongs to the network that the metadata came from.
    """

    name: str
    index: int
    size_decimals: int
    max_leverage: int
    tiers: tuple[MarginTier, ...] = ()
    only_isolated: bool = False
    is_delisted: bool = False

    @property
    def lot(self) -> Decimal:
        """The smallest size step, in base units."""
        return _POWERS[-self.size_decimals]

    def tick(self, price: Decimal) -> Decimal:
        """The smallest valid price step at ``price``, in USD."""
        return _POWERS[tick_exponent(_positive(price), self.size_decimals)]

    def is_price(self, price: Decimal) -> bool:
        """True when the venue accepts ``price`` (finite, positive, on tick)."""
        if not price.is_finite() or price <= 0:
            return False
        exponent = tick_exponent(price, self.size_decimals)
        return price == price.quantize(_POWERS[exponent], rounding=ROUND_FLOOR, context=_EXACT)

    def is_size(self, size: Decimal) -> bool:
        """True when ``size`` is positive, finite and a multiple of the lot."""
        return size.is_finite() and size > 0 and self.floor_size(size) == size

    def price_down(self, price: Decimal) -> Decimal:
        """The highest valid price at or below ``price``; raises ``MoneyError`` where none is positive."""
        return self._round(price, ROUND_FLOOR)

    def price_up(self, price: Decimal) -> Decimal:
        """The lowest valid price at or above ``price``."""
        return self._round(price, ROUND_CEILING)

    def price_near(self, price: Decimal) -> Decimal:
        """The valid price nearest to ``price``; for levels that bound nothing, such as a target."""
        return self._round(price, ROUND_HALF_EVEN)

    def bound(self, price: Decimal, *, buy: bool) -> Decimal:
        """A worst price that rounding never makes worse: down for a buy, up for a sell (S13)."""
        return self.price_down(price) if buy else self.price_up(price)

    def floor_size(self, size: Decimal) -> Decimal:
        """The largest multiple of the lot that is at most ``size``; zero when below one lot (S13, S33)."""
        if not size.is_finite() or size < 0:
            raise MoneyError(f"size {size} of {self.name} must be finite and not negative")
        return size.quantize(self.lot, rounding=ROUND_DOWN, context=_EXACT)

    def ceil_size(self, size: Decimal) -> Decimal:
        """The smallest multiple of the lot that is at least ``size``: an upper bound for a full close only."""
        if not size.is_finite() or size < 0:
            raise MoneyError(f"size {size} of {self.name} must be finite and not negative")
        return size.quantize(self.lot, rounding=ROUND_CEILING, context=_EXACT)

    def max_leverage_at(self, notional_usd: Decimal) -> int:
        """The greatest leverage that the venue allows at this notional (API sheet 7.2)."""
        allowed = self.max_leverage
        for tier in self.tiers:
            if notional_usd > tier.lower_bound_usd:
                allowed = min(self.max_leverage, tier.max_leverage)
        return allowed

    def maintenance_margin(self, notional_usd: Decimal) -> Decimal:
        """USD of margin below which a position of this notional is liquidated: ``ntl * mmr - deduction``."""
        tiers = self.tiers or (MarginTier(ZERO, self.max_leverage),)
        rate, deduction = ONE / (2 * tiers[0].max_leverage), ZERO
        for tier in tiers[1:]:
            if notional_usd <= tier.lower_bound_usd:
                break
            next_rate = ONE / (2 * tier.max_leverage)
            deduction += tier.lower_bound_usd * (next_rate - rate)
            rate = next_rate
        return notional_usd * rate - deduction

    def maintenance_rate(self, notional_usd: Decimal) -> Decimal:
        """The marginal maintenance fraction ``1 / (2 * max leverage)`` of the tier that the notional lies in."""
        return ONE / (2 * self.max_leverage_at(notional_usd))

    def _round(self, price: Decimal, rounding: str) -> Decimal:
        exponent = tick_exponent(_positive(price), self.size_decimals)
        rounded = price.quantize(_POWERS[exponent], rounding=rounding, context=_EXACT)
        if rounded <= 0:
            raise MoneyError(f"price {plain(price)} of {self.name} is below its smallest tick {_POWERS[exponent]:f}")
        return rounded


def _positive(price: Decimal) -> Decimal:
    if not price.is_finite() or price <= 0:
        raise MoneyError(f"a price must be finite and positive, got {price}")
    return price
