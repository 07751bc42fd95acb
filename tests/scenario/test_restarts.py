"""The trader stops, crashes and starts again while the venue goes on: one position, one stop, no order twice."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.scenario.kit import MIDNIGHT_MS, Script, Stage, go, play
from tests.scenario.market import Bar, calm

from perpstrader.domain import OrderStatus, Purpose, Side
from perpstrader.execution.execution import Execution
from perpstrader.execution.positions import Holding
from perpstrader.execution.view import PortfolioView
from perpstrader.paper.engine import OrderView, Tpsl
from perpstrader.paper.server import InProcessTransport
from perpstrader.runtime import Answer, TransportError
from perpstrader.state import Transaction
from perpstrader.venue.client import HyperliquidClient

LONG: Script = {("BTC", 1): go(Side.LONG, 57_000, 66_000)}
either_way = pytest.mark.parametrize("crashes", [False, True], ids=["stopped", "crashed"])


def _stops(stage: Stage) -> list[OrderView]:
    return [order for order in stage.listed("BTC") if order.trigger is not None and order.trigger.tpsl is Tpsl.SL]


async def _end(stage: Stage, crashes: bool) -> None:
    await (stage.crash() if crashes else stage.stop())


@either_way
def test_S55_after_a_restart_the_position_has_the_same_stop_and_no_other(tmp_path: Path, crashes: bool) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        size, stop, owner = stage.position("BTC"), stage.stop_of("BTC"), stage.trader.execution.position("BTC")
        assert owner is not None
        await _end(stage, crashes)
        assert stage.stop_of("BTC") == stop
        await stage.seconds(20)
        await stage.start_again()
        await stage.seconds(40)
        assert stage.position("BTC") == size
        assert stage.stop_of("BTC").oid == stop.oid
        assert len(stage.sent("BTC", "stop")) == 1
        assert len(stage.sent("BTC", "plain")) == 1
        again = stage.trader.execution.position("BTC")
        assert again is not None
        assert (again.owner, again.episode, again.size) == (owner.owner, owner.episode, owner.size)
        assert stage.halts() == []

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act, state_path=tmp_path / "state.db")


def test_S55_the_proof_fails_where_the_store_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    restore, starts = Execution.restore, []

    async def blank(self: Execution) -> None:
        """Mutant: every start is the first."""
        starts.append(self)
        if len(starts) == 1:
            await restore(self)

    monkeypatch.setattr(Execution, "restore", blank)
    with pytest.raises(AssertionError):
        test_S55_after_a_restart_the_position_has_the_same_stop_and_no_other(tmp_path, True)


@either_way
def test_S20_what_happened_while_nobody_ran_is_found_at_the_start(tmp_path: Path, crashes: bool) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        await _end(stage, crashes)
        await stage.bar(4)
        assert stage.position("BTC") == 0
        await stage.start_again()
        await stage.seconds(10)
        assert stage.trader.execution.position("BTC") is None
        assert stage.listed("BTC") == []
        assert stage.trader.execution.accountant.fills == 1
        assert stage.halts() == []

    bars = [*calm(60_000, 3), Bar(path=(59_000, 56_000)), *calm(56_500)]
    play({"BTC": bars}, {"alpha": LONG}, act, state_path=tmp_path / "state.db")


def test_S55_a_stop_that_went_away_while_nobody_ran_is_back_within_five_seconds(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        lost = stage.stop_of("BTC")
        await stage.crash()
        stage.engine.cancel(stage.user, "BTC", lost.oid, stage.clock.now_ms())
        await stage.seconds(30)
        began_ms = stage.clock.now_ms()
        await stage.start_again()
        await stage.seconds(5)
        assert stage.stop_of("BTC").time_ms - began_ms <= 5_000
        assert stage.stop_of("BTC").trigger == lost.trigger

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act, state_path=tmp_path / "state.db")


def test_S20_a_start_protects_what_is_held_before_it_reads_any_history(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A campaign's find: two reads a symbol came first, and a lost stop was out for as long as they took."""
    stops_seen: list[int] = []
    read = HyperliquidClient.candles

    async def act(stage: Stage) -> None:
        async def candles(self: HyperliquidClient, symbol: str, interval: str, start_ms: int, end_ms: int) -> object:
            stops_seen.append(len(_stops(stage)))
            return await read(self, symbol, interval, start_ms, end_ms)

        await stage.bar(2)
        lost = stage.stop_of("BTC")
        await stage.crash()
        stage.engine.cancel(stage.user, "BTC", lost.oid, stage.clock.now_ms())
        assert _stops(stage) == []
        monkeypatch.setattr(HyperliquidClient, "candles", candles)
        await stage.start_again()

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act, state_path=tmp_path / "state.db")
    assert stops_seen == [1, 1]


def _new_day(patch: pytest.MonkeyPatch, state_path: Path) -> None:
    """The second start has no stream, and so no mark, for some seconds."""
    connect = InProcessTransport.open_socket

    async def act(stage: Stage) -> None:
        async def late(self: InProcessTransport, *handlers: Any) -> Any:
            if stage.clock.now_ms() < began_ms + 5_000:
                raise TransportError("connection refused", sent=False)
            return await connect(self, *handlers)

        await stage.bar(5)
        await stage.stop()
        await stage.seconds(60)
        began_ms = stage.clock.now_ms()
        assert began_ms > MIDNIGHT_MS
        patch.setattr(InProcessTransport, "open_socket", late)
        await stage.start_again()
        assert abs(stage.trader.start_equity_usd - stage.equity_usd()) < Decimal("0.01")
        assert abs(stage.trader.execution.view.equity_usd() - stage.equity_usd()) < Decimal("0.01")
        await stage.seconds(30)
        assert stage.halts() == []
        assert stage.position("BTC") > 0

    bars = [*calm(60_000, 3), *calm(58_800)]
    play({"BTC": bars}, {"alpha": LONG}, act, start_ms=MIDNIGHT_MS - 60_000, state_path=state_path)


def test_S41_a_start_on_a_new_day_does_not_take_yesterdays_open_loss_for_todays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _new_day(monkeypatch, tmp_path / "state.db")


def test_S41_that_proof_fails_where_a_position_without_a_mark_counts_at_its_cost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def at_cost(self: PortfolioView, holding: Holding) -> Decimal:
        """Mutant: before the first mark a position is worth what it cost."""
        snapshot = self._desk.prices.snapshot(holding.symbol)
        return snapshot.mark if snapshot is not None and snapshot.mark is not None else holding.entry_price

    monkeypatch.setattr(PortfolioView, "_mark", at_cost)
    with pytest.raises(AssertionError):
        _new_day(monkeypatch, tmp_path / "state.db")


@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.UNKNOWN])
@pytest.mark.parametrize("waited_s", [0, 60], ids=["at once", "a minute later"])
def test_S11_an_entry_of_unknown_outcome_that_was_filled_is_found_and_protected(
    tmp_path: Path, status: OrderStatus, waited_s: int
) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(0)
        _die_with_the_order(stage, status, arrives=True)
        await stage.bar(1)
        await stage.crash()
        size = stage.position("BTC")
        assert size > 0
        await stage.seconds(waited_s)
        await stage.start_again()
        await stage.seconds(30)
        assert stage.position("BTC") == size
        assert len(stage.sent("BTC", "plain")) == 1
        assert stage.trader.execution.desk.orders.live(purpose=Purpose.ENTRY) == []
        held = stage.trader.execution.position("BTC")
        assert held is not None
        assert held.owner == "alpha"
        trigger = stage.stop_of("BTC").trigger
        assert trigger is not None
        assert stage.usd("BTC", trigger.trigger_px) == 57_000

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act, state_path=tmp_path / "state.db")


@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.UNKNOWN])
def test_S11_an_entry_of_unknown_outcome_that_never_arrived_is_proven_so_and_not_sent_again(
    tmp_path: Path, status: OrderStatus
) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(0)
        _die_with_the_order(stage, status, arrives=False)
        await stage.bar(1)
        await stage.crash()
        await stage.seconds(20)
        await stage.start_again()
        await stage.seconds(30)
        assert stage.engine.historical_orders(stage.user) == ()
        assert stage.trader.execution.desk.orders.live() == []
        assert stage.position("BTC") == 0
        assert (await stage.signal("BTC", Side.LONG, stop_price="58800")).done

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act, state_path=tmp_path / "state.db")


def _die_with_the_order(stage: Stage, status: OrderStatus, *, arrives: bool) -> None:
    """The trader's next order is the last thing it does: whether it arrives or not, nothing more gets on its disk."""
    transport, store, post = stage.world.transport, stage.trader.store, stage.world.transport.post

    async def last(path: str, body: bytes, *, timeout_s: float) -> Answer:
        if path != "/exchange" or b'"orders"' not in body:
            return await post(path, body, timeout_s=timeout_s)
        transport.post = post  # type: ignore[method-assign]  # the next trader's network is whole

        def remember(tx: Transaction) -> None:
            for order in tx.intents.live_orders():
                tx.intents.put_order(msgspec.structs.replace(order, status=status))

        await store.transact(remember)
        await store.close()
        if arrives:
            await post(path, body, timeout_s=timeout_s)
        await stage.clock.sleep(3_600)
        raise AssertionError("the process was to die before this")

    transport.post = last  # type: ignore[method-assign]
