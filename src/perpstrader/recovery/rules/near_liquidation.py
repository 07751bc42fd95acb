"""NEAR_LIQUIDATION: the mark is nearer to liquidation than approvals keep it; the position is halved, at last closed.

A cash flow, a change of leverage, mode or tier, or the loss of another position may have brought it there (S22,
PR-12). The distance is our own calculation with tiers, also after the joint shock of the others; the closer one counts.
"""

from __future__ import annotations

from decimal import Decimal

from perpstrader.domain import Position
from perpstrader.recovery.contract import Action, Issue, IssueKind, Priority
from perpstrader.recovery.rules.case import (
    Case,
    Limits,
    found,
    percent,
    unknown,
    without_equity,
    without_mark,
)
from perpstrader.risk.contract import PositionRisk

_KIND = IssueKind.NEAR_LIQUIDATION


def near_liquidation(case: Case, limits: Limits) -> Issue | None:
    """Fires below ``max(risk.min_liquidation_distance_fraction, risk.min_liquidation_stop_ratio x stop distance)``:
    half of it goes; below ``recovery.critical_liquidation_fraction``, others' marks unchanged, all of it.
    """
    why = without_mark(case, limits) or without_equity(case, limits)
    if not why and case.risk is None:
        why = "its risk could not be computed; the venue's margin table of a coin may be missing"
    if why or case.risk is None or case.mark is None:
        return unknown(case, _KIND, why)
    risk, critical = case.risk, limits.recovery.critical_liquidation_fraction
    worst = risk.liquidation_fraction
    numbers = [number for number in (risk.liquidation_price, worst) if number is not None]
    if not all(number.is_finite() for number in numbers):
        return unknown(case, _KIND, f"liquidation is at {risk.liquidation_price}, {worst} away")
    alone = _alone(case.mark, risk.liquidation_price, case.position)
    if alone is not None and alone < critical:
        text = f"liquidation is {percent(alone)} away, critical below {percent(critical)}"
        return found(
            case, _KIND, Priority.CRITICAL, Action.CLOSE,
            value=percent(alone), limit=percent(critical), unit="of mark", text=text,
        )  # fmt: skip
    least = risk.least_liquidation_fraction
    if worst is None or worst >= least:
        return None
    text = f"liquidation is {percent(worst)} away, also after a joint shock of the others; at least {percent(least)}"
    return found(
        case, _KIND, Priority.HIGH, Action.REDUCE,
        value=percent(worst), limit=percent(least), unit="of mark", text=text,
    )  # fmt: skip


def near_liquidation_mark(position: Position, risk: PositionRisk | None, limits: Limits) -> Decimal | None:
    """The mark beyond which the position is closed, all other marks unchanged; ``None`` where nothing is near."""
    price = risk.liquidation_price if risk is not None else None
    if price is None or not price.is_finite() or price <= 0:
        return None
    return price / (1 - limits.recovery.critical_liquidation_fraction * position.side.sign)


def _alone(mark: Decimal, price: Decimal | None, position: Position) -> Decimal | None:
    return None if price is None else (mark - price) * position.side.sign / mark
