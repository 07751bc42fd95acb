"""An answer that never comes holds neither an exit nor a stop up: soon the next attempt goes out (S03, S20)."""

from __future__ import annotations

import asyncio

import pytest
from tests.scenario.kit import Stage, go, play
from tests.scenario.market import calm

from perpstrader.domain import Side
from perpstrader.paper.faults import NO_FAULT, FaultKind, FrameFate, RequestFate

COINS = {"BTC": calm(60_000)}
LONG = {"alpha": {("BTC", 1): go(Side.LONG, 57_000, 66_000)}}


class LostActions:
    """The next ``count`` signed requests are lost, or their answers are."""

    def __init__(self, stage: Stage, kind: FaultKind, count: int = 1) -> None:
        self.kind, self.left = kind, count
        stage.world.transport._faults = self

    def of_request(self, path: str, body: bytes) -> RequestFate:
        if path != "/exchange" or not self.left:
            return NO_FAULT
        self.left -= 1
        return RequestFate(self.kind)

    def of_frame(self, frame: bytes) -> FrameFate:
        return None


async def _seconds_until_flat(stage: Stage) -> float:
    begun = stage.clock.now_ms()
    closing = asyncio.gather(stage.commands.close("BTC", "by hand", actor="tester"))
    while stage.position("BTC"):
        await stage.clock.sleep(0.05)
    took = (stage.clock.now_ms() - begun) / 1000
    await closing
    return took


@pytest.mark.parametrize(("answer_ms", "most_s"), [(None, 5.5), (60_000, None)], ids=["by default", "mutant: waits on"])
def test_S03_a_full_close_whose_request_was_lost_goes_out_again_soon(
    answer_ms: int | None, most_s: float | None
) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        assert stage.position("BTC") > 0
        LostActions(stage, FaultKind.REQUEST_LOST)
        took = await _seconds_until_flat(stage)
        assert took > 10 if most_s is None else took <= most_s

    play(COINS, LONG, act, overrides={} if answer_ms is None else {"execution.guard_answer_ms": answer_ms})


def test_S03_a_full_close_whose_answer_was_lost_is_one_close_and_no_flip() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        LostActions(stage, FaultKind.RESPONSE_LOST)
        assert await _seconds_until_flat(stage) < 1
        await stage.seconds(20)
        assert stage.position("BTC") == 0
        assert not stage.listed("BTC")

    play(COINS, LONG, act)


@pytest.mark.parametrize("kind", [FaultKind.REQUEST_LOST, FaultKind.RESPONSE_LOST])
def test_S20_a_stop_whose_request_or_answer_was_lost_is_listed_within_the_deadline(kind: FaultKind) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        holding = stage.trader.execution.desk.positions.holdings["BTC"]
        stop = stage.stop_of("BTC")
        begun = stage.clock.now_ms()
        LostActions(stage, kind)
        stage.engine.cancel(stage.user, "BTC", stop.oid, stage.clock.now_ms())
        stage.trader.execution.protector.lost("BTC")
        await stage.trader.execution.protector.ensure("BTC")
        took_ms = stage.clock.now_ms() - begun
        assert stage.stop_of("BTC").oid != stop.oid
        assert took_ms <= 5_000, took_ms
        assert holding.size != 0

    play(COINS, LONG, act)
