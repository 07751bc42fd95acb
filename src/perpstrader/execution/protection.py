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

from perpstrader.domain import Order, OrderStatus, Protection, ProtectiveStop, Purpose, Side, Trigger
from perpstrader.execution.desk import Desk
from perpstrader.execution.positions import Holding, Plan
from perpstrader.venue.contract import (
    AlreadyGone,
    Canceled,
    Filled,
    NotSent,
    OrderGroup,
    OrderRecord,
    Rejected,
    Resting,
    Unknown,
)
from perpstrader.venue.settlement import look_up
from perpstrader.venue.wire.errors import ErrorCode

_CONFIRM_PAUSES_S: Final = (0.0, 0.1, 0.2, 0.4, 0.8)
_RETRY_PAUSE_S: Final = 0.5
_MAX_ATTEMPTS: Final = 40

CloseUnprotectable = Callable[[str, str], Awaitable[object]]


class Protector:
    """Keeps a confirmed stop of the right size under every position; anybody may call ``ensure`` at any time."""

    def __init__(
        self, desk: Desk, close: CloseUnprotectable, default_stop_fraction: Decimal, exempt: Callable[[str], bool]
    ) -> None:
        self._desk = desk
        self._close = close
        self._default_stop = default_stop_fraction
        self._exempt = exempt
        self._locks: dict[str, asyncio.Lock] = {}
        self._again: dict[str, None] = {}
        self._confirmed: dict[str, ProtectiveStop] = {}
        self._outage_since_ms: dict[str, int] = {}
        self._outage_ms: dict[str, int] = {}
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

    def is_settled(self, symbol: str) -> bool:
        """True when there is nothing to do: flat without our stops, or covered by exactly one."""
        holding = self._desk.positions.holdings.get(symbol)
        stops = self._desk.orders.live(symbol, Purpose.STOP)
        if holding is None:
            return not stops and not self._desk.orders.live(symbol, Purpose.TARGET)
        return self.stop_of(symbol) is not None and len(stops) == 1

    def is_busy(self, symbol: str) -> bool:
        """True while a pass for the symbol is running."""
        lock = self._locks.get(symbol)
        return lock is not None and lock.locked()

    async def ensure(self, symbol: str) -> None:
        """Bring the symbol to a protected (or flat and clean) state; a second caller makes the first look again and
        returns.
        """
        lock = self._locks.setdefault(symbol, asyncio.Lock())
        if lock.locked():
            self._again[symbol] = None
            return
        async with lock:
            for _ in range(_MAX_ATTEMPTS):
                self._again.pop(symbol, None)
                done = await self._pass(symbol)
                if done and symbol not in self._again:
                    return
        self._desk.say(
            "protection-exhausted", symbol, f"{_MAX_ATTEMPTS} passes did not settle the protection", grave=True
        )

    async def _pass(self, symbol: str) -> bool:
        holding = self._desk.positions.holdings.get(symbol)
        if holding is None:
            self._confirmed.pop(symbol, None)
            return await self._cancel(symbol, self._orders_for(symbol), "the position is flat")
        if self._exempt(symbol):
            return True
        needed = abs(holding.size)
        stop = await self._find_or_place(holding, needed)
        current = self._desk.positions.holdings.get(symbol)
        if current is None or abs(current.size) != needed:
            return False
        if stop is None:
            return await self._unprotected(holding)
        self._note_confirmed(holding, stop)
        spare = [order for order in self._desk.orders.live(symbol, Purpose.STOP) if order.cloid != stop.cloid]
        await self._cancel(symbol, spare, "another stop covers the position")
        await self._upkeep_target(holding, needed)
        return True

    async def _find_or_place(self, holding: Holding, needed: Decimal) -> ProtectiveStop | None:
        for order in self._desk.orders.live(holding.symbol, Purpose.STOP):
            if order.intent.size == needed and order.intent.side is holding.side:
                stop = await self._confirm(order, needed, patient=order.status is not OrderStatus.PENDING)
                if stop is not None:
                    return stop
        return await self._place(holding, needed)

    async def _confirm(self, order: Order, needed: Decimal, *, patient: bool) -> ProtectiveStop | None:
        """The venue's own record of the stop, or ``None``; info may lag behind the exchange, so it is asked again for a
        while.
        """
        for pause in _CONFIRM_PAUSES_S if patient else _CONFIRM_PAUSES_S[:1]:
            if pause:
                await self._desk.clock.sleep(pause)
            record = await look_up(self._desk.client, order.cloid)
            self._reached(order.intent.symbol, record is not None)
            if record is None or record.group is OrderGroup.MISSING:
                continue
            current = self._desk.orders.apply_record(order.cloid, record)
            if record.group is not OrderGroup.LIVE:
                return None
            stop = _listed(record, order, needed, self._desk.clock.now_ms())
            if stop is not None and current is not None and record.status == "open":
                return stop
        return None

    async def _place(self, holding: Holding, needed: Decimal) -> ProtectiveStop | None:
        plan = self._plan(holding)
        if plan.stop_price is None or plan.stop_limit_price is None:
            return None
        trigger = Trigger(price=plan.stop_price, is_stop=True)
        intent = self._desk.reduce_only_intent(
            Purpose.STOP, holding.symbol, holding.side, needed, plan.stop_limit_price,
            episode=holding.episode, owner=holding.owner, trigger=trigger, reason="protection",
        )  # fmt: skip
        order = self._desk.attempt(intent, 1, expires_ms=self._desk.expiry(self._desk.settings.exit_expiry_ms))
        request = self._desk.request(order)
        self._desk.orders.add(order)
        await self._desk.journal.within(self._desk.record(order), self._desk.settings.state_deadline_ms)
        [ack] = await self._desk.client.place([request], expires_ms=order.expires_ms)
        self._reached(holding.symbol, not isinstance(ack, NotSent | Unknown))
        if isinstance(ack, Resting):
            known = self._desk.orders.update(order.cloid, status=OrderStatus.RESTING, oid=ack.oid)
            return await self._confirm(known or order, needed, patient=True)
        if isinstance(ack, Rejected):
            self._desk.orders.update(order.cloid, status=OrderStatus.REJECTED, detail=ack.text)
            self._desk.say("stop-rejected", holding.symbol, ack.text, episode=holding.episode)
            if ack.code in (ErrorCode.BAD_TRIGGER_PX, ErrorCode.ORACLE, ErrorCode.REDUCE_ONLY):
                await self._close(holding.symbol, f"no stop can rest: {ack.text}")
        elif isinstance(ack, Filled):
            self._desk.orders.update(order.cloid, oid=ack.oid)
        elif isinstance(ack, NotSent):
            self._desk.orders.update(order.cloid, status=OrderStatus.ABANDONED, detail=ack.text)
        else:
            self._desk.orders.update(order.cloid, status=OrderStatus.UNKNOWN, detail="no answer to the stop")
            return await self._confirm(order, needed, patient=True)
        return None

    async def _unprotected(self, holding: Holding) -> bool:
        """Nothing confirmed: close once the deadline of reachable time has passed, else look again shortly."""
        waited = self._unprotected_ms(holding) - self._outage(holding.symbol)
        if waited >= self._desk.settings.protection_deadline_ms:
            await self._close(
                holding.symbol, f"no confirmed stop within {self._desk.settings.protection_deadline_ms} ms"
            )
            return self._desk.positions.holdings.get(holding.symbol) is None
        await self._desk.clock.sleep(_RETRY_PAUSE_S)
        return False

    async def _upkeep_target(self, holding: Holding, needed: Decimal) -> None:
        """One take-profit of the position's size where the plan has one; a missing one is placed, wrong ones go."""
        orders = self._desk.orders.live(holding.symbol, Purpose.TARGET)
        price = holding.plan.target_price
        keep = next((o for o in orders if price is not None and o.intent.size == needed), None)
        await self._cancel(holding.symbol, [o for o in orders if o is not keep], "its size is not the position's")
        if price is None or self._beyond(holding, price):
            return
        if keep is not None:
            if keep.oid is None and not await self._confirm_target(keep):
                await self._cancel(holding.symbol, [keep], "it was never armed")
            return
        limit = self._stop_limit(holding, price)
        intent = self._desk.reduce_only_intent(
            Purpose.TARGET, holding.symbol, holding.side, needed, limit,
            episode=holding.episode, owner=holding.owner, trigger=Trigger(price=price, is_stop=False), reason="target",
        )  # fmt: skip
        order = self._desk.attempt(intent, 1, expires_ms=self._desk.expiry(self._desk.settings.exit_expiry_ms))
        request = self._desk.request(order)
        self._desk.orders.add(order)
        await self._desk.journal.within(self._desk.record(order), self._desk.settings.state_deadline_ms)
        [ack] = await self._desk.client.place([request], expires_ms=order.expires_ms)
        if isinstance(ack, Resting):
            self._desk.orders.update(order.cloid, status=OrderStatus.RESTING, oid=ack.oid)
        elif isinstance(ack, Unknown):
            self._desk.orders.update(order.cloid, status=OrderStatus.UNKNOWN, detail="no answer to the target")
        else:
            self._desk.orders.update(order.cloid, status=OrderStatus.REJECTED, detail=getattr(ack, "text", "not armed"))

    async def _confirm_target(self, order: Order) -> bool:
        record = await look_up(self._desk.client, order.cloid)
        if record is None or record.group is OrderGroup.MISSING:
            return not self._is_stale(order)
        self._desk.orders.apply_record(order.cloid, record)
        return record.group is OrderGroup.LIVE

    async def _cancel(self, symbol: str, orders: list[Order], why: str) -> bool:
        """Cancel by cloid; each one's own status decides, and what is gone already is settled by its record."""
        if not orders:
            return True
        acks = await self._desk.client.cancel([(symbol, order.cloid) for order in orders])
        for order, ack in zip(orders, acks, strict=True):
            if isinstance(ack, Canceled):
                self._desk.orders.update(
                    order.cloid, status=OrderStatus.CANCELED, detail=why, updated_ms=self._desk.clock.now_ms()
                )
                continue
            record = await look_up(self._desk.client, order.cloid)
            if record is not None and record.group is not OrderGroup.MISSING:
                self._desk.orders.apply_record(order.cloid, record)
            elif record is not None and isinstance(ack, AlreadyGone) and self._is_stale(order):
                self._desk.orders.update(order.cloid, status=OrderStatus.NEVER_ARMED, detail=why)
        return not any((o := self._desk.orders.get(order.cloid)) is not None and o.is_live for order in orders)

    def _is_stale(self, order: Order) -> bool:
        """Long past its expiry by the venue's clock: a group's child that the venue never armed leaves no record."""
        return order.expires_ms is None or self._desk.venue_clock.now_ms() > order.expires_ms + 3_000

    def _orders_for(self, symbol: str) -> list[Order]:
        live = self._desk.orders.live
        return live(symbol, Purpose.STOP) + live(symbol, Purpose.TARGET)

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

    def _beyond(self, holding: Holding, target: Decimal) -> bool:
        snapshot = self._desk.prices.snapshot(holding.symbol)
        if snapshot is None or snapshot.mark is None:
            return False
        return (snapshot.mark - target) * holding.side.sign >= 0

    def _note_confirmed(self, holding: Holding, stop: ProtectiveStop) -> None:
        known = self._confirmed.get(holding.symbol)
        first = known is None or (known.oid, known.size) != (stop.oid, stop.size)
        self._confirmed[holding.symbol] = stop
        if holding.unprotected_since_ms is not None:
            outage = self._outage(holding.symbol)
            self.max_unprotected_ms = max(self.max_unprotected_ms, self._unprotected_ms(holding) - outage)
            self.max_outage_ms = max(self.max_outage_ms, outage)
            holding.unprotected_since_ms = None
            self._outage_ms.pop(holding.symbol, None)
        if first:
            text = f"stop {stop.trigger_price} for {stop.size} is listed as oid {stop.oid}"
            self._desk.say("stop-confirmed", holding.symbol, text, episode=holding.episode, strategy=holding.owner)

    def lost(self, symbol: str) -> None:
        """The stop that covered the position is gone or no longer its size: the clock of S20 runs again from now."""
        self._confirmed.pop(symbol, None)
        holding = self._desk.positions.holdings.get(symbol)
        if holding is not None and holding.unprotected_since_ms is None:
            holding.unprotected_since_ms = self._desk.venue_clock.now_ms()

    def _unprotected_ms(self, holding: Holding) -> int:
        since = holding.unprotected_since_ms
        return 0 if since is None else max(0, self._desk.venue_clock.now_ms() - since)

    def _reached(self, symbol: str, reached: bool) -> None:
        """Measure time in which the venue could not be asked; it is reported apart from the deadline."""
        now = self._desk.clock.now_ms()
        since = self._outage_since_ms.pop(symbol, None)
        if since is not None:
            self._outage_ms[symbol] = self._outage_ms.get(symbol, 0) + now - since
        if not reached:
            self._outage_since_ms[symbol] = now

    def _outage(self, symbol: str) -> int:
        since = self._outage_since_ms.get(symbol)
        running = self._desk.clock.now_ms() - since if since is not None else 0
        return self._outage_ms.get(symbol, 0) + running


def _listed(record: OrderRecord, order: Order, needed: Decimal, now_ms: int) -> ProtectiveStop | None:
    """The record as a stop, if oid, side, trigger and size are what they must be."""
    listed, trigger = record.order, order.intent.trigger
    if listed is None or trigger is None or listed.trigger_price is None:
        return None
    right = (
        listed.reduce_only
        and listed.buy is order.intent.buy
        and listed.trigger_price == trigger.price
        and listed.original_size == needed
    )
    if not right:
        return None
    return ProtectiveStop(
        oid=listed.oid,
        cloid=order.cloid,
        trigger_price=listed.trigger_price,
        limit_price=listed.limit_price,
        size=needed,
        confirmed_ms=now_ms,
    )
