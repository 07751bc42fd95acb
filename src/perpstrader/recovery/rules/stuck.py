"""STUCK: the market has not moved for a long time while the position was open."""

from __future__ import annotations

from perpstrader.recovery.contract import Action, Issue, IssueKind, Priority
from perpstrader.recovery.rules.case import Case, Limits, found, percent, span, unknown

_KIND = IssueKind.STUCK


def stuck(case: Case, limits: Limits) -> Issue | None:
    """Fires where the market's range (by bars, not by our own trades: PR-15) over ``recovery.stuck_window_ms`` is less
    than ``recovery.stuck_range_fraction`` of its price. The window begins anew when the position was made smaller.
    """
    settings = limits.recovery
    window_ms = settings.stuck_window_ms
    since_ms = max(case.position.opened_ms, case.acted_ms or 0)
    if not window_ms or case.now_ms - since_ms < window_ms:
        return None
    moved, least = case.range_fraction, settings.stuck_range_fraction
    if moved is None:
        return unknown(case, _KIND, f"the bars do not cover the last {span(window_ms)}", Priority.LOW)
    if not moved.is_finite():
        return unknown(case, _KIND, f"the bars' range is {moved}", Priority.LOW)
    if moved >= least:
        return None
    text = f"the market moved {percent(moved)} in {span(window_ms)}, less than {percent(least)}"
    return found(
        case, _KIND, Priority.MEDIUM, Action.REDUCE if settings.stuck_action == "reduce" else Action.ALERT,
        value=percent(moved), limit=percent(least), unit=f"in {span(window_ms)}", text=text,
    )  # fmt: skip
