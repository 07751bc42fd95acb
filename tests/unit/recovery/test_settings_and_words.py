"""Each setting of recovery changes what is found, and each word of an action is understood or refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.recovery.cases import HOUR_MS, NOW_MS, D, case, limits, risk_of

from perpstrader.recovery import Action, IssueKind, Priority, RecoveryError, action_named, analyse

OLD = {"opened_ms": NOW_MS - 13 * HOUR_MS}
CHANGES: list[tuple[str, Any, dict[str, Any]]] = [
    ("excessive_loss_fraction", D("0.04"), {"mark": D(95)}),
    ("critical_liquidation_fraction", D("0.30"), {"risk": risk_of(liquidation_price=D(75))}),
    ("stuck_window_ms", 2 * HOUR_MS, {"held": {"opened_ms": NOW_MS - 3 * HOUR_MS}, "range_fraction": D(0)}),
    ("stuck_range_fraction", D("0.05"), {"held": OLD}),
    ("stuck_action", "reduce", {"held": OLD, "range_fraction": D(0)}),
    ("stale_age_ms", HOUR_MS // 2, {}),
    ("max_hold_ms", HOUR_MS // 2, {}),
    ("orphaned_action", "close", {"held": {"owner": "beta"}}),
    ("max_mark_age_ms", 500, {}),
    ("max_account_age_ms", 500, {}),
]


@pytest.mark.parametrize(("name", "value", "seen"), CHANGES, ids=[name for name, _, _ in CHANGES])
def test_each_setting_changes_what_is_found(name: str, value: Any, seen: dict[str, Any]) -> None:
    def found(**recovery: Any) -> list[tuple[IssueKind, Priority, Action, bool]]:
        issues = analyse(case(**seen), limits(**recovery))
        return [(issue.kind, issue.priority, issue.action, issue.is_known) for issue in issues]

    assert found() != found(**{name: value})


def test_the_words_of_actions_are_understood_in_any_case() -> None:
    assert action_named(" Close ") is Action.CLOSE
    assert action_named("REDUCE") is Action.REDUCE


@pytest.mark.parametrize("word", ["hedge", "HEDGE", "", "double"])
def test_PR19_an_action_that_is_not_carried_out_here_is_refused_and_never_dropped(word: str) -> None:
    with pytest.raises(RecoveryError, match="nothing was done: it knows close, reduce, wait, alert"):
        action_named(word)


def test_the_worst_is_first_by_priority_and_then_by_what_it_calls_for() -> None:
    issues = analyse(case(mark=D(85), held={"size": D(40)}, equity_usd=D(1_000)), limits())
    assert [issue.priority for issue in issues] == sorted((issue.priority for issue in issues), reverse=True)
