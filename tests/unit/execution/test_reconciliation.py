"""Reconciliation, restarts and the account: then local = venue, and what differs is told, halted for, and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest
from tests.unit.execution.world import World, play

from perpstrader.domain import (
    CashFlow,
    Fill,
    FundingPayment,
    HaltKind,
    OrderStatus,
    Protection,
    Purpose,
    TimeInForce,
    Trigger,
    UnsafeError,
    VenueError,
    make_cloid,
)
from perpstrader.execution import reconcile
from perpstrader.execution.reconcile import Reconciler
from perpstrader.venue.contract import AccountMode, OrderRequest

D = Decimal


def test_S54_a_restart_finds_position_stop_and_books_as_they_were() -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.execution.reduce("BTC", D("0.4"), "test")
        await w.clock.sleep(2)
        again = await w.again()
        await again.execution.start()
        await again.watched(2)
        assert again.size() == D("0.6")
        assert again.is_protected()
        holding = again.desk.positions.holdings["BTC"]
        assert (holding.owner, holding.plan.stop_price) == ("trend", D(95))
        assert again.execution.view.reconciled
        assert len([r for r in w.venue.sent if r.trigger]) == 2
        await again.stop()

    play(act)


@pytest.mark.parametrize("stop_is_gone", [True, False])
def test_S20_a_start_protects_a_position_that_the_venue_confirms_before_fills_can_be_read(
    stop_is_gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.stream = None
        if stop_is_gone:
            w.venue.drop(w.orders(Purpose.STOP)[0].cloid)
        again, fills = await w.again(), w.venue.fills

        async def unread(since_ms: int) -> Sequence[Fill]:
            raise VenueError("userFillsByTime: no answer")

        monkeypatch.setattr(w.venue, "fills", unread)
        starting = asyncio.create_task(again.execution.start())
        await w.clock.sleep(4)
        assert not starting.done()
        assert again.is_protected()
        assert len([request for request in w.venue.sent if request.trigger]) == 1 + stop_is_gone
        monkeypatch.setattr(w.venue, "fills", fills)
        await starting
        assert again.is_protected()
        await again.stop()

    play(act)


def test_S20_a_start_protects_nothing_that_the_venue_shows_otherwise_before_fills_are_read(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.stream = None
        w.venue.trade("BTC", False, D(1))
        again, fills, sent = await w.again(), w.venue.fills, len(w.venue.sent)

        async def unread(since_ms: int) -> Sequence[Fill]:
            raise VenueError("userFillsByTime: no answer")

        monkeypatch.setattr(w.venue, "fills", unread)
        starting = asyncio.create_task(again.execution.start())
        await w.clock.sleep(4)
        assert len(w.venue.sent) == sent
        monkeypatch.setattr(w.venue, "fills", fills)
        await starting
        assert again.size() == 0
        await again.stop()

    play(act)


def test_S54_fills_that_happened_while_the_trader_was_dead_are_applied_and_protected() -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.stream = None
        w.venue.trade("BTC", False, D("0.4"))
        again = await w.again()
        await again.execution.start()
        await again.clock.sleep(2)
        assert again.size() == D("0.6")
        assert again.is_protected()
        await again.stop()

    play(act)


@pytest.mark.parametrize("executed", [True, False])
def test_S54_an_entry_in_doubt_at_the_time_of_death_is_settled_by_the_next_process(executed: bool) -> None:
    async def act(w: World) -> None:
        w.venue.stream = None
        w.venue.lose.append(executed)
        await w.enter()
        again = await w.again()
        w.venue.stream = again.execution.on_fills
        await again.execution.start()
        await again.watched(30)
        await again.execution.reconciler.run()
        assert not again.desk.orders.live(purpose=Purpose.ENTRY)
        assert again.size() == (1 if executed else 0)
        assert again.is_protected() is executed
        await again.stop()

    play(act)


def test_S20_the_clock_of_protection_begins_anew_at_a_restart() -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.clock.sleep(3_600)
        again = await w.again()
        await again.execution.start()
        await again.watched(3)
        assert again.size() == 1
        assert again.execution.protector.max_unprotected_ms < 5_000
        assert again.is_protected()
        await again.stop()

    play(act)


def test_S54_a_stop_whose_record_never_reached_the_disk_is_taken_in_and_not_cancelled() -> None:
    async def act(w: World) -> None:
        await w.enter()
        [stop] = w.venue.open_stops("BTC")
        await w.journal.flush()
        await w.store.transact(lambda tx: tx.intents._connection.execute("DELETE FROM orders WHERE status = 'resting'"))
        again = await w.again()
        await again.execution.start()
        await again.watched(3)
        assert again.is_protected()
        assert [o.oid for o in w.venue.open_stops("BTC")] == [stop.oid]
        assert again.said("order-taken-in")
        await again.stop()

    play(act)


def test_S54_its_test_fails_where_unknown_stops_of_ours_are_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile.Reconciler, "_take_in", lambda self, order, parts, state: False)
    with pytest.raises(AssertionError):
        test_S54_a_stop_whose_record_never_reached_the_disk_is_taken_in_and_not_cancelled()


def _order(w: World, cloid: str, *, trigger: bool, buy: bool = False, size: str = "1") -> OrderRequest:
    return OrderRequest(
        symbol="BTC", buy=buy, size=D(size), limit_price=D(80), tif=TimeInForce.GTC, reduce_only=trigger, cloid=cloid,
        trigger=Trigger(price=D(90), is_stop=True) if trigger else None,
    )  # fmt: skip


def test_S21_an_order_of_ours_that_nothing_needs_is_cancelled() -> None:
    async def act(w: World) -> None:
        w.venue._rest(_order(w, make_cloid(7, 900, 1), trigger=True))
        w.venue._rest(_order(w, make_cloid(7, 901, 1), trigger=False, buy=True))
        await w.clock.sleep(1)
        report = await w.execution.reconciler.run()
        assert report.orphans == 2
        assert [o for o in w.venue.orders.values() if o.is_open] == []

    play(act)


def test_S53_an_operators_own_stop_is_never_cancelled_and_never_counts_but_freezes_the_symbol() -> None:
    async def act(w: World) -> None:
        await w.enter()
        theirs = "0x" + "ab" * 16
        w.venue._rest(_order(w, theirs, trigger=True))
        await w.clock.sleep(1)
        await w.execution.reconciler.run()
        await w.watched(3)
        assert w.venue.orders[theirs].is_open
        assert "BTC" in w.execution.view.frozen
        stop = w.execution.protector.stop_of("BTC")
        assert stop is not None
        assert stop.cloid != theirs
        assert w.execution.view.build().open_orders == 2

    play(act)


def _foreign(policy: str) -> tuple[Decimal, bool, Protection | None]:
    async def act(w: World) -> tuple[Decimal, bool, Protection | None]:
        w.venue.trade("ETH", True, D(1))
        await w.watched(6)
        position = w.execution.position("ETH")
        return (
            w.venue.positions["ETH"],
            "ETH" in w.execution.view.frozen,
            position.protection if position is not None else None,
        )

    return play(act, foreign_policy=policy)


def test_S53_a_position_that_is_not_ours_is_adopted_ignored_or_flattened_as_the_policy_says() -> None:
    assert _foreign("adopt") == (D(1), True, Protection.CONFIRMED)
    assert _foreign("ignore") == (D(1), True, Protection.EXEMPT)
    assert _foreign("flatten") == (D(0), True, None)


def test_S53_what_is_ignored_is_a_position_and_not_a_symbol() -> None:
    async def act(w: World) -> None:
        w.venue.trade("BTC", True, D(1))
        w.venue.trade("BTC", False, D(1))
        await w.watched(3)
        await w.enter()
        assert w.is_protected()

    play(act, foreign_policy="ignore")


def _missed_trade(w: World, size: str, *, buy: bool) -> None:
    """A trade whose row the venue never tells."""
    w.venue.stream = None
    w.venue.trade("BTC", buy, D(size))
    w.venue.trades.pop()


def test_S54_a_difference_counts_when_two_reads_2_s_apart_agree_and_then_the_book_follows() -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.execution.start()
        await w.clock.sleep(3)
        _missed_trade(w, "0.4", buy=False)
        await w.clock.sleep(1)
        report = await w.execution.reconciler.run()
        assert [d.venues for d in report.differences] == [D("0.6")]
        assert w.size() == 1
        assert w.halts == []
        assert w.execution.view.reconciled
        await w.watched(5)
        assert w.size() == D("0.6")
        assert w.halts[0][0] is HaltKind.RECONCILIATION
        assert "BTC" in w.execution.view.frozen
        assert w.is_protected()
        holding = w.desk.positions.holdings["BTC"]
        assert (holding.owner, holding.plan.stop_price) == ("trend", D(95))

    play(act)


def test_S54_one_lagging_snapshot_stops_nothing() -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.execution.start()
        account, before = w.venue.account, await w.venue.account()
        await w.execution.close("BTC", "test")
        await w.clock.sleep(3)

        async def old() -> object:
            w.venue.account = account  # type: ignore[method-assign]
            return before

        w.venue.account = old  # type: ignore[method-assign, assignment]
        await w.execution.reconciler.run()
        await w.watched(5)
        assert w.size() == 0
        assert w.halts == []
        assert w.execution.view.frozen == {}

    play(act)


def test_S54_a_position_that_is_gone_at_the_venue_is_forgotten_for_good() -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.execution.start()
        await w.clock.sleep(3)
        _missed_trade(w, "1", buy=False)
        await w.clock.sleep(1)
        await w.execution.reconciler.run()
        await w.watched(5)
        assert w.size() == 0
        await w.journal.flush()
        again = await w.again()
        assert again.size() == 0
        await again.stop()

    play(act)


def test_S54_a_gap_between_two_fills_is_read_at_once() -> None:
    async def act(w: World) -> None:
        await w.enter()
        stream, w.venue.stream = w.venue.stream, None
        w.venue.trade("BTC", True, D(1))
        w.venue.stream = stream
        w.venue.trade("BTC", True, D(1))
        await w.clock.sleep(2)
        assert w.size() == 3
        assert w.is_protected()

    play(act)


def test_S54_a_venue_that_cannot_be_read_is_no_evidence() -> None:
    async def act(w: World) -> None:
        await w.enter()
        w.venue.down = True
        report = await w.execution.reconciler.run()
        assert not report.complete
        assert w.size() == 1
        assert w.halts == []
        w.venue.down = False

    play(act)


def _unlisted(monkeypatch: pytest.MonkeyPatch, unread: str) -> None:
    async def act(w: World) -> None:
        await w.enter()
        lost = w.desk.orders.live("BTC", Purpose.STOP)[0]
        w.venue.drop(lost.cloid)
        assert w.execution.protector.stop_of("BTC") is not None, "nobody has told"

        async def away(*args: object) -> object:
            raise VenueError("no answer")

        monkeypatch.setattr(w.venue, unread, away)
        report = await w.execution.reconciler.run()
        assert not report.complete
        await w.clock.sleep(1)
        assert [order.oid != lost.oid for order in w.venue.open_stops("BTC")] == [True]

    play(act)


@pytest.mark.parametrize("unread", ["account", "fills"])
def test_S20_a_stop_that_the_list_lacks_comes_back_although_the_rest_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, unread: str
) -> None:
    """A campaign's find: with the stream dead, lost answers of the account kept a stop out that the list had shown to
    be gone.
    """
    _unlisted(monkeypatch, unread)


def test_S20_that_proof_fails_where_the_list_waits_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    async def listed(self: Reconciler) -> object:
        """Mutant: a list is read, and nobody looks at it yet."""
        return await self._desk.client.open_orders()

    monkeypatch.setattr(Reconciler, "look_at_list", listed)
    with pytest.raises(AssertionError):
        _unlisted(monkeypatch, "account")


def _after_a_break(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(w: World) -> None:
        await w.execution.start()
        await w.enter()
        lost = w.desk.orders.live("BTC", Purpose.STOP)[0]
        w.execution.reconciler.lost_touch()
        w.venue.drop(lost.cloid)

        async def away(*args: object) -> object:
            raise VenueError("no answer")

        for unread in ("fills", "open_orders", "account"):
            monkeypatch.setattr(w.venue, unread, away)
        report = await w.execution.reconciler.in_touch_again()
        assert not report.complete
        await w.clock.sleep(1)
        assert [order.oid != lost.oid for order in w.venue.open_stops("BTC")] == [True]

    play(act)


def test_S20_after_a_break_each_stop_is_asked_for_by_itself_whatever_else_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A campaign's find: the weight that lists and fills need was spent, and nobody looked for a lost stop."""
    _after_a_break(monkeypatch)


def test_S20_that_proof_fails_where_only_lists_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reconciler, "_protect", lambda self, symbols: None)  # mutant: nobody is asked to look
    with pytest.raises(AssertionError):
        _after_a_break(monkeypatch)


def test_S54_bookkeeping_that_cannot_be_read_holds_up_nothing_but_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(w: World) -> None:
        await w.execution.start()
        await w.enter()

        async def away(*args: object) -> object:
            raise VenueError("no answer")

        w.execution.view.reconciled = False
        with monkeypatch.context() as patch:
            patch.setattr(w.venue, "funding", away)
            report = await w.execution.reconciler.run()
            assert (report.complete, report.has_money, report.text) == (True, False, "no answer")
            assert not w.execution.view.reconciled
        await w.clock.sleep(11)
        assert w.execution.view.reconciled

    play(act)


def test_S16_S54_a_stop_that_is_listed_although_we_thought_it_gone_is_cancelled_only_when_it_is_spare() -> None:
    async def act(w: World) -> None:
        await w.enter()
        stop = w.desk.orders.live("BTC", Purpose.STOP)[0]
        w.desk.orders.update(stop.cloid, status=OrderStatus.NEVER_ARMED)
        w.execution.protector.lost("BTC")
        await w.execution.reconciler.run()
        assert stop.cloid not in w.venue.canceled
        await w.watched(3)
        await w.execution.reconciler.run()
        await w.watched(3)
        assert w.is_protected()

    play(act)


# --- the account (S39) ---


def test_S39_an_unexplained_change_of_equity_halts_once_and_keeps_the_evidence() -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.clock.sleep(1)
        await w.execution.account.refresh()
        assert w.halts == []
        w.venue.cash_usd -= D("3.21")
        for _ in range(4):
            await w.clock.sleep(1.5)
            await w.execution.account.refresh()
        [(kind, text)] = w.halts
        assert kind is HaltKind.CASH_FLOW
        assert "-3.21" in text
        assert w.size() == 1

    play(act)


def test_S39_one_reading_is_not_enough_to_halt() -> None:
    async def act(w: World) -> None:
        w.venue.cash_usd -= 5
        await w.execution.account.refresh()
        w.venue.cash_usd += 5
        await w.clock.sleep(3)
        await w.execution.account.refresh()
        assert w.halts == []

    play(act)


def test_S39_a_further_unexplained_change_halts_again() -> None:
    async def act(w: World) -> None:
        for _ in range(2):
            w.venue.cash_usd -= 5
            for _ in range(3):
                await w.clock.sleep(1.5)
                await w.execution.account.refresh()
        assert len(w.halts) == 2

    play(act)


def test_S39_cash_flows_and_funding_explain_themselves_before_any_verdict() -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.clock.sleep(1)
        now = w.clock.now_ms()
        w.venue.cash_usd += D("99.5")
        w.venue.flows.append(CashFlow(time_ms=now, kind="deposit", usd=D(100), key="k1"))
        w.venue.payments.append(FundingPayment(symbol="BTC", time_ms=now, usd=D("-0.5"), size=D(1), rate=D(0)))
        for _ in range(4):
            await w.clock.sleep(1.5)
            await w.execution.account.refresh()
            await w.execution.read_money()
        assert w.halts == []
        assert w.risk.flows == [D(100)]
        assert w.execution.account.unexplained_usd == 0

    play(act)


@pytest.mark.parametrize("mode", [AccountMode.UNIFIED, AccountMode.PORTFOLIO_MARGIN, AccountMode.UNKNOWN])
def test_S39_an_account_whose_equity_lives_elsewhere_is_refused(mode: AccountMode) -> None:
    async def act(w: World) -> None:
        async def other() -> AccountMode:
            return mode

        w.venue.mode = other  # type: ignore[method-assign]
        with pytest.raises(UnsafeError, match="standard mode"):
            await w.execution.start()

    play(act)


def test_S39_the_mode_is_read_again_when_the_equity_jumps() -> None:
    async def act(w: World) -> None:
        async def unified() -> AccountMode:
            return AccountMode.UNIFIED

        w.venue.mode = unified  # type: ignore[method-assign]
        await w.execution.account.refresh()
        assert w.halts == []
        w.venue.cash_usd -= 500
        await w.execution.account.refresh()
        [(kind, text)] = w.halts
        assert kind is HaltKind.CASH_FLOW
        assert "mode unifiedAccount" in text

    play(act)


def test_S39_an_older_answer_never_replaces_a_newer_one() -> None:
    async def act(w: World) -> None:
        older = await w.venue.account()
        await w.clock.sleep(1)
        newer = await w.execution.account.refresh()

        async def late() -> object:
            return older

        w.venue.account = late  # type: ignore[method-assign, assignment]
        await w.execution.account.refresh()
        assert w.execution.account.state is newer

    play(act)


def asked_for(w: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How far back fills are asked for, in ms of the venue's time."""
    spans, fills = list[int](), w.venue.fills

    async def noting(since_ms: int) -> Sequence[Fill]:
        spans.append(w.venue.now_ms() - since_ms)
        return await fills(since_ms)

    monkeypatch.setattr(w.venue, "fills", noting)
    return spans


def test_S18_a_stop_that_rests_for_days_does_not_make_comparisons_dearer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.execution.reconciler.run()
        spans = asked_for(w, monkeypatch)
        for _ in range(48):
            await w.clock.sleep(3_600)
            w.venue.trade("ETH", True, D("0.001"))
            await w.execution.reconciler.run()
            await w.execution.reconciler.run()
        assert max(spans[2:]) <= 3_600_000 + 600_000, "never further back than the last time that the books agreed"
        again = await w.again()
        spans = asked_for(again, monkeypatch)
        await again.execution.start()
        assert spans[0] <= 600_000, "nor does the next life ask for what the last one had compared"
        assert again.size() == D(1)
        await again.stop()

    play(act)


def test_S54_a_fill_that_the_records_show_minutes_late_is_found_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(w: World) -> None:
        await w.enter()
        await w.execution.reconciler.run()
        stream, w.venue.stream = w.venue.stream, None
        hidden = [w.venue.trade("ETH", True, D("0.5")), w.venue.trade("ETH", False, D("0.5"))]
        w.venue.stream, fills = stream, w.venue.fills

        async def some(since_ms: int) -> Sequence[Fill]:
            return [fill for fill in await fills(since_ms) if fill not in hidden]

        with monkeypatch.context() as patch:
            patch.setattr(w.venue, "fills", some)
            for _ in range(5):
                await w.clock.sleep(30)
                w.venue.trade("ETH", True, D("0.001"))  # newer fills are known meanwhile
                assert (await w.execution.reconciler.run()).is_done
        assert all(w.desk.positions.is_new(fill) for fill in hidden)
        await w.execution.reconciler.run()
        assert not any(w.desk.positions.is_new(fill) for fill in hidden)

    play(act)
