"""Exits: one plan a position, reduce-only at any rate, again and wider until the venue shows it flat (S01-S06).

Nothing here asks a limit, a halt or a breaker. A full close is sized at the upper bound of what the position can be,
since the venue clamps it, and may therefore go again under a new cloid while an earlier outcome is unknown. A partial
exit settles first, and becomes a full close where its remainder would fall below the venue's minimum, or as soon as a
full close is asked for: that one never waits for the proof of what became of the partial.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain import (
    ZERO,
    Order,
    OrderStatus,
    PerpsTraderError,
    Purpose,
    Side,
    TimeInForce,
    VenueError,
)
from perpstrader.domain.money import MIN_NOTIONAL_USD
from perpstrader.domain.wording import plural
from perpstrader.execution.desk import Desk, class_of
from perpstrader.execution.fills import FillCollector
from perpstrader.execution.positions import Holding
from perpstrader.venue.contract import Filled, NotSent, OrderGroup, Rejected, Resting
from perpstrader.venue.settlement import settle
from perpstrader.venue.wire.errors import ErrorClass, ErrorCode

_UNKNOWN_PAUSE_S: Final = 2.0
_BOOK_PATIENCE_S: Final = 1.0
_BOOK_AGE_MS: Final = 250
"""The oldest book that a first attempt is bounded by; those after it ask the venue (S04)."""
_FILLS_PATIENCE_S: Final = 5.0
_FLAT_OVERLAP_MS: Final = 60_000
_IOC_EACH: Final = 3
_RETRY_PAUSE_S: Final = 0.5
_MAX_PAUSE_S: Final = 5.0
_WIDENING: Final = (Decimal(1), Decimal(3), Decimal(5), Decimal(10))
_TELL_AFTER: Final = 5
_VERIFY_READS: Final = 6

OnSent = Callable[[Order], object]
"""Told of each order of an exit that has left for the venue, whatever it answers; must not raise."""


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


class _Exit(msgspec.Struct, kw_only=True):
    """One running plan: ``size`` is what is to be sold, ``None`` for all; ``slice`` bounds one order."""

    symbol: str
    episode: str
    reason: str
    start: Decimal
    size: Decimal | None
    attempts: int = 0
    cloids: list[str] = msgspec.field(default_factory=list)
    slice: Decimal | None = None
    post_only: bool = False
    refused: str = ""
    on_sent: OnSent | None = None
    woken: asyncio.Event = msgspec.field(default_factory=asyncio.Event)


class ExitDesk:
    """Closes and reduces positions; there is at most one plan a symbol, and a full close takes over a partial one."""

    def __init__(self, desk: Desk, fills: FillCollector) -> None:
        self._desk = desk
        self._fills = fills
        self._plans: dict[str, asyncio.Task[ExitReport]] = {}
        self._full: dict[str, tuple[str, OnSent | None]] = {}
        self._running: dict[str, _Exit] = {}
        self._handled: dict[str, None] = {}

    def in_progress(self, symbol: str) -> bool:
        """True while a plan runs, or while any exit attempt of the symbol may still execute (S03)."""
        return symbol in self._plans or bool(self._desk.orders.live(symbol, Purpose.EXIT))

    def is_busy(self, symbol: str, cloid: str) -> bool:
        """True while a task of this process sends or settles the attempt."""
        return symbol in self._plans or cloid in self._handled

    async def close(self, symbol: str, reason: str, *, on_sent: OnSent | None = None) -> ExitReport:
        """Close the whole position; joins the plan that is already closing it."""
        if symbol in self._plans:
            self._full[symbol] = reason, on_sent
            if symbol in self._running:
                self._running[symbol].woken.set()
            return await asyncio.shield(self._plans[symbol])
        return await self._start(symbol, None, reason, on_sent)

    async def reduce(
        self, symbol: str, size: Decimal, reason: str, *, on_sent: OnSent | None = None
    ) -> ExitReport:
        """Sell ``size`` of the position, at most what fills have shown; joins a plan that is already running."""
        if symbol in self._plans:
            return await asyncio.shield(self._plans[symbol])
        return await self._start(symbol, size, reason, on_sent)

    async def _start(self, symbol: str, size: Decimal | None, reason: str, on_sent: OnSent | None) -> ExitReport:
        holding = self._desk.positions.holdings.get(symbol)
        if holding is None:
            flat = await self._shown_flat(symbol)
            text = "already flat" if flat else "our book is flat, but the venue has not shown that it is"
            return ExitReport(symbol=symbol, episode="", flat=flat, closed=ZERO, left=ZERO, attempts=0,
                              average_price=None, text=text)  # fmt: skip
        task = self._desk.pool.spawn(f"exit-{symbol}", self._run(symbol, holding.episode, size, reason, on_sent))
        if task is None:
            text = "the trader is stopping; the position keeps its stop"
            return ExitReport(symbol=symbol, episode=holding.episode, flat=False, closed=ZERO, left=holding.size,
                              attempts=0, average_price=None, text=text)  # fmt: skip
        self._plans[symbol] = task
        return await asyncio.shield(task)

    async def _run(
        self, symbol: str, episode: str, size: Decimal | None, reason: str, on_sent: OnSent | None
    ) -> ExitReport:
        try:
            self._desk.say("exit-started", symbol, reason, episode=episode)
            with self._desk.stages.exit.measure():
                return await self._until_done(symbol, episode, size, reason, on_sent)
        finally:
            self._plans.pop(symbol, None)
            self._full.pop(symbol, None)
            self._running.pop(symbol, None)

    async def _until_done(
        self, symbol: str, episode: str, size: Decimal | None, reason: str, on_sent: OnSent | None
    ) -> ExitReport:
        start = abs(self._desk.positions.size(symbol))
        plan = _Exit(symbol=symbol, episode=episode, reason=reason, start=start, size=size, on_sent=on_sent)
        self._running[symbol] = plan
        pause = _RETRY_PAUSE_S
        while True:
            if symbol in self._full:
                plan.size, (plan.reason, plan.on_sent) = None, self._full[symbol]
            holding = self._desk.positions.holdings.get(symbol)
            if holding is not None and holding.episode != plan.episode:
                if symbol not in self._full:
                    return self._report(plan, "the episode ended; another one holds a position now")
                plan.episode = holding.episode  # who asked to close the symbol meant whatever it holds
            if holding is None:
                if await self._shown_flat(symbol):
                    return self._report(plan, "closed", flat=True)
                pause = await self._pause(plan, pause)
                continue
            left, text = self._left(plan, holding)
            if text:
                return self._report(plan, text)
            filled = await self._attempt(plan, holding, left)
            if plan.size is not None and symbol in self._full:
                continue  # whatever became of the partial: the full close is tried at once and on its own
            if plan.refused and plan.size is not None:
                return self._report(plan, f"stopped: {plan.refused}")
            pause = _RETRY_PAUSE_S if filled else await self._pause(plan, pause)
            if not filled and plan.attempts == _TELL_AFTER:
                text = f"{plan.attempts} attempts, still {left} left: {plan.reason}"
                self._desk.say("exit-not-filling", symbol, text, episode=plan.episode, grave=True)

    def _left(self, plan: _Exit, holding: Holding) -> tuple[Decimal, str]:
        """What is still to be sold, or why nothing is; a remainder that could not be closed alone goes along (S06)."""
        held = abs(holding.size)
        if plan.size is None:
            return held, ""
        asset, keep = self._desk.asset(plan.symbol), max(ZERO, plan.start - plan.size)
        left = asset.floor_size(max(ZERO, min(held - keep, plan.size - self._filled(plan))))
        if left <= 0:
            return ZERO, "reduced"
        if self._is_dust(plan.symbol, held - left):
            plan.size = None
            return held, ""
        # The venue judges size times the order's own worst price, which lies below the mark for a sale.
        if self._is_dust(plan.symbol, left * (1 - self._desk.settings.max_exit_slip_fraction)):
            return ZERO, f"reduced; {left} more would be below the venue's minimum of {MIN_NOTIONAL_USD} USD"
        return left, ""

    async def _attempt(self, plan: _Exit, holding: Holding, left: Decimal) -> bool:
        """One order; True when something of it filled. A full close's outcome is awaited for 2 s at most (S03)."""
        plan.attempts += 1
        plan.refused = ""
        try:
            order = await self._order(plan, holding, left)
        except PerpsTraderError as error:
            self._desk.say("exit-impossible", plan.symbol, str(error), episode=plan.episode, grave=True)
            plan.refused = str(error)
            return False
        if order is None:
            return False
        plan.cloids.append(order.cloid)
        # Whoever dies here leaves the order in the book, where reconciliation settles it.
        await self._desk.journal.within(self._desk.record(order), self._desk.settings.state_deadline_ms)
        [ack] = await self._desk.send([order])
        if plan.on_sent is not None and not isinstance(ack, NotSent):
            plan.on_sent(order)
        if isinstance(ack, Filled):
            await self._filled_at_once(plan, order, ack)
        elif isinstance(ack, Rejected):
            await self._rejected(plan, order, ack)
        elif isinstance(ack, NotSent):
            self._desk.orders.update(order.cloid, status=OrderStatus.ABANDONED, detail=ack.text)
        elif isinstance(ack, Resting) and order.intent.tif is TimeInForce.ALO:
            await self._take_back(plan, order, ack)
        else:
            await self._unknown(plan, order)
        known = self._desk.orders.get(order.cloid)
        return known is not None and known.filled > 0

    async def _order(self, plan: _Exit, holding: Holding, left: Decimal) -> Order | None:
        """The next attempt: an IOC with a bound, or, while the venue takes post-only orders alone, one at the touch."""
        asset, full = self._desk.asset(plan.symbol), plan.size is None
        size = self._upper_bound(plan.symbol, left) if full else asset.floor_size(left)
        if plan.slice is not None:
            size = min(size, plan.slice)
        passive = plan.post_only and plan.attempts % _IOC_EACH != 0
        price = await self._price(plan.symbol, holding.side, plan.attempts, passive=passive)
        if price is None or size <= 0:
            return None
        intent = self._desk.reduce_only_intent(
            Purpose.EXIT, plan.symbol, holding.side, size, price, episode=plan.episode, owner=holding.owner,
            full_close=full, reason=plan.reason,
        )  # fmt: skip
        if passive:
            intent = msgspec.structs.replace(intent, tif=TimeInForce.ALO)
        return self._desk.attempt(intent, 1, expires_ms=self._desk.expiry(self._desk.settings.exit_expiry_ms))

    async def _filled_at_once(self, plan: _Exit, order: Order, ack: Filled) -> None:
        self._desk.orders.update(order.cloid, oid=ack.oid)
        if await self._fills.expect(order.cloid, ack.size, patience_s=_FILLS_PATIENCE_S):
            self._desk.orders.finish_partial(
                order.cloid, ack.size, "the rest found no price within the bound", self._now()
            )
        else:
            await self._unknown(plan, order)

    async def _rejected(self, plan: _Exit, order: Order, ack: Rejected) -> None:
        """A no: what it means for the next attempt. Only a partial exit may end on it, a full close goes on (S04)."""
        self._desk.orders.update(order.cloid, status=OrderStatus.REJECTED, detail=ack.text, updated_ms=self._now())
        kind = class_of(ack)
        plan.post_only = ack.code == ErrorCode.POST_ONLY_WINDOW or (plan.post_only and ack.code == ErrorCode.BAD_ALO_PX)
        if kind is ErrorClass.FLAT_EVIDENCE:
            await self._fills.poll(order.sent_ms - _FLAT_OVERLAP_MS)
        elif ack.code == ErrorCode.VALUE_TOO_LARGE:
            plan.slice = self._desk.asset(plan.symbol).ceil_size(order.intent.size / 2)
        elif kind in (ErrorClass.PERMANENT, ErrorClass.AUTH):
            plan.refused = ack.text

    async def _take_back(self, plan: _Exit, order: Order, ack: Resting) -> None:
        """A post-only exit rests at the touch for 2 s, then it is cancelled and priced anew; a full close waits 2 s
        more at most for the proof, and a partial one that became a full close no longer.
        """
        self._desk.orders.update(order.cloid, status=OrderStatus.RESTING, oid=ack.oid)
        if plan.size is None:
            await self._desk.clock.sleep(_UNKNOWN_PAUSE_S)
        else:
            await self._wait_for_upgrade(plan, _UNKNOWN_PAUSE_S)
        settling = self._desk.pool.spawn(f"settle-{order.cloid}", self.settle(order))
        if plan.size is not None:
            await self._settled_or_upgraded(plan, settling)
        elif settling is not None:
            await asyncio.wait([settling], timeout=_UNKNOWN_PAUSE_S)

    async def _unknown(self, plan: _Exit, order: Order) -> None:
        """A full close may go again after 2 s while this one is settled beside it; a partial one is settled first, or
        becomes a full close, which the venue clamps to what the partial has left (S03, S11).
        """
        self._desk.orders.update(order.cloid, status=OrderStatus.UNKNOWN, detail="no answer")
        self._desk.say("exit-unknown", order.intent.symbol, f"no answer to {order.cloid}", episode=order.intent.episode)
        settling = self._desk.pool.spawn(f"settle-{order.cloid}", self.settle(order))
        if plan.size is None:
            await self._desk.clock.sleep(_UNKNOWN_PAUSE_S)
        else:
            await self._settled_or_upgraded(plan, settling)

    async def _settled_or_upgraded(self, plan: _Exit, settling: asyncio.Task[None] | None) -> None:
        """Returns once the partial's outcome is proven or a full close was asked for; never lets it go out twice."""
        if settling is not None:
            settling.add_done_callback(lambda _: plan.woken.set())
        while plan.symbol not in self._full:
            if settling is not None and settling.done():
                settling.result()  # what went wrong in it ends the plan: nothing is proven
                return
            plan.woken.clear()
            await plan.woken.wait()

    async def settle(self, order: Order) -> None:
        """Find out what became of an attempt, with proof, and book its fills; one that still lives is cancelled."""
        expires = order.expires_ms if order.expires_ms is not None else self._desk.venue_clock.now_ms()
        self._handled[order.cloid] = None
        pause = _RETRY_PAUSE_S
        try:
            while (known := self._desk.orders.get(order.cloid)) is not None and known.is_live:
                settled = await settle(
                    self._desk.client, self._desk.clock, order.cloid, expires_ms=expires, sent_ms=order.sent_ms
                )
                await self._fills.poll(order.sent_ms)
                self._desk.orders.apply_record(order.cloid, settled.record)
                if settled.record.group is OrderGroup.FILLED:
                    await self._fills.complete(order.cloid)
                elif settled.record.group is OrderGroup.LIVE:
                    await self._desk.client.cancel([(order.intent.symbol, order.cloid)])
                    await self._desk.clock.sleep(pause)
                    pause = min(_MAX_PAUSE_S, pause * 2)
        finally:
            self._handled.pop(order.cloid, None)

    async def _price(self, symbol: str, side: Side, attempt: int, *, passive: bool) -> Decimal | None:
        """The bound of an attempt: a fresh book's best price, else the newest price known, widened with each attempt
        (S04, S14); for a passive one the best price of our own side.
        """
        asset, touch = self._desk.asset(symbol), await self._touch(symbol, side, attempt, passive=passive)
        if touch is None:
            return None
        if passive:
            return asset.price_up(touch) if side is Side.LONG else asset.price_down(touch)
        step = _WIDENING[min(attempt, len(_WIDENING)) - 1]
        slip = min(self._desk.settings.exit_slip_fraction * step, self._desk.settings.max_exit_slip_fraction)
        return asset.bound(touch * (1 - slip * side.sign), buy=side is Side.SHORT)

    async def _touch(self, symbol: str, side: Side, attempt: int, *, passive: bool) -> Decimal | None:
        """The best opposite price (our own side's for a passive order); a silent venue delays an exit by a second."""
        with contextlib.suppress(VenueError, TimeoutError):
            async with asyncio.timeout(_BOOK_PATIENCE_S):
                book = await self._desk.client.book(symbol, max_age_ms=_BOOK_AGE_MS if attempt == 1 else 0)
            levels = book.bids if (side is Side.LONG) is not passive else book.asks
            if levels:
                return levels[0].price
        snapshot = self._desk.prices.snapshot(symbol)
        known = (snapshot.mark or snapshot.mid or snapshot.last) if snapshot is not None else None
        if known is not None:
            return known
        holding = self._desk.positions.holdings.get(symbol)
        return holding.entry_price if holding is not None else None

    def _upper_bound(self, symbol: str, size: Decimal) -> Decimal:
        """What the position can be at most: what fills have shown, and every live entry's remainder; the venue clamps
        (S02).
        """
        in_flight = sum((order.remaining for order in self._desk.orders.live(symbol, Purpose.ENTRY)), ZERO)
        return self._desk.asset(symbol).ceil_size(size + in_flight)

    def _is_dust(self, symbol: str, remainder: Decimal) -> bool:
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

    async def _pause(self, plan: _Exit, pause: float) -> float:
        """How long the next one is; a partial exit's ends when it becomes a full close (S01)."""
        if plan.size is None:
            await self._desk.clock.sleep(pause)
        else:
            await self._wait_for_upgrade(plan, pause)
        return min(_MAX_PAUSE_S, pause * 2)

    async def _wait_for_upgrade(self, plan: _Exit, longest_s: float) -> None:
        plan.woken.clear()
        if plan.symbol not in self._full:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(longest_s):
                    await plan.woken.wait()

    def _filled(self, plan: _Exit) -> Decimal:
        known = (self._desk.orders.get(cloid) for cloid in plan.cloids)
        return sum((order.filled for order in known if order is not None), ZERO)

    def _report(self, plan: _Exit, text: str, *, flat: bool = False) -> ExitReport:
        known = [order for order in map(self._desk.orders.get, plan.cloids) if order is not None]
        closed = self._filled(plan)
        paid = sum((order.filled * (order.average_price or ZERO) for order in known), ZERO)
        left = self._desk.positions.size(plan.symbol)
        told = f"{text} after {plural(plan.attempts, 'attempt')}"
        self._desk.say("exit-done", plan.symbol, told, episode=plan.episode)
        return ExitReport(symbol=plan.symbol, episode=plan.episode, flat=flat and left == 0, closed=closed, left=left,
                          attempts=plan.attempts, text=text,
                          average_price=paid / closed if closed else None)  # fmt: skip

    def _now(self) -> int:
        return self._desk.clock.now_ms()
