"""Each rule of recovery at its edge, mirrored, and without its evidence (S30, S50, PR-03, PR-12 to PR-21)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.recovery.cases import HOUR_MS, NOW_MS, D, case, limits, risk_of

from perpstrader.domain import Check, Protection, Reason, Side
from perpstrader.recovery import Action, IssueKind, Priority, analyse, deciding
from perpstrader.recovery.contract import Issue
from perpstrader.recovery.rules import RULES, critical_mark
from perpstrader.recovery.rules.age import aged, stale
from perpstrader.recovery.rules.desync import desync
from perpstrader.recovery.rules.excessive_leverage import excessive_leverage
from perpstrader.recovery.rules.excessive_loss import excessive_loss
from perpstrader.recovery.rules.foreign import foreign
from perpstrader.recovery.rules.near_liquidation import near_liquidation
from perpstrader.recovery.rules.orphaned import orphaned
from perpstrader.recovery.rules.risk_limit import risk_limit
from perpstrader.recovery.rules.stuck import stuck
from perpstrader.recovery.rules.unprotected import unprotected

SHIPPED = limits()
BOTH = pytest.mark.parametrize("side", [Side.LONG, Side.SHORT])


def _mark(side: Side, away: str) -> Decimal:
    """A mark that is ``away`` of the cost against the position."""
    return 100 * (1 - D(away) * side.sign)


def _what(issue: Issue | None) -> tuple[Priority, Action] | None:
    return None if issue is None else (issue.priority, issue.action)


def test_a_healthy_position_has_no_issue() -> None:
    assert analyse(case(), SHIPPED) == ()
    assert analyse(case(Side.SHORT), SHIPPED) == ()


@BOTH
def test_a_loss_at_the_limit_is_borne_and_one_beyond_it_is_closed(side: Side) -> None:
    assert excessive_loss(case(side, mark=_mark(side, "0.10")), SHIPPED) is None
    issue = excessive_loss(case(side, mark=_mark(side, "0.1001")), SHIPPED)
    assert _what(issue) == (Priority.CRITICAL, Action.CLOSE)
    assert issue is not None
    assert (issue.evidence.value, issue.evidence.limit) == ("10.01 %", "10.00 %")


@BOTH
def test_PR12_S22_liquidation_nearer_than_approvals_keep_it_halves_the_position(side: Side) -> None:
    at = risk_of(side, liquidation_fraction=D("0.2"))
    assert near_liquidation(case(side, risk=at), SHIPPED) is None
    near = risk_of(side, liquidation_fraction=D("0.19"))
    assert _what(near_liquidation(case(side, risk=near), SHIPPED)) == (Priority.HIGH, Action.REDUCE)


@BOTH
def test_PR12_S51_liquidation_nearer_than_the_critical_distance_closes_it(side: Side) -> None:
    at = risk_of(side, liquidation_price=100 * (1 - D("0.10") * side.sign), liquidation_fraction=D("0.10"))
    assert _what(near_liquidation(case(side, risk=at), SHIPPED)) == (Priority.HIGH, Action.REDUCE)
    near = risk_of(side, liquidation_price=100 * (1 - D("0.09") * side.sign), liquidation_fraction=D("0.09"))
    assert _what(near_liquidation(case(side, risk=near), SHIPPED)) == (Priority.CRITICAL, Action.CLOSE)


def test_a_position_that_no_price_liquidates_is_far_from_it() -> None:
    assert near_liquidation(case(risk=risk_of(liquidation_price=None, liquidation_fraction=None)), SHIPPED) is None


@BOTH
def test_PR14_leverage_is_notional_over_equity_and_what_is_beyond_the_limit_is_halved(side: Side) -> None:
    at = case(side, held={"size": D(30)})
    assert excessive_leverage(at, SHIPPED) is None
    beyond = case(side, held={"size": D("30.01")})
    assert _what(excessive_leverage(beyond, SHIPPED)) == (Priority.HIGH, Action.REDUCE)


def test_S34_a_leverage_that_was_set_at_the_venue_by_hand_is_told() -> None:
    assert _what(excessive_leverage(case(venue_leverage=10), SHIPPED)) == (Priority.HIGH, Action.ALERT)
    assert excessive_leverage(case(venue_leverage=3), SHIPPED) is None


def _check(value: str, limit: str = "1000") -> Check:
    return Check(rule=Reason.GROSS_NOTIONAL, passed=False, value=value, limit=limit, unit="USD")


def test_a_limit_that_the_market_carried_it_past_is_tolerated_by_a_quarter_and_then_halved() -> None:
    assert risk_limit(case(exceeded=(_check("1250"),)), SHIPPED) is None
    beyond = case(exceeded=(_check("1001"), _check("1251")))
    assert _what(risk_limit(beyond, SHIPPED)) == (Priority.HIGH, Action.REDUCE)
    assert _what(risk_limit(beyond, limits(risk_limit_tolerance_fraction=D("0.3")))) is None
    theirs = case(exceeded=(_check("1251"),), is_foreign=True)
    assert _what(risk_limit(theirs, SHIPPED)) == (Priority.HIGH, Action.ALERT)


def test_PR17_an_orphan_is_told_by_its_owner_and_closed_only_where_the_setting_says_so() -> None:
    gone = case(held={"owner": "beta"})
    assert _what(orphaned(gone, SHIPPED)) == (Priority.HIGH, Action.ALERT)
    assert _what(orphaned(gone, limits(orphaned_action="close"))) == (Priority.HIGH, Action.CLOSE)


@pytest.mark.parametrize("owner", ["alpha", "operator", "external", "a-bot-of-mine"])
def test_PR03_who_was_never_loaded_as_a_strategy_leaves_no_orphan(owner: str) -> None:
    closing = limits(orphaned_action="close")
    assert orphaned(case(held={"owner": owner}), closing) is None
    assert orphaned(case(held={"owner": "beta"}, is_foreign=True), closing) is None
    assert orphaned(case(held={"owner": owner}, once_loaded=frozenset(), loaded=frozenset({"alpha"})), closing) is None


def test_PR15_a_market_that_does_not_move_over_the_whole_window_is_stuck() -> None:
    old = {"opened_ms": NOW_MS - 12 * HOUR_MS}
    assert stuck(case(held=old, range_fraction=D("0.005")), SHIPPED) is None
    still = case(held=old, range_fraction=D("0.0049"))
    assert _what(stuck(still, SHIPPED)) == (Priority.MEDIUM, Action.ALERT)
    assert _what(stuck(still, limits(stuck_action="reduce"))) == (Priority.MEDIUM, Action.REDUCE)
    assert stuck(still, limits(stuck_window_ms=0)) is None
    younger = case(held={"opened_ms": NOW_MS - 12 * HOUR_MS + 1}, range_fraction=D(0))
    assert stuck(younger, SHIPPED) is None


def test_PR18_a_stuck_short_is_treated_as_a_stuck_long() -> None:
    reduce = limits(stuck_action="reduce")
    both = [
        stuck(case(side, held={"opened_ms": NOW_MS - 13 * HOUR_MS}, range_fraction=D(0)), reduce)
        for side in (Side.LONG, Side.SHORT)
    ]
    assert _what(both[0]) == _what(both[1]) == (Priority.MEDIUM, Action.REDUCE)


def test_what_was_just_made_smaller_is_not_stuck_for_another_window() -> None:
    old = {"opened_ms": NOW_MS - 30 * HOUR_MS}
    assert stuck(case(held=old, range_fraction=D(0), acted_ms=NOW_MS - 11 * HOUR_MS), SHIPPED) is None
    assert stuck(case(held=old, range_fraction=D(0), acted_ms=NOW_MS - 12 * HOUR_MS), SHIPPED) is not None


def test_PR15_age_is_counted_from_the_persisted_first_fill() -> None:
    at = case(held={"opened_ms": NOW_MS - 24 * HOUR_MS})
    assert stale(at, SHIPPED) is None
    beyond = case(held={"opened_ms": NOW_MS - 24 * HOUR_MS - 1})
    assert _what(stale(beyond, SHIPPED)) == (Priority.LOW, Action.WAIT)
    assert aged(beyond, SHIPPED) is None
    day = limits(max_hold_ms=24 * HOUR_MS)
    assert aged(at, day) is None
    assert _what(aged(beyond, day)) == (Priority.HIGH, Action.CLOSE)


def test_S20_a_position_whose_protection_deadline_has_passed_is_closed_unless_covered_or_closing() -> None:
    missing = {"protection": Protection.MISSING}
    assert unprotected(case(held=missing, unprotected_ms=5_000), SHIPPED) is None
    assert _what(unprotected(case(held=missing, unprotected_ms=5_001), SHIPPED)) == (Priority.CRITICAL, Action.CLOSE)
    assert unprotected(case(held=missing, unprotected_ms=9_000, is_closing=True), SHIPPED) is None
    busy = case(held=missing, unprotected_ms=15_000, is_protecting=True)
    assert unprotected(busy, SHIPPED) is None
    hung = case(held=missing, unprotected_ms=15_001, is_protecting=True)
    assert _what(unprotected(hung, SHIPPED)) == (Priority.CRITICAL, Action.CLOSE)
    assert unprotected(case(unprotected_ms=9_000), SHIPPED) is None
    assert unprotected(case(held={"protection": Protection.EXEMPT}, unprotected_ms=9_000), SHIPPED) is None


@pytest.mark.parametrize(
    ("policy", "action"), [("adopt", Action.ALERT), ("ignore", Action.WAIT), ("flatten", Action.CLOSE)]
)
def test_S53_a_position_of_others_is_treated_by_policy(policy: str, action: Action) -> None:
    by_policy = limits(execution={"foreign_policy": policy})
    issue = foreign(case(is_foreign=True), by_policy)
    assert issue is not None
    assert issue.action is action
    assert foreign(case(), by_policy) is None


def test_S53_what_policy_ignores_is_judged_by_all_rules_and_never_traded() -> None:
    ignoring = limits(execution={"foreign_policy": "ignore"})
    issues = analyse(case(is_foreign=True, mark=D(50), held={"size": D(90)}, unprotected_ms=9_000), ignoring)
    assert IssueKind.EXCESSIVE_LOSS in {issue.kind for issue in issues}
    assert deciding(issues) is None


def test_S54_a_book_that_was_wrong_is_told_and_never_traded_on() -> None:
    issue = desync(case(difference="our fills said 2, the venue says 1"), SHIPPED)
    assert _what(issue) == (Priority.HIGH, Action.ALERT)
    assert desync(case(), SHIPPED) is None


def test_PR13_S50_all_rules_are_asked_and_the_worst_decides() -> None:
    everything = case(
        held={"owner": "beta", "size": D(40), "opened_ms": NOW_MS - 30 * HOUR_MS}, mark=D(80), range_fraction=D(0),
        risk=risk_of(liquidation_price=D(70), liquidation_fraction=D("0.125")), difference="x", equity_usd=D(900),
    )  # fmt: skip
    issues = analyse(everything, limits(stuck_action="reduce"))
    assert {issue.kind for issue in issues} == {
        IssueKind.ORPHANED, IssueKind.EXCESSIVE_LOSS, IssueKind.STUCK, IssueKind.EXCESSIVE_LEVERAGE, IssueKind.STALE,
        IssueKind.NEAR_LIQUIDATION, IssueKind.DESYNC,
    }  # fmt: skip
    assert issues[0].kind is IssueKind.EXCESSIVE_LOSS
    worst = deciding(issues)
    assert worst is not None
    assert (worst.kind, worst.action) == (IssueKind.EXCESSIVE_LOSS, Action.CLOSE)


def test_PR13_an_issue_that_only_tells_hides_none_that_calls_for_an_order() -> None:
    aging = case(held={"owner": "beta", "opened_ms": NOW_MS - 13 * HOUR_MS}, range_fraction=D(0))
    worst = deciding(analyse(aging, limits(stuck_action="reduce")))
    assert worst is not None
    assert worst.kind is IssueKind.STUCK


def test_S50_a_rule_that_fails_is_an_issue_and_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setitem(RULES, IssueKind.ORPHANED, broken)
    issues = analyse(case(mark=D(80)), SHIPPED)
    assert issues[0].kind is IssueKind.EXCESSIVE_LOSS
    [failed] = [issue for issue in issues if issue.kind is IssueKind.ORPHANED]
    assert not failed.is_known
    assert failed.action is Action.ALERT


NAN, INF = D("NaN"), D("Infinity")
MISSING: list[dict[str, Any]] = [
    {"mark": None}, {"mark": NAN}, {"mark": D(0)}, {"mark": D(-1)}, {"mark_age_ms": None}, {"mark_age_ms": 15_001},
    {"equity_usd": None}, {"equity_usd": NAN}, {"equity_usd": D(0)}, {"equity_usd": D(-5)}, {"account_age_ms": None},
    {"account_age_ms": 120_001}, {"risk": None}, {"exceeded": None}, {"exceeded": (_check("unknown"),)},
    {"exceeded": (_check("NaN"),)}, {"held": {"entry_price": D(0)}}, {"held": {"entry_price": NAN}},
    {"held": {"size": NAN}}, {"held": {"size": INF}}, {"risk": risk_of(liquidation_price=NAN)},
    {"risk": risk_of(liquidation_fraction=NAN)},
    {"range_fraction": None, "held": {"opened_ms": NOW_MS - 13 * HOUR_MS}},
    {"range_fraction": NAN, "held": {"opened_ms": NOW_MS - 13 * HOUR_MS}}, {"held": {"opened_ms": 0}},
    {"held": {"opened_ms": NOW_MS + 5}},
]  # fmt: skip


@BOTH
@pytest.mark.parametrize("without", MISSING, ids=str)
def test_S30_PR21_missing_stale_or_non_finite_evidence_is_told_and_never_traded_on(
    side: Side, without: dict[str, Any]
) -> None:
    eager = limits(orphaned_action="close", stuck_action="reduce", max_hold_ms=1_000 * HOUR_MS)
    issues = analyse(case(side, **without), eager)
    unjudged = [issue for issue in issues if not issue.is_known]
    assert unjudged
    assert all(not issue.action.trades for issue in unjudged)
    assert deciding(issues) is None


def test_evidence_at_its_greatest_age_is_good() -> None:
    assert analyse(case(mark_age_ms=15_000, account_age_ms=120_000), SHIPPED) == ()


@given(
    side=st.sampled_from(Side),
    entry=st.decimals("0.01", "100000", places=4),
    mark=st.decimals("0.01", "100000", places=4),
    liquidation=st.decimals("0.01", "100000", places=4),
)
def test_S51_the_critical_mark_is_where_something_critical_begins(
    side: Side, entry: Decimal, mark: Decimal, liquidation: Decimal
) -> None:
    risk = risk_of(side, liquidation_price=liquidation, liquidation_fraction=D(1))
    seen = case(side, held={"entry_price": entry, "size": D("0.001")}, mark=mark, risk=risk)
    edge = critical_mark(seen, SHIPPED)
    assert edge is not None
    if abs(mark - edge) > edge * D("1e-12"):
        critical = any(issue.priority is Priority.CRITICAL for issue in analyse(seen, SHIPPED))
        assert critical is ((mark - edge) * side.sign < 0)


@given(away=st.decimals("-0.5", "0.5", places=4), size=st.decimals("0.1", "100", places=2))
def test_PR18_mirrored_positions_have_mirrored_issues(away: Decimal, size: Decimal) -> None:
    def found(side: Side) -> set[tuple[IssueKind, Priority, Action]]:
        mark = 100 * (1 - away * side.sign)
        risk = risk_of(side, liquidation_price=mark * (1 - D("0.15") * side.sign), liquidation_fraction=D("0.15"))
        seen = case(side, mark=mark, held={"size": size / mark}, risk=risk)
        return {(issue.kind, issue.priority, issue.action) for issue in analyse(seen, SHIPPED)}

    assert found(Side.LONG) == found(Side.SHORT)
