"""FOREIGN: no order of ours opened the position; what is done about it is the operator's policy (S53)."""

from __future__ import annotations

from perpstrader.recovery.contract import Action, Issue, IssueKind, Priority
from perpstrader.recovery.rules.case import Case, Limits, found, show


def foreign(case: Case, limits: Limits) -> Issue | None:
    """Fires for a position that others opened: told where it is adopted, let be where it is ignored, closed where
    ``execution.foreign_policy`` says flatten; the last also for one that was adopted under another policy.
    """
    if not case.is_foreign:
        return None
    policy = limits.execution.foreign_policy
    priority, action, then = {
        "adopt": (Priority.MEDIUM, Action.ALERT, "it has a stop of ours, and no entry joins it"),
        "ignore": (Priority.LOW, Action.WAIT, "it is left alone"),
        "flatten": (Priority.HIGH, Action.CLOSE, "it is closed"),
    }[policy]
    text = f"{show(case.position.signed_size)} were not opened by any order of ours; by policy {policy} {then}"
    return found(
        case, IssueKind.FOREIGN, priority, action,
        value=show(case.position.signed_size), limit=policy, unit="by policy", text=text,
    )  # fmt: skip
