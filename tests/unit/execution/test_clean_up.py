"""What is too many goes away beside protection, never in its way; and what rests is not placed anew unread."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from tests.unit.execution.world import World, play

from perpstrader.domain import OrderStatus, Purpose, VenueError
from perpstrader.execution.clean_up import CleanUp
from perpstrader.execution.protection import Protector
from perpstrader.venue import contract as c

D = Decimal
READS = ("order", "open_orders", "fills", "account", "venue_time_ms", "book", "funding", "cash_flows")


def _lose_cancels(w: World, *, executed: bool = True) -> None:
    """The answer to a cancel never comes: the caller waits its 10 s, and what it asked for was done or not at once."""

    async def cancel(pairs: Sequence[tuple[str, str]]) -> Sequence[c.CancelAck]:
        for _, cloid in pairs:
            if executed:
                w.venue._cancel(cloid)
        await w.clock.sleep(10)
        return [c.Unknown("no answer")] * len(pairs)

    w.venue.cancel = cancel  # type: ignore[method-assign,assignment]


def _lose_reads(w: World) -> None:
    async def fails(*args: object, **more: object) -> object:
        raise VenueError("502")

    for name in READS:
        setattr(w.venue, name, fails)


def _reads_again(w: World) -> None:
    for name in READS:
        w.venue.__dict__.pop(name, None)


def _a_part_fills_while_a_cancel_has_no_answer() -> None:
    async def act(w: World) -> None:
        report = await w.enter(resting=True, ttl_ms=600_000)
        assert report.order is not None
        cloid = report.order.cloid
        w.venue.fill_resting(cloid, D("0.4"))
        await w.watched(2)
        [old] = w.venue.open_stops("BTC")
        _lose_cancels(w)
        w.venue.fill_resting(cloid, D("0.2"))
        await w.clock.sleep(0.5)
        assert not old.is_open, "the old stop was cancelled, and nobody knows"
        w.venue.fill_resting(cloid, D("0.3"))
        await w.clock.sleep(0.5)
        held = w.execution.protector.stop_of("BTC")
        assert held is not None
        assert held.size == D("0.9")
        assert w.execution.protector.max_unprotected_ms < 1_000
        w.venue.__dict__.pop("cancel")
        await w.watched(25)
        assert w.is_protected()
        assert len(w.desk.orders.live("BTC", Purpose.STOP)) == 1
        assert w.said("exit-started") == []

    play(act)


def test_S20_a_cancel_without_an_answer_does_not_keep_the_next_part_from_its_stop() -> None:
    _a_part_fills_while_a_cancel_has_no_answer()


def test_S20_its_test_fails_where_protection_waits_for_the_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CleanUp, "hurry", lambda *_: None)
    with pytest.raises(AssertionError):
        _a_part_fills_while_a_cancel_has_no_answer()


def _back_to_the_old_size_while_its_stop_leaves() -> None:
    async def act(w: World) -> None:
        w.venue.trade("BTC", True, D("0.4"))
        await w.watched(2)
        [old] = w.venue.open_stops("BTC")

        async def late(pairs: Sequence[tuple[str, str]]) -> Sequence[c.CancelAck]:
            await w.clock.sleep(2)
            return [w.venue._cancel(cloid) for _, cloid in pairs]

        w.venue.cancel = late  # type: ignore[method-assign,assignment]
        w.venue.trade("BTC", True, D("0.2"))
        await w.clock.sleep(0.5)
        w.venue.trade("BTC", False, D("0.2"))
        await w.clock.sleep(0.5)
        held = w.execution.protector.stop_of("BTC")
        assert held is not None
        assert held.oid != old.oid, "it is on its way out"
        for _ in range(60):
            await w.clock.sleep(0.1)
            assert any(stop.request.size == D("0.4") for stop in w.venue.open_stops("BTC"))
        await w.watched(10)
        assert w.is_protected()
        assert len(w.desk.orders.live("BTC", Purpose.STOP)) == 1

    play(act)


def test_S20_S22_a_stop_that_is_being_cancelled_is_not_relied_upon_when_its_size_is_right_again() -> None:
    _back_to_the_old_size_while_its_stop_leaves()


def test_S20_S22_its_test_fails_where_a_stop_on_its_way_out_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CleanUp, "is_leaving", lambda *_: False)
    with pytest.raises(AssertionError):
        _back_to_the_old_size_while_its_stop_leaves()


def test_S21_orphans_whose_cancel_has_no_answer_keep_no_new_position_from_its_stop() -> None:
    async def act(w: World) -> None:
        await w.enter(target_price=D(110))
        await w.watched(2)
        w.venue._follow_reduce_only = lambda symbol: None  # type: ignore[method-assign]  # the venue leaves them there
        _lose_cancels(w, executed=False)
        w.venue.trade("BTC", False, D(1))
        await w.clock.sleep(0.5)
        w.venue.trade("BTC", True, D("0.7"))
        await w.clock.sleep(1)
        held = w.execution.protector.stop_of("BTC")
        assert held is not None
        assert held.size == D("0.7")
        assert w.execution.protector.max_unprotected_ms < 1_000
        w.venue.__dict__.pop("cancel")
        await w.watched(30)
        assert w.is_protected()
        left = [o for o in w.venue.orders.values() if o.is_open]
        assert [o.request.size for o in left] == [D("0.7")], "what the ended position left behind is gone"

    play(act)


def _minutes_without_reads() -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.watched(3)
        _lose_reads(w)
        w.venue.trade("BTC", False, D("0.3"))
        await w.watched(600)
        sizes = [stop.request.size for stop in w.venue.open_stops("BTC")]
        assert sizes in ([D(1), D("0.7")], [D(1), D("0.7"), D("0.7")]), "one that rests, and at most one spare"
        assert w.said("exit-started") == []
        _reads_again(w)
        await w.watched(5)
        assert w.is_protected()
        assert w.execution.protector.max_outage_ms > 590_000
        assert w.execution.protector.max_unprotected_ms <= 5_000

    play(act)


def test_S20_S21_while_records_cannot_be_read_a_stop_that_the_venue_has_acknowledged_is_not_placed_anew() -> None:
    _minutes_without_reads()


def test_S20_S21_its_test_fails_where_a_stop_counts_for_its_expirys_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def young(self: Protector, cloid: str) -> bool:
        order = self._desk.orders.get(cloid)
        return order is not None and not self._desk.is_stale(order)

    monkeypatch.setattr(Protector, "_may_rest", young)
    with pytest.raises(AssertionError, match="at most one spare"):
        _minutes_without_reads()


def test_S23_one_that_a_record_shows_to_be_gone_is_replaced_even_then() -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.watched(3)
        _lose_reads(w)
        w.venue.trade("BTC", False, D("0.3"))
        await w.watched(60)
        last = w.venue.open_stops("BTC")[-1]
        w.venue.drop(last.request.cloid)
        w.execution.on_order_record(
            last.request.cloid, c.OrderRecord(group=c.OrderGroup.CANCELED, status="scheduledCancel")
        )
        await w.watched(3)
        stops = w.venue.open_stops("BTC")
        assert stops[-1].oid > last.oid
        assert stops[-1].request.size == D("0.7")
        known = w.desk.orders.get(last.request.cloid)
        assert known is not None
        assert known.status is OrderStatus.CANCELED
        _reads_again(w)
        await w.watched(5)
        assert w.is_protected()

    play(act)
