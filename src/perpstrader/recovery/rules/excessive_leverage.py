"""EXCESSIVE_LEVERAGE: one position's notional is more than the leverage that is allowed for any symbol."""

from __future__ import annotations

from perpstrader.recovery.contract import Action, Issue, IssueKind, Priority
from perpstrader.recovery.rules.case import Case, Limits, found, show, unknown, without_equity, without_mark

_KIND = IssueKind.EXCESSIVE_LEVERAGE


def excessive_leverage(case: Case, limits: Limits) -> Issue | None:
    """Fires where notional at mark over equity is greater than ``risk.max_leverage``: half of it goes, which halves
    that number (PR-14). A leverage that somebody set at the venue beyond it is told; entries set it back (S34).
    """
    why = without_mark(case, limits) or without_equity(case, limits)
    if not why and not case.position.size.is_finite():
        why = f"its size is {case.position.size}"
    if why or case.mark is None or case.equity_usd is None:
        return unknown(case, _KIND, why)
    limit = limits.risk.max_leverage
    leverage = case.position.size * case.mark / case.equity_usd
    if leverage > limit:
        text = f"its notional is {show(leverage)} x equity, limit {limit} x"
        return found(
            case, _KIND, Priority.HIGH, Action.REDUCE, value=show(leverage), limit=str(limit), unit="x", text=text
        )
    if case.venue_leverage is not None and case.venue_leverage > limit:
        text = (
            f"its leverage at the venue was set to {case.venue_leverage} x, limit {limit} x; its notional is "
            f"{show(leverage)} x equity: set it back at the venue, the next entry does so too"
        )
        return found(
            case, _KIND, Priority.HIGH, Action.ALERT,
            value=str(case.venue_leverage), limit=str(limit), unit="x set at the venue", text=text,
        )  # fmt: skip
    return None
