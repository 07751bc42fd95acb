"""Whose position it is: owners, other strategies, and hands that trade the same account (S38, S53, S54)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.scenario.kit import Script, Scripted, Stage, go, leave, play
from tests.scenario.market import calm

from perpstrader.domain import Action, MarketView, Side, Signal
from perpstrader.execution.protection import Protector
from perpstrader.execution.reconcile import Reconciler
from perpstrader.trader.decisions import Decider

CALM = {"BTC": calm(60_000), "ETH": calm(3_000)}
LONG: Script = {("BTC", 1): go(Side.LONG, 58_800)}


def _foreign_exit(strategy: Scripted, view: MarketView) -> Signal:
    """A close of whatever is there, under the own name."""
    assert view.position is not None
    return Signal(
        id=strategy.signal_id(view, Action.CLOSE), action=Action.CLOSE, symbol=view.symbol, side=view.position.side,
        confidence=1.0, strategy=strategy.name, created_ms=view.time_ms, episode=view.position.episode,
    )  # fmt: skip


def _opposite_open() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held = stage.position("BTC")
        await stage.bar(4)
        assert stage.refusals("beta") == ["OWNED_BY"]
        assert stage.position("BTC") == held
        assert len(stage.sent("BTC", "plain")) == 1

    play(CALM, {"alpha": LONG, "beta": {("BTC", 3): go(Side.SHORT, 61_200)}}, act)


def test_S38_an_opposite_open_is_refused_because_of_the_owner() -> None:
    _opposite_open()


def test_S38_the_proof_fails_where_the_owner_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perpstrader.risk.judge.check_ownership", lambda case: iter(()))
    with pytest.raises(AssertionError):
        _opposite_open()


def _closed_by_another() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(4)
        assert stage.refusals("beta") == ["NOT_OWNER"]
        assert stage.position("BTC") > 0
        assert len(stage.fills("BTC")) == 1

    play(CALM, {"alpha": LONG, "beta": {("BTC", 3): _foreign_exit}}, act)


def test_S38_a_close_by_another_strategy_is_refused() -> None:
    _closed_by_another()


def test_S38_the_proof_fails_where_anybody_may_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    async def anybody(self: Decider, signal: Signal) -> None:
        """Mutant: nobody asks whose position it is."""

    monkeypatch.setattr(Decider, "_may_exit", anybody)
    with pytest.raises(AssertionError):
        _closed_by_another()


def test_S38_a_late_exit_for_an_episode_that_ended_does_nothing_and_is_recorded() -> None:
    episodes: list[str] = []

    def remember(strategy: Scripted, view: MarketView) -> None:
        assert view.position is not None
        episodes.append(view.position.episode)

    def late(strategy: Scripted, view: MarketView) -> Signal:
        return Signal(
            id="late", action=Action.CLOSE, symbol="BTC", side=Side.LONG, confidence=1.0, strategy=strategy.name,
            created_ms=view.time_ms, episode=episodes[0],
        )  # fmt: skip

    async def act(stage: Stage) -> None:
        await stage.bar(6)
        held = stage.position("BTC")
        assert held > 0
        before = len(stage.sent("BTC", "plain"))
        await stage.bar(8)
        assert stage.refusals("alpha") == ["EPISODE_ENDED"]
        assert stage.position("BTC") == held
        assert len(stage.sent("BTC", "plain")) == before

    script: Script = {
        ("BTC", 1): go(Side.LONG, 58_800), ("BTC", 2): remember, ("BTC", 3): leave,
        ("BTC", 5): go(Side.LONG, 58_800), ("BTC", 7): late,
    }  # fmt: skip
    play(CALM, {"alpha": script}, act)


def test_S38_the_operator_may_close_what_a_strategy_owns() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        result = await stage.commands.close("BTC", "a person has looked", actor="tester")
        assert result.done
        assert stage.position("BTC") == 0

    play(CALM, {"alpha": LONG}, act)


def _opened_by_hand() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        stage.by_hand("ETH", buy=True, size="0.5")
        opened_ms = stage.clock.now_ms()
        await stage.seconds(5)
        assert stage.position("ETH") == Decimal("0.5")
        stop = stage.stop_of("ETH")
        assert stage.coins("ETH", stop.size) == Decimal("0.5")
        assert stop.time_ms - opened_ms <= 5_000
        await stage.bar(5)
        assert stage.refusals("alpha") == ["OWNED_BY"]
        assert stage.position("ETH") == Decimal("0.5")
        assert "ETH" in stage.trader.execution.view.frozen

    play(CALM, {"alpha": {("ETH", 4): go(Side.LONG, 2_940)}}, act)


def test_S53_a_position_opened_by_hand_is_adopted_protected_and_its_symbol_frozen() -> None:
    _opened_by_hand()


def test_S53_the_proof_fails_where_only_our_own_positions_are_protected(monkeypatch: pytest.MonkeyPatch) -> None:
    ensure = Protector.ensure

    async def ours_only(self: Protector, symbol: str) -> None:
        """Mutant: what somebody else opened is his own affair."""
        holding = self._desk.positions.holdings.get(symbol)
        if holding is None or holding.owner != "foreign":
            await ensure(self, symbol)

    monkeypatch.setattr(Protector, "ensure", ours_only)
    with pytest.raises((AssertionError, ValueError)):
        _opened_by_hand()


def test_S53_it_is_so_too_where_no_stream_told_of_it() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        stage.by_hand("ETH", buy=True, size="0.5")
        stage.untold()
        await stage.seconds(70)
        assert stage.coins("ETH", stage.stop_of("ETH").size) == Decimal("0.5")
        assert "ETH" in stage.trader.execution.view.frozen

    play(CALM, {"alpha": {}}, act)


def test_S53_a_foreign_position_is_left_alone_where_the_policy_says_so() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        stage.by_hand("ETH", buy=True, size="0.5")
        await stage.seconds(40)
        assert stage.position("ETH") == Decimal("0.5")
        assert stage.listed("ETH") == []

    play(CALM, {"alpha": {}}, act, sound=False, overrides={"execution.foreign_policy": "ignore"})


def test_S53_a_foreign_position_is_flattened_where_the_policy_says_so() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        stage.by_hand("ETH", buy=True, size="0.5")
        await stage.seconds(40)
        assert stage.position("ETH") == 0

    play(CALM, {"alpha": {}}, act, overrides={"execution.foreign_policy": "flatten"})


def _closed_by_hand(*, told: bool) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held = stage.position("BTC")
        stage.by_hand("BTC", buy=False, size=str(held))
        if not told:
            stage.untold()
        await stage.seconds(5 if told else 70)
        assert stage.position("BTC") == 0
        assert stage.listed("BTC") == []
        assert stage.trader.execution.position("BTC") is None
        await stage.bar(20)
        assert stage.position("BTC") == 0

    play(CALM, {"alpha": LONG}, act)


def test_S54_a_position_closed_by_hand_is_gone_here_too_and_leaves_no_stop() -> None:
    _closed_by_hand(told=True)


def test_S54_it_is_so_too_where_no_stream_told_of_it() -> None:
    _closed_by_hand(told=False)


def test_S54_the_proof_fails_where_nobody_compares(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Reconciler.run

    async def at_the_start_only(self: Reconciler) -> object:
        """Mutant: after the start the venue is never asked again."""
        if self._view.reconciled:
            return None
        return await run(self)

    monkeypatch.setattr(Reconciler, "run", at_the_start_only)
    with pytest.raises((AssertionError, AttributeError)):
        _closed_by_hand(told=False)
