"""The stream is away and the venue answers requests: what happens to positions and stops is found within the deadline
all the same (S20, S21, S23).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.scenario.kit import Stage, go, play
from tests.scenario.market import calm
from tests.scenario.test_outage import Outage

from perpstrader.domain import Side
from perpstrader.execution.unstreamed import UnstreamedLook

MARKET = {"BTC": calm(60_000), "ETH": calm(3_000)}
LONG = {"alpha": {("BTC", 1): go(Side.LONG, 58_800)}}
DEADLINE_S = 5


def _after(happens: Callable[[Stage], object]) -> None:
    """Between two comparisons by the timer the stream is down, and this happens at the venue."""

    async def act(stage: Stage) -> None:
        await stage.bar(3)
        size, oid = stage.position("BTC"), stage.stop_of("BTC").oid
        with pytest.MonkeyPatch.context() as patch:
            outage = Outage(stage, patch, requests=False)
            await outage.begin()
            compared_ms = stage.trader.execution.reconciler.compared_ms
            while stage.trader.execution.reconciler.compared_ms == compared_ms:
                await stage.seconds(1)
            await stage.seconds(1)
            happens(stage)
            await stage.seconds(DEADLINE_S)
            assert not stage.trader.execution.view.in_touch
            stop = stage.stop_of("BTC")
            assert stop.oid != oid
            assert stage.coins("BTC", stop.size) == abs(stage.position("BTC"))
            assert stage.position("BTC") in (size, size / 2)
            outage.end()
        await stage.seconds(40)
        assert stage.commands.status().reconciled

    play(MARKET, LONG, act)


def _canceled(stage: Stage) -> None:
    stage.engine.cancel(stage.user, "BTC", stage.stop_of("BTC").oid, stage.clock.now_ms())


def _halved(stage: Stage) -> None:
    stage.by_hand("BTC", buy=False, size=str(stage.position("BTC") / 2))


def test_S20_S23_a_stop_that_goes_while_the_stream_is_down_is_replaced_in_time() -> None:
    _after(_canceled)


def test_S20_S21_a_position_that_changes_while_the_stream_is_down_has_a_stop_of_its_size_in_time() -> None:
    _after(_halved)


@pytest.mark.parametrize("happens", [_canceled, _halved])
def test_S20_the_proof_fails_where_nobody_looks(
    happens: Callable[[Stage], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UnstreamedLook, "look", lambda self: None)
    with pytest.raises((AssertionError, ValueError)):  # no stop, or not the right one
        _after(happens)
