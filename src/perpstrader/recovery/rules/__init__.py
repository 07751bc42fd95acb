"""The rules: each a small pure function of a case and the limits. All are asked, the worst decides (S50)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.recovery.contract import Action, Issue, IssueKind
from perpstrader.recovery.rules.age import aged, stale
from perpstrader.recovery.rules.case import Case, Limits, unknown
from perpstrader.recovery.rules.desync import desync
from perpstrader.recovery.rules.excessive_leverage import excessive_leverage
from perpstrader.recovery.rules.excessive_loss import excessive_loss, excessive_loss_mark
from perpstrader.recovery.rules.foreign import foreign
from perpstrader.recovery.rules.near_liquidation import near_liquidation, near_liquidation_mark
from perpstrader.recovery.rules.orphaned import orphaned
from perpstrader.recovery.rules.risk_limit import risk_limit
from perpstrader.recovery.rules.stuck import stuck
from perpstrader.recovery.rules.unprotected import unprotected

Rule = Callable[[Case, Limits], Issue | None]

RULES: Final[dict[IssueKind, Rule]] = {
    IssueKind.UNPROTECTED: unprotected,
    IssueKind.NEAR_LIQUIDATION: near_liquidation,
    IssueKind.EXCESSIVE_LOSS: excessive_loss,
    IssueKind.EXCESSIVE_LEVERAGE: excessive_leverage,
    IssueKind.RISK_LIMIT: risk_limit,
    IssueKind.FOREIGN: foreign,
    IssueKind.DESYNC: desync,
    IssueKind.ORPHANED: orphaned,
    IssueKind.AGED: aged,
    IssueKind.STUCK: stuck,
    IssueKind.STALE: stale,
}
"""The order decides between issues of equal rank, and nothing else."""


def analyse(case: Case, limits: Limits) -> tuple[Issue, ...]:
    """Every issue of the position, the worst first (S50, PR-13).

    A rule that fails is an issue of its own and hides no other. What the foreign policy ignores is never traded.
    """
    issues = []
    for kind, rule in RULES.items():
        try:
            issue = rule(case, limits)
        except Exception as error:  # a rule that meets what nobody foresaw has no verdict
            issue = unknown(case, kind, f"{type(error).__name__}: {error}")
        if issue is not None:
            issues.append(issue)
    if case.is_foreign and limits.execution.foreign_policy == "ignore":
        issues = [msgspec.structs.replace(issue, action=Action.WAIT) for issue in issues]
    return tuple(sorted(issues, key=lambda issue: issue.rank, reverse=True))


def deciding(issues: Iterable[Issue]) -> Issue | None:
    """The worst of the issues that call for an order; those that only tell are told whatever is done."""
    return max((issue for issue in issues if issue.action.trades), key=lambda issue: issue.rank, default=None)


def critical_mark(case: Case, limits: Limits) -> Decimal | None:
    """The mark beyond which (below for a long, above for a short) something critical is the matter; the nearer of loss
    and liquidation. ``None`` where the cost is not known.
    """
    position = case.position
    if not position.entry_price.is_finite():
        return None
    marks = [excessive_loss_mark(position, limits)]
    liquidation = near_liquidation_mark(position, case.risk, limits)
    if liquidation is not None:
        marks.append(liquidation)
    return max(marks, key=lambda mark: mark * position.side.sign)


__all__ = ["RULES", "Case", "Limits", "Rule", "analyse", "critical_mark", "deciding"]
