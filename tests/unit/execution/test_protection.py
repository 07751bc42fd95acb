"""Protection: from the first fill to a stop of the position's size that the venue lists, whatever comes between."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.execution.world import World, play

from perpstrader.domain import OrderStatus, Protection, Purpose, Side
from perpstrader.execution import protection
from perpstrader.execution.protection import Protector
from perpstrader.execution.reach import Reach
from perpstrader.venue import contract as c
from perpstrader.venue.wire.errors import ErrorCode

D = Decimal


def test_S20_a_part_filled_entry_gets_a_stop_of_its_own_since_its_children_are_not_armed() -> None:
    async def act(w: World) -> None:
        w.venue.depth = D("0.4")
        await w.enter()
        await w.clock.sleep(1)
        assert w.is_protected()
        assert w.execution.protector.max_unprotected_ms < 1_000
        await w.watched(20)
        children = [o for o in w.orders(Purpose.STOP) if o.intent.group]
        assert [o.status for o in children] == [OrderStatus.NEVER_ARMED]
        assert len(w.desk.orders.live("BTC", Purpose.STOP)) == 1

    play(act)


def test_S20_its_test_fails_where_the_answer_to_the_group_is_taken_for_protection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def trusting(self: Protector, symbol: str) -> None:
        return None

    monkeypatch.setattr(Protector, "ensure", trusting)
    with pytest.raises(AssertionError):
        test_S20_a_part_filled_entry_gets_a_stop_of_its_own_since_its_children_are_not_armed()


def test_S20_children_of_a_resting_entry_are_neither_cancelled_nor_counted() -> None:
    async def act(w: World) -> None:
        report = await w.enter(resting=True, ttl_ms=60_000)
        await w.watched(5)
        assert w.venue.canceled == []
        assert report.order is not None
        w.venue.fill_resting(report.order.cloid, D("0.2"))
        await w.clock.sleep(1)
        assert w.is_protected()
        w.venue.fill_resting(report.order.cloid, D("0.8"))
        await w.clock.sleep(3)
        assert w.is_protected()

    play(act)


def test_S20_a_fill_that_only_a_stream_shows_is_protected_before_the_answer_comes() -> None:
    async def act(w: World) -> None:
        w.venue.lose.append(True)
        await w.enter()
        await w.clock.sleep(1)
        assert w.is_protected()

    play(act)


def test_S20_a_stop_whose_answer_was_lost_is_looked_up_and_not_placed_twice() -> None:
    async def act(w: World) -> None:
        w.venue.depth = D("0.4")
        place = w.venue.on_place

        def lose_the_stops(requests: object) -> None:
            w.venue.on_place = place
            w.venue.lose.append(True)

        w.venue.on_place = lose_the_stops
        await w.enter()
        await w.watched(3)
        assert w.is_protected()
        own = [o for o in w.orders(Purpose.STOP) if not o.intent.group]
        assert len(own) == 1

    play(act)


def test_S20_outage_time_is_measured_apart_and_does_not_close_the_position() -> None:
    async def act(w: World) -> None:
        w.venue.depth, w.venue.latency_s = D("0.4"), 0.05
        w.pool.spawn("enter", w.enter())
        while not w.venue.trades:
            await w.clock.sleep(0.001)
        w.venue.down = True
        await w.watched(60)
        assert w.said("exit-started") == []
        w.venue.down = False
        await w.watched(4)
        assert w.is_protected()
        assert w.execution.protector.max_outage_ms > 50_000
        assert w.execution.protector.max_unprotected_ms <= 5_000
        assert w.size() == D("0.4")

    play(act)


def test_S20_its_test_fails_where_outages_count_against_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reach, "outage_ms", lambda self, since_ms, now_ms: 0)
    with pytest.raises(AssertionError):
        test_S20_outage_time_is_measured_apart_and_does_not_close_the_position()


def test_S20_where_no_stop_can_rest_the_position_is_closed() -> None:
    async def act(w: World) -> None:
        w.venue.depth = D("0.4")
        w.venue.refuse = lambda request: ErrorCode.BAD_TRIGGER_PX if request.trigger else None
        await w.enter()
        await w.watched(5)
        assert w.size() == 0
        assert w.venue.positions["BTC"] == 0

    play(act)


def test_S20_a_stop_that_is_refused_for_a_while_is_tried_again_and_the_deadline_closes() -> None:
    async def act(w: World) -> None:
        w.venue.depth = D("0.4")
        w.venue.refuse = lambda request: ErrorCode.TOO_MANY_OPEN_ORDERS if request.trigger else None
        w.pool.spawn("enter", w.enter())
        await w.watched(4)
        assert w.size() == D("0.4")
        assert w.execution.protector.status("BTC") is Protection.PENDING
        await w.watched(4)
        assert w.size() == 0

    play(act)


def test_S20_protection_goes_on_while_a_close_cannot_fill() -> None:
    async def act(w: World) -> None:
        w.venue.depth = D("0.4")
        blocked = {"on": True}

        def refuse(request: c.OrderRequest) -> ErrorCode | None:
            if request.trigger is not None and blocked["on"]:
                return ErrorCode.BAD_TRIGGER_PX
            return ErrorCode.TRADING_HALTED if request.reduce_only and request.trigger is None else None

        w.venue.refuse = refuse
        await w.enter()
        await w.watched(10)
        assert w.execution.exits.in_progress("BTC")
        blocked["on"] = False
        await w.watched(3)
        assert w.is_protected()
        w.venue.refuse = lambda request: None
        await w.watched(10)
        assert w.size() == 0

    play(act)


def test_S21_the_stop_follows_every_change_of_size_and_leaves_with_the_position() -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.execution.reduce("BTC", D("0.4"), "test")
        await w.clock.sleep(2)
        assert w.size() == D("0.6")
        assert w.is_protected()
        w.venue.trade("BTC", False, D("0.1"))
        await w.clock.sleep(2)
        assert w.is_protected()
        report = await w.execution.close("BTC", "test")
        assert report.flat
        await w.watched(15)
        assert [o for o in w.venue.orders.values() if o.is_open] == []
        assert not w.desk.orders.live("BTC")

    play(act)


def test_S21_a_new_stop_is_confirmed_before_the_old_one_is_cancelled() -> None:
    async def act(w: World) -> None:
        await w.enter()
        counts: list[int] = []
        cancel = w.venue._cancel

        def counting(cloid: str) -> c.CancelAck:
            counts.append(len(w.venue.open_stops("BTC")))
            return cancel(cloid)

        w.venue._cancel = counting  # type: ignore[method-assign]
        w.venue.trade("BTC", False, D("0.5"))
        await w.clock.sleep(2)
        assert counts == [2]
        assert w.is_protected()

    play(act)


def test_S21_a_target_is_kept_at_the_positions_size() -> None:
    async def act(w: World) -> None:
        await w.enter(target_price=D(110))
        await w.execution.reduce("BTC", D("0.5"), "test")
        await w.watched(3)
        targets = [
            o for o in w.venue.orders.values() if o.is_open and o.request.trigger and not o.request.trigger.is_stop
        ]
        assert [(o.request.size, o.request.trigger.price) for o in targets if o.request.trigger] == [(D("0.5"), D(110))]
        assert w.is_protected()

    play(act)


def test_S22_a_position_without_a_plan_gets_a_stop_at_the_default_distance_on_tick_beyond_its_trigger() -> None:
    async def act(w: World) -> None:
        w.venue.trade("ETH", False, D(2))
        await w.clock.sleep(2)
        [stop] = w.venue.open_stops("ETH")
        assert stop.request.trigger is not None
        assert (stop.request.trigger.price, stop.request.buy, stop.request.limit_price) == (D(105), True, D("115.5"))
        assert w.is_protected("ETH")

    play(act)


@pytest.mark.parametrize("status", ["scheduledCancel", "reduceOnlyCanceled", "canceled", "triggered"])
def test_S23_a_stop_that_went_away_without_filling_is_replaced(status: str) -> None:
    async def act(w: World) -> None:
        await w.enter()
        [stop] = w.venue.open_stops("BTC")
        w.venue.drop(stop.request.cloid, status)
        record = await w.venue.order(stop.request.cloid)
        w.execution.on_order_record(stop.request.cloid, record)
        await w.watched(6)
        assert [o.oid for o in w.venue.open_stops("BTC") if o.status == "open"] != [stop.oid]
        held = w.execution.protector.stop_of("BTC")
        assert held is not None
        assert held.oid != stop.oid

    play(act)


def test_S23_a_stop_that_fired_for_a_part_leads_back_to_protection() -> None:
    async def act(w: World) -> None:
        await w.enter()
        [stop] = w.venue.open_stops("BTC")
        w.venue.fire(stop.request.cloid, filled=D("0.3"))
        await w.watched(4)
        assert w.size() == D("0.7")
        assert w.is_protected()

    play(act)


def test_S23_a_stop_that_vanished_without_a_word_is_found_missing_by_the_comparison() -> None:
    async def act(w: World) -> None:
        await w.enter()
        [stop] = w.venue.open_stops("BTC")
        w.venue.drop(stop.request.cloid)
        await w.clock.sleep(1)
        await w.execution.reconciler.run()
        await w.clock.sleep(3)
        assert w.is_protected()

    play(act)


def test_S23_a_stop_that_the_venue_clamped_ends_and_holds_up_nothing() -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.stream = None
        [stop] = w.venue.open_stops("BTC")
        w.venue.trade("BTC", False, D("0.5"))
        w.venue.fire(stop.request.cloid)
        await w.execution.reconciler.run()
        await w.watched(10)
        assert w.size() == 0
        order = w.desk.orders.get(stop.request.cloid)
        assert order is not None
        assert (order.status, order.filled) == (OrderStatus.FILLED, D("0.5"))
        assert (await w.enter()).refusal is None

    play(act)


def test_S20_a_second_look_is_taken_when_a_fill_comes_while_the_first_one_runs() -> None:
    async def act(w: World) -> None:
        w.venue.latency_s = 0.2
        w.venue.trade("BTC", True, D(1))
        await w.clock.sleep(0.3)
        w.venue.trade("BTC", True, D(1))
        await w.clock.sleep(3)
        assert w.is_protected()
        assert protection._MAX_ATTEMPTS > 1

    play(act)


def test_S02_S20_what_is_sent_for_protection_is_reduce_only_and_on_the_closing_side() -> None:
    async def act(w: World) -> None:
        await w.enter(side=Side.SHORT, target_price=D(90))
        w.venue.trade("BTC", True, D("0.5"))
        await w.watched(3)
        for request in w.venue.sent:
            if request.trigger is not None:
                assert request.reduce_only
                assert request.buy

    play(act)


spans = st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=30)


@given(spans, st.integers(0, 2_000))
def test_outages_are_the_time_between_a_failed_call_and_the_next_answer(
    steps: list[tuple[int, bool]], since: int
) -> None:
    reach, now, out, model = Reach(), 0, None, []
    for pause, answered in steps:
        sent, now = now, now + pause
        if answered:
            if out is not None:
                model.append((out, now))
            out = None
            reach.answered(now)
        else:
            out = sent if out is None else out
            reach.missed(sent)
    spans = [*model, *([(out, now)] if out is not None else [])]
    assert reach.outage_ms(since, now) == sum(max(0, end - max(begin, since)) for begin, end in spans)
