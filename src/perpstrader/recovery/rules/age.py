"""STALE and AGED: how long the position has been open, by the persisted time of its first fill (PR-15)."""

from __future__ import annotations

from perpstrader.recovery.contract import Action, Issue, IssueKind, Priority
from perpstrader.recovery.rules.case import Case, Limits, found, span, unknown


def stale(case: Case, limits: Limits) -> Issue | None:
    """Fires beyond ``recovery.stale_age_ms``; nothing is done about it but to say so."""
    limit = limits.recovery.stale_age_ms
    return _older(case, IssueKind.STALE, Priority.LOW, Action.WAIT, limit, "it is left to its strategy and its stop")


def aged(case: Case, limits: Limits) -> Issue | None:
    """Fires beyond ``recovery.max_hold_ms``, where that is set: the position is closed."""
    limit = limits.recovery.max_hold_ms
    return _older(case, IssueKind.AGED, Priority.HIGH, Action.CLOSE, limit, "it is closed") if limit else None


def _older(case: Case, kind: IssueKind, priority: Priority, action: Action, limit_ms: int, then: str) -> Issue | None:
    if case.position.opened_ms <= 0 or case.age_ms < 0:
        why = f"it was opened at {case.position.opened_ms}, and it is {case.now_ms} now"
        return unknown(case, kind, why, priority)
    if case.age_ms <= limit_ms:
        return None
    text = f"open for {span(case.age_ms)}, limit {span(limit_ms)}; {then}"
    return found(
        case, kind, priority, action, value=span(case.age_ms), limit=span(limit_ms), unit="since its first fill",
        text=text,
    )  # fmt: skip
