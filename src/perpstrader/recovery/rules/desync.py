"""DESYNC: two readings of the venue agreed that our book was wrong (S54); the book followed, entries there wait."""

from __future__ import annotations

from perpstrader.recovery.contract import Action, Issue, IssueKind, Priority
from perpstrader.recovery.rules.case import Case, Limits, found


def desync(case: Case, limits: Limits) -> Issue | None:
    """Fires until an operator resumes; never trades, since a wrong book is no reason to."""
    if not case.difference:
        return None
    text = f"{case.difference}; the book follows the venue: find out why, then resume"
    return found(
        case, IssueKind.DESYNC, Priority.HIGH, Action.ALERT,
        value=case.difference, limit="equal", unit="sizes", text=text,
    )  # fmt: skip
