"""The safety scenarios once more on the baseline client: rolling back gives up speed and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.scenario import (
    kit,
    test_entry_and_stop,
    test_losses_and_halts,
    test_money,
    test_owners_and_strangers,
    test_restarts,
    test_stops_that_fire,
)
from tests.scenario.market import calm

SCENARIOS: list[Callable[[], None]] = [
    test_entry_and_stop.test_S20_what_a_thin_book_filled_in_part_gets_a_stop_of_its_own,
    test_entry_and_stop.test_S21_after_a_partial_exit_the_stop_is_as_large_as_what_is_left,
    test_entry_and_stop.test_S21_the_target_closes_the_position_and_the_stop_goes_with_it,
    test_stops_that_fire.test_S23_a_gap_through_the_stop_fills_at_the_new_price_and_leaves_nothing,
    test_stops_that_fire.test_S23_S04_a_stop_that_triggers_without_a_bid_is_followed_by_an_exit_that_goes_on_until_flat,
    test_stops_that_fire.test_S23_a_stop_cancelled_behind_our_back_is_replaced_within_the_deadline,
    test_owners_and_strangers.test_S53_a_position_opened_by_hand_is_adopted_protected_and_its_symbol_frozen,
    test_owners_and_strangers.test_S54_a_position_closed_by_hand_is_gone_here_too_and_leaves_no_stop,
    test_losses_and_halts.test_S41_a_deeper_fall_of_the_market_alone_flattens_before_any_stop_is_met,
    test_losses_and_halts.test_S05_flatten_closes_every_position_takes_entries_back_and_shows_the_account_flat,
    test_losses_and_halts.test_S40_a_halt_between_approval_and_sending_keeps_the_order_here,
    test_money.test_S39_a_withdrawal_is_a_cash_flow_and_no_loss,
    test_money.test_S39_equity_that_nothing_explains_halts_entries_with_the_evidence_and_closes_nothing,
    test_money.test_S35_funding_of_each_hour_is_booked_exactly_once,
]


def test_the_scenarios_do_run_on_the_client_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(stage: kit.Stage) -> str:
        return type(stage.trader.execution.desk.client).__module__

    assert kit.play({"BTC": calm(60_000)}, {"alpha": {}}, act) == "perpstrader.venue.client"
    monkeypatch.setattr(kit, "CLIENT", "baseline")
    assert kit.play({"BTC": calm(60_000)}, {"alpha": {}}, act) == "perpstrader.venue.baseline"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__.removeprefix("test_"))
def test_on_the_baseline_client(monkeypatch: pytest.MonkeyPatch, scenario: Callable[[], None]) -> None:
    monkeypatch.setattr(kit, "CLIENT", "baseline")
    scenario()


@pytest.mark.parametrize("crashes", [False, True], ids=["stopped", "crashed"])
def test_S55_on_the_baseline_client_a_restart_finds_its_stop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, crashes: bool
) -> None:
    monkeypatch.setattr(kit, "CLIENT", "baseline")
    test_restarts.test_S55_after_a_restart_the_position_has_the_same_stop_and_no_other(tmp_path, crashes)
