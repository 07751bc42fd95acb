"""What changes at the venue between decisions is noticed: delistings and caps (S13)."""

from __future__ import annotations

import msgspec
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import calm

from perpstrader.domain import Side
from perpstrader.trader.upkeep import METADATA_MS

LONG: Script = {("BTC", 1): go(Side.LONG, 59_400, 66_000)}
CALM = {"BTC": calm(60_000)}


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
