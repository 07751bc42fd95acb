"""Entry, stop and target: right side, right distance, worth the risk."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from perpstrader.domain import ZERO, Check, Reason
from perpstrader.risk.case import Case, is_positive
from perpstrader.risk.rules.checks import at_least, at_most, holds, show, unjudged
from perpstrader.risk.stops import EntryPrices

_BAND: Final = Decimal("0.95")
"""The venue refuses a price farther than this from its reference (API sheet, section 4)."""


def check_geometry(case: Case, prices: EntryPrices) -> Iterator[Check]:
    """The planned prices against mark, entry and the distances that the settings allow."""
    limits, sign = case.limits, prices.side.sign
    near = min(prices.stop_distance_fraction, prices.stop_to_mark_fraction)
    below = f"{'below' if sign > 0 else 'above'} entry {show(prices.reference)} and mark {show(prices.mark)}"
    yield holds(Reason.STOP_WRONG_SIDE, near > 0, show(prices.stop), below, "USD")
    if near > 0:
        yield at_least(Reason.STOP_TOO_CLOSE, near, limits.min_stop_distance_fraction, "of entry price")
        yield from _check_atr(case, prices, near)
        far = prices.stop_distance_fraction
        yield at_most(Reason.STOP_TOO_FAR, far, limits.max_stop_distance_fraction, "of entry price")
    yield from _check_target(case, prices)
    yield at_most(Reason.INVALID_PRICE, abs(prices.worst / prices.mark - 1), _BAND, "of mark (entry price)")
    yield at_most(Reason.INVALID_PRICE, abs(prices.stop_limit / prices.mark - 1), _BAND, "of mark (stop's limit)")
    mid = case.market.mid
    if prices.resting and mid is not None:
        crossing = (prices.worst / mid - 1) * sign
        yield at_most(Reason.INVALID_PRICE, crossing, case.slip_cap_fraction, "beyond mid (entry price)")


def _check_atr(case: Case, prices: EntryPrices, near: Decimal) -> Iterator[Check]:
    atr, ratio = case.market.atr, case.limits.min_stop_atr_ratio
    if atr is None or not is_positive(atr):
        yield unjudged(Reason.STOP_TOO_CLOSE, ratio, "x ATR(1h)")
        return
    passed = near * prices.reference >= ratio * atr
    value = near * prices.reference / atr
    yield holds(Reason.STOP_TOO_CLOSE, passed, show(value), show(ratio), "x ATR(1h)")


def _check_target(case: Case, prices: EntryPrices) -> Iterator[Check]:
    distance = prices.target_distance_fraction
    if prices.target is None or distance is None:
        return
    sign = prices.side.sign
    beyond = prices.worst if prices.resting else max(prices.worst * sign, prices.mark * sign) * sign
    what = "the entry's limit" if beyond == prices.worst else "mark"
    where = f"{'above' if sign > 0 else 'below'} {what} {show(beyond)}"
    right = (prices.target - beyond) * sign > 0
    yield holds(Reason.TARGET_WRONG_SIDE, right, show(prices.target), where, "USD")
    if right and prices.stop_distance_fraction > ZERO:
        least = case.limits.min_reward_risk_ratio
        passed = distance >= least * prices.stop_distance_fraction
        ratio = distance / prices.stop_distance_fraction
        yield holds(Reason.REWARD_TO_RISK, passed, show(ratio), show(least), "x stop distance")
