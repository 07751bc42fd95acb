"""ORPHANED: the strategy that opened the position was loaded once and is not now; by owner, never by symbol (PR-17)."""

from __future__ import annotations

from perpstrader.recovery.contract import Action, Issue, IssueKind, Priority
from perpstrader.recovery.rules.case import Case, Limits, found


def orphaned(case: Case, limits: Limits) -> Issue | None:
    """Fires on positive evidence alone: the recorded owner is a strategy that this store has seen loaded, and that is
    not loaded now. Operators, senders of signals from outside and strangers have never been loaded (PR-03).
    """
    owner = case.position.owner
    if case.is_foreign or owner in case.loaded or owner not in case.once_loaded:
        return None
    close = limits.recovery.orphaned_action == "close"
    loaded = ", ".join(sorted(case.loaded)) or "none"
    text = f"its strategy {owner} is no longer loaded (loaded: {loaded})"
    text += "" if close else "; it keeps its stop: load the strategy again, or close it by hand"
    return found(
        case, IssueKind.ORPHANED, Priority.HIGH, Action.CLOSE if close else Action.ALERT,
        value=owner, limit=loaded, unit="strategies", text=text,
    )  # fmt: skip
