"""Execution as a whole on the fake venue, in virtual time: what the tests of this room share."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, TypeVar

from tests.unit.execution.fake_venue import FakeVenue

from perpstrader.domain import (
    Action,
    Approved,
    AssetSpec,
    HaltKind,
    MarketSnapshot,
    Order,
    OrderStatus,
    Purpose,
    Refusal,
    Side,
    Signal,
)
from perpstrader.execution import (
    Books,
    Desk,
    EntryReport,
    Execution,
    Journal,
    Note,
    Numbers,
    OrderTracker,
    PositionBook,
)
from perpstrader.monitor import PerformanceMonitor, Stages
from perpstrader.runtime import VirtualClock, run_virtual
from perpstrader.runtime.executor import InlineExecutor
from perpstrader.runtime.pool import TaskPool
from perpstrader.settings.trading import ExecutionSettings
from perpstrader.state import StateStore

T = TypeVar("T")
D = Decimal
START_MS = 1_700_000_000_000
ASSETS = {
    "BTC": AssetSpec(name="BTC", index=0, size_decimals=3, max_leverage=50),
    "ETH": AssetSpec(name="ETH", index=1, size_decimals=3, max_leverage=25),
}


class RiskLog:
    """Keeps what the risk keeper would be told."""

    def __init__(self) -> None:
        self.net_usd = D(0)
        self.episodes: list[tuple[str, Decimal]] = []
        self.flows: list[Decimal] = []
        self.entries = 0

    def on_fill(self, net_usd: Decimal, fee_usd: Decimal, time_ms: int) -> None:
        self.net_usd += net_usd

    def on_episode_end(self, symbol: str, net_usd: Decimal, time_ms: int) -> None:
        self.episodes.append((symbol, net_usd))

    def on_funding(self, usd: Decimal, time_ms: int) -> None:
        self.net_usd += usd

    def on_cash_flow(self, usd: Decimal, time_ms: int) -> None:
        self.flows.append(usd)

    def on_entry(self, symbol: str, now_ms: int) -> None:
        self.entries += 1


class World:
    """One account: the fake venue, a store in memory, and everything that ``Execution`` builds."""

    def __init__(self, clock: VirtualClock, venue: FakeVenue, store: StateStore, **settings: Any) -> None:
        self.clock, self.venue, self.store = clock, venue, store
        self.notes: list[Note] = []
        self.failures: list[tuple[str, Exception]] = []
        self.halts: list[tuple[HaltKind, str]] = []
        self.released: list[int] = []
        self.refusal: Refusal | None = None
        self.pool = TaskPool(self._failed)
        self.risk = RiskLog()
        self.stages = Stages.of(PerformanceMonitor(clock))
        self.journal = Journal(store, clock, self._failed, self.stages.state_commit)
        self.desk = Desk(
            client=venue, clock=clock, venue_clock=clock, prices=self, settings=ExecutionSettings(**settings),
            assets=ASSETS, epoch=store.epoch, numbers=Numbers(1, 10_000), positions=PositionBook(),
            orders=OrderTracker(lambda order: self.journal.later(self.desk.record(order))), journal=self.journal,
            pool=self.pool, note=self.notes.append, stages=self.stages,
        )  # fmt: skip
        self.execution = Execution(
            self.desk, store, Books(basis_usd=venue.cash_usd), self.risk, gate=lambda symbol: self.refusal,
            release=self.released.append, halt=self._halt, liquidation=lambda positions, equity: {},
            default_stop_fraction=D("0.05"),
        )  # fmt: skip
        venue.stream = self.execution.on_fills
        self._ids = itertools.count(1)

    def _failed(self, name: str, error: Exception) -> None:
        self.failures.append((name, error))

    async def _halt(self, kind: HaltKind, reason: str) -> None:
        self.halts.append((kind, reason))

    def snapshot(self, symbol: str) -> MarketSnapshot:
        """The newest market, as ``Prices`` has it."""
        return MarketSnapshot(symbol=symbol, version=1, mark=self.venue.price[symbol])

    def mark(self, symbol: str) -> Decimal:
        """Its mark alone."""
        return self.venue.price[symbol]

    def approved(self, symbol: str = "BTC", side: Side = Side.LONG, size: str = "1", **changes: Any) -> Approved:
        number, price = next(self._ids), self.venue.price[symbol]
        signal = Signal(
            id=f"s{number}", action=Action.OPEN, symbol=symbol, side=side, confidence=0.9, strategy="trend",
            created_ms=self.clock.now_ms(), ttl_ms=changes.pop("ttl_ms", 60_000),
        )  # fmt: skip
        given: dict[str, Any] = {
            "signal": signal, "size": D(size), "reference_price": price, "worst_price": price,
            "stop_price": price - 5 * side.sign, "stop_limit_price": price - 15 * side.sign, "target_price": None,
            "notional_usd": D(size) * price, "risk_usd": D(5), "leverage": 3, "risk_score": 0.1, "size_bound": "test",
            "portfolio_version": 1, "decided_ms": self.clock.now_ms(), "reservation": number, **changes,
        }  # fmt: skip
        return Approved(**given)

    async def enter(self, symbol: str = "BTC", side: Side = Side.LONG, size: str = "1", **changes: Any) -> EntryReport:
        return await self.execution.submit(
            self.approved(symbol, side, size, **changes), digest="", trace_ack=None, ack_deadline_ms=50
        )

    async def watched(self, seconds: float) -> None:
        """Time passes, with the look at the protection that the trader takes each second."""
        for _ in range(int(seconds)):
            await self.clock.sleep(1)
            await self.execution.watch_protection()

    def orders(self, purpose: Purpose) -> list[Order]:
        return [order for order in self.desk.orders._by_cloid.values() if order.intent.purpose is purpose]

    def said(self, kind: str) -> list[Note]:
        return [note for note in self.notes if note.kind == kind]

    def size(self, symbol: str = "BTC") -> Decimal:
        return self.desk.positions.size(symbol)

    def is_protected(self, symbol: str = "BTC") -> bool:
        """Exactly one stop of the position's size is armed at the venue, and it is the one that execution names."""
        stop, listed = self.execution.protector.stop_of(symbol), self.venue.open_stops(symbol)
        held = abs(self.venue.positions.get(symbol, D(0)))
        return stop is not None and [o.oid for o in listed] == [stop.oid] and listed[0].request.size == held

    async def stop(self) -> None:
        await self.pool.stop()
        await self.journal.flush()

    async def again(self, **settings: Any) -> World:
        """The process died and is started again on the same store and venue; its memory is gone."""
        await self.pool.stop()
        world = World(self.clock, self.venue, self.store, **settings)
        world.desk.numbers = Numbers(50_000, 10_000)
        await world.execution.restore()
        return world


def play(act: Callable[[World], Coroutine[Any, Any, T]], **settings: Any) -> T:
    """Run ``act`` in virtual time on a fresh world; a failed background task fails the test."""

    async def main(clock: VirtualClock) -> T:
        store = await StateStore.open(
            None, executor=InlineExecutor(), account=FakeVenue.account_address, network="paper", new_epoch=lambda: 7
        )
        world = World(clock, FakeVenue(clock, ASSETS), store, **settings)
        journal = asyncio.create_task(world.journal.run(lambda: None))
        try:
            result = await act(world)
            await world.stop()
            assert world.failures == [], world.failures
            return result
        finally:
            journal.cancel()

    return run_virtual(main, start_ms=START_MS)


def is_live(order: Order | None) -> bool:
    return order is not None and order.status in (OrderStatus.PENDING, OrderStatus.UNKNOWN, OrderStatus.RESTING)
