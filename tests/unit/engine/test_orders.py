"""Single orders: what fills, what rests, what is refused and how that is recorded."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.engine.box import ALICE, BOB, Box, lots, price, usd

from perpstrader.paper.engine import (
    Done,
    EngineConfig,
    Filled,
    Grouping,
    OrderUpdate,
    Reject,
    RejectCode,
    Rejected,
    Resting,
    Tif,
    TradeEvent,
)


def code(result: object) -> RejectCode:
    assert isinstance(result, Rejected), result
    return result.reject.code


def test_an_ioc_walks_the_book_and_its_remainder_is_dropped() -> None:
    box = Box(funds=1_000_000)
    result = box.place(box.order("buy", 250, "102", Tif.IOC))
    assert isinstance(result, Filled)
    assert result.total_size == lots(200)
    assert result.avg_px == price("101.5")
    events = box.events()
    updates = [e for e in events if isinstance(e, OrderUpdate)]
    assert [(u.status, u.order.size) for u in updates] == [("open", lots(250)), ("canceled", lots(50))]
    assert [e.px for e in events if isinstance(e, TradeEvent)] == [price(101), price(102)]
    assert box.exchange.open_orders(ALICE) == ()


def test_consumed_liquidity_stays_consumed_until_the_feed_replaces_the_book() -> None:
    box = Box(funds=1_000_000)
    box.buy(100)
    box.events()
    box.buy(10)
    assert [f.px for f in box.fills()] == [price(102)]
    assert box.exchange.book("SOL").asks[0].size == lots(90)
    box.quote(100)
    box.buy(10)
    assert [f.px for f in box.fills()] == [price(101)]


def test_an_ioc_that_meets_nothing_is_refused_and_on_record() -> None:
    box = Box()
    result = box.place(box.order("buy", 1, "100", Tif.IOC, cloid="0x01"))
    assert code(result) is RejectCode.IOC_CANCEL
    status = box.exchange.order_by_cloid(ALICE, "0x01")
    assert status is not None
    assert status.status == "iocCancelRejected"
    assert box.statuses() == [(status.order.oid, "iocCancelRejected")]


def test_a_market_order_into_an_empty_book_finds_no_liquidity() -> None:
    box = Box()
    box.apply(asks=())
    assert code(box.buy(1)) is RejectCode.MARKET_ORDER_NO_LIQUIDITY


def test_a_post_only_order_that_would_match_is_refused_with_the_best_prices() -> None:
    box = Box()
    result = box.place(box.order("buy", 1, "101", Tif.ALO))
    assert code(result) is RejectCode.BAD_ALO_PX
    assert isinstance(result, Rejected)
    assert (result.reject.bid, result.reject.ask) == (price(99), price(101))
    assert isinstance(box.place(box.order("buy", 1, "100.5", Tif.ALO)), Resting)


def test_a_gtc_that_crosses_in_part_fills_and_rests() -> None:
    box = Box(funds=1_000_000)
    result = box.place(box.order("buy", 150, "101"))
    assert isinstance(result, Resting)
    assert box.size() == lots(100)
    (order,) = box.exchange.open_orders(ALICE)
    assert (order.size, order.orig_size) == (lots(50), lots(150))
    assert Box(EngineConfig(partial_gtc_rests=False), funds=1_000_000).place(box.order("buy", 150, "101")) == Filled(
        order.oid, None, lots(100), usd(10_100), price(101)
    )


def test_order_status_shows_the_size_of_the_last_change_of_status_and_not_a_part_fill() -> None:
    box = Box(funds=1_000_000)
    result = box.place(box.order("buy", 150, "101"))
    assert isinstance(result, Resting)
    status = box.exchange.order_by_oid(ALICE, result.oid)
    assert status is not None
    assert (status.status, status.order.size) == ("open", lots(150))


def test_accounts_trade_with_each_other_at_the_makers_price_by_price_and_time() -> None:
    box = Box()
    first = box.place(box.order("sell", 2, "100.5"), BOB)
    second = box.place(box.order("sell", 2, "100.5"), BOB)
    cheaper = box.place(box.order("sell", 1, "100.2"), BOB)
    assert isinstance(first, Resting)
    assert isinstance(second, Resting)
    assert isinstance(cheaper, Resting)
    box.events()
    box.place(box.order("buy", 4, "100.5", Tif.IOC))
    events = box.events()
    bob = [e.fill for e in events if hasattr(e, "fill") and e.user == BOB]
    alice = [e.fill for e in events if hasattr(e, "fill") and e.user == ALICE]
    assert [(f.oid, f.size) for f in bob] == [(cheaper.oid, lots(1)), (first.oid, lots(2)), (second.oid, lots(1))]
    assert [f.tid for f in bob] == [f.tid for f in alice]
    assert {f.crossed for f in alice} == {True}
    assert {f.crossed for f in bob} == {False}
    assert alice[0].fee == usd("100.2") * 45 // 100_000
    assert bob[0].fee == usd("100.2") * 15 // 100_000


def test_the_outside_level_counts_as_older_at_the_same_price() -> None:
    box = Box(funds=1_000_000)
    box.place(box.order("sell", 1, "101"), BOB)
    box.events()
    box.buy(100)
    assert box.fills(BOB) == []
    box.buy(1)
    assert [f.px for f in box.fills(BOB)] == [price(101)]


def test_ones_own_resting_order_in_the_way_is_cancelled_and_the_taker_goes_on() -> None:
    box = Box()
    own = box.place(box.order("sell", 1, "100.5"))
    assert isinstance(own, Resting)
    box.events()
    box.place(box.order("buy", 1, "101", Tif.IOC))
    statuses = box.statuses()
    assert (own.oid, "selfTradeCanceled") in statuses
    assert statuses[-1][1] == "filled"
    assert box.size() == lots(1)


@pytest.mark.parametrize(
    ("fields", "expected", "recorded"),
    [
        ({"size": 0}, RejectCode.ZERO_SIZE, False),
        ({"size": -1}, RejectCode.INVALID_SIZE, False),
        ({"limit_px": 1_000_001}, RejectCode.TICK, False),
        ({"limit_px": 0}, RejectCode.INVALID_PRICE, False),
        ({"limit_px": price("4.9")}, RejectCode.PRICE_BAND, False),
        ({"limit_px": price("195.1")}, RejectCode.PRICE_BAND, False),
        ({"limit_px": price("19.9")}, RejectCode.ORACLE, True),
        ({"size": lots("0.09")}, RejectCode.MIN_TRADE_NTL, True),
        ({"size": lots(2_100)}, RejectCode.PERP_MARGIN, True),
        ({"size": lots(600_000)}, RejectCode.VALUE_TOO_LARGE, False),
        ({"reduce_only": True}, RejectCode.REDUCE_ONLY, True),
        ({"coin": "NONE"}, RejectCode.UNKNOWN_ASSET, False),
        ({"coin": "BTC"}, RejectCode.HALTED, False),
    ],
)
def test_each_refusal_has_its_code_and_only_late_ones_an_oid(
    fields: dict[str, object], expected: RejectCode, recorded: bool
) -> None:
    box = Box()
    order = msgspec.structs.replace(box.order("buy", 1, "99"), **fields)
    result = box.place(order)
    assert code(result) is expected
    assert isinstance(result, Rejected)
    assert (result.oid is not None) == recorded
    assert len(box.statuses()) == int(recorded)


def test_a_refusal_of_the_wires_is_answered_in_its_place() -> None:
    box = Box(EngineConfig(format_error_fails_batch=False))
    bad = Reject(code=RejectCode.INVALID_SIZE, asset=5)
    results = box.exchange.place(ALICE, [bad, box.order("buy", 1, 99)], Grouping.NA, box.tick())
    assert results[0] == Rejected(bad)
    assert isinstance(results[1], Resting)


def test_market_orders_carry_less_than_limit_orders() -> None:
    box = Box(funds=100_000_000)
    result = box.place(box.order("buy", 60_000, "101", Tif.IOC))
    assert code(result) is RejectCode.VALUE_TOO_LARGE
    assert isinstance(result, Rejected)
    assert result.reject.limit == usd(5_000_000)
    assert isinstance(box.place(box.order("buy", 60_000, "99")), Resting)


def test_closing_the_whole_position_is_exempt_from_the_minimum() -> None:
    box = Box()
    box.buy("0.1")
    assert code(box.place(box.order("sell", "0.05", "90", Tif.IOC))) is RejectCode.MIN_TRADE_NTL
    assert isinstance(box.place(box.order("sell", "0.1", "90", Tif.IOC)), Filled)


def test_a_stranger_must_deposit_first() -> None:
    box = Box()
    assert code(box.place(box.order("buy", 1, 99), "0x99")) is RejectCode.MUST_DEPOSIT


def test_open_orders_are_capped_and_at_the_cap_stops_are_locked_out_even_with_volume() -> None:
    box = Box(EngineConfig(open_order_cap=3, open_order_cap_step=usd(100)))
    box.buy(2)
    for _ in range(3):
        box.place(box.order("buy", 1, 90))
    stop = box.order("sell", 1, 90, reduce_only=True)
    assert code(box.place(stop)) is RejectCode.TOO_MANY_OPEN_ORDERS
    assert isinstance(box.place(box.order("buy", 1, 90)), Resting)


def test_cancel_takes_an_open_order_once() -> None:
    box = Box()
    result = box.place(box.order("buy", 1, 90, cloid="0x07"))
    assert isinstance(result, Resting)
    assert box.exchange.cancel_by_cloid(ALICE, "SOL", "0x07", box.tick()) == Done()
    assert code(box.exchange.cancel(ALICE, "SOL", result.oid, box.tick())) is RejectCode.MISSING_ORDER
    assert code(box.exchange.cancel(BOB, "SOL", result.oid, box.tick())) is RejectCode.MISSING_ORDER
    assert code(box.exchange.cancel(ALICE, "BTC", result.oid, box.tick())) is RejectCode.MISSING_ORDER


def test_modify_is_cancel_and_place_in_full_size_under_a_new_oid() -> None:
    box = Box()
    old = box.place(box.order("buy", 1, 90, cloid="0x07"))
    assert isinstance(old, Resting)
    new = box.exchange.modify(ALICE, "0x07", box.order("buy", 2, 91, cloid="0x07"), box.tick())
    assert isinstance(new, Resting)
    assert new.oid != old.oid
    assert (old.oid, "canceled") in box.statuses()
    assert [o.size for o in box.exchange.open_orders(ALICE)] == [lots(2)]
    again = box.exchange.modify(ALICE, old.oid, box.order("buy", 2, 91), box.tick())
    assert code(again) is RejectCode.MODIFY_DEAD


def test_a_plain_modify_must_rest_and_an_always_modify_places_even_without_the_old_one() -> None:
    box = Box()
    old = box.place(box.order("buy", 1, 90))
    assert isinstance(old, Resting)
    crossing = box.order("buy", 1, 101)
    assert code(box.exchange.modify(ALICE, old.oid, crossing, box.tick())) is RejectCode.MODIFY_INVALID
    assert len(box.exchange.open_orders(ALICE)) == 1
    assert isinstance(box.exchange.modify(ALICE, old.oid, crossing, box.tick(), always=True), Filled)
    assert isinstance(box.exchange.modify(ALICE, old.oid, crossing, box.tick(), always=True), Filled)
    assert box.size() == lots(2)


def test_a_refused_replacement_leaves_the_old_order_gone() -> None:
    box = Box()
    old = box.place(box.order("buy", 1, 90))
    assert isinstance(old, Resting)
    assert code(box.exchange.modify(ALICE, old.oid, box.order("buy", 3_000, 91), box.tick())) is RejectCode.PERP_MARGIN
    assert box.exchange.open_orders(ALICE) == ()


def test_only_the_newest_done_orders_stay_on_record() -> None:
    box = Box(EngineConfig(order_history=3))
    oids = []
    for number in range(5):
        result = box.place(box.order("buy", 1, 90, cloid=f"0x{number}"))
        assert isinstance(result, Resting)
        oids.append(result.oid)
        box.exchange.cancel(ALICE, "SOL", result.oid, box.tick())
    found = [box.exchange.order_by_oid(ALICE, oid) is not None for oid in oids]
    assert found == [False, False, True, True, True]
    assert box.exchange.order_by_cloid(ALICE, "0x0") is None
    assert len(box.exchange.historical_orders(ALICE)) == 3


def test_in_a_post_only_window_only_alo_and_cancels_pass() -> None:
    box = Box()
    resting = box.place(box.order("buy", 1, 90))
    assert isinstance(resting, Resting)
    box.exchange.set_post_only(True)
    assert code(box.place(box.order("buy", 1, 90))) is RejectCode.POST_ONLY_WINDOW
    assert isinstance(box.place(box.order("buy", 1, 90, Tif.ALO)), Resting)
    assert box.exchange.cancel(ALICE, "SOL", resting.oid, box.tick()) == Done()


def test_in_a_halted_market_nothing_is_taken_nothing_fills_and_cancels_pass() -> None:
    box = Box()
    resting = box.place(box.order("buy", 1, 95))
    assert isinstance(resting, Resting)
    box.quote(80, halted=True)
    assert code(box.place(box.order("buy", 1, 70))) is RejectCode.HALTED
    assert box.fills() == []
    assert len(box.exchange.open_orders(ALICE)) == 1
    box.quote(80)
    assert [f.px for f in box.fills()] == [price(95)]


def test_a_modify_with_what_was_no_number_changes_nothing() -> None:
    box = Box()
    old = box.place(box.order("buy", 1, 90))
    assert isinstance(old, Resting)
    bad = Reject(code=RejectCode.TICK, asset=5)
    assert box.exchange.modify(ALICE, old.oid, bad, box.tick()) == Rejected(bad)
    assert len(box.exchange.open_orders(ALICE)) == 1


def test_an_order_at_exactly_the_best_opposite_price_matches_on_both_sides() -> None:
    box = Box()
    assert isinstance(box.place(box.order("sell", 1, 99, Tif.IOC)), Filled)
    assert isinstance(box.place(box.order("buy", 1, 101, Tif.IOC)), Filled)
    assert code(box.place(box.order("sell", 1, 99, Tif.ALO))) is RejectCode.BAD_ALO_PX


def test_a_small_reduce_only_part_is_not_exempt_from_the_minimum() -> None:
    box = Box()
    box.buy(1)
    assert code(box.place(box.order("sell", "0.05", 99, reduce_only=True))) is RejectCode.MIN_TRADE_NTL
    box.sell("0.95")
    assert isinstance(box.place(box.order("sell", "0.06", 99, Tif.IOC, reduce_only=True)), Filled)


def test_exactly_ten_dollars_are_enough() -> None:
    box = Box()
    assert isinstance(box.place(box.order("buy", "0.1", 100)), Resting)
    assert code(box.place(box.order("buy", "0.1", "99.9"))) is RejectCode.MIN_TRADE_NTL
