"""EXCESSIVE_LOSS: the position has lost more of its cost than any stop allows; it is closed at once."""

from __future__ import annotations

from decimal import Decimal

from perpstrader.domain import Position
from perpstrader.recovery.contract import Action, Issue, IssueKind, Priority
from perpstrader.recovery.rules.case import Case, Limits, found, is_positive, percent, unknown, without_mark

_KIND = IssueKind.EXCESSIVE_LOSS


def excessive_loss(case: Case, limits: Limits) -> Issue | None:
    """Fires where loss at mark over cost is greater than ``recovery.excessive_loss_fraction``; long as short."""
    position, limit = case.position, limits.recovery.excessive_loss_fraction
    why = without_mark(case, limits)
    if not why and not (is_positive(position.entry_price) and is_positive(position.size)):
        why = f"its cost is {position.entry_price} for a size of {position.size}"
    if why or case.mark is None:
        return unknown(case, _KIND, why)
    loss = (position.entry_price - case.mark) * position.side.sign / position.entry_price
    if loss <= limit:
        return None
    text = f"lost {percent(loss)} of its cost, limit {percent(limit)}"
    return found(
        case, _KIND, Priority.CRITICAL, Action.CLOSE,
        value=percent(loss), limit=percent(limit), unit="of cost", text=text,
    )  # fmt: skip


def excessive_loss_mark(position: Position, limits: Limits) -> Decimal:
    """The mark beyond which the rule fires."""
    return position.entry_price * (1 - limits.recovery.excessive_loss_fraction * position.side.sign)
