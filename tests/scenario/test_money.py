"""Money that comes and goes: deposits, withdrawals, funding, and a change that nothing explains (S35, S39)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec
import pytest
from tests.scenario.kit import NOON_MS, Script, Stage, go, leave, play
from tests.scenario.market import calm

from perpstrader.domain import Fill, Side
from perpstrader.execution.account import AccountWatch
from perpstrader.execution.bookkeeping import Accountant
from perpstrader.execution.fills import FillCollector

MICRO = 1_000_000
LONG: Script = {("BTC", 1): go(Side.LONG, 57_000, 66_000)}
CALM = {"BTC": calm(60_000)}


def _withdrawal() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        before = stage.equity_usd()
        stage.engine.withdraw(stage.user, 400 * MICRO, stage.clock.now_ms())
        await stage.seconds(70)
        assert stage.equity_usd() == before - 400
        assert stage.trader.execution.account.books.cash_flows_usd == -400
        assert stage.halts() == []
        state = stage.trader.keeper.state
        assert state.cash_flows_usd == -400
        assert state.realized_usd > -1
        assert stage.position("BTC") > 0

    play(CALM, {"alpha": LONG}, act)


def test_S39_a_withdrawal_is_a_cash_flow_and_no_loss() -> None:
    _withdrawal()


def test_S39_the_proof_fails_where_cash_flows_are_not_booked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accountant, "book_flows", lambda self, flows: 0)
    with pytest.raises(AssertionError):
        _withdrawal()


def test_S39_after_a_withdrawal_the_next_entry_is_smaller_at_once() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(4)
        full = stage.fills("BTC")[0].size
        stage.engine.withdraw(stage.user, 500 * MICRO, stage.clock.now_ms())
        await stage.bar(7)
        assert stage.fills("BTC")[-1].is_buy
        assert stage.fills("BTC")[-1].size <= full // 2

    script: Script = {**LONG, ("BTC", 3): leave, ("BTC", 6): go(Side.LONG, 57_000, 66_000)}
    play(CALM, {"alpha": script}, act)


def test_S39_a_deposit_raises_no_limit_today() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(4)
        full = stage.fills("BTC")[0].size
        stage.engine.fund(stage.user, 9_000 * MICRO, stage.clock.now_ms())
        await stage.bar(7)
        assert stage.trader.execution.account.books.cash_flows_usd == 9_000
        assert stage.halts() == []
        assert stage.fills("BTC")[-1].is_buy
        assert stage.fills("BTC")[-1].size <= full

    script: Script = {**LONG, ("BTC", 3): leave, ("BTC", 6): go(Side.LONG, 57_000, 66_000)}
    play(CALM, {"alpha": script}, act)


def _unexplained() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held, stop = stage.position("BTC"), stage.stop_of("BTC")
        stage.engine._state.accounts[stage.user].cash -= 50 * MICRO
        await stage.seconds(100)
        assert stage.halts() == ["cash_flow"]
        [halt] = stage.trader.keeper.state.halts
        assert "-50" in halt.reason
        assert not halt.flatten
        assert stage.position("BTC") == held
        assert stage.stop_of("BTC") == stop
        result = await stage.signal("BTC", Side.LONG)
        assert "HALTED" in result.text

    play(CALM, {"alpha": LONG}, act, explained=False)


def test_S39_equity_that_nothing_explains_halts_entries_with_the_evidence_and_closes_nothing() -> None:
    _unexplained()


def test_S39_the_proof_fails_where_nobody_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trusting(self: AccountWatch, state: object) -> None:
        """Mutant: what the venue says is taken as explained."""

    monkeypatch.setattr(AccountWatch, "_check", trusting)
    with pytest.raises(AssertionError):
        _unexplained()


def _funding() -> None:
    async def act(stage: Stage) -> None:
        await stage.seconds(3 * 3_600)
        paid = stage.engine.funding(stage.user)
        assert len(paid) == 3
        assert all(row.usdc < 0 for row in paid)
        booked = await stage.trader.store.read(lambda tx: tx.ledger.funding_since(0))
        assert [row.usd for row in booked] == [Decimal(row.usdc) / MICRO for row in paid]
        held = stage.trader.execution.position("BTC")
        assert held is not None
        assert held.funding_usd == sum((row.usd for row in booked), Decimal(0))
        assert stage.halts() == []

    play(CALM, {"alpha": LONG}, act, interval="1m", start_ms=NOON_MS)


def test_S35_funding_of_each_hour_is_booked_exactly_once() -> None:
    _funding()


def test_S35_the_proof_fails_where_a_payment_seen_twice_is_booked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Accountant.book_funding

    def forgetful(self: Accountant, payments: object) -> int:
        """Mutant: nobody remembers what was booked."""
        self._funding_seen.clear()
        return book(self, payments)  # type: ignore[arg-type]

    monkeypatch.setattr(Accountant, "book_funding", forgetful)
    with pytest.raises(AssertionError):
        _funding()


def _many_round_trips() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(40)
        assert len(stage.fills("BTC")) + len(stage.fills("ETH")) >= 30

    wide = {"risk.max_entries_per_minute": 50, "risk.loss_streak_limit": 50, "risk.max_entries_per_symbol_day": 50}
    script: Script = {
        **{("BTC", n): go(Side.LONG, 56_000) for n in range(0, 40, 4)},
        **{("BTC", n): leave for n in range(2, 40, 4)},
        **{("ETH", n): go(Side.SHORT, 3_200) for n in range(1, 40, 4)},
        **{("ETH", n): leave for n in range(3, 40, 4)},
    }  # fmt: skip
    btc = [bar for n in range(20) for bar in (*calm(60_000 + 37 * n), *calm(60_011 - 53 * n))]
    eth = [bar for n in range(20) for bar in (*calm(str(3_000 + Decimal(n) / 10)), *calm(str(3_003 - n)))]
    play({"BTC": btc, "ETH": eth}, {"alpha": script}, act, overrides=wide)


def test_S35_many_round_trips_on_both_sides_add_up_to_the_cent() -> None:
    _many_round_trips()


def test_S35_the_proof_fails_where_a_fee_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    take = FillCollector.take

    def free(self: FillCollector, fills: Iterable[Fill]) -> int:
        """Mutant: trading costs nothing."""
        return take(self, [msgspec.structs.replace(fill, fee_usd=Decimal(0)) for fill in fills])

    monkeypatch.setattr(FillCollector, "take", free)
    with pytest.raises(AssertionError):
        _many_round_trips()
