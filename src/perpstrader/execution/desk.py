"""What all of execution shares: the venue, the clock, the books, the journal, and how an attempt gets its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Protocol

import msgspec

from perpstrader.domain import (
    AssetSpec,
    Fill,
    MarketSnapshot,
    Order,
    OrderIntent,
    OrderStatus,
    PerpsTraderError,
    Purpose,
    Side,
    TimeInForce,
    Trigger,
    make_cloid,
    make_unrecorded_exit_cloid,
)
from perpstrader.execution.journal import Journal
from perpstrader.execution.observer import ExecutionObserver, NoObserver
from perpstrader.execution.orders import OrderTracker
from perpstrader.execution.positions import PositionBook
from perpstrader.runtime import Clock
from perpstrader.runtime.pool import TaskPool
from perpstrader.settings.trading import ExecutionSettings
from perpstrader.state import Transaction
from perpstrader.venue.contract import HyperliquidClient, OrderRequest


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened in execution, for traces, the console and alerts; ``kind`` is a slug such as
    ``stop-confirmed``.
    """

    time_ms: int
    kind: str
    symbol: str
    text: str
    episode: str = ""
    strategy: str = ""
    grave: bool = False


class NoteSink(Protocol):
    """Told of everything that happens; must not raise and must not block."""

    def __call__(self, note: Note) -> None:
        """Take one note."""
        ...


class Prices(Protocol):
    """The newest market of each symbol; never waits."""

    def snapshot(self, symbol: str) -> MarketSnapshot | None:
        """What is known now, with its ages."""
        ...


class VenueClock(Protocol):
    """The venue's time as estimated from its answers; expiries are stamped with it (domain notes, 16)."""

    def now_ms(self) -> int:
        """Estimated venue time."""
        ...


class Numbers:
    """Intent numbers from a block that the store has reserved, so that naming an order never waits for the disk."""

    def __init__(self, first: int, count: int) -> None:
        self._next = first
        self._end = first + count

    @property
    def left(self) -> int:
        """Numbers that are still free."""
        return self._end - self._next

    def extend(self, first: int, count: int) -> None:
        """Go on with another reserved block."""
        self._next, self._end = first, first + count

    def take(self) -> int | None:
        """The next number, or ``None`` when the block is used up."""
        if self._next >= self._end:
            return None
        self._next += 1
        return self._next - 1


class Desk(msgspec.Struct, kw_only=True):
    """The shared tools of entries, exits, protection and reconciliation; built once by ``Execution``."""

    client: HyperliquidClient
    clock: Clock
    venue_clock: VenueClock
    prices: Prices
    settings: ExecutionSettings
    assets: Mapping[str, AssetSpec]
    epoch: int
    numbers: Numbers
    positions: PositionBook
    orders: OrderTracker
    journal: Journal
    pool: TaskPool
    note: NoteSink
    observer: ExecutionObserver = msgspec.field(default_factory=NoObserver)
    unrecorded: dict[str, int] = msgspec.field(default_factory=dict)

    def say(
        self, kind: str, symbol: str, text: str, *, episode: str = "", strategy: str = "", grave: bool = False
    ) -> None:
        """Tell the sink."""
        now = self.clock.now_ms()
        self.note(
            Note(time_ms=now, kind=kind, symbol=symbol, text=text, episode=episode, strategy=strategy, grave=grave)
        )

    def asset(self, symbol: str) -> AssetSpec:
        """The venue's facts of a symbol; raises for one that the metadata does not have (S13)."""
        asset = self.assets.get(symbol)
        if asset is None:
            raise PerpsTraderError(f"{symbol} is not in the venue's metadata; nothing can be sent for it")
        return asset

    def reduce_only_intent(
        self,
        purpose: Purpose,
        symbol: str,
        side: Side,
        size: Decimal,
        limit_price: Decimal,
        *,
        episode: str,
        owner: str,
        trigger: Trigger | None = None,
        full_close: bool = False,
        reason: str = "",
    ) -> OrderIntent:
        """An intent that can only make the position smaller; number 0 says that the store could not give one."""
        return OrderIntent(
            number=self.numbers.take() or 0,
            purpose=purpose,
            symbol=symbol,
            side=side,
            buy=side is Side.SHORT,
            size=size,
            limit_price=limit_price,
            tif=TimeInForce.GTC if trigger is not None else TimeInForce.IOC,
            reduce_only=True,
            strategy=owner,
            created_ms=self.clock.now_ms(),
            episode=episode,
            trigger=trigger,
            full_close=full_close,
            reason=reason,
        )

    def attempt(self, intent: OrderIntent, attempt: int, *, expires_ms: int | None) -> Order:
        """A new attempt under its own cloid, not yet in any book."""
        if intent.number:
            cloid = make_cloid(self.epoch, intent.number, attempt)
        else:
            count = self.unrecorded.get(intent.episode, 0)
            self.unrecorded[intent.episode] = count + 1
            cloid = make_unrecorded_exit_cloid(self.epoch, f"{intent.episode}/{count // 256}", count % 256)
        now = self.clock.now_ms()
        return Order(
            intent=intent,
            attempt=attempt,
            cloid=cloid,
            status=OrderStatus.PENDING,
            sent_ms=now,
            expires_ms=expires_ms,
            updated_ms=now,
        )

    def request(self, order: Order) -> OrderRequest:
        """The order as it goes out; raises when it breaks a rule of the venue, so that nothing invalid reaches the wire
        (S13).
        """
        intent = order.intent
        asset = self.asset(intent.symbol)
        if not asset.is_price(intent.limit_price) or not asset.is_size(intent.size):
            raise PerpsTraderError(
                f"{intent.symbol}: price {intent.limit_price} or size {intent.size} is off tick or lot; "
                "the order is not sent"
            )
        if intent.trigger is not None and not asset.is_price(intent.trigger.price):
            raise PerpsTraderError(
                f"{intent.symbol}: trigger {intent.trigger.price} is off tick; the order is not sent"
            )
        if intent.purpose is not Purpose.ENTRY and not intent.reduce_only:
            raise PerpsTraderError(f"{intent.symbol}: a {intent.purpose} must be reduce-only; the order is not sent")
        return OrderRequest(
            symbol=intent.symbol, buy=intent.buy, size=intent.size, limit_price=intent.limit_price, tif=intent.tif,
            reduce_only=intent.reduce_only, cloid=order.cloid, trigger=intent.trigger,
        )  # fmt: skip

    def record(self, *orders: Order) -> Callable[[Transaction], object]:
        """A write that stores the intents and orders; doing it twice changes nothing more."""

        def write(tx: Transaction) -> None:
            for order in orders:
                if order.intent.number and tx.intents.get(order.intent.number) is None:
                    tx.intents.add(order.intent)
                if order.intent.number:
                    tx.intents.put_order(order)

        return write

    def expiry(self, ttl_ms: int) -> int:
        """When an action sent now stops being valid, in the venue's time."""
        return self.venue_clock.now_ms() + ttl_ms


class FillIntake(Protocol):
    """Takes fills from wherever they were seen; each is applied once."""

    def take_fills(self, fills: list[Fill]) -> int:
        """How many were new."""
        ...
