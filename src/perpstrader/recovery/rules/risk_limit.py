"""RISK_LIMIT: the market has carried the position past a limit of the portfolio, by more than the tolerance."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from perpstrader.domain import Check
from perpstrader.recovery.contract import Action, Issue, IssueKind, Priority
from perpstrader.recovery.rules.case import Case, Limits, found, percent, show, unknown, without_equity, without_mark

_KIND = IssueKind.RISK_LIMIT


def risk_limit(case: Case, limits: Limits) -> Issue | None:
    """Fires where a limit that this position can bring back is exceeded by more than
    ``recovery.risk_limit_tolerance_fraction`` of it: half of it goes. Somebody else's position is told of, not halved.
    """
    why = without_mark(case, limits) or without_equity(case, limits)
    if not why and case.exceeded is None:
        why = "the limits of the portfolio could not be computed"
    if why or case.exceeded is None:
        return unknown(case, _KIND, why)
    worst: tuple[Decimal, Check] | None = None
    for check in case.exceeded:
        used = _used(check)
        if used is None:
            return unknown(case, _KIND, f"{check.rule.value} is {check.value}, limit {check.limit}")
        if worst is None or used > worst[0]:
            worst = used, check
    tolerance = limits.recovery.risk_limit_tolerance_fraction
    if worst is None or worst[0] <= 1 + tolerance:
        return None
    used, check = worst
    limit = f"{check.limit} {check.unit}".strip()
    text = f"{check.rule.value} is at {percent(used)} of its limit of {limit}; {percent(tolerance)} over is tolerated"
    return found(
        case, _KIND, Priority.HIGH, Action.ALERT if case.is_foreign else Action.REDUCE,
        value=show(Decimal(check.value)), limit=check.limit, unit=check.unit, text=text,
    )  # fmt: skip


def _used(check: Check) -> Decimal | None:
    """The share of the limit in use; ``None`` where it is no number."""
    try:
        value, limit = Decimal(check.value), Decimal(check.limit)
    except InvalidOperation:
        return None
    return value / limit if value.is_finite() and limit.is_finite() and limit > 0 else None
