"""Liquidation prices of a cross-margined account, by our own calculation with tiers (S22, API sheet 7.2 and 7.3).

A position is liquidated at the mark at which the account's equity falls to the maintenance margin of all positions,
every other mark unchanged. The venue's published formula uses the tier of today's notional and its ``null`` is no
answer; ours solves tier by tier, so that equity equals maintenance margin exactly at the price it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from perpstrader.domain import ZERO, AssetSpec, MarginTier, Position, Side

ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Exposure:
    """A position, or what may become one: ``size`` in base units at ``price`` (mark) in USD.

    ``stop_fraction`` is the distance of its stop from that price.
    """

    symbol: str
    side: Side
    size: Decimal
    price: Decimal
    leverage: int
    stop_fraction: Decimal

    @property
    def notional_usd(self) -> Decimal:
        """Size at price, in USD."""
        return self.size * self.price


@dataclass(frozen=True, slots=True)
class Distance:
    """How far a position is from liquidation, alone and after the joint shock of the others.

    Fractions of its price; ``None`` where no positive price liquidates it, negative where it already would be.
    """

    symbol: str
    price: Decimal | None
    alone: Decimal | None
    shocked: Decimal | None
    stop_fraction: Decimal

    @property
    def worst(self) -> Decimal | None:
        """The smaller of both distances."""
        known = [distance for distance in (self.alone, self.shocked) if distance is not None]
        return min(known) if known else None


def maintenance_usd(exposures: Sequence[Exposure], assets: Mapping[str, AssetSpec]) -> Decimal:
    """The maintenance margin of all of them, in USD; raises ``KeyError`` for a coin without metadata."""
    return sum((assets[e.symbol].maintenance_margin(e.notional_usd) for e in exposures), ZERO)


def liquidation_price(
    own: Exposure, others: Sequence[Exposure], equity_usd: Decimal, assets: Mapping[str, AssetSpec]
) -> Decimal | None:
    """The price of ``own`` at which equity meets maintenance margin, the others unchanged.

    ``None`` for a long that no positive price liquidates. ``equity_usd`` is the account's value at today's prices. In
    an account already under its margin the price lies on the winning side of today's (for a short at least 0), so that
    the distance is negative.
    """
    sign = own.side.sign
    kept = equity_usd - maintenance_usd(others, assets)
    for lower, upper, rate, deduction in _bands(assets[own.symbol]):
        # kept + sign*size*(p - price) = size*p*rate - deduction, solved for p in this band of notional
        price = (sign * own.size * own.price - kept - deduction) / (own.size * (sign - rate))
        notional = own.size * price
        if notional > lower and (upper is None or notional <= upper):
            return price
    return None if sign > 0 else ZERO


def distances(
    exposures: Sequence[Exposure],
    equity_usd: Decimal,
    assets: Mapping[str, AssetSpec],
    shock_fraction: Decimal,
    *,
    only: str | None = None,
) -> Iterator[Distance]:
    """The distance of each exposure, or of those of the coin ``only``, alone and while all coins but its own moved
    against us by ``shock_fraction``.
    """
    for own in exposures:
        if only is not None and own.symbol != only:
            continue
        others = [other for other in exposures if other is not own]
        price = liquidation_price(own, others, equity_usd, assets)
        hit = [other if other.symbol == own.symbol else _shocked(other, shock_fraction) for other in others]
        lost = sum((abs(a.notional_usd - b.notional_usd) for a, b in zip(others, hit, strict=True)), ZERO)
        shocked = liquidation_price(own, hit, equity_usd - lost, assets)
        yield Distance(own.symbol, price, _distance(own, price), _distance(own, shocked), own.stop_fraction)


def liquidation_prices(
    positions: Mapping[str, Position], equity_usd: Decimal, assets: Mapping[str, AssetSpec]
) -> dict[str, Decimal | None]:
    """The liquidation price of each position at today's marks; ``None`` where no positive price liquidates it.

    A position whose coin has no metadata is left out of the answer, and every answer without it would be a guess: so
    all are left out then.
    """
    if any(symbol not in assets for symbol in positions):
        return {}
    exposures = {s: Exposure(s, p.side, p.size, p.mark_price, p.leverage, ZERO) for s, p in positions.items()}
    return {
        symbol: liquidation_price(own, [e for e in exposures.values() if e is not own], equity_usd, assets)
        for symbol, own in exposures.items()
    }


def _shocked(exposure: Exposure, fraction: Decimal) -> Exposure:
    return replace(exposure, price=exposure.price * (ONE - exposure.side.sign * fraction))


def _distance(own: Exposure, price: Decimal | None) -> Decimal | None:
    return None if price is None else (own.price - price) * own.side.sign / own.price


def _bands(asset: AssetSpec) -> Iterator[tuple[Decimal, Decimal | None, Decimal, Decimal]]:
    """Each margin tier: notional above, notional up to, maintenance rate, deduction."""
    tiers = asset.tiers or (MarginTier(ZERO, asset.max_leverage),)
    rate, deduction = ONE / (2 * tiers[0].max_leverage), ZERO
    for place, tier in enumerate(tiers):
        if place:
            next_rate = ONE / (2 * tier.max_leverage)
            deduction += tier.lower_bound_usd * (next_rate - rate)
            rate = next_rate
        upper = tiers[place + 1].lower_bound_usd if place + 1 < len(tiers) else None
        yield (ZERO if place == 0 else tier.lower_bound_usd), upper, rate, deduction
