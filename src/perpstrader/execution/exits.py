"""Exits: one plan a position, reduce-only at any rate, again and wider until the venue shows it flat (S01-S06).

Nothing here asks a limit, a halt or a breaker. A full close is sized at the upper bound of what the position can be,
since the venue clamps it, and may therefore go again under a new cloid while an earlier outcome is unknown. A partial
exit settles first, and becomes a full close where its remainder would fall below the venue's minimum.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain import ZERO, Order, OrderStatus, Purpose, Side, VenueError
from perpstrader.domain.money import MIN_NOTIONAL_USD
from perpstrader.execution.desk import Desk
from perpstrader.execution.fills import FillCollector
from perpstrader.venue.contract import Filled, NotSent, OrderGroup, Rejected, Resting, Unknown
from perpstrader.venue.settlement import settle
from perpstrader.venue.wire.errors import ErrorCode

_UNKNOWN_PAUSE_S: Final = 2.0
_RETRY_PAUSE_S: Final = 0.5
_MAX_PAUSE_S: Final = 5.0
_WIDENING: Final = (Decimal(1), Decimal(3), Decimal(5), Decimal(10))
_TELL_AFTER: Final = 5
_VERIFY_READS: Final = 6


class ExitReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an exit did: ``flat`` is said only after the venue showed it; ``left`` is the signed size that remains."""

    symbol: str
    episode: str
    flat: bool
    closed: Decimal
    left: Decimal
    attempts: int
    average_price: Decimal | None
    text: str


class ExitDesk:
    """Closes and reduces positions; there is at most one plan a symbol, and a full close takes over a partial one."""

    def __init__(self, desk: Desk, fills: FillCollector) -> None:
        self._desk = desk
        self._fills = fills
        self._plans: dict[str, asyncio.Task[ExitReport]] = {}
        self._full: dict[str, str] = {}
        self._handled: dict[str, None] = {}

    def in_progress(self, symbol: str) -> bool:
        """True while a plan runs, or while any exit attempt of the symbol may still execute (S03)."""
        return symbol in self._plans or bool(self._desk.orders.live(symbol, Purpose.EXIT))

    def is_busy(self, symbol: str, cloid: str) -> bool:
        """True while a task of this process sends or settles the attempt."""
        return symbol in self._plans or cloid in self._handled

    async def close(self, symbol: str, reason: str) -> ExitReport:
        """Close the whole position; joins the plan that is already closing it."""
        if symbol in self._plans:
            self._full[symbol] = reason
            return await asyncio.shield(self._plans[symbol])
        return await self._start(symbol, None, reason)

    async def reduce(self, symbol: str, size: Decimal, reason: str) -> ExitReport:
        """Sell ``size`` of the position, at most what fills have shown; joins a plan that is already running."""
        if symbol in self._plans:
            return await asyncio.shield(self._plans[symbol])
        return await self._start(symbol, size, reason)

    async def _start(self, symbol: str, size: Decimal | None, reason: str) -> ExitReport:
        holding = self._desk.positions.holdings.get(symbol)
        if holding is None:
            return ExitReport(
                symbol=symbol,
                episode="",
                flat=True,
                closed=ZERO,
                left=ZERO,
                attempts=0,
                average_price=None,
                text="already flat",
            )
        task = self._desk.pool.spawn(f"exit-{symbol}", self._run(symbol, holding.episode, size, reason))
        if task is None:
            text = "the trader is stopping; the position keeps its stop"
            return ExitReport(
                symbol=symbol,
                episode=holding.episode,
                flat=False,
                closed=ZERO,
                left=holding.size,
                attempts=0,
                average_price=None,
                text=text,
            )
        self._plans[symbol] = task
        return await asyncio.shield(task)

    async def _run(self, symbol: str, episode: str, size: Decimal | None, reason: str) -> ExitReport:
        try:
            self._desk.say("exit-started", symbol, reason, episode=episode)
            return await self._until_done(symbol, episode, size, reason)
        finally:
            self._plans.pop(symbol, None)
            self._full.pop(symbol, None)

    async def _until_done(self, symbol: str, episode: str, size: Decimal | None, reason: str) -> ExitReport:
        start = abs(self._desk.positions.size(symbol))
        goal = ZERO if size is None else max(ZERO, start - size)
        attempts, paid, closed, pause = 0, ZERO, ZERO, _RETRY_PAUSE_S
        while True:
            holding = self._desk.positions.holdings.get(symbol)
            if holding is None or holding.episode != episode:
                if await self._shown_flat(symbol):
                    return self._report(symbol, episode, closed, attempts, paid, "closed")
                pause = await self._pause(pause)
                continue
            if symbol in self._full:
                goal, reason = ZERO, self._full[symbol]
            left = abs(holding.size) - goal
            if goal and left <= 0:
                return self._report(symbol, episode, closed, attempts, paid, "reduced")
            if goal and self._dust(symbol, goal):
                goal, left = ZERO, abs(holding.size)
            attempts += 1
            order = await self._attempt(
                symbol, holding.side, left, attempts, episode, holding.owner, full=not goal, reason=reason
            )
            if order is not None and order.filled > 0:
                closed += order.filled
                paid += order.filled * (order.average_price or ZERO)
                pause = _RETRY_PAUSE_S
                continue
            if attempts == _TELL_AFTER:
                self._desk.say(
                    "exit-not-filling",
                    symbol,
                    f"{attempts} attempts, still {left} left: {reason}",
                    episode=episode,
                    grave=True,
                )
            pause = await self._pause(pause)

    async def _attempt(
        self, symbol: str, side: Side, size: Decimal, number: int, episode: str, owner: str, *, full: bool, reason: str
    ) -> Order | None:
        """One IOC; returns the order as it stands when its outcome is known, or after 2 s of not knowing a full
        close's.
        """
        bound = await self._worst_price(symbol, side, number)
        if bound is None:
            return None
        upper = self._upper_bound(symbol, size) if full else self._desk.asset(symbol).floor_size(size)
        if upper <= 0:
            return None
        intent = self._desk.reduce_only_intent(
            Purpose.EXIT, symbol, side, upper, bound, episode=episode, owner=owner, full_close=full, reason=reason
        )
        order = self._desk.attempt(intent, 1, expires_ms=self._desk.expiry(self._desk.settings.exit_expiry_ms))
        request = self._desk.request(order)
        self._desk.orders.add(order)
        await self._desk.journal.within(self._desk.record(order), self._desk.settings.state_deadline_ms)
        [ack] = await self._desk.client.place([request], expires_ms=order.expires_ms)
        if isinstance(ack, Filled):
            self._desk.orders.update(order.cloid, oid=ack.oid)
            await self._fills.expect(order.cloid, ack.size)
            return self._desk.orders.finish_partial(
                order.cloid, ack.size, "the rest found no price within the bound", self._now()
            )
        if isinstance(ack, Rejected):
            self._desk.orders.update(order.cloid, status=OrderStatus.REJECTED, detail=ack.text, updated_ms=self._now())
            if ack.code == ErrorCode.REDUCE_ONLY:
                await self._fills.poll(order.sent_ms)
        elif isinstance(ack, NotSent):
            self._desk.orders.update(order.cloid, status=OrderStatus.ABANDONED, detail=ack.text)
        elif isinstance(ack, Unknown | Resting):
            return await self._unknown(order, full)
        return self._desk.orders.get(order.cloid)

    async def _unknown(self, order: Order, full: bool) -> Order | None:
        """A full close may go again after 2 s while this one is settled beside it; a partial one is settled first (S03,
        S11).
        """
        self._desk.orders.update(order.cloid, status=OrderStatus.UNKNOWN, detail="no answer")
        self._desk.say("exit-unknown", order.intent.symbol, f"no answer to {order.cloid}", episode=order.intent.episode)
        if not full:
            await self.settle(order)
            return self._desk.orders.get(order.cloid)
        self._desk.pool.spawn(f"settle-{order.cloid}", self.settle(order))
        await self._desk.clock.sleep(_UNKNOWN_PAUSE_S)
        return self._desk.orders.get(order.cloid)

    async def settle(self, order: Order) -> None:
        """Find out what became of an attempt, with proof, and book its fills."""
        expires = order.expires_ms if order.expires_ms is not None else self._now()
        self._handled[order.cloid] = None
        try:
            settled = await settle(
                self._desk.client, self._desk.clock, order.cloid, expires_ms=expires, sent_ms=order.sent_ms
            )
            await self._fills.poll(order.sent_ms)
            self._desk.orders.apply_record(order.cloid, settled.record)
            if settled.record.group is OrderGroup.FILLED:
                await self._fills.expect(order.cloid, order.intent.size)
        finally:
            self._handled.pop(order.cloid, None)

    async def _worst_price(self, symbol: str, side: Side, attempt: int) -> Decimal | None:
        """The bound of an attempt: a fresh book's best price, else the newest price known, widened with each attempt
        (S04, S14).
        """
        touch = None
        try:
            book = await self._desk.client.book(symbol)
            levels = book.bids if side is Side.LONG else book.asks
            touch = levels[0].price if levels else None
        except VenueError:
            pass
        if touch is None:
            snapshot = self._desk.prices.snapshot(symbol)
            if snapshot is not None:
                touch = snapshot.mark or snapshot.mid or snapshot.last
        if touch is None:
            holding = self._desk.positions.holdings.get(symbol)
            touch = holding.entry_price if holding is not None else None
        if touch is None:
            return None
        step = _WIDENING[min(attempt, len(_WIDENING)) - 1]
        slip = min(self._desk.settings.exit_slip_fraction * step, self._desk.settings.max_exit_slip_fraction)
        return self._desk.asset(symbol).bound(touch * (1 - slip * side.sign), buy=side is Side.SHORT)

    def _upper_bound(self, symbol: str, size: Decimal) -> Decimal:
        """What the position can be at most: what fills have shown, and every live entry's remainder; the venue clamps
        (S02).
        """
        in_flight = sum((order.remaining for order in self._desk.orders.live(symbol, Purpose.ENTRY)), ZERO)
        return self._desk.asset(symbol).ceil_size(size + in_flight)

    def _dust(self, symbol: str, remainder: Decimal) -> bool:
        """True when what would be left is below the venue's minimum and could not be closed alone (S06)."""
        snapshot = self._desk.prices.snapshot(symbol)
        price = snapshot.mark if snapshot is not None else None
        return price is not None and remainder * price < MIN_NOTIONAL_USD

    async def _shown_flat(self, symbol: str) -> bool:
        """True once the venue's account shows no position of the symbol; its answers may lag, so it is asked a few
        times.
        """
        for read in range(_VERIFY_READS):
            try:
                state = await self._desk.client.account()
            except VenueError:
                await self._desk.clock.sleep(_RETRY_PAUSE_S)
                continue
            if symbol not in state.positions:
                return True
            await self._desk.clock.sleep(_RETRY_PAUSE_S * (read + 1))
            await self._fills.poll(self._now() - 60_000)
            if self._desk.positions.holdings.get(symbol) is not None:
                return False
        return False

    async def _pause(self, pause: float) -> float:
        await self._desk.clock.sleep(pause)
        return min(_MAX_PAUSE_S, pause * 2)

    def _report(
        self, symbol: str, episode: str, closed: Decimal, attempts: int, paid: Decimal, text: str
    ) -> ExitReport:
        left = self._desk.positions.size(symbol)
        average = paid / closed if closed else None
        self._desk.say("exit-done", symbol, f"{text} after {attempts} attempt(s)", episode=episode)
        return ExitReport(symbol=symbol, episode=episode, flat=left == 0, closed=closed, left=left, attempts=attempts,
                          average_price=average, text=text)  # fmt: skip

    def _now(self) -> int:
        return self._desk.clock.now_ms()
