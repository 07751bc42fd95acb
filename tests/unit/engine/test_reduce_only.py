"""Reduce-only: never flips, shrinks with the position, and the older of two too many goes."""

from __future__ import annotations

from tests.unit.engine.box import ALICE, BOB, Box, lots, price, stop

from perpstrader.paper.engine import EngineConfig, Filled, RejectCode, Rejected, Resting, Tif


def test_a_reduce_only_order_larger_than_the_position_is_clamped_and_never_flips() -> None:
    box = Box()
    box.buy(2)
    result = box.place(box.order("sell", 50, 90, Tif.IOC, reduce_only=True))
    assert isinstance(result, Filled)
    assert result.total_size == lots(2)
    assert box.size() == 0


def test_it_is_refused_without_a_position_or_in_its_direction() -> None:
    box = Box()
    for side in ("buy", "sell"):
        result = box.place(box.order(side, 1, 100, reduce_only=True))
        assert isinstance(result, Rejected)
        assert result.reject.code is RejectCode.REDUCE_ONLY
    box.buy(2)
    result = box.place(box.order("buy", 1, 99, reduce_only=True))
    assert isinstance(result, Rejected)


def test_a_resting_one_shrinks_with_the_position_and_keeps_its_original_size() -> None:
    box = Box()
    box.buy(5)
    box.place(box.order("sell", 5, 105, reduce_only=True))
    box.sell(3)
    (order,) = box.exchange.open_orders(ALICE)
    assert (order.size, order.orig_size) == (lots(2), lots(5))


def test_it_is_cancelled_when_the_position_is_gone_in_the_same_burst_as_the_closing_fill() -> None:
    box = Box()
    box.buy(5)
    resting = box.place(box.order("sell", 5, 105, reduce_only=True))
    assert isinstance(resting, Resting)
    box.events()
    box.sell(5)
    statuses = box.statuses()
    assert (resting.oid, "reduceOnlyCanceled") in statuses
    assert statuses[-1][1] == "filled"


def test_a_second_one_over_the_position_evicts_the_older() -> None:
    box = Box()
    box.buy(5)
    old = box.place(box.order("sell", 5, 105, reduce_only=True))
    assert isinstance(old, Resting)
    box.events()
    box.place(box.order("sell", 3, 106, reduce_only=True))
    assert (old.oid, "reduceOnlyCanceled") in box.statuses()
    assert [o.size for o in box.exchange.open_orders(ALICE)] == [lots(3)]


def test_a_flip_by_a_plain_order_takes_the_reduce_only_orders_along() -> None:
    box = Box()
    box.buy(2)
    box.place(box.order("sell", 2, 105, reduce_only=True))
    box.sell(5)
    assert box.size() == -lots(3)
    assert box.exchange.open_orders(ALICE) == ()
    assert [f.dir for f in box.exchange.fills(ALICE)] == ["Open Long", "Long > Short"]


def test_one_that_another_account_meets_only_reduces() -> None:
    box = Box()
    box.buy(2)
    box.place(box.order("sell", 2, "100.5", reduce_only=True))
    box.place(box.order("buy", 10, "100.5", Tif.IOC), BOB)
    assert box.size() == 0
    assert box.size(BOB) == lots(2)


def test_an_orphan_trigger_outlives_its_position_and_meets_the_next_one() -> None:
    box = Box()
    box.buy(2)
    box.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop(95)))
    box.sell(2)
    assert len(box.exchange.open_orders(ALICE)) == 1
    box.buy(1)
    box.quote(94)
    assert box.size() == 0


def test_an_orphan_trigger_that_fires_without_a_position_is_cancelled() -> None:
    box = Box()
    box.buy(2)
    stopped = box.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop(95)))
    assert isinstance(stopped, Resting)
    box.sell(2)
    box.events()
    box.quote(94)
    assert box.statuses() == [(stopped.oid, "triggered"), (stopped.oid, "reduceOnlyCanceled")]


def test_orphans_can_be_set_to_die_with_their_position() -> None:
    box = Box(EngineConfig(orphan_triggers_survive=False))
    box.buy(2)
    box.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop(95)))
    box.sell(2)
    assert box.exchange.open_orders(ALICE) == ()


def test_closed_pnl_is_gross_and_from_the_truncated_entry() -> None:
    box = Box(funds=100_000)
    box.place(box.order("buy", 150, 102, Tif.IOC))
    box.place(box.order("sell", 150, 90, Tif.IOC, reduce_only=True))
    entry = (100 * price(101) + 50 * price(102)) // 150
    fills = box.exchange.fills(ALICE)
    assert [f.closed_pnl for f in fills[:2]] == [0, 0]
    assert [f.closed_pnl for f in fills[2:]] == [lots(100) * (price(99) - entry), lots(50) * (price(98) - entry)]


def test_two_that_together_are_the_position_both_stay() -> None:
    box = Box()
    box.buy(5)
    box.place(box.order("sell", 2, 105, reduce_only=True))
    box.place(box.order("sell", 3, 106, reduce_only=True))
    assert [o.size for o in box.exchange.open_orders(ALICE)] == [lots(2), lots(3)]


def test_an_orphan_trigger_never_adds_to_an_opposite_position() -> None:
    box = Box()
    box.buy(2)
    orphan = box.place(box.order("sell", 2, 70, reduce_only=True, trigger=stop(95)))
    assert isinstance(orphan, Resting)
    box.sell(5)
    box.events()
    box.quote(94)
    assert box.statuses()[-1] == (orphan.oid, "reduceOnlyCanceled")
    assert box.size() == -lots(3)
