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
from perpstrader.venue.streams import Streams

MARKET = {"BTC": calm(60_000), "ETH": calm(3_000)}
LONG = {"alpha": {("BTC", 1): go(Side.LONG, 58_800)}}
DEADLINE_S = 5
QUIET_S = 3


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


def _while_it_is_frozen(happens: Callable[[Stage], object]) -> None:
    """The connection is open and dead: frames and pongs stop, and the ping that would show it is not due yet."""

    async def act(stage: Stage) -> None:
        await stage.bar(3)
        size, oid = stage.position("BTC"), stage.stop_of("BTC").oid
        compared_ms = stage.trader.execution.reconciler.compared_ms
        while stage.trader.execution.reconciler.compared_ms == compared_ms:
            await stage.seconds(1)
        connection = stage.trader.streams._current
        assert connection is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(stage.trader.streams), "_take", lambda self, connection, raw: None)
            happens(stage)
            await stage.seconds(DEADLINE_S + QUIET_S)
            assert stage.trader.streams._current is connection, "nobody has noticed by a ping"
            stop = stage.stop_of("BTC")
            assert stop.oid != oid
            assert stage.coins("BTC", stop.size) == abs(stage.position("BTC"))
            assert stage.position("BTC") in (size, size / 2)
        await stage.seconds(90)
        assert stage.commands.status().reconciled

    play(MARKET, LONG, act)


@pytest.mark.parametrize("happens", [_canceled, _halved])
def test_S20_what_happens_while_the_connection_is_dead_and_nobody_knows_is_found_in_time(
    happens: Callable[[Stage], object]
) -> None:
    _while_it_is_frozen(happens)


@pytest.mark.parametrize("happens", [_canceled, _halved])
def test_S20_the_proof_with_a_dead_connection_fails_where_silence_says_nothing(
    happens: Callable[[Stage], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Streams, "is_quiet", property(lambda self: False))
    with pytest.raises((AssertionError, ValueError)):
        _while_it_is_frozen(happens)


@pytest.mark.parametrize("happens", [_canceled, _halved])
def test_S20_the_proof_fails_where_nobody_looks(
    happens: Callable[[Stage], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UnstreamedLook, "look", lambda self: None)
    with pytest.raises((AssertionError, ValueError)):  # no stop, or not the right one
        _after(happens)
