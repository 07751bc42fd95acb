"""What an operator asks of a running trader by name: one position closed, a flatten whose answer is asked for again."""

from __future__ import annotations

import asyncio

import pytest
from tests.scenario.kit import Stage, go, play
from tests.scenario.market import calm

from perpstrader.domain import Side
from perpstrader.runtime import Answer
from perpstrader.trader.commands import CommandError

LONG = {("BTC", 1): go(Side.LONG, 57_000, 66_000)}


def test_one_position_is_closed_by_the_operator_and_shown_flat() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        assert stage.position("BTC") > 0
        result = await stage.commands.close("BTC", "enough", actor="tester")
        assert (result.command, result.done) == ("close", True)
        assert stage.position("BTC") == 0
        assert result.details["exit"]["flat"]

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act)


def test_a_symbol_that_is_nearly_right_gets_the_right_one_named_and_nothing_is_done() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        result = await stage.commands.close("btc", "enough", actor="tester")
        assert (result.done, result.text) == (False, "there is no position in btc; did you mean BTC?")
        assert "open are BTC" in (await stage.commands.close("XRP", "enough", actor="tester")).text
        asked = await stage.signal("btc", Side.LONG)
        assert asked.text == "refused: UNKNOWN_SYMBOL: btc, must be one of BTC (did you mean BTC?)"
        assert stage.position("BTC") > 0

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act)


def test_S71_who_asks_again_for_a_flatten_gets_the_same_ones_answer() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        token = stage.commands.prepare("flatten", {}).token
        first = asyncio.create_task(stage.commands.flatten("enough", actor="tester", token=token, key="k"))
        await stage.seconds(0)
        again = asyncio.create_task(stage.commands.flatten("enough", actor="tester", token="", key="k"))
        await stage.seconds(0)
        first.cancel()
        result = await again
        assert result.done
        assert await stage.commands.flatten("enough", actor="tester", token="", key="k") == result
        assert len(stage.fills("BTC")) == 2
        with pytest.raises(CommandError, match="needs its own confirmation"):
            await stage.commands.flatten("enough", actor="tester", token="", key="another")

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act)


def test_an_answer_that_names_a_decision_comes_when_that_can_be_read() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        store = stage.trader.recorder._store
        refused = await stage.signal("NOPE", Side.LONG)
        assert await store.get(refused.details["trace"]) is not None
        closed = await stage.commands.close("BTC", "enough", actor="tester")
        assert await store.get(closed.details["trace"]) is not None

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act)


def test_S05_a_close_in_an_outage_answers_within_a_minute_and_goes_on() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        transport = stage.world.transport
        post, begun_ms = transport.post, stage.clock.now_ms()

        async def down(path: str, body: bytes, *, timeout_s: float) -> Answer:
            return Answer(502, b"<html><title>502 Bad Gateway</title></html>")

        transport.post = down  # type: ignore[method-assign]  # this scenario's own wire
        result = await stage.commands.close("BTC", "out", actor="tester")
        assert (result.done, result.text) == (False, "BTC is not closed within 60 s; the exit goes on until it is")
        assert stage.clock.now_ms() - begun_ms <= 65_000
        transport.post = post  # type: ignore[method-assign]  # the venue is back
        await stage.seconds(30)
        assert stage.position("BTC") == 0, "the exit went on by itself"
        assert not stage.listed("BTC")

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act)
