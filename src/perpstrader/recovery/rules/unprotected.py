"""UNPROTECTED: the check upon protection; its deadline has passed, and the position is neither covered nor closing."""

from __future__ import annotations

from perpstrader.domain import Protection
from perpstrader.recovery.contract import Action, Issue, IssueKind, Priority
from perpstrader.recovery.rules.case import Case, Limits, found


def unprotected(case: Case, limits: Limits) -> Issue | None:
    """Fires beyond ``execution.protection_deadline_ms`` of time in which the venue could be reached (S20).

    While protection is at work, its last request may be without an answer: whether the venue could be reached is known
    when that has timed out, and not before.
    """
    position, limit = case.position, limits.execution.protection_deadline_ms
    if case.is_protecting:
        limit += limits.request_timeout_ms
    if position.protection in (Protection.CONFIRMED, Protection.EXEMPT) or case.is_closing:
        return None
    if case.unprotected_ms <= limit:
        return None
    text = f"no stop is listed for {case.unprotected_ms} ms, deadline {limit} ms, and nothing closes it"
    return found(
        case, IssueKind.UNPROTECTED, Priority.CRITICAL, Action.CLOSE,
        value=str(case.unprotected_ms), limit=str(limit), unit="ms", text=text,
    )  # fmt: skip
