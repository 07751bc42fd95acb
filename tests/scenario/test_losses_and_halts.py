"""Losses that the market makes while nobody signals, halts that outlive everything, and the flatten (S05, S40, S41)."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
from tests.scenario.kit import MIDNIGHT_MS, Script, Stage, go, leave, play
from tests.scenario.market import Bar, calm

from perpstrader.domain import Approved, HaltKind, Order, Purpose, Side
from perpstrader.execution import ExitReport
from perpstrader.execution.entry import EntryDesk
from perpstrader.execution.exits import ExitDesk
from perpstrader.state.halts import HaltsRepository
from perpstrader.trader.trader import Trader

BOTH: Script = {("BTC", 1): go(Side.LONG, 57_000, 66_000), ("ETH", 1): go(Side.LONG, 2_850, 3_300)}
LONG: Script = {("BTC", 1): go(Side.LONG, 57_000, 66_000)}
TIGHT = {"risk.daily_loss_entry_stop_fraction": "0.005", "risk.max_daily_loss_fraction": "0.0075"}
DRAWDOWN = {"risk.drawdown_halve_fraction": "0.004", "risk.max_drawdown_fraction": "0.006"}


def _falling(*prices: str) -> dict[str, list[Bar]]:
    """BTC and ETH fall together, to these parts of what they were; SOL stands still."""
    falls = [Decimal(price) for price in prices]
    return {
        "BTC": [*calm(60_000, 3), *(Bar(path=(str(60_000 * fall),)) for fall in falls)],
        "ETH": [*calm(3_000, 3), *(Bar(path=(str(3_000 * fall),)) for fall in falls)],
        "SOL": calm(150),
    }


def _first_threshold() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held = stage.position("BTC"), stage.position("ETH")
        await stage.bar(3)
        assert stage.halts() == ["daily_loss"]
        await stage.bar(6)
        assert stage.refusals() == ["DAILY_LOSS"]
        assert (stage.position("BTC"), stage.position("ETH")) == held
        assert stage.position("SOL") == 0

    play(_falling("0.965"), {"alpha": {**BOTH, ("SOL", 5): go(Side.LONG, 145)}}, act, overrides=TIGHT)


def test_S41_a_fall_of_the_market_alone_stops_entries_at_the_first_threshold() -> None:
    _first_threshold()


def _second_threshold() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        assert stage.position("BTC") > 0
        assert stage.position("ETH") > 0
        await stage.bar(5)
        assert stage.trader.counters.signals == 2
        for coin, trigger in (("BTC", 57_000), ("ETH", 2_850)):
            assert stage.position(coin) == 0
            assert stage.listed(coin) == []
            assert stage.usd(coin, stage.fills(coin)[-1].px) > trigger
        [halt] = stage.trader.keeper.state.halts
        assert (halt.kind, halt.flatten) == (HaltKind.DAILY_LOSS, True)

    play(_falling("0.965", "0.953"), {"alpha": BOTH}, act, overrides=TIGHT)


def test_S41_a_deeper_fall_of_the_market_alone_flattens_before_any_stop_is_met() -> None:
    _second_threshold()


def test_S41_both_proofs_fail_where_equity_is_only_looked_at_on_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trader, "_look_at_equity", lambda self: None)
    for scenario in (_first_threshold, _second_threshold):
        with pytest.raises(AssertionError):
            scenario()


def _over_midnight(*, drawdown: bool) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(5)
        before = set(stage.halts())
        assert before == ({"daily_loss", "drawdown"} if drawdown else {"daily_loss"})
        await stage.seconds(30)
        assert stage.clock.now_ms() > MIDNIGHT_MS
        assert set(stage.halts()) == before - {"daily_loss"}
        await stage.bar(17)
        if drawdown:
            assert stage.refusals() == ["DRAWDOWN"]
            assert stage.position("SOL") == 0
        else:
            assert stage.position("SOL") > 0

    overrides = TIGHT | (DRAWDOWN if drawdown else {})
    script: Script = {**BOTH, ("SOL", 16): go(Side.LONG, 145)}
    play(_falling("0.965"), {"alpha": script}, act, overrides=overrides, start_ms=MIDNIGHT_MS - 45_000)


def test_S41_a_new_utc_day_ends_the_halt_of_a_daily_loss() -> None:
    _over_midnight(drawdown=False)


def test_S41_a_new_utc_day_does_not_end_a_drawdown_halt() -> None:
    _over_midnight(drawdown=True)


def test_S41_a_new_utc_day_does_not_end_an_operators_halt() -> None:
    async def act(stage: Stage) -> None:
        await stage.commands.halt("a person says stop", actor="tester")
        await stage.seconds(90)
        assert stage.clock.now_ms() > MIDNIGHT_MS
        assert stage.halts() == ["operator"]

    play({"BTC": calm(60_000)}, {"alpha": {}}, act, start_ms=MIDNIGHT_MS - 45_000)


def test_S41_a_streak_of_losses_pauses_entries_and_the_pause_ends_by_itself() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(5)
        assert stage.halts() == ["loss_streak"]
        await stage.bar(7)
        assert stage.refusals() == ["LOSS_STREAK"]
        await stage.bar(15)
        assert stage.halts() == []
        assert stage.position("BTC") > 0

    opens = {("BTC", n): go(Side.LONG, 58_800) for n in (0, 2, 6, 14)}
    script: Script = {**opens, ("BTC", 1): leave, ("BTC", 3): leave}
    limits = {"risk.loss_streak_limit": 2, "risk.loss_streak_cooldown_ms": 30_000, "risk.max_entries_per_minute": 9}
    play({"BTC": calm(60_000)}, {"alpha": script}, act, overrides=limits)


def _halted_between() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(0)
        journal = stage.trader.execution.desk.journal
        commit = journal.commit

        async def halt_meanwhile(write: object, **more: object) -> object:
            """The halt comes in while the approved entry's intent is being written."""
            result = await commit(write, **more)  # type: ignore[arg-type]
            await stage.commands.halt("a person says stop", actor="tester")
            return result

        journal.commit = halt_meanwhile  # type: ignore[assignment,method-assign]
        await stage.bar(3)
        [decision] = stage.decisions()
        assert type(decision.verdict).__name__ == "Approved"
        assert stage.position("BTC") == 0
        assert stage.engine.historical_orders(stage.user) == ()
        assert stage.trader.counters.refused_by_reason == {"HALTED": 1}

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act)


def test_S40_a_halt_between_approval_and_sending_keeps_the_order_here() -> None:
    _halted_between()


def test_S40_the_proof_fails_where_the_gate_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trader, "gate", lambda self, symbol: None)
    with pytest.raises(AssertionError):
        _halted_between()


@pytest.mark.parametrize("crashes", [False, True], ids=["stopped", "crashed"])
def test_S40_an_operators_halt_outlives_the_process_and_ends_only_by_a_resume(tmp_path: Path, crashes: bool) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(0)
        await stage.commands.halt("a person says stop", actor="tester")
        await (stage.crash() if crashes else stage.stop())
        await stage.start_again()
        assert stage.halts() == ["operator"]
        result = await stage.signal("BTC", Side.LONG, stop_price="58800")
        assert not result.done
        assert "HALTED" in result.text
        assert stage.engine.historical_orders(stage.user) == ()
        token = stage.commands.prepare("resume", {}).token
        await stage.commands.resume("looked at it", actor="tester", token=token)
        assert (await stage.signal("BTC", Side.LONG, stop_price="58800")).done
        assert stage.position("BTC") > 0

    play({"BTC": calm(60_000)}, {"alpha": {}}, act, state_path=tmp_path / "state.db")


@pytest.mark.parametrize("crashes", [False, True], ids=["stopped", "crashed"])
def test_S40_a_halt_that_a_limit_tripped_outlives_the_process(tmp_path: Path, crashes: bool) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(4)
        assert stage.halts() == ["daily_loss"]
        await (stage.crash() if crashes else stage.stop())
        await stage.start_again()
        assert stage.halts() == ["daily_loss"]

    play(_falling("0.965"), {"alpha": BOTH}, act, overrides=TIGHT, state_path=tmp_path / "state.db")


def test_S40_the_proof_fails_where_halts_stay_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(HaltsRepository, "activate", lambda self, halt: True)
    with pytest.raises(AssertionError):
        test_S40_an_operators_halt_outlives_the_process_and_ends_only_by_a_resume(tmp_path, True)


def _flattened() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(4)
        assert stage.position("BTC") > 0
        assert stage.position("ETH") < 0
        [resting] = stage.listed("SOL", "plain")
        assert not resting.reduce_only
        token = stage.commands.prepare("flatten", {}).token
        result = await stage.commands.flatten("enough", actor="tester", token=token)
        assert result.done
        assert result.details["verified_flat"]
        assert {report["symbol"] for report in result.details["positions"]} == {"BTC", "ETH"}
        assert result.details["entries_canceled"] == 1
        await stage.seconds(5)
        assert [stage.position(coin) for coin in ("BTC", "ETH", "SOL")] == [0, 0, 0]
        assert stage.engine.open_orders(stage.user) == ()
        assert stage.halts() == ["operator"]
        _check_order_of_things(stage)

    coins = {"BTC": calm(60_000), "ETH": calm(3_000), "SOL": calm(150)}
    script: Script = {
        ("BTC", 1): go(Side.LONG, 58_800), ("ETH", 2): go(Side.SHORT, 3_060),
        ("SOL", 3): go(Side.LONG, "146", entry_price=Decimal("149.9")),
    }  # fmt: skip
    play(coins, {"alpha": script}, act, overrides={"risk.max_entries_per_minute": 9})


def test_S05_flatten_closes_every_position_takes_entries_back_and_shows_the_account_flat() -> None:
    _flattened()


def test_S05_the_proof_fails_where_resting_entries_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(self: EntryDesk, why: str) -> int:
        """Mutant: entries are taken for cancelled."""
        return 1

    async def blind(self: EntryDesk, approved: Approved, entry: Order) -> None:
        """Mutant: who watches a resting one does not act."""
        self._handled[entry.cloid] = None
        await asyncio.sleep(3_600)

    monkeypatch.setattr(EntryDesk, "cancel_all", none)
    monkeypatch.setattr(EntryDesk, "_watch_resting", blind)
    with pytest.raises(AssertionError):
        _flattened()


def test_S05_the_proof_fails_where_stops_are_cancelled_before_the_close(monkeypatch: pytest.MonkeyPatch) -> None:
    close = ExitDesk.close

    async def stops_first(self: ExitDesk, symbol: str, reason: str) -> ExitReport:
        """Mutant: the stop makes way for the exit."""
        stops = self._desk.orders.live(symbol, Purpose.STOP)
        await self._desk.client.cancel([(symbol, order.cloid) for order in stops])
        return await close(self, symbol, reason)

    monkeypatch.setattr(ExitDesk, "close", stops_first)
    with pytest.raises(AssertionError):
        _flattened()


def _check_order_of_things(stage: Stage) -> None:
    """A stop leaves the venue only after its position is flat there."""
    for coin in ("BTC", "ETH"):
        history = [row for row in reversed(stage.engine.historical_orders(stage.user)) if row.order.coin == coin]
        closed = next(
            n for n, row in enumerate(history)
            if row.order.reduce_only and row.order.trigger is None and row.status == "filled"
        )  # fmt: skip
        gone = [n for n, row in enumerate(history) if row.order.trigger is not None and row.status.endswith("anceled")]
        assert all(n > closed for n in gone)


def test_S05_flatten_works_while_the_store_of_traces_fails() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)

        async def full(*args: object, **more: object) -> None:
            raise OSError("no space left on device")

        store = stage.trader.recorder._store
        store.store = store.update = full  # type: ignore[method-assign,assignment]
        token = stage.commands.prepare("flatten", {}).token
        result = await stage.commands.flatten("enough", actor="tester", token=token)
        assert result.done
        assert stage.position("BTC") == 0

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act)
