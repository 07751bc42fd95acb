"""Protection: from the first fill to a reduce-only stop of the position's size that the venue lists, and from then on
to the end (S20-S23).

One pass for a symbol looks at the position and at our stops for it, and does the next right thing: confirm a stop by
the venue's record, place one of its own, close what cannot be protected, or cancel what is too many, new before old. A
child of a grouped entry counts only once the venue's record shows it armed with the position's size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Final

from perpstrader.domain import (
    Order,
    OrderStatus,
    PerpsTraderError,
    Protection,
    ProtectiveStop,
    Purpose,
    Side,
    Trigger,
    make_cloid,
)
from perpstrader.execution.clean_up import CleanUp
from perpstrader.execution.desk import Desk, class_of
from perpstrader.execution.fills import FillCollector
from perpstrader.execution.positions import Holding, Plan
from perpstrader.execution.stop_prices import listed_stop, looseness, sendable_limit
from perpstrader.venue.contract import NotSent, OrderGroup, OrderRecord, Rejected, Resting
from perpstrader.venue.wire.errors import ErrorClass, ErrorCode

_CONFIRM_PAUSES_S: Final = (0.0, 0.1, 0.2, 0.4, 0.8)
_RETRY_PAUSE_S: Final = 0.5
_MAX_ATTEMPTS: Final = 40
_FLAT_OVERLAP_MS: Final = 60_000
_FRESH_MS: Final = 3_000
"""The info side lags by seconds at most: an older order that has no record yet is not waited for."""

CloseUnprotectable = Callable[[str, str], Awaitable[object]]


class Protector:
    """Keeps a confirmed stop of the right size under every position; anybody may call ``ensure`` at any time."""

    def __init__(
        self,
        desk: Desk,
        fills: FillCollector,
        close: CloseUnprotectable,
        default_stop_fraction: Decimal,
        exempt: Callable[[str], bool],
    ) -> None:
        self._desk = desk
        self._fills = fills
        self._close = close
        self._default_stop = default_stop_fraction
        self._exempt = exempt
        self._locks: dict[str, asyncio.Lock] = {}
        self._again: dict[str, None] = {}
        self._clean_up = CleanUp(desk, fills, self._may_go)
        self._confirmed: dict[str, ProtectiveStop] = {}
        self._closing: dict[str, asyncio.Task[object]] = {}
        self.on_plan: Callable[[Holding], None] = lambda holding: None
        self.max_unprotected_ms = 0
        self.max_outage_ms = 0

    def stop_of(self, symbol: str) -> ProtectiveStop | None:
        """The stop that the venue was last seen to list, if it still covers the position."""
        stop = self._confirmed.get(symbol)
        holding = self._desk.positions.holdings.get(symbol)
        return stop if stop is not None and holding is not None and stop.size == abs(holding.size) else None

    def status(self, symbol: str) -> Protection:
        """What is known of the position's protection now."""
        if self.stop_of(symbol) is not None:
            return Protection.CONFIRMED
        if self._exempt(symbol):
            return Protection.EXEMPT
        return Protection.PENDING if self.is_busy(symbol) else Protection.MISSING

    def unprotected_ms(self, symbol: str) -> int:
        """How long the position has been without a confirmed stop, in time in which the venue could be reached."""
        holding = self._desk.positions.holdings.get(symbol)
        return 0 if holding is None or self.stop_of(symbol) is not None else self._unprotected_ms(holding)

    def is_settled(self, symbol: str) -> bool:
        """True when there is nothing to do: flat without our stops, or covered by exactly one."""
        holding = self._desk.positions.holdings.get(symbol)
        stops = self._desk.orders.live(symbol, Purpose.STOP)
        if holding is None:
            return not self._orphans(symbol)
        if self._exempt(symbol):
            return True
        return self.stop_of(symbol) is not None and len(stops) == 1

    def is_busy(self, symbol: str) -> bool:
        """True while a pass for the symbol is running."""
        lock = self._locks.get(symbol)
        return lock is not None and lock.locked()

    def lock(self, symbol: str) -> asyncio.Lock:
        """What one pass, or one move of the stop, holds at a time."""
        return self._locks.setdefault(symbol, asyncio.Lock())

    def was_asked(self, symbol: str) -> bool:
        """True when somebody asked for a look while the lock was held; who held it looks again."""
        return symbol in self._again

    def make_stop(self, holding: Holding, size: Decimal, price: Decimal) -> Order:
        """A first attempt of a stop at ``price``; raises ``PerpsTraderError`` where none can be sent."""
        return self._protective(Purpose.STOP, holding, size, price, self._stop_limit(holding, price))

    async def take_over(self, holding: Holding, cloid: str, needed: Decimal, *, patient: bool) -> bool:
        """True when the venue lists the stop ``cloid`` for ``needed``: it is the position's now, and others go (S22).

        The caller holds the lock; a position that changed meanwhile keeps what it has.
        """
        order = self._desk.orders.get(cloid)
        stop = await self._confirm(order, needed, patient=patient) if order is not None else None
        if stop is None or not self._is_still(holding, needed):
            return False
        self._note_confirmed(holding, stop)
        await self._clean_up.run(holding.symbol, lambda: self._cancel_spare(holding, stop))
        return True

    async def ensure(self, symbol: str) -> None:
        """Bring the symbol to a protected (or flat and clean) state; a second caller makes the first look again and
        returns.
        """
        lock = self.lock(symbol)
        if lock.locked():
            self._again[symbol] = None
            if self.stop_of(symbol) is None:
                self._clean_up.hurry(symbol)
            return
        async with lock:
            for _ in range(_MAX_ATTEMPTS):
                self._again.pop(symbol, None)
                if not await self._pass(symbol):
                    await self._desk.clock.sleep(_RETRY_PAUSE_S)
                elif symbol not in self._again:
                    return
        if symbol in self._desk.positions.holdings:
            text = f"{_MAX_ATTEMPTS} passes did not settle the protection; it is taken up again"
            self._desk.say("protection-exhausted", symbol, text, grave=True)

    async def _pass(self, symbol: str) -> bool:
        """One look, and the next right thing; False asks for another look after a pause."""
        holding = self._desk.positions.holdings.get(symbol)
        if holding is None:
            self._confirmed.pop(symbol, None)
            is_clean = await self._clean_up.run(symbol, lambda: self._cancel_orphans(symbol))
            return is_clean or symbol in self._again  # no pause before the look that was asked for
        if self._exempt(symbol):
            return True
        needed = abs(holding.size)
        stop = await self._find_or_place(holding, needed)
        if not self._is_still(holding, needed):
            self._again[symbol] = None  # it changed meanwhile: look again at once
            return True
        if stop is None:
            await self._unprotected(holding)
            return False
        self._note_confirmed(holding, stop)
        await self._clean_up.run(symbol, lambda: self._tidy(holding, stop))
        return True

    async def _tidy(self, holding: Holding, stop: ProtectiveStop) -> bool:
        """What a covered position has too many, and its target."""
        await self._cancel_spare(holding, stop)
        if self._is_still(holding, stop.size):
            await self._upkeep_target(holding, stop.size)
        return True

    async def _cancel_spare(self, holding: Holding, stop: ProtectiveStop) -> bool:
        current = self.stop_of(holding.symbol)
        if current is None or current.cloid != stop.cloid:
            return False  # another pass sees what is spare beside the stop of now
        spare = self._spare(holding, stop)
        return await self._clean_up.cancel(holding.symbol, spare, "another stop covers the position")

    async def _cancel_orphans(self, symbol: str) -> bool:
        return await self._clean_up.cancel(symbol, self._orphans(symbol), "the position is flat")

    def _may_go(self, order: Order) -> bool:
        """True where nothing relies on the order now: it is no stop, its symbol is flat, or another stop covers it."""
        symbol = order.intent.symbol
        holding, stop = self._desk.positions.holdings.get(symbol), self.stop_of(symbol)
        if holding is None or order.intent.purpose is not Purpose.STOP:
            return True
        return stop is not None and any(spare.cloid == order.cloid for spare in self._spare(holding, stop))

    async def _find_or_place(self, holding: Holding, needed: Decimal) -> ProtectiveStop | None:
        """The confirmed stop of the position's size; ``None`` also when the position changed meanwhile.

        Of two, as a move that was cut short leaves them, the tighter one is looked at first (S22).
        """
        newest_first = self._desk.orders.live(holding.symbol, Purpose.STOP)[::-1]
        for order in sorted(newest_first, key=looseness):
            if order.intent.size == needed and order.intent.side is holding.side and self._can_guard(order):
                fresh = self._desk.venue_clock.now_ms() - order.sent_ms < _FRESH_MS
                known = order.status not in (OrderStatus.PENDING, OrderStatus.UNKNOWN)
                stop = await self._confirm(order, needed, patient=fresh and known)
                if stop is not None or not self._is_still(holding, needed):
                    return stop
                if self._desk.reach.is_out and self._may_rest(order.cloid):
                    return None  # another one goes out when it cannot rest any more
        return await self._place(holding, needed)

    def _may_rest(self, cloid: str) -> bool:
        """True where only a record could say that the stop does not rest: the venue has acknowledged it, or it may
        still arrive.
        """
        order = self._desk.orders.get(cloid)
        if order is None or not order.is_live:
            return False
        acknowledged = order.oid is not None and order.status is OrderStatus.RESTING and not order.filled
        return acknowledged or not self._desk.is_stale(order)

    def _spare(self, holding: Holding, stop: ProtectiveStop) -> list[Order]:
        """The other stops, but not a tighter one that may rest: until its record is read it is not given up (S22)."""
        stops = self._desk.orders.live(holding.symbol, Purpose.STOP)
        least = next((looseness(order) for order in stops if order.cloid == stop.cloid), None)
        others = [order for order in stops if order.cloid != stop.cloid]
        if least is None:
            return others
        return [
            order for order in others
            if looseness(order) >= least or order.intent.size != stop.size or not self._may_be_armed(order)
        ]  # fmt: skip

    def _is_still(self, holding: Holding, size: Decimal) -> bool:
        current = self._desk.positions.holdings.get(holding.symbol)
        return current is holding and abs(current.size) == size

    def _entry_of(self, order: Order) -> Order | None:
        """The entry that a stop or target went out with, while it is known here."""
        if not order.intent.group:
            return None
        return self._desk.orders.get(make_cloid(self._desk.epoch, order.intent.group, 1))

    def _can_guard(self, order: Order) -> bool:
        return self._may_be_armed(order) and not self._clean_up.is_leaving(order)

    def _may_be_armed(self, order: Order) -> bool:
        """False for a child whose entry has not filled whole: the venue lists it, but it guards nothing (API sheet
        7.8).
        """
        entry = self._entry_of(order)
        return entry is None or entry.filled >= entry.intent.size

    def has_leftovers(self, symbol: str) -> bool:
        """True while a stop or target of an ended episode may still be at the venue, where it would eat the next."""
        return symbol not in self._desk.positions.holdings and bool(self._orphans(symbol))

    def _orphans(self, symbol: str) -> list[Order]:
        """Stops and targets of a flat symbol, without the children of an entry that may still fill."""
        live = self._desk.orders.live
        found = live(symbol, Purpose.STOP) + live(symbol, Purpose.TARGET)
        return [order for order in found if (entry := self._entry_of(order)) is None or not entry.is_live]

    async def _confirm(self, order: Order, needed: Decimal, *, patient: bool) -> ProtectiveStop | None:
        """The venue's own record of the stop, or ``None``; info may lag behind the exchange, so it is asked again for a
        while.
        """
        for pause in _CONFIRM_PAUSES_S if patient else _CONFIRM_PAUSES_S[:1]:
            if pause:
                await self._desk.clock.sleep(pause)
            record = await self._desk.look_up(order.cloid)
            if record is None:
                return None
            if record.group is OrderGroup.MISSING:
                if order.oid is None and self._desk.is_stale(order):
                    self._desk.orders.update(order.cloid, status=OrderStatus.NEVER_ARMED, detail="it never arrived")
                    return None
                continue
            current = self._desk.orders.apply_record(order.cloid, record)
            if record.group is not OrderGroup.LIVE:
                await self._gone(order, record)
                return None
            stop = listed_stop(record, order, needed, self._desk.clock.now_ms())
            if stop is not None and current is not None and record.status == "open":
                return stop
        return None

    async def _gone(self, order: Order, record: OrderRecord) -> None:
        """The stop no longer rests. Where it filled, its trades say what is left to protect: they are read now."""
        stop = self._confirmed.get(order.intent.symbol)
        if stop is not None and stop.cloid == order.cloid:
            self.lost(order.intent.symbol)
        if record.group is OrderGroup.FILLED:
            await self._fills.poll(max(order.sent_ms, record.status_ms))
            self._desk.pool.spawn(f"fills-{order.cloid}", self._fills.complete(order.cloid, record.status_ms))

    def _tighter_at_the_venue(self, holding: Holding, planned: Order) -> Decimal | None:
        """Where a stop of a move that nobody could confirm may rest, or rested until somebody took it back: the next
        one may not lie further away (S22).
        """
        symbol, orders = holding.symbol, self._desk.orders
        stops = orders.live(symbol, Purpose.STOP) + orders.once_rested(symbol, holding.episode, Purpose.STOP)
        nearest = min((o for o in stops if looseness(o) < looseness(planned)), key=looseness, default=None)
        mark = self._desk.prices.mark(holding.symbol)
        if nearest is None or nearest.intent.trigger is None or mark is None:
            return None
        price = nearest.intent.trigger.price
        return price if (mark - price) * holding.side.sign > 0 else None

    async def _place(self, holding: Holding, needed: Decimal) -> ProtectiveStop | None:
        try:
            plan = self._plan(holding)
            order = self._protective(Purpose.STOP, holding, needed, plan.stop_price, plan.stop_limit_price)
            tighter = self._tighter_at_the_venue(holding, order)
            order = order if tighter is None else self.make_stop(holding, needed, tighter)
        except PerpsTraderError as error:
            self._desk.say("stop-impossible", holding.symbol, str(error), episode=holding.episode, grave=True)
            self._begin_close(holding.symbol, f"no stop can be made: {error}")
            return None
        await self._desk.journal.within(self._desk.record(order), self._desk.settings.state_deadline_ms)
        [ack] = await self._desk.send([order])
        if isinstance(ack, Resting):
            known = self._desk.orders.update(order.cloid, status=OrderStatus.RESTING, oid=ack.oid)
            return await self._confirm(known or order, needed, patient=True)
        if isinstance(ack, Rejected):
            await self._stop_rejected(holding, order, ack)
        elif isinstance(ack, NotSent):
            self._desk.orders.update(order.cloid, status=OrderStatus.ABANDONED, detail=ack.text)
        else:
            # One look and no more: another stop is safe beside this one, and waiting for it is not (S20).
            self._desk.orders.update(order.cloid, status=OrderStatus.UNKNOWN, detail="no answer that shows the stop")
            return await self._confirm(order, needed, patient=False)
        return None

    async def _stop_rejected(self, holding: Holding, order: Order, ack: Rejected) -> None:
        """Where no stop can rest, the position is closed at once; what may pass is tried again until the deadline."""
        self._desk.orders.update(order.cloid, status=OrderStatus.REJECTED, detail=ack.text)
        self._desk.say("stop-rejected", holding.symbol, ack.text, episode=holding.episode)
        kind = class_of(ack)
        if kind is ErrorClass.FLAT_EVIDENCE:
            await self._fills.poll(order.sent_ms - _FLAT_OVERLAP_MS)
        elif kind is ErrorClass.PERMANENT and ack.code != ErrorCode.TOO_MANY_OPEN_ORDERS:
            self._begin_close(holding.symbol, f"no stop can rest: {ack.text}")

    def _protective(
        self, purpose: Purpose, holding: Holding, size: Decimal, price: Decimal | None, limit: Decimal | None
    ) -> Order:
        if price is None or limit is None:
            raise PerpsTraderError(f"{holding.symbol}: there is no price for a {purpose}")
        limit = self._sendable(holding, size, price, limit)
        intent = self._desk.reduce_only_intent(
            purpose, holding.symbol, holding.side, size, limit, episode=holding.episode, owner=holding.owner,
            trigger=Trigger(price=price, is_stop=purpose is Purpose.STOP), reason="protection",
        )  # fmt: skip
        return self._desk.attempt(intent, 1, expires_ms=self._desk.expiry(self._desk.settings.exit_expiry_ms))

    async def _unprotected(self, holding: Holding) -> None:
        """Nothing confirmed: close once the deadline of reachable time has passed; a stop is tried for meanwhile."""
        if self._unprotected_ms(holding) >= self._desk.settings.protection_deadline_ms:
            deadline = self._desk.settings.protection_deadline_ms
            self._begin_close(holding.symbol, f"no confirmed stop within {deadline} ms")

    def _begin_close(self, symbol: str, reason: str) -> None:
        """Start closing, and do not wait for it: as long as it does not fill, a stop may still come to rest."""
        running = self._closing.get(symbol)
        if running is None or running.done():
            task = self._desk.pool.spawn(f"close-{symbol}", _await(self._close(symbol, reason)))
            if task is not None:
                self._closing[symbol] = task

    async def _upkeep_target(self, holding: Holding, needed: Decimal) -> None:
        """One take-profit of the position's size where the plan has one; a missing one is placed, wrong ones go."""
        orders = self._desk.orders.live(holding.symbol, Purpose.TARGET)
        price = holding.plan.target_price
        keep = next((o for o in orders if price is not None and o.intent.size == needed), None)
        wrong = [order for order in orders if order is not keep]
        await self._clean_up.cancel(holding.symbol, wrong, "its size is not the position's")
        if price is None or not self._is_still(holding, needed) or self._beyond(holding, price):
            return
        if keep is not None:
            if keep.oid is None and not await self._confirm_target(keep):
                await self._clean_up.cancel(holding.symbol, [keep], "it was never armed")
            return
        try:
            limit = self._sendable(holding, needed, price, self._stop_limit(holding, price))
        except PerpsTraderError:
            return  # too small for a target of its own: its stop or an exit ends it
        order = self._protective(Purpose.TARGET, holding, needed, price, limit)
        await self._desk.journal.within(self._desk.record(order), self._desk.settings.state_deadline_ms)
        [ack] = await self._desk.send([order])
        if isinstance(ack, Resting):
            self._desk.orders.update(order.cloid, status=OrderStatus.RESTING, oid=ack.oid)
        elif isinstance(ack, Rejected | NotSent):
            status = OrderStatus.REJECTED if isinstance(ack, Rejected) else OrderStatus.ABANDONED
            self._desk.orders.update(order.cloid, status=status, detail=ack.text)
        else:
            self._desk.orders.update(order.cloid, status=OrderStatus.UNKNOWN, detail="no answer to the target")

    async def _confirm_target(self, order: Order) -> bool:
        record = await self._desk.look_up(order.cloid)
        if record is None or record.group is OrderGroup.MISSING:
            return not self._desk.is_stale(order)
        self._desk.orders.apply_record(order.cloid, record)
        return record.group is OrderGroup.LIVE

    def _plan(self, holding: Holding) -> Plan:
        """The episode's plan; one without a stop (adopted, or lost) gets the default distance from mark, else from its
        cost.
        """
        if holding.plan.stop_price is None:
            snapshot = self._desk.prices.snapshot(holding.symbol)
            base = snapshot.mark if snapshot is not None and snapshot.mark is not None else holding.entry_price
            asset = self._desk.asset(holding.symbol)
            raw = base * (1 - self._default_stop * holding.side.sign)
            stop = asset.price_up(raw) if holding.side is Side.LONG else asset.price_down(raw)
            holding.plan = Plan(
                stop_price=stop,
                stop_limit_price=self._stop_limit(holding, stop),
                target_price=holding.plan.target_price,
            )
        elif holding.plan.stop_limit_price is None:
            limit = self._stop_limit(holding, holding.plan.stop_price)
            holding.plan = Plan(
                stop_price=holding.plan.stop_price, stop_limit_price=limit, target_price=holding.plan.target_price
            )
        return holding.plan

    def _stop_limit(self, holding: Holding, trigger: Decimal) -> Decimal:
        asset = self._desk.asset(holding.symbol)
        raw = trigger * (1 - self._desk.settings.stop_limit_beyond_fraction * holding.side.sign)
        return asset.price_down(raw) if holding.side is Side.LONG else asset.price_up(raw)

    def _sendable(self, holding: Holding, size: Decimal, trigger: Decimal, limit: Decimal) -> Decimal:
        return sendable_limit(self._desk.asset(holding.symbol), holding.side, size, trigger, limit)

    def _beyond(self, holding: Holding, target: Decimal) -> bool:
        snapshot = self._desk.prices.snapshot(holding.symbol)
        if snapshot is None or snapshot.mark is None:
            return False
        return (snapshot.mark - target) * holding.side.sign >= 0

    def _note_confirmed(self, holding: Holding, stop: ProtectiveStop) -> None:
        known = self._confirmed.get(holding.symbol)
        first = known is None or (known.oid, known.size) != (stop.oid, stop.size)
        self._confirmed[holding.symbol] = stop
        if holding.follow_stop(stop.trigger_price, self._stop_limit(holding, stop.trigger_price)):
            self.on_plan(holding)
        if holding.unprotected_since_ms is not None:
            self.max_unprotected_ms = max(self.max_unprotected_ms, self._unprotected_ms(holding))
            self.max_outage_ms = max(self.max_outage_ms, self._outage_ms(holding))
            self._desk.stages.fill_to_stop.record(self._span_ms(holding) * 1_000_000)
            holding.unprotected_since_ms = None
        if first:
            text = f"stop {stop.trigger_price} for {stop.size} is listed as oid {stop.oid}"
            self._desk.say("stop-confirmed", holding.symbol, text, episode=holding.episode, strategy=holding.owner)

    def lost(self, symbol: str) -> None:
        """The stop that covered the position is gone or no longer its size: the clock of S20 runs again from now."""
        self._confirmed.pop(symbol, None)
        holding = self._desk.positions.holdings.get(symbol)
        if holding is not None and holding.unprotected_since_ms is None:
            self.begin_clock(holding)

    def begin_clock(self, holding: Holding) -> None:
        """The time without a confirmed stop counts from now: after a loss, and after a restart, which has seen none."""
        holding.unprotected_since_ms = self._desk.venue_clock.now_ms()

    def _span_ms(self, holding: Holding) -> int:
        """Since the first uncovered fill, by the venue's clock, which stamped it."""
        since = holding.unprotected_since_ms
        return 0 if since is None else max(0, self._desk.venue_clock.now_ms() - since)

    def _outage_ms(self, holding: Holding) -> int:
        """How much of that time the venue was out of reach, by our clock, which measured it."""
        now = self._desk.clock.now_ms()
        return self._desk.reach.outage_ms(now - self._span_ms(holding), now)

    def _unprotected_ms(self, holding: Holding) -> int:
        return self._span_ms(holding) - self._outage_ms(holding)


async def _await(work: Awaitable[object]) -> object:
    return await work
