"""What all of execution shares: the venue, the clock, the books, the journal, and how an attempt gets its name."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from perpstrader.breakers import UnavailableError, Watch, unwatched
from perpstrader.domain import (
    AssetSpec,
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
from perpstrader.domain.money import MIN_NOTIONAL_USD
from perpstrader.execution.journal import Journal
from perpstrader.execution.observer import ExecutionObserver, NoObserver
from perpstrader.execution.orders import OrderTracker
from perpstrader.execution.positions import PositionBook
from perpstrader.execution.reach import Reach
from perpstrader.monitor import Stages
from perpstrader.runtime import Clock
from perpstrader.runtime.pool import TaskPool
from perpstrader.settings.trading import ExecutionSettings
from perpstrader.state import Transaction
from perpstrader.venue.contract import (
    Grouping,
    HyperliquidClient,
    NotSent,
    OrderAck,
    OrderRecord,
    OrderRequest,
    Rejected,
    Unknown,
)
from perpstrader.venue.settlement import look_up
from perpstrader.venue.wire.errors import ErrorClass, ErrorCode, error_class


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

    def mark(self, symbol: str) -> Decimal | None:
        """The newest mark alone, which is asked for often."""
        ...


class VenueClock(Protocol):
    """The venue's time as estimated from its answers; expiries are stamped with it (domain notes, 16)."""

    def now_ms(self) -> int:
        """Estimated venue time."""
        ...

    @property
    def skew_ms(self) -> int:
        """How far our clock is behind (positive) or ahead of it."""
        ...

    @property
    def measured_ms(self) -> int:
        """When it was last measured, by our clock; 0 before the first time."""
        ...


class Numbers:
    """Intent numbers from blocks that the store has reserved, so that naming an order never waits for the disk."""

    def __init__(self, first: int, count: int) -> None:
        self._blocks: deque[range] = deque([range(first, first + count)])

    @property
    def left(self) -> int:
        """Numbers that are still free."""
        return sum(len(block) for block in self._blocks)

    def extend(self, first: int, count: int) -> None:
        """Another reserved block, used once those before it are used up."""
        self._blocks.append(range(first, first + count))

    def take(self) -> int | None:
        """The next number, or ``None`` when no block is left."""
        while self._blocks:
            block = self._blocks.popleft()
            if block:
                self._blocks.appendleft(block[1:])
                return block[0]
        return None


class Desk(msgspec.Struct, kw_only=True):
    """The shared tools of entries, exits, protection and reconciliation; built once by ``Execution``."""

    client: HyperliquidClient
    clock: Clock
    venue_clock: VenueClock
    prices: Prices
    settings: ExecutionSettings
    assets: dict[str, AssetSpec]
    epoch: int
    numbers: Numbers
    positions: PositionBook
    orders: OrderTracker
    journal: Journal
    pool: TaskPool
    note: NoteSink
    stages: Stages
    observer: ExecutionObserver = msgspec.field(default_factory=NoObserver)
    reach: Reach = msgspec.field(default_factory=Reach)
    submissions: Watch = unwatched
    paused_until_ms: int = 0
    unrecorded: int = 0

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
        """A new attempt under its own cloid, not yet in any book.

        An unrecorded one is named after its episode, its time and a count, because a restart begins counting anew.
        ``sent_ms`` is venue time: what the venue's records are read from.
        """
        if intent.number:
            cloid = make_cloid(self.epoch, intent.number, attempt)
        else:
            self.unrecorded += 1
            name = f"{intent.episode}@{intent.created_ms}/{self.unrecorded}"
            cloid = make_unrecorded_exit_cloid(self.epoch, name, self.unrecorded % 256)
        return Order(
            intent=intent,
            attempt=attempt,
            cloid=cloid,
            status=OrderStatus.PENDING,
            sent_ms=self.venue_clock.now_ms(),
            expires_ms=expires_ms,
            updated_ms=self.clock.now_ms(),
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
        if intent.purpose is Purpose.ENTRY and intent.size * intent.limit_price < MIN_NOTIONAL_USD:
            raise PerpsTraderError(
                f"{intent.symbol}: {intent.size} at {intent.limit_price} is below the venue's minimum of "
                f"{MIN_NOTIONAL_USD} USD; the order is not sent"
            )
        if intent.purpose is not Purpose.ENTRY and not intent.reduce_only:
            raise PerpsTraderError(f"{intent.symbol}: a {intent.purpose} must be reduce-only; the order is not sent")
        return OrderRequest(
            symbol=intent.symbol, buy=intent.buy, size=intent.size, limit_price=intent.limit_price, tif=intent.tif,
            reduce_only=intent.reduce_only, cloid=order.cloid, trigger=intent.trigger,
        )  # fmt: skip

    async def send(self, orders: Sequence[Order], grouping: Grouping = Grouping.NONE) -> list[OrderAck]:
        """Put the attempts into the book and on the wire in one action; one answer an attempt, and nothing is raised.

        What breaks a rule of ours or the venue's is ``NotSent``, and no byte of the action went out. A venue that takes
        no such orders now pauses entries (``paused_until_ms``, our clock).
        """
        for order in orders:
            self.orders.add(order)
        try:
            requests = [self.request(order) for order in orders]
            sent, ended = self.clock.now_ms(), self.submissions()
            guards = all(order.intent.reduce_only for order in orders)
            acks = list(
                await self.client.place(
                    requests, grouping=grouping, expires_ms=orders[0].expires_ms,
                    answer_ms=self.settings.guard_answer_ms if guards else None,
                )
            )  # fmt: skip
        except PerpsTraderError as error:
            self.say("not-sent", orders[0].intent.symbol, str(error), episode=orders[0].intent.episode, grave=True)
            return [NotSent(str(error)) for _ in orders]
        if all(isinstance(ack, NotSent | Unknown) for ack in acks):
            self.reach.missed(sent)
            ended(UnavailableError(f"an order got no answer: {getattr(acks[0], 'text', '')}"))
        else:
            self.reach.answered(self.clock.now_ms())
            ended(None)
        for ack in acks:
            if isinstance(ack, Rejected) and class_of(ack) is ErrorClass.HALTED:
                self.pause(orders[0].intent.symbol, ack.text)
        return acks

    async def look_up(self, cloid: str) -> OrderRecord | None:
        """The venue's record of an order, ``None`` where it could not be asked; either says whether it is in reach."""
        sent = self.clock.now_ms()
        record = await look_up(self.client, cloid)
        if record is None:
            self.reach.missed(sent)
        else:
            self.reach.answered(self.clock.now_ms())
        return record

    def pause(self, symbol: str, text: str) -> None:
        """No entries for a while: the venue is halted, or takes post-only orders alone, and books are thin after it."""
        now = self.clock.now_ms()
        if now >= self.paused_until_ms:
            self.say("venue-halted", symbol, f"{text}; entries pause, exits and protection go on", grave=True)
        self.paused_until_ms = max(self.paused_until_ms, now + self.settings.outage_pause_ms)

    def record(self, *orders: Order) -> Callable[[Transaction], object]:
        """A write that stores the intents and orders; doing it twice changes nothing more."""

        def write(tx: Transaction) -> None:
            for order in orders:
                if order.intent.number and tx.intents.get(order.intent.number) is None:
                    tx.intents.add(order.intent)
                if order.intent.number:
                    tx.intents.put_order(order)

        return write

    def is_stale(self, order: Order) -> bool:
        """Long past its expiry by the venue's clock: a group's child that the venue never armed leaves no record."""
        return order.expires_ms is None or self.venue_clock.now_ms() > order.expires_ms + 3_000

    def expiry(self, ttl_ms: int) -> int:
        """When an action sent now stops being valid, in the venue's time."""
        return self.venue_clock.now_ms() + ttl_ms


def class_of(ack: Rejected) -> ErrorClass:
    """What a refusal means for who asked (S17)."""
    return error_class(ErrorCode(ack.code)) if ack.code in set(ErrorCode) else ErrorClass.UNKNOWN
