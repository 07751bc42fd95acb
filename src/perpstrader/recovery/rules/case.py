"""What a rule is shown: one position with its evidence and the limits, frozen; and the two answers that it gives."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Final

import msgspec

from perpstrader.domain import Check, Position, plain
from perpstrader.recovery.contract import Action, Evidence, Issue, IssueKind, Priority
from perpstrader.risk.contract import PositionRisk
from perpstrader.settings.limits import RiskSettings
from perpstrader.settings.services import RecoverySettings
from perpstrader.settings.trading import ExecutionSettings

_SHOWN: Final = Context(prec=6)


class Limits(msgspec.Struct, frozen=True):
    """The settings that rules read; ``request_timeout_ms`` is how long a request may be without an answer."""

    recovery: RecoverySettings
    risk: RiskSettings
    execution: ExecutionSettings
    request_timeout_ms: int


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One position with all that is known of it now; what is not known is ``None``, and never guessed.

    Times are the venue's. ``exceeded`` are limits of the portfolio that it is past and that this position can bring
    back. ``range_fraction`` is highest less lowest price over the stuck window, ``None`` where bars do not cover it;
    ``acted_ms`` is when recovery last made the position smaller. ``once_loaded`` are all strategies that this store has
    ever seen loaded. ``difference`` says how our book differed from the venue, until an operator resumes.
    """

    position: Position
    now_ms: int
    loaded: frozenset[str]
    once_loaded: frozenset[str]
    is_foreign: bool
    mark: Decimal | None = None
    mark_age_ms: int | None = None
    equity_usd: Decimal | None = None
    account_age_ms: int | None = None
    risk: PositionRisk | None = None
    exceeded: tuple[Check, ...] | None = None
    venue_leverage: int | None = None
    range_fraction: Decimal | None = None
    acted_ms: int | None = None
    unprotected_ms: int = 0
    is_protecting: bool = False
    is_closing: bool = False
    difference: str = ""

    @property
    def age_ms(self) -> int:
        """Since the episode's first fill."""
        return self.now_ms - self.position.opened_ms


def found(
    case: Case, kind: IssueKind, priority: Priority, action: Action, *, value: str, limit: str, unit: str, text: str
) -> Issue:
    """The rule is broken: ``text`` says so in words, without the symbol."""
    evidence = Evidence(value=value, limit=limit, unit=unit, sentence=text)
    return Issue(
        kind=kind, symbol=case.position.symbol, side=case.position.side, episode=case.position.episode,
        priority=priority, action=action, evidence=evidence,
    )  # fmt: skip


def unknown(case: Case, kind: IssueKind, why: str, priority: Priority = Priority.HIGH) -> Issue:
    """The rule cannot be evaluated: a person is told, and nothing is traded (S30, PR-03, PR-21)."""
    text = f"cannot be judged: {why}"
    issue = found(case, kind, priority, Action.ALERT, value="unknown", limit="", unit="", text=text)
    return msgspec.structs.replace(issue, is_known=False)


def without_mark(case: Case, limits: Limits) -> str:
    """Why the mark cannot be judged by, or nothing."""
    allowed = limits.recovery.max_mark_age_ms
    if case.mark is None or case.mark_age_ms is None:
        return "no mark price is known"
    if not is_positive(case.mark):
        return f"the mark price is {case.mark}"
    if case.mark_age_ms > allowed:
        return f"the mark price is {case.mark_age_ms / 1000:.0f} s old, limit {allowed / 1000:.0f} s"
    return ""


def without_equity(case: Case, limits: Limits) -> str:
    """Why the account's equity cannot be judged by, or nothing."""
    allowed = limits.recovery.max_account_age_ms
    if case.equity_usd is None or case.account_age_ms is None:
        return "equity is not known: the account has not been read, or a mark of it is missing or old"
    if not is_positive(case.equity_usd):
        return f"equity is {case.equity_usd} USD"
    if case.account_age_ms > allowed:
        return f"the account was read {case.account_age_ms / 1000:.0f} s ago, limit {allowed / 1000:.0f} s"
    return ""


def is_positive(value: Decimal) -> bool:
    """True for a finite number above zero."""
    return value.is_finite() and value > 0


def show(value: Decimal) -> str:
    """The number with at most six significant figures; judgements use the exact one."""
    return plain(_SHOWN.plus(value))


def percent(fraction: Decimal) -> str:
    """The fraction in percent with two decimals."""
    return f"{fraction * 100:.2f} %"


def span(duration_ms: int) -> str:
    """The duration in hours, below one in seconds."""
    return f"{duration_ms / 3_600_000:.1f} h" if duration_ms >= 3_600_000 else f"{duration_ms / 1_000:.0f} s"
