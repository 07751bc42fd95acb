"""A price that cannot be halts entries, and is not taken for a loss (S37)."""

from __future__ import annotations

import msgspec
import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import calm

from perpstrader.domain import Side
from perpstrader.venue import market_data

LONG: Script = {("BTC", 1): go(Side.LONG, 57_000, 66_000)}


def _a_hundredth() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held = stage.position("BTC")
        market = stage.trader.market
        context = msgspec.structs.replace(market._markets["BTC"].context, mark_px="600.0")
        market.take_context("BTC", context, stage.clock.now_ms())
        stage.trader.on_market("BTC")
        await stage.seconds(30)
        assert stage.position("BTC") == held > 0
        assert stage.halts() == ["implausible"]
        [halt] = stage.trader.keeper.state.halts
        assert "from 60000.0 to 600.0" in halt.reason
        assert not (await stage.signal("BTC", Side.LONG)).done

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act)


def test_S37_a_mark_of_a_hundredth_halts_with_the_evidence_and_closes_nothing() -> None:
    _a_hundredth()


def test_S37_the_proof_fails_where_any_mark_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market_data, "JUMP_RATIO", 1_000)
    with pytest.raises(AssertionError):
        _a_hundredth()


def test_a_price_that_stays_where_it_jumped_to_is_believed_after_a_minute() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        market = stage.trader.market
        context = msgspec.structs.replace(market._markets["BTC"].context, mark_px="600.0")
        market.take_context("BTC", context, market._markets["BTC"].context_ms + market_data.JUMP_MS)
        assert market.mark("BTC") == 600

    play({"BTC": calm(60_000)}, {}, act, sound=False)
