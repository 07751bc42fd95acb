"""What changes at the venue between decisions is noticed: distance to liquidation, delistings and caps (S22, S13)."""

from __future__ import annotations

import msgspec
import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import calm

from perpstrader.domain import Side
from perpstrader.trader.upkeep import METADATA_MS, Upkeep

MICRO = 1_000_000
LONG: Script = {("BTC", 1): go(Side.LONG, 59_400, 66_000)}
CALM = {"BTC": calm(60_000)}
FAR = {"risk.min_liquidation_distance_fraction": "0.7"}


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
        assert [note.symbol for note in stage.notes("liquidation-near")] == ["BTC"]

    play(CALM, {"alpha": LONG}, act, overrides=FAR)


def test_S22_a_position_that_a_withdrawal_brought_too_near_to_liquidation_is_halved_and_keeps_its_stop() -> None:
    _money_is_taken_out_under_a_position()


def test_S22_the_proof_fails_where_nobody_looks_after_the_approval(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Upkeep) -> None:
        return None

    monkeypatch.setattr(Upkeep, "_keep_distance", nothing)
    with pytest.raises(AssertionError):
        _money_is_taken_out_under_a_position()


def test_S22_a_position_that_keeps_its_distance_is_left_alone() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(3)
        before = stage.position("BTC")
        await stage.seconds(100)
        assert stage.position("BTC") == before
        assert stage.notes("liquidation-near") == []

    play(CALM, {"alpha": LONG}, act, overrides=FAR)


def test_S13_what_the_venue_says_of_an_asset_is_read_again_each_hour() -> None:
    async def act(stage: Stage) -> None:
        desk = stage.trader.execution.desk
        client = desk.client
        delisted = {"BTC": msgspec.structs.replace(desk.assets["BTC"], is_delisted=True)}

        async def metadata() -> object:
            return delisted

        client.metadata = metadata  # type: ignore[method-assign]  # what the venue says from now on
        await stage.seconds(METADATA_MS / 1000 + 60)
        await stage.signal("BTC", Side.LONG)
        assert "DELISTED_SYMBOL" in stage.refusals()

    play(CALM, {}, act)


def test_S71_a_signal_from_outside_and_a_close_by_hand_are_in_the_audit_with_actor_and_outcome() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(3)
        told = await stage.world.commands.close("BTC", "enough", actor="me")
        assert told.done
        await stage.trader.execution.journal_settled()
        [row] = await stage.trader.store.read(lambda tx: tx.audit.recent(5))
        assert (row.actor, row.command, row.reason, row.result) == ("me", "close", "enough", told.text)
        assert row.arguments["symbol"] == "BTC"

    play(CALM, {"alpha": LONG}, act)
