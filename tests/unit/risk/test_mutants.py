"""Each guarantee's test fails when the guarantee is taken away, so that it is a test and no decoration."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_UP, Decimal

import pytest
from tests.contract.risk import test_contract
from tests.unit.risk import (
    test_keeper,
    test_keeper_halts,
    test_liquidation,
    test_properties,
    test_rules,
    test_sizing_and_stops,
)
from tests.unit.risk.risk_samples import execution, limits

from perpstrader.domain import AssetSpec, Check, Reason, Signal
from perpstrader.risk import baseline, exposure, judge, keeper, losses, sizing, stops
from perpstrader.risk.keeper import RiskKeeper
from perpstrader.risk.reservations import Reservations
from perpstrader.risk.rules import checks, evidence, halts, market, signal
from perpstrader.risk.rules import exposure as exposure_rules

Patch = pytest.MonkeyPatch


def _make(**changes: object) -> baseline.RiskManager:
    return baseline.RiskManager(limits(**changes), execution(), 3, test_contract.ASSETS)


def _strict(rule: Reason, value: Decimal | int, limit: Decimal | int, unit: str = "") -> Check:
    return Check(rule=rule, passed=value < limit, value=checks.show(value), limit=checks.show(limit), unit=unit)


def _edges_excluded(patch: Patch) -> None:
    for module in (evidence, halts, market, signal):
        patch.setattr(module, "at_most", _strict)


def _missing_passes(patch: Patch) -> None:
    for module in (evidence, halts, market):
        patch.setattr(module, "missing", checks.unjudged)
    patch.setattr(judge, "check_evidence", lambda case: iter(()))


def _rounded_up(self: AssetSpec, size: Decimal) -> Decimal:
    return size.quantize(self.lot, rounding=ROUND_UP)


def _no_reservation_is_seen(patch: Patch) -> None:
    patch.setattr(Reservations, "all", property(lambda self: ()))


def _memory_forgets(self: RiskKeeper, new: object) -> None:
    return None


def _resume_without_a_second_look(patch: Patch) -> None:
    patch.setattr(RiskKeeper, "_must_stay", lambda self, halt: False)


async def _settles_nothing(self: RiskKeeper) -> None:
    self._unsettled = []


MUTANTS: dict[str, tuple[Callable[[Patch], None], Callable[[], None]]] = {
    "S01 an exit is judged as an entry": (
        lambda patch: patch.setattr(Signal, "is_exit", property(lambda self: False)),
        test_rules.test_S01_an_exit_is_never_judged_by_limits,
    ),
    "S22 liquidation is not looked at": (
        lambda patch: patch.setattr(exposure_rules, "check_liquidation", lambda *given: iter(())),
        test_liquidation.test_S22_an_entry_that_brings_another_position_near_liquidation_is_refused,
    ),
    "S22 the others are not shocked": (
        lambda patch: patch.setattr("perpstrader.risk.liquidation._shocked", lambda exposure, fraction: exposure),
        test_liquidation.test_S22_an_entry_that_brings_another_position_near_liquidation_is_refused,
    ),
    "S22 a stop's limit on the wrong side": (
        lambda patch: patch.setattr(stops, "ONE", Decimal("1.5")),
        test_sizing_and_stops.test_S22_the_stops_limit_lies_beyond_its_trigger_on_the_executing_side,
    ),
    "S30 what is missing passes": (
        _missing_passes, lambda: test_rules.test_S30_missing_evidence_never_opens(
            {"account": test_rules.portfolio(reconciled=False)}, Reason.NOT_RECONCILED
        ),
    ),
    "S32 reservations are not seen": (
        _no_reservation_is_seen, test_properties.test_S32_after_any_set_of_approvals_every_limit_holds
    ),
    "S32 reservations are not seen, by hand": (
        _no_reservation_is_seen, lambda: test_contract.test_S32_a_batch_is_judged_one_after_the_other(_make)
    ),
    "S32 a room is too large": (
        lambda patch: patch.setattr(sizing, "divide_down", lambda amount, by: max(Decimal(0), amount / by * 2)),
        test_sizing_and_stops.test_S25_crash_exposure_bounds_what_is_in_flight_at_once,
    ),
    "S33 a room is believed and not checked again": (
        lambda patch: patch.setattr(judge, "check_portfolio", lambda *given: iter(())),
        test_rules.test_S33_exposure_is_refused_only_beyond_its_limit,
    ),
    "S33 the edge is refused": (
        _edges_excluded, lambda: test_rules.test_S33_a_limit_allows_its_own_value_and_nothing_beyond_it("account age")
    ),
    "S33 a size is rounded up": (
        lambda patch: patch.setattr(AssetSpec, "floor_size", _rounded_up),
        test_sizing_and_stops.test_S33_a_size_below_the_minimum_is_refused_and_never_rounded_up,
    ),
    "S33 below the minimum passes": (
        lambda patch: patch.setattr(sizing, "minimum_notional_usd", lambda case, prices: Decimal(0)),
        test_sizing_and_stops.test_S33_a_size_below_the_minimum_is_refused_and_never_rounded_up,
    ),
    "S36 any signal will do": (
        lambda patch: patch.setattr(judge, "check_signal", lambda case: iter(())),
        lambda: test_rules.test_S36_what_cannot_be_acted_on_is_refused_with_that_reason(
            test_rules.signal(action=test_rules.Action.HOLD), Reason.HOLD
        ),
    ),
    "S37 anything is plausible": (
        lambda patch: patch.setattr(RiskKeeper, "_plausible", lambda self, what, usd, time_ms: usd.is_finite()),
        test_keeper.test_S37_a_profit_beyond_the_account_halts_and_is_booked_as_it_is,
    ),
    "S38 anybody may add": (
        lambda patch: patch.setattr(judge, "check_ownership", lambda case: iter(())),
        lambda: test_rules.test_S38_one_owner_a_symbol_and_no_flip_by_an_open(
            {"owner": "other", "side": test_rules.Side.SHORT}, Reason.OWNED_BY
        ),
    ),
    "S39 a withdrawal moves no peak": (
        lambda patch: patch.setattr(RiskKeeper, "_absorb", lambda self, flow, before: None),
        test_keeper.test_S39_a_withdrawal_is_no_loss_and_lowers_the_limits_at_once,
    ),
    "S39 a deposit counts at once": (
        lambda patch: patch.setattr(keeper, "undelayed", lambda delayed, flow: Decimal(0)),
        test_keeper.test_S39_a_deposit_is_no_profit_and_raises_the_limits_tomorrow,
    ),
    "S40 halts are not looked at": (
        lambda patch: patch.setattr(judge, "check_halts", lambda case: iter(())),
        lambda: test_rules.test_S40_every_halt_in_force_refuses_an_entry(test_rules.HaltKind.OPERATOR),
    ),
    "S40 a halt waits for the disk": (
        lambda patch: patch.setattr(RiskKeeper, "_enforce", _memory_forgets),
        test_keeper_halts.test_S40_a_halt_that_cannot_be_written_raises_and_holds_in_memory,
    ),
    "S40 a tripped halt is never settled": (
        lambda patch: patch.setattr(RiskKeeper, "_settle", _settles_nothing),
        test_keeper_halts.test_S40_a_tripped_halt_holds_at_once_and_is_on_disk_when_it_is_settled,
    ),
    "S41 only realised losses count": (
        lambda patch: patch.setattr(losses, "day_loss_usd", lambda state, equity: max(Decimal(0), -state.realized_usd)),
        lambda: test_keeper.test_S41_the_first_loss_stops_entries_and_the_second_flattens(
            "50.01", [test_keeper.HaltKind.DAILY_LOSS], True, True
        ),
    ),
    "S41 a daily loss may be waved through": (
        _resume_without_a_second_look,
        test_keeper_halts.test_a_daily_loss_beyond_its_limit_is_not_released_before_midnight,
    ),
    "S41 the day never ends": (
        lambda patch: patch.setattr(keeper, "utc_day", lambda time_ms: test_keeper.utc_day(test_keeper.NOW)),
        test_keeper.test_S41_a_new_day_resets_the_counter_once_and_ends_no_other_halt,
    ),
    "S35 the row is believed, not the ledger": (
        lambda patch: patch.setattr(keeper, "_restored", lambda saved, memory: saved.row or memory),
        lambda: test_keeper.test_S35_a_kill_between_booking_a_fill_and_saving_the_row_changes_nothing(False),
    ),
    "S25 in flight does not count": (
        lambda patch: patch.setattr(exposure.Book, "in_flight_usd", property(lambda self: Decimal(0))),
        test_sizing_and_stops.test_S25_crash_exposure_bounds_what_is_in_flight_at_once,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_guarantees_test_fails_without_the_guarantee(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, proof = MUTANTS[name]
    mutate(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup, pytest.fail.Exception)):
        proof()
