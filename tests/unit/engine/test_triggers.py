"""Triggers: fired by mark alone, on a path in its order and at their levels, after a jump at the new market."""

from __future__ import annotations

import pytest
from tests.unit.engine.box import ALICE, BOB, Box, levels, lots, price, stop, target

from perpstrader.paper.engine import (
    EngineConfig,
    Grouping,
    RejectCode,
    Rejected,
    Resting,
    Tif,
    Trigger,
    WaitingForTrigger,
)


def held(box: Box, size: int = 2) -> Box:
    """Long ``size`` at 101."""
    box.buy(size)
    box.events()
    return box


def test_a_stop_fires_on_mark_and_not_on_book_last_or_a_trade() -> None:
    box = held(Box())
    box.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop(95)))
    box.quote(94, mark=96)
    box.print(93, 5, buy=False)
    box.apply(last=price(93))
    assert box.size() == lots(2)
    box.apply(mark=price(95))
    assert box.size() == 0


def test_after_a_jump_a_stop_meets_the_new_book() -> None:
    box = held(Box())
    box.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop(95)))
    box.quote(90)
    assert [f.px for f in box.fills()] == [price(89)]


def test_on_a_path_a_stop_meets_the_market_at_its_own_level() -> None:
    box = held(Box())
    box.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop(95)))
    box.quote(90, continuous=True)
    assert [f.px for f in box.fills()] == [price(94)]
    assert box.exchange.market("SOL").mark == price(90)


def test_on_a_path_triggers_fire_in_its_order_and_share_the_liquidity() -> None:
    box = held(Box(funds=100_000), 20)
    near = box.place(box.order("sell", 10, 80, reduce_only=True, trigger=stop(95)))
    far = box.place(box.order("sell", 10, 80, reduce_only=True, trigger=stop(92)))
    assert isinstance(near, Resting)
    assert isinstance(far, Resting)
    box.events()
    box.quote(90, size=15, continuous=True)
    fills = box.fills()
    assert [f.oid for f in fills] == [near.oid, far.oid, far.oid]
    assert [(f.px, f.size) for f in fills] == [(price(94), lots(10)), (price(91), lots(5)), (price(90), lots(5))]


def test_the_shifted_book_is_rounded_against_the_taker() -> None:
    box = held(Box())
    box.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop("95.003")))
    box.apply(bids=levels((89, 10)), asks=levels((91, 10)), mark=price("90.0001"), oracle=price(90), continuous=True)
    assert [f.px for f in box.fills()] == [price("94.002")]


def test_what_a_thin_book_leaves_of_a_market_stop_is_dropped_and_the_position_remains() -> None:
    box = held(Box(), 5)
    stopped = box.place(box.order("sell", 5, "92", reduce_only=True, trigger=stop(95)))
    assert isinstance(stopped, Resting)
    box.events()
    box.apply(bids=levels((94, 1), (93, 1), (91, 50)), asks=levels((96, 10)), mark=price(94))
    assert [s for _, s in box.statuses()] == ["triggered", "canceled"]
    assert box.size() == lots(3)
    assert box.exchange.open_orders(ALICE) == ()


def test_a_market_stop_whose_cap_is_gapped_fills_nothing_and_is_gone() -> None:
    box = held(Box(), 5)
    stopped = box.place(box.order("sell", 5, "92", reduce_only=True, trigger=stop(95)))
    assert isinstance(stopped, Resting)
    box.events()
    box.quote(80)
    assert [s for _, s in box.statuses()] == ["triggered", "iocCancelRejected"]
    assert box.size() == lots(5)


def test_a_stop_limit_rests_when_it_cannot_fill() -> None:
    box = held(Box(), 5)
    box.place(box.order("sell", 5, "95", reduce_only=True, trigger=stop(95, market=False)))
    box.events()
    box.quote(90)
    assert [s for _, s in box.statuses()] == ["triggered", "open"]
    (order,) = box.exchange.open_orders(ALICE)
    assert order.triggered
    assert order.tif is Tif.GTC
    box.quote(97)
    assert box.size() == 0


def test_a_target_of_a_long_fires_above_and_a_stop_of_a_short_too() -> None:
    box = held(Box())
    box.place(box.order("sell", 2, 95, reduce_only=True, trigger=target(105)))
    box.quote(106)
    assert box.size() == 0
    box.sell(2)
    box.place(box.order("buy", 2, 125, reduce_only=True, trigger=stop(110)))
    box.quote(109)
    assert box.size() == -lots(2)
    box.quote(110)
    assert box.size() == 0


@pytest.mark.parametrize(
    ("side", "limit", "trigger"),
    [
        ("sell", 80, stop(100)),
        ("sell", 80, stop(101)),
        ("sell", 80, target(100)),
        ("sell", 96, stop(95)),
        ("sell", 96, stop(95, market=False)),
        ("sell", 106, target(105)),
    ],
)
def test_a_trigger_past_mark_or_with_its_limit_on_the_wrong_side_is_refused(
    side: str, limit: int, trigger: Trigger
) -> None:
    box = held(Box())
    result = box.place(box.order(side, 2, limit, reduce_only=True, trigger=trigger))
    assert isinstance(result, Rejected)
    assert result.reject.code is RejectCode.BAD_TRIGGER_PX


def test_a_take_profit_limit_may_ask_for_more_than_its_trigger() -> None:
    box = held(Box())
    result = box.place(box.order("sell", 2, 106, reduce_only=True, trigger=target(105, market=False)))
    assert isinstance(result, Resting)


def test_a_trigger_price_obeys_the_tick() -> None:
    box = held(Box())
    result = box.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop("95.0001")))
    assert isinstance(result, Rejected)
    assert result.reject.code is RejectCode.TICK


def test_a_reduce_only_stop_without_a_position_is_refused_unless_the_venue_is_set_to_take_it() -> None:
    box = Box()
    result = box.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop(95)))
    assert isinstance(result, Rejected)
    assert result.reject.code is RejectCode.REDUCE_ONLY
    lenient = Box(EngineConfig(reduce_only_trigger_needs_position=False))
    assert isinstance(lenient.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop(95))), Resting)


def test_a_stop_that_fires_in_a_post_only_window_is_lost() -> None:
    box = held(Box())
    box.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop(95)))
    box.events()
    box.exchange.set_post_only(True)
    box.quote(94)
    assert [s for _, s in box.statuses()] == ["triggered", "rejected"]
    assert box.size() == lots(2)


def test_in_a_halt_no_trigger_fires_and_after_it_the_market_is_met_where_it_is() -> None:
    box = held(Box())
    box.place(box.order("sell", 2, 70, reduce_only=True, trigger=stop(95)))
    box.events()
    box.quote(90, halted=True)
    assert box.size() == lots(2)
    box.quote(88, continuous=True)
    assert [f.px for f in box.fills()] == [price(87)]


def test_an_opening_trigger_without_margin_is_cancelled_when_it_fires() -> None:
    box = Box()
    entry = box.place(box.order("buy", 9_000, 110, trigger=Trigger(True, price(105), stop(1).tpsl)))
    assert isinstance(entry, Resting)
    box.events()
    box.quote(105)
    assert [s for _, s in box.statuses()] == ["triggered", "marginCanceled"]


def test_position_tpsl_closes_the_whole_position_as_it_is_when_it_fires() -> None:
    box = held(Box())
    order = box.order("sell", 0, 80, reduce_only=True, trigger=stop(95))
    results = box.exchange.place(ALICE, [order], Grouping.POSITION_TPSL, box.tick())
    assert isinstance(results[0], WaitingForTrigger)
    box.buy(3)
    box.quote(94)
    assert box.size() == 0


def test_position_tpsl_goes_with_its_position() -> None:
    box = held(Box())
    order = box.order("sell", 0, 80, reduce_only=True, trigger=stop(95))
    box.exchange.place(ALICE, [order], Grouping.POSITION_TPSL, box.tick())
    box.sell(2)
    assert box.exchange.open_orders(ALICE) == ()


def test_position_tpsl_must_be_reduce_only_triggers_on_a_position() -> None:
    box = Box()
    order = box.order("sell", 0, 80, reduce_only=True, trigger=stop(95))
    for bad, code in (
        (order, RejectCode.REDUCE_ONLY),
        (box.order("sell", 1, 80, reduce_only=True), RejectCode.TRIGGER_COUNT),
        (box.order("sell", 1, 80, trigger=stop(95)), RejectCode.GROUPED_NOT_REDUCE_ONLY),
    ):
        (result,) = box.exchange.place(ALICE, [bad], Grouping.POSITION_TPSL, box.tick())
        assert isinstance(result, Rejected)
        assert result.reject.code is code


def test_what_is_armed_behind_the_point_reached_on_a_path_meets_the_market_there() -> None:
    """Bob's stop at 92 sells to Alice's resting entry; her stop at 95, armed by that fill, finds the market at 92."""
    box = Box(funds=100_000)
    box.buy(20, BOB)
    box.place(box.order("sell", 20, 70, reduce_only=True, trigger=stop(92)), BOB)
    leg = box.order("sell", 20, 70, reduce_only=True, trigger=stop("95"))
    box.quote(100, size=1)
    box.bracket(box.order("buy", 20, "97"), leg)
    box.events()
    box.quote("98", size=1, continuous=True)
    box.apply(bids=levels((89, 50)), asks=levels(("97.5", 50)), mark=price(90), oracle=price(90), continuous=True)
    fills = [e.fill for e in box.events() if hasattr(e, "fill") and e.user == ALICE]
    assert [(f.is_buy, f.px) for f in fills] == [(True, price(97)), (False, price(91))]


def test_a_path_that_ends_on_the_trigger_meets_the_book_as_it_is() -> None:
    box = held(Box())
    box.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop(95)))
    box.quote(95, continuous=True)
    assert [f.px for f in box.fills()] == [price(94)]


def test_an_opening_trigger_with_margin_opens_when_it_fires_even_with_its_limit_at_the_trigger() -> None:
    box = Box()
    entry = box.place(box.order("buy", 2, 105, trigger=stop(105, market=False)))
    assert isinstance(entry, Resting)
    box.quote("104", mark="105")
    assert box.size() == lots(2)
