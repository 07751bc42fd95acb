"""The prices of an entry: what it may cost at worst, where its stop and target lie, all on tick.

A stop triggers on mark (API sheet 7.6). Rounding never makes a price worse than what is judged: the worst price rounds
toward the better one, a stop that was given toward the entry, a target that was given toward the entry (S13).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from perpstrader.domain import ZERO, AssetSpec, MoneyError, Side
from perpstrader.risk.case import Case

ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class EntryPrices:
    """USD prices of one entry: ``reference`` is the touch (resting: its own price), ``worst`` bounds the fill."""

    side: Side
    reference: Decimal
    worst: Decimal
    mark: Decimal
    stop: Decimal
    stop_limit: Decimal
    target: Decimal | None
    resting: bool

    @property
    def exposure_price(self) -> Decimal:
        """The dearest price at which the position can be counted: limits hold at this one."""
        return max(self.reference, self.worst, self.mark)

    @property
    def cheapest_price(self) -> Decimal:
        """The lowest price at which the venue can judge the order's minimum notional."""
        return min(self.reference, self.worst)

    @property
    def stop_distance_fraction(self) -> Decimal:
        """Stop distance of the reference price; negative on the wrong side."""
        return (self.reference - self.stop) * self.side.sign / self.reference

    @property
    def stop_to_mark_fraction(self) -> Decimal:
        """Stop distance of the mark; negative where it would trigger at once."""
        return (self.mark - self.stop) * self.side.sign / self.mark

    @property
    def target_distance_fraction(self) -> Decimal | None:
        """Target distance of the reference price; negative on the wrong side."""
        return None if self.target is None else (self.target - self.reference) * self.side.sign / self.reference


def plan_prices(case: Case, asset: AssetSpec) -> EntryPrices:
    """The prices of the case's entry; asks for known prices. Raises ``MoneyError`` where a price has no valid tick."""
    market, buys = case.market, case.buys
    if market.bid is None or market.ask is None or market.mark is None:
        raise MoneyError(f"the prices of {asset.name} are not known")
    resting = case.signal.entry_price is not None
    if case.signal.entry_price is not None:
        reference = worst = asset.bound(case.signal.entry_price, buy=buys)
    else:
        reference = market.ask if buys else market.bid
        worst = worst_price(case, asset)
    stop = _stop(case, asset, reference)
    side = case.signal.side
    beyond = stop * (ONE - side.sign * case.execution.stop_limit_beyond_fraction)
    return EntryPrices(
        side=side, reference=reference, worst=worst, mark=market.mark, stop=stop,
        stop_limit=asset.bound(beyond, buy=not buys), target=_target(case, asset, reference, stop), resting=resting,
    )  # fmt: skip


def worst_price(case: Case, asset: AssetSpec) -> Decimal:
    """Mid plus (a sell: minus) the slip cap, on tick, never beyond it."""
    mid = case.market.mid
    if mid is None:
        raise MoneyError(f"the mid of {asset.name} is not known")
    return asset.bound(mid * (ONE + case.signal.side.sign * case.slip_cap_fraction), buy=case.buys)


def _stop(case: Case, asset: AssetSpec, reference: Decimal) -> Decimal:
    """As given, or the default distance or the ATR rule's, whichever is wider, from the nearer of entry and mark."""
    limits, sign = case.limits, case.signal.side.sign
    if case.signal.stop_price is not None:
        return _toward(asset, case.signal.stop_price, reference)
    mark = case.market.mark or reference
    near = min(reference, mark) if sign > 0 else max(reference, mark)
    atr = case.market.atr if case.market.atr is not None and case.market.atr.is_finite() else ZERO
    fraction = max(limits.default_stop_fraction, limits.min_stop_atr_ratio * atr / reference)
    raw = near * (ONE - sign * fraction)
    widest = reference * (ONE - sign * limits.max_stop_distance_fraction)
    away = asset.price_down(raw) if sign > 0 else asset.price_up(raw)
    too_far = (widest - away) * sign > 0 and fraction <= limits.max_stop_distance_fraction
    return _toward(asset, widest, reference) if too_far else away


def _target(case: Case, asset: AssetSpec, reference: Decimal, stop: Decimal) -> Decimal | None:
    limits, sign = case.limits, case.signal.side.sign
    if case.signal.target_price is not None:
        return _toward(asset, case.signal.target_price, reference)
    distance = max(limits.default_target_fraction * reference, limits.min_reward_risk_ratio * abs(reference - stop))
    raw = reference + sign * distance
    if raw <= 0:
        return None
    return asset.price_up(raw) if sign > 0 else asset.price_down(raw)


def _toward(asset: AssetSpec, price: Decimal, reference: Decimal) -> Decimal:
    return asset.price_up(price) if price < reference else asset.price_down(price)
