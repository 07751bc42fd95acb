"""Our orders: each reaches exactly one terminal state, and its fills are its fills, whatever comes first."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.execution.test_positions import fill
from tests.unit.state.state_samples import intent, order

from perpstrader.domain import Order, OrderStatus
from perpstrader.execution.orders import OrderTracker
from perpstrader.venue.contract import OrderGroup, OrderRecord

D = Decimal
SIZE = D("0.001")


def tracker() -> tuple[OrderTracker, Order, list[Order]]:
    """A tracker with one order of ``SIZE``, and what it told of it."""
    told: list[Order] = []
    book, known = OrderTracker(told.append), order(intent())
    book.add(known)
    return book, known, told


events = st.lists(
    st.one_of(
        st.tuples(st.just("fill"), st.sampled_from(["0.0002", "0.0003", "0.0005"])),
        st.tuples(st.just("record"), st.sampled_from(list(OrderGroup))),
        st.tuples(st.just("status"), st.sampled_from(list(OrderStatus))),
        st.tuples(st.just("finish"), st.just("")),
    ),
    max_size=12,
)


@given(events)
def test_S15_a_terminal_order_stays_so_and_only_its_fills_may_still_refine_it(steps: list[tuple[str, object]]) -> None:
    book, known, told = tracker()
    filled, tid = D(0), 0
    for kind, what in steps:
        before = book.get(known.cloid)
        assert before is not None
        if kind == "fill" and filled + D(str(what)) <= SIZE:
            tid += 1
            filled += D(str(what))
            book.apply_fill(fill(tid, str(what), oid=5, cloid=known.cloid))
        elif kind == "record":
            book.apply_record(known.cloid, OrderRecord(group=what, status=str(what)))  # type: ignore[arg-type]
        elif kind == "status":
            book.update(known.cloid, status=what)
        elif kind == "finish":
            book.finish_partial(known.cloid, filled, "rest dropped", 1)
        after = book.get(known.cloid)
        assert after is not None
        assert after.filled == filled <= SIZE
        if before.status.is_terminal:
            assert after.status.is_terminal
            assert kind == "fill" or after.status is before.status
        assert (after in book.live()) is after.is_live
    final = book.get(known.cloid)
    assert final is not None
    if filled == SIZE:
        assert final.status is OrderStatus.FILLED
    assert told[-1] == final


def test_S15_its_test_fails_where_a_terminal_state_is_left_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrderStatus, "is_terminal", property(lambda self: self is OrderStatus.FILLED))
    with pytest.raises(AssertionError):
        test_S15_a_part_fill_that_comes_after_the_end_is_told_as_partial()


@pytest.mark.parametrize("ended", ["CANCELED", "EXPIRED", "REJECTED", "NEVER_ARMED", "ABANDONED"])
def test_S15_a_fill_beats_every_other_word(ended: str) -> None:
    book, known, _ = tracker()
    book.update(known.cloid, status=OrderStatus[ended])
    changed = book.apply_fill(fill(1, "0.0004", oid=5, cloid=known.cloid))
    assert changed is not None
    assert changed.status is OrderStatus.PARTIAL


def test_S15_a_part_fill_that_comes_after_the_end_is_told_as_partial() -> None:
    book, known, _ = tracker()
    book.apply_record(known.cloid, OrderRecord(group=OrderGroup.CANCELED, status="canceled"))
    book.apply_fill(fill(1, "0.0004", oid=5, cloid=known.cloid))
    book.update(known.cloid, status=OrderStatus.RESTING)
    final = book.get(known.cloid)
    assert final is not None
    assert final.status is OrderStatus.PARTIAL
    assert book.live() == []


def test_a_fill_without_a_cloid_is_found_by_the_venues_id() -> None:
    book, known, _ = tracker()
    book.update(known.cloid, oid=77)
    changed = book.apply_fill(fill(1, "0.001", oid=77))
    assert changed is not None
    assert (changed.status, changed.average_price) == (OrderStatus.FILLED, D(100))


def test_memory_is_bounded_and_live_orders_are_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perpstrader.execution.orders._KEEP_TERMINAL", 3)
    book, known, _ = tracker()
    for number in range(2, 10):
        book.add(order(intent(number), status=OrderStatus.CANCELED, oid=number))
    assert book.get(known.cloid) == known
    assert book.get(order(intent(2)).cloid) is None
    assert len(book._by_cloid) == 4
    assert book.of_fill(fill(1, "1", oid=2)) is None


def test_who_waits_for_a_change_is_woken_by_the_next_one() -> None:
    async def act() -> None:
        book, known, _ = tracker()
        waiter = asyncio.create_task(book.changed())
        await asyncio.sleep(0)
        assert not waiter.done()
        book.update(known.cloid, status=OrderStatus.RESTING)
        await asyncio.wait_for(waiter, 1)

    asyncio.run(act())
