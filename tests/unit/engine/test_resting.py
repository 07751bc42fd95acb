"""Resting orders and the outside market: crossed books, trades through and at the price, margin at the match."""

from __future__ import annotations

from tests.unit.engine.box import ALICE, BOB, Box, levels, lots, price

from perpstrader.paper.engine import Filled, Resting, Tif


def test_a_book_that_crosses_fills_at_the_orders_own_price_as_far_as_its_liquidity_goes() -> None:
    box = Box()
    box.place(box.order("buy", 5, 98))
    box.events()
    box.apply(bids=levels((96, 10)), asks=levels(("97.5", 2), (98, 1), (99, 10)))
    assert [(f.px, f.size, f.crossed) for f in box.fills()] == [
        (price(98), lots(2), False),
        (price(98), lots(1), False),
    ]
    assert [o.size for o in box.exchange.open_orders(ALICE)] == [lots(2)]


def test_a_touch_does_not_fill_but_a_trade_through_does_up_to_its_size() -> None:
    box = Box()
    box.place(box.order("buy", 5, 98))
    box.events()
    box.print(98, 50, buy=False)
    assert box.fills() == []
    box.print("97.9", 3, buy=False)
    assert [(f.px, f.size) for f in box.fills()] == [(price(98), lots(3))]


def test_trades_at_the_price_first_drain_the_queue_that_stood_before() -> None:
    box = Box(funds=100_000)
    box.place(box.order("buy", 5, 98))
    box.events()
    box.print(98, 60, buy=False)
    box.print(98, 39, buy=False)
    assert box.fills() == []
    box.print(98, 4, buy=False)
    assert [f.size for f in box.fills()] == [lots(3)]
    box.print(98, 10, buy=False)
    assert [f.size for f in box.fills()] == [lots(2)]


def test_a_later_order_at_the_same_price_stands_behind_the_earlier_one() -> None:
    box = Box(funds=100_000)
    first = box.place(box.order("buy", 5, 98))
    second = box.place(box.order("buy", 5, 98), BOB)
    assert isinstance(first, Resting)
    assert isinstance(second, Resting)
    box.events()
    box.print(98, 107, buy=False)
    events = box.events()
    filled = [(e.fill.oid, e.fill.size) for e in events if hasattr(e, "fill")]
    assert filled == [(first.oid, lots(5)), (second.oid, lots(2))]


def test_a_trade_of_the_wrong_aggressor_at_the_price_moves_no_queue() -> None:
    box = Box(funds=100_000)
    box.place(box.order("buy", 5, 98))
    box.events()
    box.print(98, 500, buy=True)
    box.print(98, 101, buy=False)
    assert [f.size for f in box.fills()] == [lots(1)]


def test_a_resting_sell_mirrors_a_resting_buy() -> None:
    box = Box()
    box.place(box.order("sell", 5, 102))
    box.events()
    box.print("102.1", 2, buy=True)
    box.apply(bids=levels((103, 10)), asks=levels((104, 10)))
    assert [(f.px, f.size) for f in box.fills()] == [(price(102), lots(2)), (price(102), lots(3))]
    assert box.size() == -lots(5)


def test_a_better_own_price_fills_before_a_worse_one() -> None:
    box = Box()
    worse = box.place(box.order("buy", 2, 97))
    better = box.place(box.order("buy", 2, 98))
    assert isinstance(worse, Resting)
    assert isinstance(better, Resting)
    box.events()
    box.print(96, 3, buy=False)
    assert [(f.oid, f.size) for f in box.fills()] == [(better.oid, lots(2)), (worse.oid, lots(1))]


def test_who_lacks_margin_at_the_match_is_cancelled_and_the_next_one_fills() -> None:
    box = Box(funds=1_000)
    poor = box.place(box.order("buy", 150, 98))
    assert isinstance(poor, Resting)
    rich = box.place(box.order("buy", 1, 97), BOB)
    assert isinstance(rich, Resting)
    box.events()
    box.quote(90)
    statuses = [(e.order.oid, e.status) for e in box.events() if hasattr(e, "status")]
    assert (poor.oid, "marginCanceled") in statuses
    assert (rich.oid, "filled") in statuses
    assert box.size() == 0


def test_a_taker_passes_over_a_maker_without_margin() -> None:
    box = Box(funds=1_000)
    maker = box.place(box.order("sell", 150, "100.5"), BOB)
    assert isinstance(maker, Resting)
    box.apply(mark=price(109), bids=levels((99, 1)), asks=levels((101, 200)))
    box.events()
    result = box.place(box.order("buy", 150, 101, Tif.IOC))
    assert isinstance(result, Filled)
    assert result.avg_px == price(101)
    assert (maker.oid, "marginCanceled") in [(e.order.oid, e.status) for e in box.events() if hasattr(e, "status")]


def test_the_shown_book_merges_outside_and_accounts() -> None:
    box = Box()
    box.place(box.order("buy", 5, 99))
    box.place(box.order("buy", 1, "99.5"))
    book = box.exchange.book("SOL", depth=2)
    assert [(level.px, level.size, level.orders) for level in book.bids] == [
        (price("99.5"), lots(1), 1),
        (price(99), lots(105), 2),
    ]
    assert len(book.asks) == 2
    assert box.exchange.market("SOL").mid_twice == price("99.5") + price(101)
