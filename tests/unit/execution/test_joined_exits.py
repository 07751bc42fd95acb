"""A full close that joins a smaller exit waits for nothing of it, wherever that one stands (S01, S03)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.unit.execution.test_exits import _info_is_down, exits
from tests.unit.execution.world import World, play

from perpstrader.domain import Purpose, TimeInForce
from perpstrader.domain.errors import UsageError
from perpstrader.execution.exits import ExitDesk
from perpstrader.venue.wire.errors import ErrorCode

D = Decimal


@pytest.mark.parametrize("info_is_down", [False, True])
@pytest.mark.parametrize(("is_partial", "within_s"), [(True, 0.5), (False, 5.5)])
def test_S01_S04_an_exit_that_rests_while_post_only_orders_alone_are_taken_is_priced_anew_in_time(
    is_partial: bool, within_s: float, info_is_down: bool
) -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.watched(3)
        w.venue.refuse = lambda request: (
            ErrorCode.POST_ONLY_WINDOW if request.trigger is None and request.tif is not TimeInForce.ALO else None
        )
        first = w.execution.reduce("BTC", D("0.4"), "strategy") if is_partial else w.execution.close("BTC", "all")
        w.pool.spawn("first", first)
        while not any(request.tif is TimeInForce.ALO for request in exits(w)):
            await w.clock.sleep(0.05)
        if info_is_down:
            _info_is_down(w)
        before = len(exits(w))
        if is_partial:
            w.pool.spawn("close", w.execution.close("BTC", "all of it"))
        await w.clock.sleep(within_s)
        assert len(exits(w)) > before
        assert exits(w)[before].size == D(1)
        assert all(request.reduce_only for request in exits(w))

    play(act)


def test_S01_a_full_close_ends_the_pause_of_a_partial_exit_that_finds_no_price() -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.watched(3)
        w.venue.depth = D(0)
        w.pool.spawn("reduce", w.execution.reduce("BTC", D("0.4"), "strategy"))
        await w.clock.sleep(12)  # its pauses have grown to seconds
        before = len(exits(w))
        w.pool.spawn("close", w.execution.close("BTC", "all of it"))
        await w.clock.sleep(0.5)
        assert len(exits(w)) == before + 1
        assert exits(w)[-1].size == D(1)

    play(act)


def test_S01_a_full_close_survives_a_partial_exit_that_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.watched(3)
        make, broke = ExitDesk._order, list[bool]()

        async def breaks(desk: ExitDesk, plan: Any, holding: Any, left: Decimal) -> Any:
            if plan.size is not None:
                broke.append(True)
                await w.clock.sleep(0.2)
                raise UsageError("no price")
            return await make(desk, plan, holding, left)

        monkeypatch.setattr(ExitDesk, "_order", breaks)
        w.pool.spawn("reduce", w.execution.reduce("BTC", D("0.4"), "strategy"))
        await w.clock.sleep(0.1)
        report = await w.execution.close("BTC", "all of it")
        assert broke
        assert report.flat
        assert w.venue.positions["BTC"] == 0
        assert not w.desk.orders.live("BTC", Purpose.EXIT)

    play(act)
