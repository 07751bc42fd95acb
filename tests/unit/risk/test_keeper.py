"""The keeper: losses count once, days roll, cash flows are no profit, and limits trip by themselves."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.risk.keeper_desk import Desk, with_desk
from tests.unit.risk.risk_samples import DAY_MS, MIDNIGHT, NOW, D, StandingClock, open_store

from perpstrader.domain import Candle, CashFlow, Fill, HaltKind
from perpstrader.risk.contract import RiskEvents
from perpstrader.state import utc_day


def _fill(tid: int, fee: str, time_ms: int = NOW) -> Fill:
    return Fill(
        tid=tid, oid=tid, symbol="BTC", buy=True, price=D(100_000), size=D("0.001"), time_ms=time_ms, fee_usd=D(fee),
        closed_pnl_usd=D(0), start_position=D(0), crossed=True,
    )  # fmt: skip


def test_the_keeper_is_what_execution_tells_of_money() -> None:
    async def work(desk: Desk) -> None:
        events: RiskEvents = desk.keeper
        events.on_fill(D("-1.5"), D("0.5"), NOW)
        events.on_funding(D("-0.25"), NOW)
        events.on_entry("BTC", NOW)
        state = desk.keeper.state
        assert (state.realized_usd, state.fees_usd, state.funding_usd) == (D("-1.75"), D("0.5"), D("-0.25"))
        assert (state.entries, state.entries_by_symbol, state.recent_entries_ms) == (1, {"BTC": 1}, (NOW,))

    with_desk(work)


@pytest.mark.parametrize(("loss", "kinds", "flatten"), [
    ("30", [], None), ("30.01", [HaltKind.DAILY_LOSS], False), ("50", [HaltKind.DAILY_LOSS], False),
    ("50.01", [HaltKind.DAILY_LOSS], True),
])  # fmt: skip
@pytest.mark.parametrize("by_equity", [False, True])
def test_S41_the_first_loss_stops_entries_and_the_second_flattens(
    loss: str, kinds: list[HaltKind], flatten: bool | None, by_equity: bool
) -> None:
    async def work(desk: Desk) -> None:
        if by_equity:
            tripped = desk.keeper.on_equity(1_000 - D(loss), NOW)
        else:
            desk.keeper.on_fill(-D(loss), D(0), NOW)
            tripped = desk.keeper.on_equity(D(1_000), NOW)
        assert [halt.kind for halt in tripped] == kinds
        assert desk.kinds() == kinds
        if kinds:
            assert (tripped[-1].flatten, tripped[-1].until_ms) == (flatten, MIDNIGHT)
        assert desk.keeper.on_equity(D(1_000), NOW) == (), "a halt in force is no news"

    with_desk(work)


def test_S41_a_deeper_loss_turns_a_stop_of_entries_into_a_flatten_and_says_so() -> None:
    async def work(desk: Desk) -> None:
        assert [h.flatten for h in desk.keeper.on_equity(D(960), NOW)] == [False]
        assert [h.flatten for h in desk.keeper.on_equity(D(940), NOW)] == [True]
        await desk.keeper.settle_halts()
        assert [h.flatten for h in await desk.store.read(lambda tx: tx.halts.active())] == [True]

    with_desk(work)


def test_S41_a_new_day_resets_the_counter_once_and_ends_no_other_halt() -> None:
    async def work(desk: Desk) -> None:
        desk.keeper.on_fill(D(-40), D(1), NOW)
        desk.keeper.on_entry("BTC", NOW)
        await desk.keeper.halt(HaltKind.OPERATOR, "lunch", "anna")
        desk.keeper.on_equity(D(890), NOW)
        assert set(desk.kinds()) == {HaltKind.DAILY_LOSS, HaltKind.OPERATOR, HaltKind.DRAWDOWN}
        await desk.keeper.settle_halts()
        desk.clock.ms = MIDNIGHT - 1
        assert HaltKind.DAILY_LOSS in desk.kinds()
        desk.clock.ms = MIDNIGHT
        state = desk.keeper.state
        assert set(desk.kinds()) == {HaltKind.OPERATOR, HaltKind.DRAWDOWN}
        assert (state.day, state.realized_usd, state.entries) == (utc_day(MIDNIGHT), 0, 0)
        assert state.day_start_equity_usd == D(890)
        desk.keeper.on_fill(D(-1), D(0), MIDNIGHT)
        assert desk.keeper.state.realized_usd == -1, "reset once, not at every reading"
        await desk.queue.flush(desk.store)
        on_disk = await desk.store.read(lambda tx: tx.halts.active())
        assert {halt.kind for halt in on_disk} == {HaltKind.OPERATOR, HaltKind.DRAWDOWN}

    with_desk(work)


def test_a_fill_of_yesterday_that_comes_late_belongs_to_yesterday() -> None:
    async def work(desk: Desk) -> None:
        desk.clock.ms = MIDNIGHT + 5
        desk.keeper.on_fill(D(-7), D(1), MIDNIGHT - 5)
        assert desk.keeper.state.realized_usd == 0
        desk.clock.ms = MIDNIGHT + DAY_MS - 3
        desk.keeper.on_fill(D(-3), D(1), MIDNIGHT + DAY_MS + 2)  # the venue's clock is ahead of ours
        assert desk.keeper.state.realized_usd == -3
        desk.clock.ms = MIDNIGHT + DAY_MS + 10
        assert desk.keeper.state.realized_usd == -3
        desk.keeper.on_fill(D(-2), D(1), MIDNIGHT + 40 * DAY_MS)  # no stamp from far ahead begins a day
        assert desk.keeper.state.realized_usd == -5

    with_desk(work)


@pytest.mark.parametrize("equity", ["899.99", "900"])
def test_S41_drawdown_halts_and_flattens_until_an_operator_resumes(equity: str) -> None:
    async def work(desk: Desk) -> None:
        desk.clock.ms = MIDNIGHT  # a fresh day, so that the daily loss stays out of it
        desk.keeper.on_equity(D("920"), MIDNIGHT)
        desk.clock.ms = MIDNIGHT + DAY_MS
        tripped = [halt.kind for halt in desk.keeper.on_equity(D(equity), MIDNIGHT + DAY_MS)]
        assert (HaltKind.DRAWDOWN in tripped) is (equity != "900")
        desk.clock.ms += 10 * DAY_MS
        assert (HaltKind.DRAWDOWN in desk.kinds()) is (equity != "900")
        if equity != "900":
            await desk.keeper.resume("anna", "the strategy was wrong and is off")
            assert desk.keeper.on_equity(D(equity), desk.clock.ms) == (), "a new peak began"
            assert desk.keeper.state.peak_equity_usd == D(equity)

    with_desk(work)


def test_sizes_are_halved_beyond_six_percent_under_the_peak() -> None:
    async def work(desk: Desk) -> None:
        desk.keeper.on_equity(D(1_100), NOW)
        desk.keeper.on_equity(D(1_034), NOW)
        assert desk.keeper.size_multiplier == 1
        desk.keeper.on_equity(D("1033.99"), NOW)
        assert desk.keeper.size_multiplier == D("0.5")

    with_desk(work)


def test_a_streak_of_losses_pauses_entries_and_only_closes_count() -> None:
    async def work(desk: Desk) -> None:
        for _ in range(3):
            desk.keeper.on_episode_end("BTC", D(-1), NOW)
            desk.keeper.on_entry("BTC", NOW)
        assert desk.kinds() == []
        desk.keeper.on_episode_end("BTC", D(2), NOW)
        assert desk.keeper.state.loss_streak == 0
        for _ in range(4):
            desk.keeper.on_episode_end("BTC", D(-1), NOW)
        [halt] = desk.keeper.state.halts
        assert (halt.kind, halt.until_ms, halt.flatten) == (HaltKind.LOSS_STREAK, NOW + 43_200_000, False)
        desk.clock.ms = NOW + 43_199_999
        assert desk.kinds() == [HaltKind.LOSS_STREAK]
        desk.clock.ms = NOW + 43_200_000
        assert desk.kinds() == []
        assert desk.keeper.state.loss_streak == 0, "paid for: the next loss is the first again"

    with_desk(work)


def test_S37_a_profit_beyond_the_account_halts_and_is_booked_as_it_is() -> None:
    async def work(desk: Desk) -> None:
        desk.keeper.on_fill(D("1000"), D(0), NOW)
        assert desk.kinds() == []
        desk.keeper.on_fill(D("1000.01"), D(0), NOW)
        assert desk.kinds() == [HaltKind.IMPLAUSIBLE]
        assert "1000.01" in desk.keeper.state.halts[0].reason
        assert desk.keeper.state.realized_usd == D("2000.01")
        desk.keeper.on_fill(D("NaN"), D(0), NOW)
        assert desk.keeper.state.realized_usd == D("2000.01")

    with_desk(work)


def test_S37_a_jump_of_equity_beyond_the_account_halts_and_never_flattens_by_itself() -> None:
    async def work(desk: Desk) -> None:
        tripped = desk.keeper.on_equity(D(-5), NOW)
        assert [(halt.kind, halt.flatten) for halt in tripped] == [(HaltKind.IMPLAUSIBLE, False)]
        assert desk.keeper.state.peak_equity_usd == 1_000
        assert [halt.kind for halt in desk.keeper.on_equity(D("NaN"), NOW)] == []
        again = desk.keeper.on_equity(D(-5), NOW)
        assert {(halt.kind, halt.flatten) for halt in again} == {
            (HaltKind.DAILY_LOSS, True), (HaltKind.DRAWDOWN, True)
        }, "confirmed by a second reading it is a loss"  # fmt: skip

    with_desk(work)


def test_S39_a_withdrawal_is_no_loss_and_lowers_the_limits_at_once() -> None:
    async def work(desk: Desk) -> None:
        desk.keeper.on_equity(D(980), NOW)
        desk.keeper.on_cash_flow(D(-490), NOW)
        state = desk.keeper.state
        assert state.limits_equity_usd == 490
        assert state.peak_equity_usd == 500, "2 % under the peak before and after"
        # 4 % of 510 (1,000 less 490) is 20.40, and 20 are lost.
        assert desk.keeper.on_equity(D(490), NOW) == ()
        assert [halt.kind for halt in desk.keeper.on_equity(D("489.59"), NOW)] == [HaltKind.DAILY_LOSS]

    with_desk(work, daily_loss_entry_stop_fraction=D("0.04"))


def test_S39_a_deposit_is_no_profit_and_raises_the_limits_tomorrow() -> None:
    async def work(desk: Desk) -> None:
        desk.keeper.on_cash_flow(D(5_000), NOW)
        assert desk.keeper.on_equity(D(6_000), NOW) == ()
        assert desk.keeper.state.limits_equity_usd == 1_000
        desk.keeper.on_cash_flow(D(-2_000), NOW)
        desk.keeper.on_equity(D(4_010), NOW)
        assert desk.keeper.state.limits_equity_usd == 1_010, "what is withdrawn comes out of the deposit first"
        [halt] = desk.keeper.on_equity(D("3969.99"), NOW)
        assert (halt.kind, halt.flatten) == (HaltKind.DAILY_LOSS, False), "30.01 of 1,000 lost"
        desk.clock.ms = MIDNIGHT
        assert desk.keeper.state.limits_equity_usd == D("3969.99")

    with_desk(work)


@pytest.mark.parametrize("row_first", [True, False])
def test_S35_a_kill_between_booking_a_fill_and_saving_the_row_changes_nothing(row_first: bool) -> None:
    async def work(desk: Desk) -> None:
        desk.keeper.on_fill(D("-4.5"), D("0.5"), NOW)
        if row_first:
            await desk.queue.flush(desk.store)
        await desk.store.transact(lambda tx: tx.ledger.add_fill(_fill(1, "0.5"), D("-4.5")))
        after = (await desk.restarted()).keeper.state
        assert (after.realized_usd, after.fees_usd) == (D("-4.5"), D("0.5"))

    with_desk(work)


@pytest.mark.parametrize("row_first", [True, False])
def test_S39_a_kill_between_booking_a_withdrawal_and_saving_the_row_is_no_drawdown(row_first: bool) -> None:
    async def work(desk: Desk) -> None:
        desk.keeper.on_equity(D(1_000), NOW)
        await desk.queue.flush(desk.store)
        flow = CashFlow(time_ms=NOW, kind="withdraw", usd=D(-500), key="w1")
        await desk.store.transact(lambda tx: tx.ledger.add_cash_flow(flow))
        desk.keeper.on_cash_flow(D(-500), NOW)
        if row_first:
            await desk.queue.flush(desk.store)
        after = await desk.restarted()
        assert after.keeper.on_equity(D(500), NOW) == ()
        state = after.keeper.state
        assert (state.peak_equity_usd, state.cash_flows_usd, state.day_start_equity_usd) == (500, -500, 1_000)

    with_desk(work)


def test_S39_a_withdrawal_before_the_first_equity_is_still_known_after_a_resume_and_another_start() -> None:
    async def work(desk: Desk) -> None:
        await desk.queue.flush(desk.store)
        flow = CashFlow(time_ms=NOW, kind="withdraw", usd=D(-500), key="w1")
        await desk.store.transact(lambda tx: tx.ledger.add_cash_flow(flow))
        between = await desk.restarted()
        await between.keeper.halt(HaltKind.OPERATOR, "look", "anna")
        await between.keeper.resume("anna", "looked")
        after = await desk.restarted()
        assert after.keeper.on_equity(D(500), NOW) == ()
        assert after.keeper.state.peak_equity_usd == 500

    with_desk(work)


def test_a_restart_keeps_the_day_the_streak_the_entries_and_the_peak() -> None:
    async def work(desk: Desk) -> None:
        desk.keeper.on_equity(D(1_010), NOW)
        desk.keeper.on_entry("BTC", NOW)
        desk.keeper.on_episode_end("BTC", D(-1), NOW)
        await desk.queue.flush(desk.store)
        after = await desk.restarted()
        state = after.keeper.state
        assert (state.day_start_equity_usd, state.peak_equity_usd) == (1_000, 1_010)
        assert (state.loss_streak, state.entries, state.entries_by_symbol) == (1, 1, {"BTC": 1})
        assert state.version > 0
        desk.clock.ms = MIDNIGHT + 5
        tomorrow = (await desk.restarted()).keeper.state
        assert (tomorrow.day, tomorrow.entries, tomorrow.loss_streak) == (utc_day(MIDNIGHT), 0, 1)
        assert tomorrow.day_start_equity_usd is None, "not known before the first equity of the day"

    with_desk(work)


def test_S41_a_limit_without_its_input_says_that_it_is_inactive() -> None:
    async def go() -> None:
        async with await open_store() as store:
            desk = Desk(store, StandingClock())
            await desk.keeper.load()
            assert len(desk.keeper.inactive) == 3
            desk.keeper.on_equity(D(1_000), NOW)
            assert [limit.split(":")[0] for limit in desk.keeper.inactive] == ["volatility"]
            prices = dict.fromkeys(("open", "high", "low", "close", "volume"), D(1))
            desk.keeper.on_bar(Candle(symbol="BTC", interval="1m", open_ms=NOW - 59_999, close_ms=NOW, **prices))
            assert desk.keeper.inactive == ()

    asyncio.run(go())


def test_the_first_equity_of_a_day_leaves_no_loss_of_that_day_out() -> None:
    async def go() -> None:
        async with await open_store() as store:
            await store.transact(lambda tx: tx.ledger.add_fill(_fill(1, "1"), D(-29)))
            desk = Desk(store, StandingClock())
            await desk.keeper.load()
            assert desk.keeper.on_equity(D(971), NOW) == ()
            assert desk.keeper.state.day_start_equity_usd == 1_000
            assert [halt.kind for halt in desk.keeper.on_equity(D("969.9"), NOW)] == [HaltKind.DAILY_LOSS]

    asyncio.run(go())


def test_each_change_has_a_new_version_and_a_state_is_frozen() -> None:
    async def work(desk: Desk) -> None:
        before = desk.keeper.state
        assert desk.keeper.state is before
        desk.keeper.on_fill(D(-1), D(0), NOW)
        assert desk.keeper.state.version > before.version
        with pytest.raises(AttributeError):
            before.realized_usd = D(0)  # type: ignore[misc]  # the point of it

    with_desk(work)


def test_a_quiet_mark_queues_no_write() -> None:
    async def work(desk: Desk) -> None:
        await desk.queue.flush(desk.store)
        for usd in (D(999), D(998), D(1_000)):
            desk.keeper.on_equity(usd, NOW)
        assert desk.queue.writes == []
        desk.keeper.on_equity(D(1_001), NOW)
        desk.keeper.on_equity(D(1_002), NOW)
        assert len(desk.queue.writes) == 1, "one write carries all that changed before it runs"

    with_desk(work)
