"""Recovery on the running trader: each rule fires from what the market or the venue shows, acts, and the venue shows
what came of it (S50-S53).
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import Bar, calm

from perpstrader.domain import HaltKind, Order, PerpsTraderError, Purpose, Side, StateError
from perpstrader.execution import Desk
from perpstrader.execution.exits import ExitDesk, ExitReport
from perpstrader.execution.protection import Protector
from perpstrader.recovery import Action, Disposition, IssueKind, RecoveryError
from perpstrader.recovery.attempts import Attempts
from perpstrader.recovery.baseline import RecoveryService
from perpstrader.recovery.rules import RULES
from perpstrader.settings import load
from perpstrader.settings.errors import SettingsError
from perpstrader.venue.contract import OrderRequest

MICRO = 1_000_000
LONG: Script = {("BTC", 1): go(Side.LONG, 58_800)}
SHORT: Script = {("BTC", 1): go(Side.SHORT, 61_200)}
WIDE_LONG: Script = {("BTC", 1): go(Side.LONG, 55_500)}
CALM = {"BTC": calm(60_000)}
TWO = {"BTC": calm(60_000), "ETH": calm(3_000)}
CRASH = {"BTC": [*calm(60_000, 4), Bar(path=(53_000,), gap=True), *calm(53_000)]}
FAR = {"risk.min_liquidation_distance_fraction": "0.7"}


def _kinds(stage: Stage, symbol: str = "BTC") -> set[IssueKind]:
    return {issue.kind for issue in stage.trader.recovery.stats().active if issue.symbol == symbol}


def _outcomes(stage: Stage, kind: IssueKind) -> list[Disposition]:
    return [h.disposition for h in stage.trader.recovery.stats().history if h.issue.kind is kind]


def _quiet_protection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protection is broken: nobody places a stop, nobody closes."""

    async def nothing(self: Protector, symbol: str) -> None:
        return None

    monkeypatch.setattr(Protector, "ensure", nothing)


# --- each rule from the market, or from what the venue shows ---


def _falls_through_its_stop(stage: Stage) -> None:
    """The stop is taken away, and nobody is told: what a stop that failed looks like."""
    [stop] = stage.listed("BTC", "stop")
    stage.engine.cancel(stage.user, "BTC", stop.oid, stage.clock.now_ms())
    stage.untold()


@pytest.mark.parametrize(("script", "after"), [(LONG, 53_000), (SHORT, 67_000)], ids=["long", "short"])
def test_S51_PR10_a_loss_that_no_stop_allows_is_closed_within_the_bound(script: Script, after: int) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        assert stage.position("BTC") != 0
        _falls_through_its_stop(stage)
        await stage.bar(3)
        await stage.seconds(2)
        assert stage.position("BTC") == 0
        assert Disposition.CLOSED in _outcomes(stage, IssueKind.EXCESSIVE_LOSS)
        stats = stage.trader.recovery.stats()
        assert stats.submitted == stats.succeeded == 1
        assert stats.slowest_critical_ms <= 2_000
        seen_ms = stage.notes("recovery-acts")[0].time_ms
        assert stage.fills("BTC")[-1].time_ms - seen_ms <= 2_000
        await stage.bar(5)
        assert _kinds(stage) == set()

    market = {"BTC": [*calm(60_000, 4), Bar(path=(after,), gap=True), *calm(after)]}
    play(market, {"alpha": script}, act, sound=False)


def test_S51_the_proof_fails_where_a_mark_does_not_wake_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    def asleep(self: RecoveryService, symbol: str) -> None:
        """Mutant: only the timer looks."""

    monkeypatch.setattr(RecoveryService, "on_market", asleep)

    async def act(stage: Stage) -> None:
        await stage.bar(2)
        _falls_through_its_stop(stage)
        await stage.bar(3)
        await stage.seconds(2)
        assert stage.position("BTC") == 0

    with pytest.raises(AssertionError):
        play(CRASH, {"alpha": LONG}, act, sound=False, overrides={"recovery.interval_ms": 60_000})


def test_PR12_S22_a_position_that_a_withdrawal_brought_too_near_to_liquidation_is_halved_and_keeps_its_stop() -> None:
    _money_is_taken_out_under_a_position()


def _money_is_taken_out_under_a_position() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(3)
        before = stage.position("BTC")
        assert before > 0
        stage.engine.withdraw(stage.user, 820 * MICRO, stage.clock.now_ms())
        await stage.seconds(70)
        after = stage.position("BTC")
        assert 0 < after <= before / 2
        assert stage.coins("BTC", stage.stop_of("BTC").size) == after
        assert Disposition.REDUCED in _outcomes(stage, IssueKind.NEAR_LIQUIDATION)
        assert IssueKind.NEAR_LIQUIDATION not in _kinds(stage)

    play(CALM, {"alpha": {("BTC", 1): go(Side.LONG, 59_400, 66_000)}}, act, overrides=FAR)


def test_S22_the_proof_fails_where_nobody_looks_after_the_approval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RULES, IssueKind.NEAR_LIQUIDATION)
    monkeypatch.delitem(RULES, IssueKind.EXCESSIVE_LEVERAGE)
    monkeypatch.delitem(RULES, IssueKind.RISK_LIMIT)
    with pytest.raises(AssertionError):
        _money_is_taken_out_under_a_position()


def test_S22_a_position_that_keeps_its_distance_is_left_alone() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(3)
        before = stage.position("BTC")
        await stage.seconds(100)
        assert stage.position("BTC") == before
        assert stage.trader.recovery.stats().submitted == 0
        assert stage.trader.recovery.stats().checks >= 15
        assert _kinds(stage) == set()

    play(CALM, {"alpha": {("BTC", 1): go(Side.LONG, 59_400, 66_000)}}, act, overrides=FAR)


def test_PR14_leverage_that_was_taken_by_hand_is_halved_until_it_is_allowed() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        stage.engine.update_leverage(stage.user, "ETH", 20, True, stage.clock.now_ms())
        stage.by_hand("ETH", buy=True, size="1.3")  # 3.9 times the account
        await stage.seconds(60)
        assert stage.position("ETH") == Decimal("0.65")
        assert stage.coins("ETH", stage.stop_of("ETH").size) == Decimal("0.65")
        assert Disposition.REDUCED in _outcomes(stage, IssueKind.EXCESSIVE_LEVERAGE)
        leverage = stage.position("ETH") * 3_000 / stage.equity_usd()
        assert leverage <= 3

    play(TWO, {"alpha": {}}, act, overrides={"risk.min_liquidation_distance_fraction": "0.05",
                                             "risk.min_liquidation_stop_ratio": "0.1",
                                             "risk.joint_shock_fraction": "0.01"})  # fmt: skip


def test_RISK_LIMIT_a_position_that_the_market_carried_past_its_share_is_halved() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(3)
        before = stage.position("BTC")
        stage.engine.withdraw(stage.user, 700 * MICRO, stage.clock.now_ms())
        await stage.seconds(70)
        assert 0 < stage.position("BTC") <= before / 2
        assert Disposition.REDUCED in _outcomes(stage, IssueKind.RISK_LIMIT)
        assert IssueKind.RISK_LIMIT not in _kinds(stage)

    play(CALM, {"alpha": LONG}, act, overrides={"risk.max_position_fraction": "0.31"})


def test_PR15_a_market_that_stands_still_leaves_a_stuck_position_halved_where_the_setting_says_so() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        before = stage.position("BTC")
        await stage.seconds(330)
        assert 0 < stage.position("BTC") <= before / 2 + Decimal("0.00001")
        assert Disposition.REDUCED in _outcomes(stage, IssueKind.STUCK)

    play(CALM, {"alpha": LONG}, act, overrides={"recovery.stuck_window_ms": 300_000, "recovery.stuck_action": "reduce"})


def test_PR15_PR16_an_old_position_is_stale_recorded_and_left_alone() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        before = stage.position("BTC")
        await stage.seconds(130)
        assert stage.position("BTC") == before
        assert _outcomes(stage, IssueKind.STALE) == [Disposition.WAITING]

    play(CALM, {"alpha": LONG}, act, overrides={"recovery.stale_age_ms": 120_000})


def test_AGED_a_position_beyond_its_longest_hold_is_closed_also_when_a_restart_lay_in_between(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        await stage.seconds(60)
        await stage.crash()
        await stage.seconds(30)
        await stage.start_again()
        assert stage.position("BTC") > 0
        await stage.seconds(45)
        assert stage.position("BTC") == 0
        assert Disposition.CLOSED in _outcomes(stage, IssueKind.AGED)

    play(CALM, {"alpha": LONG}, act, state_path=tmp_path / "state.db", overrides={"recovery.max_hold_ms": 120_000})


def test_S20_a_position_that_protection_leaves_bare_is_closed_by_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(stage: Stage) -> None:
        _quiet_protection(monkeypatch)
        await stage.bar(1)
        await stage.seconds(1)
        assert stage.position("BTC") > 0
        await stage.seconds(14)
        assert stage.position("BTC") == 0
        assert Disposition.CLOSED in _outcomes(stage, IssueKind.UNPROTECTED)
        monkeypatch.undo()
        await stage.seconds(10)

    play(CALM, {"alpha": {("BTC", 1): go(Side.LONG)}}, act, sound=False)


def _restarted_without(strategy: str, overrides: dict[str, Any], tmp_path: Path) -> tuple[Decimal, set[IssueKind]]:
    """A position of ``alpha`` meets a trader that has loaded ``strategy`` instead."""

    async def act(stage: Stage) -> tuple[Decimal, set[IssueKind]]:
        await stage.bar(2)
        assert stage.position("BTC") > 0
        await stage.crash()
        old = stage.world.settings.trader
        kept = tuple(s for s in old.strategies if s.params["name"] == strategy)
        stage.world.settings = stage.world.settings.__class__(**{
            name: getattr(stage.world.settings, name) for name in stage.world.settings.__dataclass_fields__
        } | {"trader": old.model_copy(update={"strategies": kept})})  # fmt: skip
        await stage.start_again()
        await stage.seconds(15)
        return stage.position("BTC"), _kinds(stage)

    return play(CALM, {"alpha": LONG, "beta": {}}, act, state_path=tmp_path / "state.db", overrides=overrides)


def test_PR17_a_position_whose_strategy_is_no_longer_loaded_is_told_of_and_keeps_its_stop(tmp_path: Path) -> None:
    held, kinds = _restarted_without("beta", {}, tmp_path)
    assert held > 0
    assert IssueKind.ORPHANED in kinds


def test_PR17_it_is_closed_where_the_setting_says_so(tmp_path: Path) -> None:
    held, _ = _restarted_without("beta", {"recovery.orphaned_action": "close"}, tmp_path)
    assert held == 0


def test_S53_PR03_a_position_of_others_is_told_of_and_kept_and_a_signal_from_outside_leaves_no_orphan() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        told = await stage.signal("BTC", Side.LONG, stop_price="58800", strategy="a-bot-of-mine")
        assert told.done
        stage.by_hand("ETH", buy=False, size="0.05")
        await stage.seconds(40)
        assert stage.position("ETH") == Decimal("-0.05")
        assert stage.position("BTC") > 0
        assert _kinds(stage, "ETH") == {IssueKind.FOREIGN}
        assert _kinds(stage, "BTC") == set()

    play(TWO, {"alpha": {}}, act, overrides={"recovery.orphaned_action": "close"})


def test_S53_a_position_that_was_adopted_is_flattened_where_the_policy_says_so_after_a_restart(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        stage.by_hand("ETH", buy=True, size="0.05")
        await stage.seconds(20)
        assert stage.position("ETH") == Decimal("0.05")
        await stage.crash()
        settings = stage.world.settings
        stage.world.settings = settings.__class__(**{
            name: getattr(settings, name) for name in settings.__dataclass_fields__
        } | {"execution": settings.execution.model_copy(update={"foreign_policy": "flatten"})})  # fmt: skip
        await stage.start_again()
        await stage.seconds(20)
        assert stage.position("ETH") == 0
        assert Disposition.CLOSED in _outcomes(stage, IssueKind.FOREIGN)

    play(TWO, {"alpha": {}}, act, state_path=tmp_path / "state.db")


def test_S53_what_policy_ignores_is_never_traded_whatever_it_loses() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        stage.by_hand("ETH", buy=True, size="0.05")
        await stage.seconds(60)
        assert stage.position("ETH") == Decimal("0.05")
        assert IssueKind.EXCESSIVE_LOSS in _kinds(stage, "ETH")
        assert stage.trader.recovery.stats().submitted == 0

    market = {"BTC": calm(60_000), "ETH": [*calm(3_000, 5), *calm(2_500)]}
    play(market, {"alpha": {}}, act, sound=False, overrides={"execution.foreign_policy": "ignore"})


def test_S54_a_book_that_two_readings_proved_wrong_is_told_until_an_operator_resumes() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        holding = stage.trader.execution.desk.positions.holdings["BTC"]
        holding.size += Decimal("0.001")  # our book is wrong; fills cannot explain it
        await stage.seconds(45)
        assert stage.trader.execution.desk.positions.size("BTC") == stage.position("BTC")
        assert IssueKind.DESYNC in _kinds(stage)
        stage.trader.execution.view.frozen.clear()
        await stage.seconds(6)
        assert IssueKind.DESYNC not in _kinds(stage)

    play(CALM, {"alpha": LONG}, act, sound=False)


# --- how it acts ---


def test_PR02_S01_recovery_closes_while_everything_is_halted() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        await stage.trader.halt(HaltKind.OPERATOR, "storm", "tester")
        _falls_through_its_stop(stage)
        await stage.bar(3)
        await stage.seconds(3)
        assert stage.position("BTC") == 0
        assert "operator" in stage.halts()

    play(CRASH, {"alpha": LONG}, act, sound=False)


def test_PR01_S02_every_recovery_order_is_reduce_only_and_the_position_never_flips() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held = stage.position("BTC")
        done = await stage.trader.recovery.recover("BTC", Action.REDUCE, "half", actor="tester")
        assert done.done
        assert 0 < stage.position("BTC") < held
        done = await stage.trader.recovery.recover("BTC", Action.CLOSE, "all", actor="tester")
        assert done.done
        assert done.after == 0
        exits = [order for order in stage.sent("BTC", "plain") if not order.is_buy]
        assert len(exits) == 2
        assert all(order.reduce_only for order in exits)
        assert stage.position("BTC") == 0

    play(CALM, {"alpha": LONG}, act)


def test_PR08_PR22_two_checks_at_once_make_one_order() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        _falls_through_its_stop(stage)
        stage.trader.recovery.on_market = lambda symbol: None  # type: ignore[method-assign]  # this test looks itself
        await stage.seconds(5.5)
        recovery = stage.trader.recovery
        await asyncio.gather(recovery.check(), recovery.check())
        await asyncio.gather(recovery.check(), recovery.check())
        await stage.seconds(5)
        assert stage.position("BTC") == 0
        assert recovery.stats().submitted == 1
        assert len([order for order in stage.sent("BTC", "plain") if not order.is_buy]) == 1

    play(CRASH, {"alpha": LONG}, act, sound=False)


def test_S51_what_is_critical_takes_over_a_reduction_that_does_not_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(15)
        [run] = stage.trader.recovery.stats().acting
        assert run == "BTC"
        held = stage.position("BTC")
        await stage.seconds(0.2)
        _quiet_protection(monkeypatch)
        _falls_through_its_stop(stage)
        await stage.bar(16)
        await stage.seconds(4)
        assert held > 0
        assert stage.position("BTC") == 0
        kinds = [h.issue.kind for h in stage.trader.recovery.stats().history if h.disposition is Disposition.ACTING]
        assert kinds == [IssueKind.STUCK, IssueKind.EXCESSIVE_LOSS]
        assert stage.trader.recovery.stats().slowest_critical_ms <= 2_000
        monkeypatch.undo()

    nobody = calm(60_000, 3, bids_usd=1)
    market = {"BTC": [*calm(60_000, 14), *nobody, Bar(path=(53_000,), gap=True), *calm(53_000)]}
    play(market, {"alpha": LONG}, act, sound=False,
         overrides={"recovery.stuck_window_ms": 60_000, "recovery.stuck_action": "reduce"})  # fmt: skip


def test_what_is_not_critical_goes_one_position_after_another() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(3)
        stage.engine.withdraw(stage.user, 900 * MICRO, stage.clock.now_ms())
        await stage.seconds(90)
        acts = stage.notes("recovery-acts")
        done = stage.notes("recovery-done")
        assert {note.symbol for note in acts} == {"BTC", "ETH"}
        assert all(later.time_ms >= before.time_ms for later, before in zip(acts[1:], done, strict=False))
        assert stage.trader.recovery.stats().failed == 0
        assert all(issue.kind is not IssueKind.RISK_LIMIT for issue in stage.trader.recovery.stats().active)

    both: Script = {**LONG, ("ETH", 1): go(Side.LONG, 2_940)}
    play(TWO, {"alpha": both}, act, overrides={"recovery.critical_liquidation_fraction": "0.01"})


def test_S50_PR09_a_position_whose_data_is_broken_leaves_the_others_served(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        assert stage.position("BTC") > 0
        assert stage.position("ETH") > 0
        mark = stage.trader.market.snapshot

        def broken(symbol: str) -> Any:
            if symbol == "ETH":
                raise ValueError("no such frame")
            return mark(symbol)

        monkeypatch.setattr(stage.trader.market, "snapshot", broken)
        monkeypatch.setattr("perpstrader.recovery.evidence.EvidenceReader._equity_usd", lambda self, portfolio: None)
        _falls_through_its_stop(stage)
        await stage.bar(3)
        await stage.seconds(6)
        assert stage.position("BTC") == 0
        assert stage.position("ETH") > 0
        assert [note.symbol for note in stage.notes("recovery-unjudged")][:1] == ["ETH"]
        monkeypatch.undo()

    market = {**CRASH, "ETH": calm(3_000)}
    script: Script = {**LONG, ("ETH", 1): go(Side.LONG, 2_940)}
    play(market, {"alpha": script}, act, sound=False)


def test_PR03_S30_a_state_file_that_hiccups_closes_nothing() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held = stage.position("BTC")
        stage.trader.store._executor.run = _locked  # type: ignore[method-assign]  # the disk says no from now on
        await stage.seconds(60)
        assert stage.position("BTC") == held
        assert stage.trader.recovery.stats().submitted == 0
        del stage.trader.store._executor.run

    play(CALM, {"alpha": LONG}, act, sound=False, overrides={"recovery.orphaned_action": "close"})


async def _locked(*args: Any, **more: Any) -> None:
    raise StateError("database is locked")


def test_PR05_PR27_recover_says_done_only_after_the_venue_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        refused = await stage.commands.recover("BTC", "reduce", "too large", actor="me")
        assert refused.done
        with pytest.raises(RecoveryError, match="hedge"):
            await stage.commands.recover("BTC", "hedge", "clever", actor="me")
        with pytest.raises(RecoveryError, match="sends no order"):
            await stage.commands.recover("BTC", "wait", "later", actor="me")

        async def no(self: ExitDesk, symbol: str, reason: str, **more: Any) -> ExitReport:
            return ExitReport(
                symbol=symbol, episode="", flat=False, closed=Decimal(0), left=held, attempts=1, average_price=None,
                text="the venue said no",
            )  # fmt: skip

        held = stage.position("BTC")
        monkeypatch.setattr(ExitDesk, "close", no)
        told = await stage.commands.recover("BTC", "close", "now", actor="me")
        assert not told.done
        assert "nothing was closed: the venue said no" in told.text
        monkeypatch.undo()
        assert stage.position("BTC") == held

    play(CALM, {"alpha": LONG}, act)


def test_PR20_the_order_the_trace_and_the_issue_name_each_other() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        _falls_through_its_stop(stage)
        await stage.bar(3)
        await stage.seconds(5)
        await stage.trader.execution.journal_settled()
        episodes = await stage.trader.store.read(lambda tx: tx.episodes.history(1))
        assert "EXCESSIVE_LOSS: lost" in episodes[0].end_reason
        [trace] = [t for t in stage.trader.recorder.recent_decisions if t.strategy == "recovery"]
        words = " ".join(step.text for step in trace.steps)
        assert trace.episode == episodes[0].id
        assert "EXCESSIVE_LOSS: lost" in words
        assert "limit 10.00 %" in words
        assert "the venue shows it flat" in words

    play(CRASH, {"alpha": LONG}, act, sound=False)


def _attempts_over_a_restart(path: Path) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        await stage.seconds(130)
        first = stage.trader.recovery.stats()
        assert first.attempts == {"BTC": 1}
        await stage.trader.execution.journal_settled()
        await stage.crash()
        await stage.start_again()
        assert stage.trader.recovery.stats().attempts == {"BTC": 1}
        await stage.seconds(140)
        assert stage.trader.recovery.stats().attempts == {"BTC": 2}
        assert (await stage.commands.recover("BTC", "reset", "looked at it", actor="me")).done
        assert stage.trader.recovery.stats().attempts == {}
        assert (await stage.commands.close("BTC", "enough", actor="me")).done
        await stage.seconds(6)
        assert stage.trader.recovery.stats().attempts == {}

    play(CALM, {"alpha": LONG}, act, state_path=path,
         overrides={"recovery.stuck_window_ms": 120_000, "recovery.stuck_action": "reduce"})  # fmt: skip


def test_S52_PR06_PR25_attempts_survive_a_restart_and_end_with_the_episode(tmp_path: Path) -> None:
    _attempts_over_a_restart(tmp_path / "state.db")


def test_S52_the_proof_fails_where_attempts_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Attempts, store: object) -> tuple[str, ...]:
        """Mutant: a new process begins at zero."""
        return ()

    monkeypatch.setattr(Attempts, "restore", nothing)
    with pytest.raises(AssertionError):
        _attempts_over_a_restart(tmp_path / "state.db")


def test_S52_PR06_used_up_attempts_are_told_and_what_was_halved_is_closed() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        await stage.seconds(70)
        assert stage.trader.recovery.stats().attempts == {"BTC": 1}
        await stage.seconds(70)
        assert stage.position("BTC") == 0
        [note] = stage.notes("recovery-exhausted")
        assert "1 attempt" in note.text
        assert note.grave

    play(CALM, {"alpha": LONG}, act, overrides={"recovery.stuck_window_ms": 60_000, "recovery.stuck_action": "reduce",
                                                "recovery.max_attempts": 1})  # fmt: skip


def test_PR07_what_the_venue_never_got_is_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Desk.request

    def unmade(self: Desk, order: Order) -> OrderRequest:
        if order.intent.purpose is Purpose.EXIT:
            raise PerpsTraderError("the request cannot be made")
        return request(self, order)

    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held = stage.position("BTC")
        monkeypatch.setattr(Desk, "request", unmade)
        await stage.seconds(70)
        assert stage.notes("recovery-acts")
        assert stage.position("BTC") == held
        stats = stage.trader.recovery.stats()
        assert (stats.attempts, stats.submitted, stats.succeeded) == ({}, 0, 0)
        monkeypatch.undo()

    play(CALM, {"alpha": LONG}, act, sound=False,
         overrides={"recovery.stuck_window_ms": 60_000, "recovery.stuck_action": "reduce"})  # fmt: skip


def test_PR23_after_the_stop_recovery_sends_nothing_more() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        recovery = stage.trader.recovery
        await recovery.stop()
        _falls_through_its_stop(stage)
        await stage.bar(3)
        await stage.seconds(3)
        await recovery.check()
        assert recovery.stats().submitted == 0
        with pytest.raises(RecoveryError, match="stopping"):
            await recovery.recover("BTC", Action.CLOSE, "late", actor="me")

    play(CRASH, {"alpha": LONG}, act, sound=False)


def test_PR24_an_impossible_limit_of_attempts_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="max_attempts"):
        load(None, {"MAX_RECOVERY_ATTEMPTS": "many"}, {})


def test_the_status_and_the_command_show_what_recovery_finds() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        stage.by_hand("ETH", buy=True, size="0.05")
        await stage.seconds(30)
        [row] = stage.commands.status().recovery
        assert (row.symbol, row.kind, row.action) == ("ETH", "FOREIGN", "alert")
        report = stage.commands.recovery()
        assert report.checks > 3
        assert report.issues == (row,)
        assert [h.outcome for h in report.history] == ["reported"]

    play(TWO, {"alpha": {}}, act)
