"""Moving a position's stop nearer: new, confirm, cancel old, so that it is never without a confirmed one (S22).

The old stop stays listed and confirmed until the venue lists the new one. A new one that is refused or never left
changes nothing; one whose answer is lost is settled by the protector's next passes, which keep the tighter of two. So a
crash at any instant leaves one stop, and which one it is follows from what the venue lists.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain import Order, OrderStatus, PerpsTraderError, Purpose, plain
from perpstrader.execution.desk import Desk
from perpstrader.execution.positions import Holding
from perpstrader.execution.protection import Protector
from perpstrader.venue.contract import NotSent, OrderAck, Rejected, Resting

HOUR_MS: Final = 3_600_000


class StopMover:
    """Carries out one move at a time a symbol, between the protector's own passes."""

    def __init__(self, desk: Desk, protector: Protector) -> None:
        self._desk = desk
        self._protector = protector

    def moves_left(self, holding: Holding) -> int:
        """How many moves this position's hour still allows; those that were refused count, they cost requests too."""
        newest = self._newest_hour(holding)
        return max(0, self._desk.settings.max_trailing_moves_per_hour - len(newest))

    async def move(self, holding: Holding, price: Decimal, why: str) -> bool:
        """True when the venue lists the stop at ``price``, tighter than before, and the old one was sent away.

        Nothing is sent for a position that has changed, is not covered by exactly one confirmed stop, is being entered
        or left, has used up its hour, or whose stop would not get tighter: exits and protection always go first.
        """
        symbol = holding.symbol
        if self._protector.is_busy(symbol):
            return False
        async with self._protector.lock(symbol):
            moved = self._is_due(holding, price) and await self._move(holding, price, why)
        if self._protector.was_asked(symbol) or not self._protector.is_settled(symbol):
            self._desk.pool.spawn(f"protect-{symbol}", self._protector.ensure(symbol))
        return moved

    def _is_due(self, holding: Holding, price: Decimal) -> bool:
        symbol, stop = holding.symbol, self._protector.stop_of(holding.symbol)
        if self._desk.positions.holdings.get(symbol) is not holding or stop is None:
            return False
        quiet = not self._desk.orders.live(symbol, Purpose.EXIT) and not self._desk.orders.live(symbol, Purpose.ENTRY)
        tighter = (price - stop.trigger_price) * holding.side.sign > 0
        return quiet and tighter and self._protector.is_settled(symbol) and self.moves_left(holding) > 0

    async def _move(self, holding: Holding, price: Decimal, why: str) -> bool:
        old, needed = self._protector.stop_of(holding.symbol), abs(holding.size)
        if old is None:
            return False
        try:
            order = self._protector.make_stop(holding, needed, price)
        except PerpsTraderError as error:
            self._say(holding, "stop-not-moved", f"no stop can be made at {plain(price)}: {error}")
            return False
        now_ms = self._desk.clock.now_ms()
        sent = (*self._newest_hour(holding), now_ms)
        holding.stops = msgspec.structs.replace(holding.stops, moved_ms=sent)
        self._protector.on_plan(holding)
        await self._desk.journal.within(self._desk.record(order), self._desk.settings.state_deadline_ms)
        if self._desk.positions.holdings.get(holding.symbol) is not holding:
            gone = msgspec.structs.replace(order, status=OrderStatus.ABANDONED)
            self._desk.journal.later(self._desk.record(gone))
            return False  # the position ended while the journal was written; nothing has gone out
        [ack] = await self._desk.send([order])
        text = f"{plain(old.trigger_price)} to {plain(price)} ({why})"
        if not await self._arrived(holding, order, needed, ack, text):
            return False
        holding.stops = msgspec.structs.replace(holding.stops, why=why)
        self._protector.on_plan(holding)
        self._say(holding, "stop-moved", text)
        return True

    async def _arrived(self, holding: Holding, order: Order, needed: Decimal, ack: OrderAck, text: str) -> bool:
        """Take the answer: only a stop that the venue's record shows takes the place of the old one."""
        update = self._desk.orders.update
        if isinstance(ack, Rejected | NotSent):
            status = OrderStatus.REJECTED if isinstance(ack, Rejected) else OrderStatus.ABANDONED
            update(order.cloid, status=status, detail=ack.text)
            self._say(holding, "stop-not-moved", f"{text}: {ack.text}; the old one stays")
            return False
        if isinstance(ack, Resting):
            update(order.cloid, status=OrderStatus.RESTING, oid=ack.oid)
        else:
            update(order.cloid, status=OrderStatus.UNKNOWN, detail="no answer that shows the stop")
        if await self._protector.take_over(holding, order.cloid, needed, patient=isinstance(ack, Resting)):
            return True
        self._say(holding, "stop-not-moved", f"{text}: the venue does not list it yet; the old one stays until it does")
        return False

    def _newest_hour(self, holding: Holding) -> tuple[int, ...]:
        now_ms = self._desk.clock.now_ms()
        return tuple(at for at in holding.stops.moved_ms if now_ms - at < HOUR_MS)

    def _say(self, holding: Holding, kind: str, text: str) -> None:
        self._desk.say(kind, holding.symbol, text, episode=holding.episode, strategy=holding.owner)
