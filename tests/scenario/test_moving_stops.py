"""Stops that follow the market: the venue's own stop moves, only ever nearer, and is there at every instant (S22)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import Bar, calm

from perpstrader.domain import Side
from perpstrader.execution.positions import Holding
from perpstrader.execution.stop_moves import StopMover
from perpstrader.venue.contract import Rejected, Unknown

LONG: Script = {("BTC", 1): go(Side.LONG, 58_800, 66_000)}
SHORT: Script = {("BTC", 1): go(Side.SHORT, 61_200, 54_000)}
ROOMY = {"execution.max_trailing_moves_per_hour": 100}


def _way(*prices: int) -> dict[str, list[Bar]]:
    """BTC stands at 60,000 for three bars, then walks through these prices, a bar each."""
    legs = zip((60_000, *prices), prices, strict=False)
    walk = [Bar(path=tuple(a + (b - a) * step // 4 for step in range(1, 5))) for a, b in legs]
    return {"BTC": [*calm(60_000, 3), *walk]}


def _trigger(stage: Stage) -> Decimal:
    trigger = stage.stop_of("BTC").trigger
    assert trigger is not None
    return stage.usd("BTC", trigger.trigger_px)


def _trails_and_fires() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        assert _trigger(stage) == 58_800
        await stage.bar(3)
        assert 60_000 < _trigger(stage) < 60_100  # breakeven: the entry and both fees
        await stage.bar(5)
        assert 61_200 < _trigger(stage) < 61_700  # 55 % of the best profit of about 2,500
        await stage.bar(8)
        assert stage.position("BTC") == 0
        last = stage.fills("BTC")[-1]
        assert stage.usd("BTC", last.px) > 61_000
        triggers = [stage.usd("BTC", order.trigger.trigger_px) for order in stage.sent("BTC", "stop") if order.trigger]
        assert triggers == sorted(triggers)
        assert len(triggers) >= 3
        assert stage.notes("stop-moved")
        moves = [step.text for trace in stage.decisions() for step in _of(stage, trace.id) if "stop-moved" in step.text]
        assert "58800 to" in moves[0]
        assert "breakeven" in moves[0]
        assert any("trailing" in text for text in moves)

    play(_way(61_300, 62_500, 62_500, 60_500), {"alpha": LONG}, act)


def _of(stage: Stage, trace_id: str) -> Any:
    return stage.trader.recorder._open[trace_id].steps


def test_S22_a_trailing_stop_moves_the_venues_stop_and_then_fires_in_profit() -> None:
    _trails_and_fires()


def test_S22_the_proof_fails_where_the_stop_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stays(self: StopMover, holding: Holding, price: Decimal, why: str) -> bool:
        """Mutant: nothing is sent."""
        return False

    monkeypatch.setattr(StopMover, "move", stays)
    with pytest.raises(AssertionError):
        _trails_and_fires()


def test_S22_a_short_trails_as_a_long_does() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(3)
        assert 59_900 < _trigger(stage) < 60_000
        await stage.bar(5)
        assert 58_300 < _trigger(stage) < 58_800
        await stage.bar(8)
        assert stage.position("BTC") == 0
        assert stage.usd("BTC", stage.fills("BTC")[-1].px) < 59_000

    play(_way(58_700, 57_500, 57_500, 59_500), {"alpha": SHORT}, act)


def _never_without() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        post, seen = stage.world.venue.post, []

        def watched(path: str, body: bytes, client: str, **more: Any) -> Any:
            answer = post(path, body, client, **more)
            if path == "/exchange" and stage.position("BTC"):
                armed = [order for order in stage.listed("BTC", "stop") if order.reduce_only and not order.held]
                seen.append(len(armed))
            return answer

        stage.world.venue.post = watched  # type: ignore[method-assign]  # an instance's own road to the engine
        await stage.bar(5)
        assert len(seen) >= 4
        assert min(seen) >= 1, "after some request the position had no stop"
        assert _trigger(stage) > 61_000

    play(_way(61_300, 62_500, 62_500), {"alpha": LONG}, act)


def test_S22_at_no_instant_of_a_move_is_the_position_without_a_listed_stop() -> None:
    _never_without()


def test_S22_the_proof_fails_where_the_old_stop_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    move = StopMover._move

    async def old_first(self: StopMover, holding: Holding, price: Decimal, why: str) -> bool:
        """Mutant: cancel, then place."""
        stop = self._protector.stop_of(holding.symbol)
        assert stop is not None
        await self._desk.client.cancel([(holding.symbol, stop.cloid)])
        return await move(self, holding, price, why)

    monkeypatch.setattr(StopMover, "_move", old_first)
    with pytest.raises(AssertionError):
        _never_without()


@pytest.mark.parametrize("answer", [Rejected(text="no", code="OTHER"), Unknown(text="reset")], ids=["no", "lost"])
def test_S22_a_new_stop_that_is_refused_or_unknown_leaves_the_old_one(answer: Any) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        client = stage.trader.execution.desk.client
        place, asked = client.place, []

        async def refuses(orders: Any, **more: Any) -> Any:
            asked.append(orders)
            return [answer for _ in orders]

        client.place = refuses  # type: ignore[method-assign,assignment]
        await stage.bar(3)
        assert asked
        assert _trigger(stage) == 58_800
        assert stage.position("BTC") > 0
        assert stage.trader.execution.protector.stop_of("BTC") is not None
        assert stage.notes("stop-not-moved")
        client.place = place  # type: ignore[method-assign]
        await stage.seconds(40)
        assert _trigger(stage) > 60_000

    play(_way(61_300), {"alpha": LONG}, act)


def test_a_position_moves_its_stop_no_more_often_than_the_hours_cap_allows() -> None:
    way = _way(61_500, 62_000, 62_500, 63_000, 63_500)

    def moves(cap: int) -> int:
        async def act(stage: Stage) -> int:
            await stage.bar(9)
            return len(stage.notes("stop-moved"))

        return play(way, {"alpha": LONG}, act, overrides={"execution.max_trailing_moves_per_hour": cap})

    assert moves(2) == 2
    assert moves(100) > 4


def test_a_wider_least_step_makes_fewer_moves() -> None:
    way = _way(61_500, 62_000, 62_500, 63_000, 63_500)

    def moves(step: str) -> int:
        async def act(stage: Stage) -> int:
            await stage.bar(9)
            return len(stage.notes("stop-moved"))

        return play(way, {"alpha": LONG}, act, overrides=ROOMY | {"execution.trailing_step_fraction": step})

    assert 0 < moves("0.01") < moves("0.0005")


def test_a_loser_that_had_its_time_gets_its_stop_as_near_as_is_allowed_and_a_young_one_does_not() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(3)
        assert _trigger(stage) == 58_800
        await stage.bar(8)
        assert Decimal("59050") < _trigger(stage) <= Decimal(59_400) * (1 - Decimal("0.005"))
        assert "time stop" in stage.notes("stop-moved")[-1].text

    play(_way(59_400), {"alpha": LONG}, act, overrides={"risk.time_stop_ms": 20_000})


@pytest.mark.parametrize("off", ["risk.breakeven_arm_ratio", "risk.trailing_arm_ratio"])
def test_a_rule_whose_arm_is_zero_moves_nothing(off: str) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(5)
        texts = " ".join(note.text for note in stage.notes("stop-moved"))
        assert ("breakeven" in texts) is (off != "risk.breakeven_arm_ratio")
        assert ("trailing" in texts) is (off != "risk.trailing_arm_ratio")

    play(_way(61_300, 62_500, 62_500), {"alpha": LONG}, act, overrides={off: "0"})


def test_a_strategy_that_keeps_its_stops_has_them_left_where_it_set_them() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(5)
        assert _trigger(stage) == 58_800
        assert not stage.notes("stop-moved")

    fixed = {"trader.strategies": [
        {"use": "tests.scenario.kit:Scripted", "params": {"name": "alpha"}, "moves_stops": False},
    ]}  # fmt: skip
    play(_way(61_300, 62_500, 62_500), {"alpha": LONG}, act, overrides=fixed)


@pytest.mark.parametrize("crashes", [False, True], ids=["stopped", "crashed"])
def test_S22_a_restart_goes_on_from_the_best_mark_with_one_stop_at_the_tighter_price(
    tmp_path: Path, crashes: bool
) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(5)
        before = _trigger(stage)
        holding = stage.trader.execution.desk.positions.holdings["BTC"]
        best, first, sent = holding.stops.best_mark, holding.first_stop, holding.stops.moved_ms
        assert before > 61_200
        await (stage.crash() if crashes else stage.stop())
        await stage.start_again()
        after = stage.trader.execution.desk.positions.holdings["BTC"]
        assert _trigger(stage) == before
        assert after.plan.stop_price == before
        assert (after.stops.best_mark, after.first_stop, after.stops.moved_ms) == (best, first, sent)
        await stage.bar(12)
        assert _trigger(stage) >= before

    play(_way(61_300, 62_500, 62_500, 62_300), {"alpha": LONG}, act, state_path=tmp_path / "state.db")


@pytest.mark.parametrize("arrives", [False, True], ids=["before sending", "before the answer"])
def test_S22_a_crash_in_the_middle_of_a_move_leaves_exactly_one_stop_and_it_gets_to_the_tighter_price(
    tmp_path: Path, arrives: bool
) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        client = stage.trader.execution.desk.client
        place = client.place
        moment = stage.trader.clock

        async def dies(orders: Any, **more: Any) -> Any:
            if arrives:
                await place(orders, **more)
            await moment.sleep(10_000)

        client.place = dies  # type: ignore[method-assign,assignment]
        await stage.bar(3)
        assert len(stage.listed("BTC", "stop")) == 1 + arrives
        await stage.crash()
        await stage.start_again()
        await stage.seconds(2)
        if arrives:
            assert _trigger(stage) > 60_000
        await stage.seconds(20)
        assert _trigger(stage) > 60_000
        assert stage.trader.execution.desk.positions.holdings["BTC"].plan.stop_price == _trigger(stage)

    play(_way(61_300), {"alpha": LONG}, act, state_path=tmp_path / "state.db")


def test_RM13_a_new_position_inherits_nothing_of_the_last_ones_best_mark() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(3)
        token = stage.commands.prepare("flatten", {}).token
        await stage.commands.flatten("enough", actor="tester", token=token)
        token = stage.commands.prepare("resume", {}).token
        await stage.commands.resume("again", actor="tester", token=token)
        await stage.bar(6)
        result = await stage.signal("BTC", Side.LONG, stop_price="58800", target_price="66000")
        assert result.done, result.text
        await stage.seconds(10)
        assert _trigger(stage) == 58_800
        holding = stage.trader.execution.desk.positions.holdings["BTC"]
        assert holding.stops.best_mark is not None
        assert holding.stops.best_mark < 60_100

    play(_way(61_300, 60_000, 60_000), {"alpha": LONG}, act)
