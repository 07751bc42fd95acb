"""Grouped entry, stop and target: the children live only when the parent fills whole, and one's fill ends the other."""

from __future__ import annotations

import pytest
from tests.unit.engine.box import ALICE, Box, levels, lots, price, stop, target

from perpstrader.paper.engine import (
    EngineConfig,
    Filled,
    NewOrder,
    Reject,
    RejectCode,
    Rejected,
    Resting,
    Tif,
    WaitingForFill,
    WaitingForTrigger,
)


def legs(box: Box, size: int | str = 2) -> tuple[NewOrder, NewOrder]:
    """A stop at 95 and a target at 110 for a long."""
    return (
        box.order("sell", size, 80, reduce_only=True, trigger=stop(95), cloid="0x51"),
        box.order("sell", size, 100, reduce_only=True, trigger=target(110), cloid="0x7a"),
    )


def live(box: Box) -> list[str | None]:
    return [o.cloid for o in box.exchange.open_orders(ALICE)]


def test_children_are_armed_at_once_when_the_parent_fills_whole() -> None:
    box = Box()
    parent, *children = box.bracket(box.order("buy", 2, 105, Tif.IOC), *legs(box))
    assert isinstance(parent, Filled)
    assert all(isinstance(child, WaitingForTrigger) for child in children)
    assert live(box) == ["0x51", "0x7a"]
    status = box.exchange.order_by_cloid(ALICE, "0x51")
    assert status is not None
    assert status.status == "open"
    assert not status.order.held


def test_children_of_a_resting_parent_wait_and_fire_at_nothing_until_it_fills() -> None:
    box = Box()
    parent, *children = box.bracket(box.order("buy", 2, 98), *legs(box))
    assert isinstance(parent, Resting)
    assert all(isinstance(child, WaitingForFill) for child in children)
    views = box.exchange.open_orders(ALICE)
    assert [v.held for v in views] == [False, True, True]
    assert len(views[0].children) == 2
    box.apply(mark=price("94.5"))
    assert len(box.exchange.open_orders(ALICE)) == 3
    box.print("97.9", 2, buy=False)
    assert box.size() == 0, "the stop was past mark when its parent's fill armed it"


def test_an_ioc_parent_that_fills_in_part_leaves_no_child() -> None:
    box = Box(funds=100_000)
    parent, *children = box.bracket(box.order("buy", 150, 101, Tif.IOC), *legs(box, 150))
    assert isinstance(parent, Filled)
    assert parent.total_size == lots(100)
    assert all(isinstance(child, WaitingForFill) for child in children)
    assert live(box) == []
    assert box.size() == lots(100)
    lenient = Box(EngineConfig(arm_children_of_partial_ioc=True), funds=100_000)
    lenient.bracket(box.order("buy", 150, 101, Tif.IOC), *legs(box, 150))
    assert live(lenient) == ["0x51", "0x7a"]


def test_a_parent_that_fills_piecemeal_leaves_the_position_naked_meanwhile() -> None:
    box = Box()
    box.bracket(box.order("buy", 4, 98), *legs(box, 4))
    box.print("97.9", 3, buy=False)
    assert box.size() == lots(3)
    assert [v.held for v in box.exchange.open_orders(ALICE)] == [False, True, True]
    box.print("97.9", 1, buy=False)
    assert [v.held for v in box.exchange.open_orders(ALICE)] == [False, False]


def test_cancelling_a_part_filled_parent_cancels_its_children() -> None:
    box = Box()
    parent, *_ = box.bracket(box.order("buy", 4, 98), *legs(box, 4))
    assert isinstance(parent, Resting)
    box.print("97.9", 3, buy=False)
    box.events()
    box.exchange.cancel(ALICE, "SOL", parent.oid, box.tick())
    assert live(box) == []
    assert [status for _, status in box.statuses()] == ["canceled"] * 3
    assert box.size() == lots(3)


def test_a_part_filled_parent_cancelled_for_margin_arms_its_children() -> None:
    box = Box(funds=1_000)
    leg = box.order("sell", 150, 70, reduce_only=True, trigger=stop(85), cloid="0x51")
    parent, _ = box.bracket(box.order("buy", 150, 98), leg)
    assert isinstance(parent, Resting)
    box.print("97.9", 20, buy=False)
    box.events()
    box.apply(mark=price(91), bids=levels((90, 500)), asks=levels(("97.5", 500)))
    assert [status for _, status in box.statuses()] == ["marginCanceled", "open"]
    assert [view.held for view in box.exchange.open_orders(ALICE)] == [False]
    box.quote(84)
    assert box.size() == 0


def test_the_filled_child_ends_its_sibling() -> None:
    box = Box()
    box.bracket(box.order("buy", 2, 105, Tif.IOC), *legs(box))
    box.events()
    box.quote(94)
    assert [status for _, status in box.statuses()][-2:] == ["filled", "siblingFilledCanceled"]
    assert live(box) == []


def test_a_group_with_one_bad_leg_is_refused_as_a_whole_with_one_error() -> None:
    box = Box()
    parent = box.order("buy", "0.1", 105, Tif.IOC)
    small = box.order("sell", "0.1", 80, reduce_only=True, trigger=stop(95))
    results = box.bracket(parent, small)
    assert len(results) == 1
    assert isinstance(results[0], Rejected)
    assert results[0].reject.code is RejectCode.MIN_TRADE_NTL
    assert box.size() == 0
    lenient = Box(EngineConfig(grouped_fails_whole=False))
    first, second = lenient.bracket(parent, small)
    assert isinstance(first, Filled)
    assert isinstance(second, Rejected)


@pytest.mark.parametrize("which", ["no legs", "not reduce-only", "no trigger", "trigger parent"])
def test_a_malformed_group_is_refused_with_one_error(which: str) -> None:
    box = Box()
    parent, (leg, _) = box.order("buy", 2, 105, Tif.IOC), legs(box)
    group = {
        "no legs": [parent],
        "not reduce-only": [parent, box.order("sell", 2, 80, trigger=stop(95))],
        "no trigger": [parent, box.order("sell", 2, 80, reduce_only=True)],
        "trigger parent": [box.order("buy", 2, 115, trigger=stop(110)), leg],
    }[which]
    (result,) = box.bracket(*group)
    assert isinstance(result, Rejected)
    assert result.reject.code in (RejectCode.TRIGGER_COUNT, RejectCode.GROUPED_NOT_REDUCE_ONLY)
    assert live(box) == []


def test_when_the_parent_is_refused_its_children_never_existed() -> None:
    box = Box()
    results = box.bracket(box.order("buy", 2, "100.5", Tif.IOC), *legs(box))
    assert [isinstance(r, Rejected) for r in results] == [True, True, True]
    assert live(box) == []
    assert box.exchange.order_by_cloid(ALICE, "0x51") is None
    assert [s for _, s in box.statuses()] == ["iocCancelRejected"]


def test_a_child_is_judged_against_where_its_parent_may_fill() -> None:
    box = Box()
    low_target = box.order("sell", 2, 80, reduce_only=True, trigger=target(95))
    parent, child = box.bracket(box.order("buy", 2, 90), low_target)
    assert isinstance(parent, Resting)
    assert isinstance(child, WaitingForFill)
    (result,) = box.bracket(box.order("buy", 2, 98), low_target)
    assert isinstance(result, Rejected)
    assert result.reject.code is RejectCode.BAD_TRIGGER_PX


def test_a_waiting_child_can_be_cancelled_alone() -> None:
    box = Box()
    box.bracket(box.order("buy", 2, 98), *legs(box))
    box.exchange.cancel_by_cloid(ALICE, "SOL", "0x7a", box.tick())
    box.print("97.9", 2, buy=False)
    assert live(box) == ["0x51"]


def test_a_leg_that_was_no_number_refuses_its_group() -> None:
    box = Box()
    bad = Reject(code=RejectCode.INVALID_SIZE, asset=5)
    assert box.bracket(box.order("buy", 2, 105, Tif.IOC), bad) == [Rejected(bad)]
    assert box.bracket(bad, *legs(box)) == [Rejected(bad)]
    assert box.bracket() == []


def test_at_the_basic_cap_a_bracket_is_refused_because_its_legs_are() -> None:
    box = Box(EngineConfig(open_order_cap=2, open_order_cap_step=10**8))
    box.buy(2)
    for _ in range(2):
        box.place(box.order("buy", 1, 90))
    (result,) = box.bracket(box.order("buy", 2, 98), *legs(box))
    assert isinstance(result, Rejected)
    assert result.reject.code is RejectCode.TOO_MANY_OPEN_ORDERS
