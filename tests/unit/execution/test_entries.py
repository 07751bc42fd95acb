"""Entries: once at the venue at most, whatever is lost, repeated or late; every order ends, and says how."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.execution.world import World, play

from perpstrader.domain import OrderStatus, Purpose, Reason, Side, StateError
from perpstrader.execution import desk as desk_module
from perpstrader.venue import contract as c
from perpstrader.venue.contract import OrderGroup, OrderRecord
from perpstrader.venue.settlement import Settled
from perpstrader.venue.wire.errors import ErrorCode

D = Decimal


def test_S10_an_entry_fills_once_and_is_protected_by_the_stop_it_went_out_with() -> None:
    async def act(w: World) -> None:
        report = await w.enter()
        assert report.order is not None
        assert (report.order.status, report.order.filled) == (OrderStatus.FILLED, D(1))
        assert w.is_protected()
        assert w.released == [1]
        assert len([r for r in w.venue.sent if not r.reduce_only]) == 1

    play(act)


def _lost_answer(executed: bool) -> None:
    async def act(w: World) -> None:
        w.venue.lose.append(executed)
        report = await w.enter()
        assert report.order is not None
        assert report.order.status is OrderStatus.UNKNOWN or report.order.filled > 0
        await w.watched(40)
        [entry] = w.orders(Purpose.ENTRY)
        assert entry.status is (OrderStatus.FILLED if executed else OrderStatus.EXPIRED)
        assert len([r for r in w.venue.sent if not r.reduce_only]) == 1
        assert w.size() == w.venue.positions.get("BTC", D(0)) == (1 if executed else 0)
        assert w.is_protected() is executed
        assert w.released == [1]
        assert not w.desk.orders.live("BTC") or executed

    play(act)


@pytest.mark.parametrize("executed", [True, False])
def test_S11_a_lost_answer_is_settled_by_the_venues_records_and_nothing_is_sent_again(executed: bool) -> None:
    _lost_answer(executed)


def test_S11_unknown_oid_alone_is_no_proof_while_the_info_side_lags() -> None:
    async def act(w: World) -> None:
        w.venue.lose.append(True)
        w.venue.stream = None
        w.venue.info_lag_ms = 6_000
        await w.enter()
        await w.watched(5)
        assert w.orders(Purpose.ENTRY)[0].status is OrderStatus.UNKNOWN
        await w.watched(30)
        assert w.orders(Purpose.ENTRY)[0].status is OrderStatus.FILLED
        assert w.is_protected()

    play(act)


def test_S11_its_test_fails_where_unknown_oid_is_taken_for_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hasty(client: object, clock: object, cloid: str, **_: object) -> Settled:
        return Settled(OrderRecord(group=OrderGroup.MISSING, status="unknownOid"), 1)

    monkeypatch.setattr("perpstrader.execution.entry.settle", hasty)
    with pytest.raises(AssertionError):
        test_S11_unknown_oid_alone_is_no_proof_while_the_info_side_lags()


def test_S11_no_second_entry_of_the_symbol_goes_out_while_the_first_is_unknown() -> None:
    async def act(w: World) -> None:
        w.venue.lose.append(False)
        await w.enter()
        report = await w.enter()
        assert report.refusal is not None
        assert report.refusal.reason is Reason.ENTRY_IN_FLIGHT
        assert w.released == [2]

    play(act)


def test_S10_a_signal_is_acted_on_once() -> None:
    async def act(w: World) -> None:
        approved = w.approved()
        await w.execution.submit(approved, digest="", trace_ack=None, ack_deadline_ms=50)
        await w.execution.close("BTC", "test")
        await w.clock.sleep(1)
        report = await w.execution.submit(approved, digest="", trace_ack=None, ack_deadline_ms=50)
        assert report.refusal is not None
        assert report.refusal.reason is Reason.DUPLICATE_SIGNAL

    play(act)


def test_S13_what_breaks_a_rule_of_the_venue_is_not_sent_and_its_reservation_is_given_back() -> None:
    async def act(w: World) -> None:
        for changes in ({"size": "0.0005"}, {"worst_price": D("100.0001")}, {"size": "0.05"}):
            report = await w.enter(**changes)  # type: ignore[arg-type]
            assert report.refusal is not None
            assert report.refusal.reason is Reason.SUBMISSION_FAILED
        assert w.venue.sent == []
        assert w.released == [1, 2, 3]

    play(act)


def test_S13_its_test_fails_where_orders_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perpstrader.domain.AssetSpec.is_size", lambda self, size: True)
    monkeypatch.setattr("perpstrader.domain.AssetSpec.is_price", lambda self, price: True)
    monkeypatch.setattr(desk_module, "MIN_NOTIONAL_USD", D(0))
    with pytest.raises(AssertionError):
        test_S13_what_breaks_a_rule_of_the_venue_is_not_sent_and_its_reservation_is_given_back()


def test_S14_a_market_entry_is_an_ioc_with_a_worst_price_and_nothing_rests() -> None:
    async def act(w: World) -> None:
        w.venue.depth = D("0.4")
        report = await w.enter()
        [request] = [r for r in w.venue.sent if not r.reduce_only]
        assert (request.tif.value, request.limit_price) == ("Ioc", D(100))
        assert report.order is not None
        assert (report.order.status, report.order.filled) == (OrderStatus.PARTIAL, D("0.4"))
        assert "no price" in report.order.detail

    play(act)


def test_S15_a_limit_entry_lives_as_long_as_its_signal_and_reports_what_had_filled() -> None:
    async def act(w: World) -> None:
        report = await w.enter(resting=True, ttl_ms=20_000)
        assert report.order is not None
        w.venue.fill_resting(report.order.cloid, D("0.3"))
        await w.watched(5)
        assert w.is_protected()
        assert w.released == []
        await w.watched(30)
        [entry] = w.orders(Purpose.ENTRY)
        assert (entry.status, entry.filled) == (OrderStatus.PARTIAL, D("0.3"))
        assert w.is_protected()
        assert w.released == [1]

    play(act)


def test_S15_a_limit_entry_that_crosses_for_a_part_keeps_its_rest_and_its_reservation() -> None:
    async def act(w: World) -> None:
        place = w.venue._one

        def partly(request: c.OrderRequest) -> c.OrderAck:
            ack = place(request)
            if isinstance(ack, c.Resting) and not request.reduce_only:
                w.venue.fill_resting(request.cloid, D("0.4"))
                return c.Filled(ack.oid, D("0.4"), D(100))
            return ack

        w.venue._one = partly  # type: ignore[method-assign]
        await w.enter(resting=True)
        await w.watched(5)
        assert w.is_protected()
        assert w.released == []
        [entry] = w.orders(Purpose.ENTRY)
        assert entry.status is OrderStatus.RESTING
        w.venue.fill_resting(entry.cloid, D("0.6"))
        await w.watched(5)
        assert w.is_protected()
        assert w.released == [1]

    play(act)


def test_S16_cancel_all_takes_back_entries_alone_and_counts_what_the_venue_shows_to_be_over() -> None:
    async def act(w: World) -> None:
        await w.enter("ETH")
        await w.enter("BTC", resting=True)
        assert await w.execution.entries.cancel_all("test") == 1
        assert not w.desk.orders.live(purpose=Purpose.ENTRY)
        assert w.is_protected("ETH")
        await w.watched(20)
        assert not w.desk.orders.live("BTC")

    play(act)


def test_S16_cancel_all_does_not_claim_what_it_cannot_see() -> None:
    async def act(w: World) -> None:
        await w.enter(resting=True)
        w.venue.down = True
        assert await w.execution.entries.cancel_all("test") == 0
        w.venue.down = False
        await w.execution.reconciler.run()
        await w.watched(5)
        assert not w.desk.orders.live(purpose=Purpose.ENTRY)

    play(act)


def test_S17_a_refused_entry_is_not_retried_and_leaves_nothing_behind() -> None:
    async def act(w: World) -> None:
        w.venue.refuse = lambda request: ErrorCode.PERP_MARGIN
        report = await w.enter()
        assert report.refusal is not None
        assert report.order is not None
        assert report.order.status is OrderStatus.REJECTED
        assert not w.desk.orders.live()
        assert w.released == [1]
        assert w.execution.exits.in_progress("BTC") is False

    play(act)


def test_a_venue_that_is_halted_pauses_entries_and_says_so() -> None:
    async def act(w: World) -> None:
        w.venue.refuse = lambda request: ErrorCode.POST_ONLY_WINDOW
        await w.enter()
        w.venue.refuse = lambda request: None
        assert w.execution.paused_until_ms == w.clock.now_ms() + 300_000
        report = await w.enter()
        assert report.refusal is not None
        assert report.refusal.reason is Reason.VENUE_UNREACHABLE
        await w.clock.sleep(301)
        assert (await w.enter()).refusal is None

    play(act)


def test_an_intent_that_cannot_be_written_is_not_sent() -> None:
    async def act(w: World) -> None:
        async def broken(*args: object, **kwargs: object) -> object:
            raise StateError("the disk is full")

        w.store.transact = broken  # type: ignore[method-assign]
        report = await w.enter()
        assert report.refusal is not None
        assert "disk is full" in report.refusal.value
        assert w.venue.sent == []
        assert w.released == [1]
        del w.store.transact  # type: ignore[method-assign]
        w.failures.clear()

    play(act)


def test_S10_an_entry_whose_waiter_is_cut_off_is_settled_all_the_same() -> None:
    async def act(w: World) -> None:
        w.venue.latency_s = 0.5
        task = w.pool.spawn("decision", w.enter())
        assert task is not None
        await w.clock.sleep(0.4)
        task.cancel()
        await w.watched(40)
        [entry] = w.orders(Purpose.ENTRY)
        assert entry.status.is_terminal
        assert w.released == [1]
        assert w.size() == w.venue.positions.get("BTC", D(0))

    play(act)


def test_numbers_go_on_with_the_next_block_and_entries_stop_without_one() -> None:
    async def act(w: World) -> None:
        w.desk.numbers = desk_module.Numbers(1, 2)
        report = await w.enter()
        assert report.refusal is not None
        w.desk.numbers.extend(100, 5)
        assert [w.desk.numbers.take() for _ in range(8)] == [1, 2, 100, 101, 102, 103, 104, None]
        await w.execution.watch_protection()
        await w.pool.drain()
        assert w.desk.numbers.left == 10_000
        assert (await w.enter()).refusal is None

    play(act)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["enter", "close", "stop", "wait", "rest"]),
            st.sampled_from([None, True, False]),
            st.sampled_from(["0.2", "1", "1000"]),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_S10_S15_S20_whatever_is_lost_sums_fit_and_every_order_ends(
    steps: list[tuple[str, bool | None, str, bool]],
) -> None:
    async def act(w: World) -> None:
        terminal: dict[str, OrderStatus] = {}
        for kind, lost, depth, streamed in steps:
            w.venue.depth = D(depth)
            w.venue.stream = w.execution.on_fills if streamed else None
            if lost is not None:
                w.venue.lose.append(lost)
            if kind in ("enter", "rest"):
                side = Side.LONG if streamed else Side.SHORT
                await w.enter(side=side, resting=kind == "rest", ttl_ms=3_000)
            elif kind == "close":
                w.pool.spawn("close", w.execution.close("BTC", "test"))
            elif kind == "stop" and (stops := w.venue.open_stops("BTC")):
                w.venue.fire(stops[0].request.cloid)
            await w.watched(2)
        w.venue.depth, w.venue.lose = D(1000), type(w.venue.lose)()
        for _ in range(3):
            await w.watched(20)
            await w.execution.reconciler.run()
        await w.watched(10)
        for order in [o for p in Purpose for o in w.orders(p)]:
            assert order.filled <= order.intent.size
            if order.status.is_terminal:
                terminal[order.cloid] = order.status
            else:
                assert order.intent.purpose is Purpose.STOP
        assert w.size() == w.venue.positions.get("BTC", D(0))
        assert w.size() == 0 or w.is_protected()
        assert w.size() != 0 or w.venue.open_stops("BTC") == []
        assert len(set(w.released)) == len([s for s in steps if s[0] in ("enter", "rest")])
        assert not w.execution.exits.in_progress("BTC")

    play(act)
