"""Exits: reduce-only at any rate, again and wider until the venue shows the position flat."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.unit.execution.world import World, play

from perpstrader.domain import HaltKind, OrderStatus, Purpose, Reason, Refusal, Side, VenueError
from perpstrader.execution.account import AccountWatch
from perpstrader.execution.exits import ExitDesk
from perpstrader.venue import contract as c
from perpstrader.venue.wire.errors import ErrorCode

D = Decimal


def exits(w: World) -> list[c.OrderRequest]:
    return [r for r in w.venue.sent if r.reduce_only and r.trigger is None]


def test_S01_an_exit_asks_no_gate() -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.refusal = Refusal(reason=Reason.HALTED, hint="everything is halted")
        w.desk.pause("BTC", "halted")
        report = await w.execution.close("BTC", "test")
        assert report.flat
        assert (await w.enter()).refusal is not None

    play(act)


def test_S01_an_exit_does_not_wait_for_a_store_that_cannot_be_written() -> None:
    async def act(w: World) -> None:
        await w.enter()

        async def hangs(*args: object, **kwargs: object) -> object:
            await w.clock.sleep(3600)
            raise AssertionError

        w.store.transact = hangs  # type: ignore[method-assign]
        before = w.clock.now_ms()
        report = await w.execution.close("BTC", "test")
        assert report.flat
        assert w.clock.now_ms() - before <= 400
        del w.store.transact  # type: ignore[method-assign]
        w.failures.clear()

    play(act)


@pytest.mark.parametrize("side", list(Side))
def test_S02_every_exit_is_reduce_only_and_a_full_one_is_sized_at_all_that_the_position_can_be(side: Side) -> None:
    async def act(w: World) -> None:
        report = await w.enter(side=side, resting=True)
        assert report.order is not None
        w.venue.fill_resting(report.order.cloid, D("0.25"))
        await w.execution.close("BTC", "test")
        assert [(r.size, r.buy) for r in exits(w)] == [(D(1), side is Side.SHORT)]
        assert all(r.reduce_only for r in w.venue.sent if r.trigger is not None or r.buy is not side.opens_with_buy)
        assert w.venue.positions["BTC"] == 0

    play(act)


def test_S02_an_exit_that_is_not_reduce_only_is_not_sent() -> None:
    async def act(w: World) -> None:
        await w.enter()
        make = w.desk.reduce_only_intent(
            Purpose.EXIT, "BTC", Side.LONG, D(1), D(99), episode="e", owner="o", full_close=True
        )
        bad = w.desk.attempt(type(make)(**{**_fields(make), "reduce_only": False}), 1, expires_ms=None)
        [ack] = await w.desk.send([bad])
        assert isinstance(ack, c.NotSent)
        assert "reduce-only" in ack.text

    play(act)


def _fields(struct: object) -> dict[str, object]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}  # type: ignore[attr-defined]


def test_S03_a_full_close_of_unknown_outcome_goes_again_after_2_s_under_a_new_cloid() -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.lose.append(False)
        before = w.clock.now_ms()
        report = await w.execution.close("BTC", "test")
        assert report.flat
        assert 2_000 <= w.clock.now_ms() - before < 4_000
        assert len({r.cloid for r in exits(w)}) == 2
        assert w.execution.exits.in_progress("BTC")  # the first attempt is not proven dead yet
        assert (await w.enter()).refusal is not None
        await w.watched(20)
        assert not w.execution.exits.in_progress("BTC")
        assert (await w.enter()).refusal is None

    play(act)


def test_S03_its_test_fails_where_an_unsettled_exit_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExitDesk, "in_progress", lambda self, symbol: symbol in self._plans)
    with pytest.raises(AssertionError):
        test_S03_a_full_close_of_unknown_outcome_goes_again_after_2_s_under_a_new_cloid()


@pytest.mark.parametrize("executed", [True, False])
def test_S03_a_partial_exit_of_unknown_outcome_is_settled_before_anything_goes_again(executed: bool) -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.lose.append(executed)
        report = await w.execution.reduce("BTC", D("0.5"), "test")
        assert (report.closed, w.venue.positions["BTC"]) == (D("0.5"), D("0.5"))
        assert len(exits(w)) == (1 if executed else 2)

    play(act)


def test_S03_there_is_one_plan_a_symbol_and_a_full_close_takes_over_a_partial_one() -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.lose.append(False)
        first = w.pool.spawn("reduce", w.execution.reduce("BTC", D("0.5"), "test"))
        await w.clock.sleep(1)
        report = await w.execution.close("BTC", "all of it")
        assert first is not None
        assert (await first).left == report.left == 0
        assert len(w.said("exit-started")) == 1

    play(act)


def _info_is_down(w: World) -> None:
    async def fails(*args: object, **kwargs: object) -> object:
        raise VenueError("502 from /info")

    for read in ("order", "open_orders", "fills", "account", "venue_time_ms", "book", "funding", "cash_flows"):
        setattr(w.venue, read, fails)


def _info_is_back(w: World) -> None:
    for read in ("order", "open_orders", "fills", "account", "venue_time_ms", "book", "funding", "cash_flows"):
        delattr(w.venue, read)


@pytest.mark.parametrize("executed", [True, False])
@pytest.mark.parametrize("down", [True, False])
def test_S01_S03_S05_a_full_close_does_not_wait_for_the_proof_of_a_partial_exit(executed: bool, down: bool) -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.watched(3)
        w.venue.lose.append(executed)
        if down:
            _info_is_down(w)
        w.pool.spawn("reduce", w.execution.reduce("BTC", D("0.4"), "strategy"))
        await w.clock.sleep(0.1)
        full = w.pool.spawn("close", w.execution.close("BTC", "all of it"))
        await w.clock.sleep(3)
        assert w.venue.positions["BTC"] == 0
        assert [r.size for r in exits(w)].count(D("0.4")) == 1
        assert all(r.reduce_only for r in exits(w))
        assert executed or w.execution.exits.in_progress("BTC")
        if w.execution.exits.in_progress("BTC"):
            assert (await w.enter()).refusal is not None
        if down:
            _info_is_back(w)
        await w.watched(30)
        assert full is not None
        assert full.result().flat
        assert not w.execution.exits.in_progress("BTC")

    play(act)


def test_S10_S11_a_partial_exit_is_never_sent_twice_while_nothing_proves_its_outcome() -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.watched(3)
        w.venue.lose.append(False)
        _info_is_down(w)
        w.pool.spawn("reduce", w.execution.reduce("BTC", D("0.4"), "strategy"))
        await w.watched(120)
        assert len(exits(w)) == 1
        _info_is_back(w)
        await w.watched(30)
        assert w.venue.positions["BTC"] == D("0.6")

    play(act)


def test_S01_S03_a_full_close_survives_the_refusal_of_the_partial_exit_it_joined() -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.watched(3)
        w.venue.latency_s = 0.2
        w.venue.refuse = lambda r: ErrorCode.MIN_TRADE_NTL if r.trigger is None and r.size == D("0.4") else None
        w.pool.spawn("reduce", w.execution.reduce("BTC", D("0.4"), "strategy"))
        await w.clock.sleep(0.1)
        report = await w.execution.close("BTC", "all of it")
        assert report.flat
        assert w.venue.positions["BTC"] == 0

    play(act)


def test_S03_a_stop_of_the_last_position_that_may_still_rest_holds_up_the_next_entry() -> None:
    async def act(w: World) -> None:
        await w.enter()
        stop = w.desk.orders.live("BTC", Purpose.STOP)[0]
        await w.execution.close("BTC", "test")
        w.desk.orders._by_cloid[stop.cloid] = stop
        w.desk.orders._live[stop.cloid] = None
        report = await w.enter()
        assert report.refusal is not None
        assert report.refusal.reason is Reason.EXIT_IN_PROGRESS

    play(act)


def test_S04_an_exit_that_does_not_fill_widens_its_bound_and_tells_the_operator() -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.depth = D(0)
        task = w.pool.spawn("close", w.execution.close("BTC", "test"))
        await w.clock.sleep(30)
        assert [r.limit_price for r in exits(w)][:5] == [D(99), D(97), D(95), D(90), D(90)]
        [note] = w.said("exit-not-filling")
        assert note.grave
        w.venue.depth = D("0.3")
        assert task is not None
        report = await task
        assert report.flat
        assert report.closed == 1

    play(act)


def test_S04_closed_is_said_only_after_the_venue_shows_it() -> None:
    async def act(w: World) -> None:
        await w.enter()
        held = await w.venue.account()
        account, hide = w.venue.account, {"on": True}

        async def lagging() -> c.AccountState:
            return held if hide["on"] else await account()

        w.venue.account = lagging  # type: ignore[method-assign]
        task = w.pool.spawn("close", w.execution.close("BTC", "test"))
        await w.clock.sleep(8)
        assert task is not None
        assert not task.done()
        hide["on"] = False
        assert (await task).flat

    play(act)


def test_S04_an_exit_goes_on_whatever_the_venue_answers_in_between() -> None:
    async def act(w: World) -> None:
        await w.enter()
        answers = iter(
            [
                ErrorCode.EXPIRED,
                ErrorCode.TOO_MANY_REQUESTS,
                ErrorCode.PRICE_BAND,
                ErrorCode.UNKNOWN,
                ErrorCode.BAD_SIGNATURE,
            ]
        )
        w.venue.refuse = lambda request: next(answers, None) if request.trigger is None else None
        assert (await w.execution.close("BTC", "test")).flat
        assert len(exits(w)) == 6

    play(act)


def test_S04_an_order_that_the_venue_finds_too_large_is_halved() -> None:
    async def act(w: World) -> None:
        await w.enter(size="4")
        w.venue.refuse = lambda r: ErrorCode.VALUE_TOO_LARGE if r.reduce_only and not r.trigger and r.size > 1 else None
        assert (await w.execution.close("BTC", "test")).flat
        assert [r.size for r in exits(w)] == [D(4), D(2), D(1), D(1), D(1), D(1)]

    play(act)


def test_S04_in_the_post_only_minutes_an_exit_rests_at_the_touch_and_tries_to_cross_between() -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.refuse = lambda r: ErrorCode.POST_ONLY_WINDOW if r.tif.value == "Ioc" else None
        task = w.pool.spawn("close", w.execution.close("BTC", "test"))
        await w.clock.sleep(12)
        kinds = [r.tif.value for r in exits(w)]
        assert kinds.count("Alo") >= 2
        assert kinds.count("Ioc") >= 2
        assert w.execution.entries_paused()
        assert w.is_protected()
        w.venue.refuse = lambda r: None
        assert task is not None
        assert (await task).flat
        await w.watched(15)
        assert not w.desk.orders.live()

    play(act)


def test_S06_a_remainder_below_the_venues_minimum_is_closed_whole() -> None:
    async def act(w: World) -> None:
        await w.enter()
        report = await w.execution.reduce("BTC", D("0.95"), "test")
        assert (report.left, report.flat) == (0, True)

    play(act)


def test_S06_its_test_fails_where_dust_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExitDesk, "_is_dust", lambda self, symbol, size: False)
    with pytest.raises(AssertionError):
        test_S06_a_remainder_below_the_venues_minimum_is_closed_whole()


def test_a_reduction_below_the_minimum_ends_with_a_sentence() -> None:
    async def act(w: World) -> None:
        await w.enter()
        report = await w.execution.reduce("BTC", D("0.05"), "test")
        assert (report.closed, report.left) == (0, 1)
        assert "minimum" in report.text

    play(act)


def test_S17_a_partial_exit_ends_on_a_permanent_refusal() -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.refuse = lambda r: ErrorCode.INVALID_SIZE
        report = await w.execution.reduce("BTC", D("0.5"), "test")
        assert (report.attempts, report.left) == (1, 1)

    play(act)


def test_an_exit_whose_fills_cannot_be_read_goes_again_and_ends() -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.stream = None
        w.venue.info_lag_ms = 8_000
        report = await w.execution.close("BTC", "test")
        assert report.flat
        await w.watched(40)
        assert not w.desk.orders.live("BTC", Purpose.EXIT)

    play(act)


def test_a_plan_of_an_ended_episode_lets_go_of_the_next_one_unless_the_symbol_is_to_be_closed() -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.depth = D(0)
        task = w.pool.spawn("reduce", w.execution.reduce("BTC", D("0.5"), "test"))
        await w.clock.sleep(1)
        w.venue.trade("BTC", False, D(1))
        w.venue.trade("BTC", True, D(2))
        assert task is not None
        report = await task
        assert "episode ended" in report.text
        w.venue.depth = D(100)
        assert (await w.execution.close("BTC", "test")).flat

    play(act)


def test_numberless_exits_and_stops_go_out_under_names_that_no_restart_repeats() -> None:
    async def act(w: World) -> None:
        await w.enter()
        while w.desk.numbers.take() is not None:
            pass
        w.venue.trade("BTC", False, D("0.5"))
        await w.watched(2)
        assert w.is_protected()
        stop = w.execution.protector.stop_of("BTC")
        assert stop is not None
        await w.clock.sleep(1)
        again = await w.again()
        again.desk.numbers = type(w.desk.numbers)(1, 0)
        await again.execution.start()
        await again.watched(3)
        adopted = again.execution.protector.stop_of("BTC")
        assert adopted is not None
        assert adopted.cloid == stop.cloid
        assert (await again.execution.close("BTC", "test")).flat
        await again.stop()

    play(act)


def test_S05_flatten_takes_back_entries_closes_everything_and_says_what_happened() -> None:
    async def act(w: World) -> None:
        await w.enter("BTC")
        await w.enter("ETH", side=Side.SHORT, resting=True)
        w.venue.stream = None
        report = await w.execution.flatten("test")
        assert report.verified_flat
        assert [p.symbol for p in report.positions] == ["BTC"]
        assert report.entries_canceled == 1
        await w.watched(15)
        assert [o for o in w.venue.orders.values() if o.is_open] == []

    play(act)


def test_S05_a_stop_is_cancelled_only_after_its_position_is_flat() -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.depth = D("0.1")
        cancel = w.venue._cancel

        def looking(cloid: str) -> c.CancelAck:
            order = w.venue.orders.get(cloid)
            if order is not None and order.is_open and order.request.trigger is not None:
                held = w.venue.positions["BTC"]
                covered = [o for o in w.venue.open_stops("BTC") if o.request.cloid != cloid]
                assert held == 0 or covered
            return cancel(cloid)

        w.venue._cancel = looking  # type: ignore[method-assign]
        assert (await w.execution.flatten("test")).verified_flat

    play(act)


def test_S05_one_position_that_cannot_be_closed_holds_up_no_other_and_is_named() -> None:
    async def act(w: World) -> None:
        await w.enter("BTC")
        await w.enter("ETH")
        w.venue.refuse = lambda r: ErrorCode.TRADING_HALTED if r.symbol == "ETH" and not r.trigger else None
        report = await w.execution.flatten("test")
        assert (report.verified_flat, report.remaining) == (False, ("ETH",))
        assert any("ETH" in line for line in report.failed)
        assert w.venue.positions["BTC"] == 0
        assert w.is_protected("ETH")
        w.venue.refuse = lambda r: None
        await w.watched(10)
        assert w.venue.positions["ETH"] == 0

    play(act)


def test_S05_flatten_closes_what_the_venue_holds_and_our_book_does_not() -> None:
    async def act(w: World) -> None:
        w.venue.stream = None
        w.venue.trade("ETH", True, D(1))
        await w.clock.sleep(1)
        report = await w.execution.flatten("test")
        assert report.verified_flat
        assert w.venue.positions["ETH"] == 0
        assert all(kind is not HaltKind.RECONCILIATION for kind, _ in w.halts)

    play(act)


@pytest.mark.parametrize(("lost", "verified"), [(2, True), (10_000, False)])
def test_S05_the_account_is_asked_for_until_it_shows_that_nothing_is_left(
    lost: int, verified: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(w: World) -> None:
        await w.enter("BTC")
        refresh, away = AccountWatch.refresh, [VenueError("no answer")] * lost

        async def sometimes(self: AccountWatch) -> c.AccountState:
            if away:
                raise away.pop()
            return await refresh(self)

        monkeypatch.setattr(AccountWatch, "refresh", sometimes)
        begun_ms = w.clock.now_ms()
        report = await w.execution.flatten("test")
        assert report.verified_flat is verified
        assert bool(report.failed) is not verified
        assert w.clock.now_ms() - begun_ms < 70_000

    play(act)


def test_S15_a_part_filled_exit_is_reported_as_partial() -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.depth = D("0.6")
        await w.execution.close("BTC", "test")
        assert [(o.status, o.filled) for o in w.orders(Purpose.EXIT)] == [
            (OrderStatus.PARTIAL, D("0.6")),
            (OrderStatus.FILLED, D("0.4")),
        ]

    play(act)
