"""A stop was moved, nobody could confirm it, and the old one went: the next one lies no further away (S22)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.scenario.kit import Stage, go, play
from tests.scenario.market import Bar, calm

from perpstrader.domain import Order, ProtectiveStop, Purpose, Side
from perpstrader.execution.orders import OrderTracker
from perpstrader.execution.positions import Holding
from perpstrader.execution.protection import Protector
from perpstrader.venue.contract import OrderGroup, OrderRecord

RISE = [Bar(path=(60_000, 60_300, 60_600, 60_900, 61_300)), *calm(61_300)]


def _moved_and_not_confirmed() -> list[int]:
    """The triggers of every stop that the venue took, in their order."""

    async def act(stage: Stage) -> list[int]:
        await stage.bar(2)
        [old] = stage.listed("BTC", "stop")
        client = stage.trader.execution.desk.client
        order = client.order

        async def blind(cloid: str) -> Any:
            if cloid == old.cloid:
                return await order(cloid)
            return OrderRecord(group=OrderGroup.MISSING, status="unknownOid")

        client.order = blind  # type: ignore[method-assign]  # the info side lags: it shows no new order for a while
        await stage.bar(3)
        assert len(stage.listed("BTC", "stop")) == 2, "the new one rests beside the old one"
        stage.engine.cancel(stage.user, "BTC", old.oid, stage.clock.now_ms())
        await stage.seconds(4)
        client.order = order  # type: ignore[method-assign]  # it has caught up
        await stage.seconds(20)
        return [sent.trigger.trigger_px for sent in stage.sent("BTC", "stop") if sent.trigger is not None]

    market = {"BTC": [*calm(60_000, 3), *RISE]}
    return play(market, {"alpha": {("BTC", 1): go(Side.LONG, 58_800, 66_000)}}, act)


def test_S22_a_stop_is_not_placed_further_away_than_a_move_that_was_not_confirmed() -> None:
    triggers = _moved_and_not_confirmed()
    assert len(triggers) >= 3
    assert triggers == sorted(triggers)


def test_S22_the_proof_fails_where_only_the_plan_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Protector, "_tighter_at_the_venue", lambda *_: None)
    triggers = _moved_and_not_confirmed()
    assert triggers != sorted(triggers)


def _moved_and_taken_back_while_dead(tmp_path: Path) -> list[int]:
    """The triggers of every stop that the venue took; the trader dies before it learns that its move has arrived."""

    async def act(stage: Stage) -> list[int]:
        await stage.bar(2)
        [old] = stage.listed("BTC", "stop")
        client = stage.trader.execution.desk.client
        order = client.order

        async def blind(cloid: str) -> Any:
            return await order(cloid) if cloid == old.cloid else OrderRecord(group=OrderGroup.MISSING, status="none")

        client.order = blind  # type: ignore[method-assign]
        await stage.bar(3)
        assert len(stage.listed("BTC", "stop")) == 2, "the new one rests beside the old one"
        await stage.crash()
        for one in (old, *stage.listed("BTC", "stop")):
            stage.engine.cancel(stage.user, "BTC", one.oid, stage.clock.now_ms())
        await stage.start_again()
        await stage.seconds(20)
        return [sent.trigger.trigger_px for sent in stage.sent("BTC", "stop") if sent.trigger is not None]

    market = {"BTC": [*calm(60_000, 3), *RISE]}
    script = {"alpha": {("BTC", 1): go(Side.LONG, 58_800, 66_000)}}
    return play(market, script, act, state_path=tmp_path / "state.db")


def test_S22_a_stop_is_not_placed_further_away_than_a_move_that_was_taken_back_while_nobody_ran(tmp_path: Path) -> None:
    """A campaign's find: the trader knew the level before the move alone."""
    triggers = _moved_and_taken_back_while_dead(tmp_path)
    assert len(triggers) >= 3
    assert triggers == sorted(triggers)


def test_S22_that_proof_fails_where_only_live_stops_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(OrderTracker, "once_rested", lambda *_: [])
    triggers = _moved_and_taken_back_while_dead(tmp_path)
    assert triggers != sorted(triggers)


def _kept_beside_the_old_one() -> list[int]:
    """The triggers of the stops that are left while the one that it was moved to has no record yet."""

    async def act(stage: Stage) -> list[int]:
        await stage.bar(2)
        [old] = stage.listed("BTC", "stop")
        client = stage.trader.execution.desk.client
        order = client.order

        async def lagging(cloid: str) -> Any:
            if cloid == old.cloid:
                return await order(cloid)
            return OrderRecord(group=OrderGroup.MISSING, status="unknownOid")

        client.order = lagging  # type: ignore[method-assign]
        await stage.bar(3)
        await stage.seconds(4)
        client.order = order  # type: ignore[method-assign]
        left = [listed.trigger.trigger_px for listed in stage.listed("BTC", "stop") if listed.trigger is not None]
        await stage.seconds(20)
        return left

    market = {"BTC": [*calm(60_000, 3), *RISE]}
    return play(market, {"alpha": {("BTC", 1): go(Side.LONG, 58_800, 66_000)}}, act)


def test_S22_a_tighter_stop_that_has_no_record_yet_is_not_given_up_for_the_old_one() -> None:
    """A campaign's find: the info side lagged, and the tighter one was cancelled as spare."""
    old, tighter = _kept_beside_the_old_one()
    assert (old, tighter > old) == (588_000, True)


def test_S22_that_proof_fails_where_every_other_stop_is_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    def spare(self: Protector, holding: Holding, stop: ProtectiveStop) -> list[Order]:
        """Mutant: one confirmed stop is enough, whichever."""
        return [order for order in self._desk.orders.live(holding.symbol, Purpose.STOP) if order.cloid != stop.cloid]

    monkeypatch.setattr(Protector, "_spare", spare)
    assert _kept_beside_the_old_one() == [588_000]
