"""Where a position's stop should move to: to breakeven, along the best profit, or near a loser that has had its time.

    R          = distance of the episode's first stop from its entry, the unit of everything here
    breakeven  = entry + both taker fees,                          once the best mark was breakeven_arm R in profit
    trailing   = entry + max(best profit x (1 - giveback), lock R), once the best mark was trailing_arm R in profit
    time stop  = as near to mark as is allowed,                    once older than time_stop_ms and losing loss_ratio R

Pure functions of one episode's facts: scale-invariant, mirrored for shorts, and compared with mark alone, as the
venue's triggers are (API sheet 7.6). The tightest wish wins. A stop only ever tightens (S22), by the least step or not
at all, and never comes nearer to mark than an entry's stop may. Multiples of R and not of the price, because a stop's
distance is what its strategy thinks is noise in that coin.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from perpstrader.domain import ZERO, AssetSpec, MoneyError, Side
from perpstrader.risk.case import is_positive
from perpstrader.risk.rules.checks import show
from perpstrader.risk.sizing import TAKER_FEE_FRACTION
from perpstrader.settings.limits import RiskSettings
from perpstrader.settings.trading import ExecutionSettings

_MINUTE_MS: Final = 60_000


class StopRule(enum.StrEnum):
    """What moves a stop."""

    BREAKEVEN = "breakeven"
    TRAILING = "trailing"
    TIME = "time stop"


@dataclass(frozen=True, slots=True)
class EpisodeFacts:
    """One position as its stop sees it; prices in USD, ``best_mark`` the most favourable one since it opened.

    ``first_stop`` is the trigger that the episode began with, ``stop`` the one that is listed now, ``atr`` that of one
    hour where it is known.
    """

    side: Side
    entry_price: Decimal
    first_stop: Decimal
    stop: Decimal
    best_mark: Decimal
    mark: Decimal
    opened_ms: int
    now_ms: int
    atr: Decimal | None = None

    @property
    def best_profit(self) -> Decimal:
        """USD a base unit at the best mark; negative where it never was in profit."""
        return (self.best_mark - self.entry_price) * self.side.sign

    @property
    def profit(self) -> Decimal:
        """USD a base unit at mark."""
        return (self.mark - self.entry_price) * self.side.sign

    @property
    def is_usable(self) -> bool:
        """True when every price is a positive finite number; without that nothing moves (S30)."""
        prices = (self.entry_price, self.first_stop, self.stop, self.best_mark, self.mark)
        return all(is_positive(price) for price in prices)


@dataclass(frozen=True, slots=True)
class StopMove:
    """A tighter trigger, on tick, the rule that asks for it, and the numbers behind it in words."""

    price: Decimal
    rule: StopRule
    why: str


def next_stop(
    facts: EpisodeFacts, asset: AssetSpec, limits: RiskSettings, execution: ExecutionSettings
) -> StopMove | None:
    """The move to make now, or ``None``; its price is tighter than ``facts.stop`` by at least the least step."""
    if not facts.is_usable:
        return None
    side, sign = facts.side, facts.side.sign
    wishes = list(_wishes(facts, limits))
    if not wishes:
        return None
    wish = max(wishes, key=lambda move: move.price * sign)
    nearest = facts.mark - sign * least_distance(facts, limits)
    wanted = min(wish.price * sign, nearest * sign) * sign
    if wanted <= 0:
        return None
    try:
        price = asset.price_down(wanted) if side is Side.LONG else asset.price_up(wanted)
    except MoneyError:
        return None  # no tick is that far out: nothing can be placed there
    if (price - facts.stop) * sign < max(least_step(facts, execution), asset.tick(price)):
        return None
    return StopMove(price=price, rule=wish.rule, why=wish.why)


def risk_distance(facts: EpisodeFacts, limits: RiskSettings) -> Decimal:
    """R in USD a base unit; an episode that began with a stop at or beyond its entry (an adopted one) has the default
    distance instead.
    """
    distance = (facts.entry_price - facts.first_stop) * facts.side.sign
    return distance if distance > 0 else limits.default_stop_fraction * facts.entry_price


def least_distance(facts: EpisodeFacts, limits: RiskSettings) -> Decimal:
    """How near to mark a stop may lie, in USD: the same two rules as for the stop of an entry."""
    return max(limits.min_stop_distance_fraction * facts.mark, limits.min_stop_atr_ratio * _atr(facts))


def least_step(facts: EpisodeFacts, execution: ExecutionSettings) -> Decimal:
    """The least move that is worth its requests, in USD (domain notes, 36)."""
    return max(execution.trailing_step_fraction * facts.mark, execution.trailing_step_atr_ratio * _atr(facts))


def _wishes(facts: EpisodeFacts, limits: RiskSettings) -> Iterator[StopMove]:
    sign, entry, best, unit = facts.side.sign, facts.entry_price, facts.best_profit, risk_distance(facts, limits)
    reached = f"best mark {show(facts.best_mark)} is {show(best / unit)} stop distances in profit"
    if 0 < limits.breakeven_arm_ratio * unit <= best:
        price = entry * (1 + sign * 2 * TAKER_FEE_FRACTION)
        why = f"{reached}, armed at {show(limits.breakeven_arm_ratio)}; entry {show(entry)} and both fees"
        yield StopMove(price, StopRule.BREAKEVEN, why)
    if 0 < limits.trailing_arm_ratio * unit <= best:
        kept = max(best * (1 - limits.trailing_giveback_fraction), limits.trailing_lock_ratio * unit)
        share = f"keeps {show(kept)} USD a unit of {show(best)}"
        why = f"{reached}, armed at {show(limits.trailing_arm_ratio)}; {share}"
        yield StopMove(entry + sign * kept, StopRule.TRAILING, why)
    age_ms = facts.now_ms - facts.opened_ms
    if 0 < limits.time_stop_ms < age_ms and -facts.profit > limits.time_stop_loss_ratio * unit:
        losing = f"{show(-facts.profit / unit)} stop distances in loss, limit {show(limits.time_stop_loss_ratio)}"
        why = f"{age_ms // _MINUTE_MS} min old, limit {limits.time_stop_ms // _MINUTE_MS}; {losing}"
        yield StopMove(facts.mark, StopRule.TIME, why)


def _atr(facts: EpisodeFacts) -> Decimal:
    return facts.atr if facts.atr is not None and is_positive(facts.atr) else ZERO
