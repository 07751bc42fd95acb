"""Entries: an approved signal becomes one order at the venue at most, together with its stop, and never a second one
blindly (S10-S15).

Order of things: intents with verdict and digest are committed; the trace is awaited for a bounded time; the gate
(halts, exits in flight) is asked once more with nothing between it and the wire; then the grouped action goes out.
Whatever filled gets protected before anything is booked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain import (
    Approved,
    Order,
    OrderIntent,
    OrderStatus,
    PerpsTraderError,
    Purpose,
    Reason,
    Refusal,
    TimeInForce,
    Trigger,
)
from perpstrader.execution.desk import Desk
from perpstrader.execution.fills import FillCollector
from perpstrader.execution.positions import Plan
from perpstrader.execution.protection import Protector
from perpstrader.state import Transaction
from perpstrader.venue.contract import (
    AlreadyGone,
    Canceled,
    Filled,
    Grouping,
    NotSent,
    OrderAck,
    OrderGroup,
    OrderRecord,
    Rejected,
    Resting,
    Unknown,
)
from perpstrader.venue.settlement import settle
from perpstrader.venue.wire.limits import MAX_ACTION_ORDERS

_RESTING_CHECK_S: Final = 1.0
_CANCEL_PATIENCE_S: Final = 30.0
_PLANS: Final = 2_000
_GROUP: Final = 3
"""An entry, its stop and its target take a number each."""

Gate = Callable[[str], Refusal | None]


class EntryReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an approved entry so far: ``refusal`` where nothing was sent or the venue said no, else the order
    as it stands.
    """

    order: Order | None
    episode: str
    refusal: Refusal | None = None
    text: str = ""


class EntryDesk:
    """Sends approved entries; one at a time a symbol. ``release`` is told when a reservation is no longer needed."""

    def __init__(
        self, desk: Desk, fills: FillCollector, protector: Protector, *, gate: Gate, release: Callable[[int], None]
    ) -> None:
        self._desk = desk
        self._fills = fills
        self._protector = protector
        self._gate = gate
        self._release = release
        self._plans: dict[int, Plan] = {}
        self._in_flight: dict[str, None] = {}
        self._handled: dict[str, None] = {}
        self._canceling: dict[str, asyncio.Event] = {}
        self._taken_back: dict[str, None] = {}

    def in_flight(self, symbol: str) -> bool:
        """True while an entry of the symbol is being sent, is unknown, or rests."""
        return symbol in self._in_flight or bool(self._desk.orders.live(symbol, Purpose.ENTRY))

    def is_busy(self, symbol: str, cloid: str) -> bool:
        """True while a task of this process sends, watches or settles the order."""
        return symbol in self._in_flight or self.is_handled(cloid)

    def is_handled(self, cloid: str) -> bool:
        """True while a task watches or settles the order."""
        return cloid in self._handled

    def plan_of(self, order: Order) -> Plan | None:
        """The stop and target that the entry was approved with."""
        return self._plans.get(order.intent.number)

    def restore_plan(self, order: Order, plan: Plan) -> None:
        """Take back the plan of an entry that outlived a restart."""
        self._plans[order.intent.number] = plan

    async def submit(
        self,
        approved: Approved,
        *,
        digest: str,
        trace_ack: Callable[[], Awaitable[object]] | None,
        ack_deadline_ms: int,
    ) -> EntryReport:
        """Carry out one approved entry to the point where its outcome is known or is being settled; protection
        included.
        """
        symbol = approved.signal.symbol
        refusal = self._gate(symbol)
        if refusal is not None or self.in_flight(symbol):
            self._release(approved.reservation)
            return EntryReport(
                order=None, episode="", refusal=refusal or Refusal(reason=Reason.ENTRY_IN_FLIGHT, value=symbol)
            )
        self._in_flight[symbol] = None
        try:
            orders = self._orders(approved, digest)
        except PerpsTraderError as error:
            self._in_flight.pop(symbol, None)
            return self._not_sent(approved, Reason.SUBMISSION_FAILED, str(error))
        try:
            return await self._submit(approved, orders, trace_ack, ack_deadline_ms)
        except BaseException:
            self._abandon(approved, orders[0])
            raise
        finally:
            self._in_flight.pop(symbol, None)

    def _abandon(self, approved: Approved, entry: Order) -> None:
        """Whoever waited was cut off: an entry that may be at the venue is settled and holds its reservation till
        then.
        """
        known = self._desk.orders.get(entry.cloid)
        if known is not None and known.is_live and not self.is_handled(entry.cloid):
            self._desk.pool.spawn(f"settle-{entry.cloid}", self._settle_unknown(approved.reservation, entry))
        elif known is None or not known.is_live:
            self._release(approved.reservation)

    async def _submit(
        self,
        approved: Approved,
        orders: list[Order],
        trace_ack: Callable[[], Awaitable[object]] | None,
        ack_deadline_ms: int,
    ) -> EntryReport:
        entry, timer = orders[0], self._desk.stages.submit
        started = timer.now()
        try:
            fresh = await self._desk.journal.commit(self._commit(orders, approved))
        except Exception as error:
            return self._not_sent(approved, Reason.SUBMISSION_FAILED, f"the intent could not be written: {error}")
        if not fresh:
            return self._not_sent(approved, Reason.DUPLICATE_SIGNAL, approved.signal.id)
        if trace_ack is not None:
            await self._await_trace(trace_ack, ack_deadline_ms, approved.signal.symbol)
        refusal = self._gate(approved.signal.symbol)
        if refusal is not None:
            for order in orders:
                self._desk.journal.later(
                    self._desk.record(msgspec.structs.replace(order, status=OrderStatus.ABANDONED))
                )
            self._release(approved.reservation)
            return EntryReport(order=None, episode=entry.intent.episode, refusal=refusal)
        acks = await self._desk.send(orders, Grouping.ENTRY_WITH_CHILDREN)
        timer.since(started, ok=not isinstance(acks[0], Rejected | NotSent | Unknown))
        return await self._after(approved, orders, acks)

    async def _after(self, approved: Approved, orders: list[Order], acks: Sequence[OrderAck]) -> EntryReport:
        """Take the venue's answer: the entry's own decides, a child's is no evidence of anything (S20)."""
        entry, ack = orders[0], acks[0]
        self._take_children(orders[1:], acks[1:])
        if isinstance(ack, Rejected | NotSent):
            status = OrderStatus.REJECTED if isinstance(ack, Rejected) else OrderStatus.ABANDONED
            for order in orders:
                self._desk.orders.update(
                    order.cloid, status=status, detail=ack.text, updated_ms=self._desk.clock.now_ms()
                )
            self._release(approved.reservation)
            hint = "the venue refused the order" if isinstance(ack, Rejected) else "the request never left"
            return EntryReport(order=self._desk.orders.get(entry.cloid), episode=entry.intent.episode,
                               refusal=Refusal(reason=Reason.SUBMISSION_FAILED, value=ack.text, hint=hint))  # fmt: skip
        if isinstance(ack, Filled):
            await self._filled(approved, entry, ack)
        elif isinstance(ack, Resting):
            self._desk.orders.update(entry.cloid, status=OrderStatus.RESTING, oid=ack.oid)
            self._desk.pool.spawn(f"resting-{entry.cloid}", self._watch_resting(approved, entry))
        else:
            text = ack.text
            self._desk.orders.update(entry.cloid, status=OrderStatus.UNKNOWN, detail=text)
            self._desk.say(
                "entry-unknown",
                entry.intent.symbol,
                f"no answer to {entry.cloid}: {text}",
                episode=entry.intent.episode,
            )
            self._desk.pool.spawn(f"settle-{entry.cloid}", self._settle_unknown(approved.reservation, entry))
        return EntryReport(order=self._desk.orders.get(entry.cloid), episode=entry.intent.episode)

    async def _filled(self, approved: Approved, entry: Order, ack: Filled) -> None:
        """An IOC's rest is gone; what else crossed for a part may rest with the rest (API sheet 2.3)."""
        self._desk.orders.update(entry.cloid, oid=ack.oid)
        await self._fills.expect(entry.cloid, min(ack.size, entry.intent.size))
        if entry.intent.tif is TimeInForce.IOC:
            self._desk.orders.finish_partial(
                entry.cloid, ack.size, "the rest found no price within the bound", self._desk.clock.now_ms()
            )
        order = self._desk.orders.get(entry.cloid)
        if order is not None and order.is_live:
            self._desk.orders.update(entry.cloid, status=OrderStatus.RESTING)
            self._desk.pool.spawn(f"resting-{entry.cloid}", self._watch_resting(approved, entry))
        else:
            self._release(approved.reservation)
        await self._protector.ensure(entry.intent.symbol)

    def _take_children(self, children: Sequence[Order], acks: Sequence[OrderAck]) -> None:
        for child, ack in zip(children, acks, strict=False):
            if isinstance(ack, Resting):
                self._desk.orders.update(child.cloid, oid=ack.oid)
            elif isinstance(ack, Rejected):
                self._desk.orders.update(child.cloid, status=OrderStatus.REJECTED, detail=ack.text)

    async def _settle_unknown(self, reservation: int, entry: Order) -> None:
        """Prove what became of the entry; a fill seen meanwhile is protected without waiting for this."""
        try:
            await self.settle(entry)
        finally:
            self._release(reservation)

    async def settle(self, entry: Order) -> None:
        """Ask until the outcome is proven, then book it and see to the protection; its children go with it when it
        never was. One that rests unwatched is taken back.
        """
        if entry.cloid in self._handled:
            return
        self._handled[entry.cloid] = None
        try:
            await self._settle(entry)
        finally:
            self._handled.pop(entry.cloid, None)

    async def _settle(self, entry: Order) -> None:
        await self._take_record(entry)
        order = self._desk.orders.get(entry.cloid)
        if order is not None and order.is_live:
            await self._cancel_resting(entry, "its answer was lost; it is taken back rather than left unattended")
        self._drop_children(entry)
        await self._protector.ensure(entry.intent.symbol)

    async def _take_record(self, entry: Order) -> None:
        """The venue's proof of what became of the entry, with all its fills; one that is live stays so."""
        expires = entry.expires_ms if entry.expires_ms is not None else self._desk.venue_clock.now_ms()
        settled = await settle(
            self._desk.client, self._desk.clock, entry.cloid, expires_ms=expires, sent_ms=entry.sent_ms
        )
        if not self._has_its_fills(entry, settled.record):
            await self._fills.poll(entry.sent_ms)
        self._desk.orders.apply_record(entry.cloid, settled.record)
        if settled.record.group is OrderGroup.FILLED:
            await self._fills.complete(entry.cloid)

    def _has_its_fills(self, entry: Order, record: OrderRecord) -> bool:
        """True where the record says that no more has filled than is known here: reading fills costs much weight."""
        known, listed = self._desk.orders.get(entry.cloid), record.order
        return known is not None and listed is not None and listed.original_size - listed.size <= known.filled

    def _drop_children(self, entry: Order) -> None:
        """Children of an entry that ended without a fill were never armed, or were cancelled with it."""
        known = self._desk.orders.get(entry.cloid)
        if known is None or known.is_live or known.filled > 0:
            return
        for order in self._desk.orders.live(entry.intent.symbol):
            if order.intent.group == entry.intent.group and order.intent.group and order.cloid != entry.cloid:
                self._desk.orders.update(order.cloid, status=OrderStatus.NEVER_ARMED, detail="its entry never filled")

    async def _watch_resting(self, approved: Approved, entry: Order) -> None:
        """A resting entry lives as long as its signal; then it is taken back, and only its record says how much had
        filled.
        """
        deadline = approved.signal.created_ms + approved.signal.ttl_ms
        self._handled[entry.cloid] = None
        try:
            while (order := self._desk.orders.get(entry.cloid)) is not None and order.is_live:
                now = self._desk.clock.now_ms()
                if now >= deadline or self._gate(entry.intent.symbol) is not None:
                    await self._cancel_resting(entry, "its time to live is over or entries are stopped")
                    break
                await self._desk.clock.sleep(min(_RESTING_CHECK_S, max(0.001, (deadline - now) / 1000)))
        finally:
            self._handled.pop(entry.cloid, None)
            self._release(approved.reservation)
        self._drop_children(entry)
        await self._protector.ensure(entry.intent.symbol)

    async def _cancel_resting(self, entry: Order, why: str) -> None:
        """Cancel, then settle by the venue's record until it is terminal (S15); whoever comes second waits."""
        while (running := self._canceling.get(entry.cloid)) is not None:
            await running.wait()
        done = self._canceling[entry.cloid] = asyncio.Event()
        pause = 0.25
        try:
            while (order := self._desk.orders.get(entry.cloid)) is not None and order.is_live:
                if entry.cloid not in self._taken_back:
                    await self._desk.client.cancel([(entry.intent.symbol, entry.cloid)])
                self._taken_back.pop(entry.cloid, None)
                await self._take_record(entry)
                known = self._desk.orders.get(entry.cloid)
                if known is None or not known.is_live:
                    break
                await self._desk.clock.sleep(pause)
                pause = min(5.0, pause * 2)
        finally:
            del self._canceling[entry.cloid]
            done.set()
        self._desk.say("entry-ended", entry.intent.symbol, why, episode=entry.intent.episode)

    async def cancel_all(self, why: str) -> int:
        """Take back every live entry; returns how many the venue has shown to be over within half a minute. Those left
        are cancelled on. Protective orders are untouched (S16).
        """
        entries = self._desk.orders.live(purpose=Purpose.ENTRY)
        together = self._desk.pool.spawn("cancel-together", self._cancel_together(entries))
        if together is not None:
            await asyncio.wait([together])
        spawned = (self._desk.pool.spawn(f"cancel-{o.cloid}", self._cancel_resting(o, why)) for o in entries)
        tasks = [task for task in spawned if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=_CANCEL_PATIENCE_S)
        over = [self._desk.orders.get(order.cloid) for order in entries]
        return sum(order is None or not order.is_live for order in over)

    async def _cancel_together(self, entries: Sequence[Order]) -> None:
        """Up to 200 in one action, whose weight is that of six: the exits of a flatten need the minute's weight, too.

        What the venue confirms is not cancelled again; its record still says what of it had filled.
        """
        mine = [order for order in entries if order.cloid not in self._canceling]
        running = {order.cloid: asyncio.Event() for order in mine}
        self._canceling.update(running)
        try:
            for first in range(0, len(mine), MAX_ACTION_ORDERS):
                batch = mine[first : first + MAX_ACTION_ORDERS]
                acks = await self._desk.client.cancel([(order.intent.symbol, order.cloid) for order in batch])
                for order, ack in zip(batch, acks, strict=True):
                    if isinstance(ack, Canceled | AlreadyGone):
                        self._taken_back[order.cloid] = None
        finally:
            for cloid, done in running.items():
                del self._canceling[cloid]
                done.set()

    def _orders(self, approved: Approved, digest: str) -> list[Order]:
        """The entry, its stop, and its target where it has one, as attempts with their cloids, each checked against the
        venue's rules; raises what must not be sent.
        """
        if self._desk.numbers.left < _GROUP:
            raise PerpsTraderError("no intent number is left until the store can be written")
        signal, number = approved.signal, self._desk.numbers.take() or 0
        episode, now = f"{signal.symbol}-{number}", self._desk.clock.now_ms()
        tif = (TimeInForce.ALO if approved.post_only else TimeInForce.GTC) if approved.resting else TimeInForce.IOC
        entry = OrderIntent(
            number=number,
            purpose=Purpose.ENTRY,
            symbol=signal.symbol,
            side=signal.side,
            buy=signal.side.opens_with_buy,
            size=approved.size,
            limit_price=approved.worst_price,
            tif=tif,
            reduce_only=False,
            strategy=signal.strategy,
            created_ms=now,
            signal_id=signal.id,
            episode=episode,
            group=number,
            reason=signal.reason,
            digest=digest,
        )
        self._plans[number] = Plan(
            stop_price=approved.stop_price, stop_limit_price=approved.stop_limit_price,
            target_price=approved.target_price, risk_usd=approved.risk_usd,
        )  # fmt: skip
        expires = self._desk.expiry(self._desk.settings.entry_expiry_ms)
        orders = [self._desk.attempt(entry, 1, expires_ms=expires)]
        levels = [(Purpose.STOP, approved.stop_price, approved.stop_limit_price, True)]
        if approved.target_price is not None:
            levels.append((Purpose.TARGET, approved.target_price, self._target_limit(approved), False))
        for purpose, trigger, limit, is_stop in levels:
            child = self._desk.reduce_only_intent(
                purpose, signal.symbol, signal.side, approved.size, limit, episode=episode, owner=signal.strategy,
                trigger=Trigger(price=trigger, is_stop=is_stop), reason="sent with the entry",
            )  # fmt: skip
            orders.append(self._desk.attempt(msgspec.structs.replace(child, group=number), 1, expires_ms=expires))
        for order in orders:
            self._desk.request(order)
        while len(self._plans) > _PLANS:
            self._plans.pop(next(iter(self._plans)))
        return orders

    def _target_limit(self, approved: Approved) -> Decimal:
        asset, target = self._desk.asset(approved.signal.symbol), approved.target_price or approved.reference_price
        raw = target * (1 - self._desk.settings.stop_limit_beyond_fraction * approved.signal.side.sign)
        return asset.price_down(raw) if approved.signal.side.sign > 0 else asset.price_up(raw)

    def _commit(self, orders: list[Order], approved: Approved) -> Callable[[Transaction], bool]:
        """Claim the signal and store the intents in one transaction; False when it was acted on before (S36)."""

        def write(tx: Transaction) -> bool:
            signal = approved.signal
            if not tx.signals.first_seen(signal.strategy, signal.id, approved.decided_ms):
                return False
            for order in orders:
                if not tx.intents.add(order.intent):
                    return False
                tx.intents.put_order(order)
            return True

        return write

    async def _await_trace(self, trace_ack: Callable[[], Awaitable[object]], deadline_ms: int, symbol: str) -> None:
        """Records may delay an entry for a bounded time and never stop it (S62)."""
        try:
            async with asyncio.timeout(deadline_ms / 1000):
                await trace_ack()
        except Exception as error:
            self._desk.say(
                "trace-gap", symbol, f"the order goes without its trace: {type(error).__name__}: {error}", grave=True
            )

    def _not_sent(self, approved: Approved, reason: Reason, text: str) -> EntryReport:
        self._release(approved.reservation)
        return EntryReport(
            order=None, episode="", refusal=Refusal(reason=reason, value=text, hint="nothing was sent"), text=text
        )


def plan_from(live: Iterable[Order], entry: Order) -> Plan:
    """The plan of an entry that outlived a restart, from the stop and target that went out with it."""
    group = [
        order.intent for order in live if order.intent.group == entry.intent.group and order.intent.trigger is not None
    ]
    stop = next((intent for intent in group if intent.purpose is Purpose.STOP), None)
    target = next((intent for intent in group if intent.purpose is Purpose.TARGET), None)
    return Plan(
        stop_price=stop.trigger.price if stop is not None and stop.trigger is not None else None,
        stop_limit_price=stop.limit_price if stop is not None else None,
        target_price=target.trigger.price if target is not None and target.trigger is not None else None,
    )
