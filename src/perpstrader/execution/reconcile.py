"""Reconciliation: at start, on reconnect and on a timer, until local = venue for positions, open orders and fills
(S54).

The venue is right. A difference counts when two reads, at least 2 s apart and both newer than the last fill, agree on
it; then the local book follows the venue, the symbol is frozen for entries, and a position that is not ours is treated
by policy: adopted, ignored or flattened, never closed because a lookup failed (S53).

Orders that the venue lists and we do not know: a reduce-only trigger of our own epoch over a position is taken in as
its stop or target (its record was lost on the way to the disk); anything else of ours is cancelled. An order that bears
another's name, an operator's own stop included, is never cancelled and never counted as protection: it freezes its
symbol for entries, and ours rests beside it, since both are reduce-only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from perpstrader.domain import (
    ZERO,
    HaltKind,
    Order,
    OrderIntent,
    OrderStatus,
    Purpose,
    Side,
    TimeInForce,
    Trigger,
    VenueError,
    read_cloid,
)
from perpstrader.domain.cloids import CloidParts
from perpstrader.execution.account import AccountWatch
from perpstrader.execution.desk import Desk
from perpstrader.execution.entry import EntryDesk
from perpstrader.execution.exits import ExitDesk
from perpstrader.execution.fills import FillCollector
from perpstrader.execution.positions import FOREIGN, Holding
from perpstrader.execution.protection import Protector
from perpstrader.execution.view import PortfolioView
from perpstrader.venue.contract import AccountState, OpenOrder, OrderGroup, OrderRecord, VenuePosition
from perpstrader.venue.settlement import look_up

_APART_MS: Final = 2_000
_UNREAD_S: Final = 1.0
_MOST_UNREAD_S: Final = 10.0
"""A venue that cannot be read is asked ever less often: each try costs weight that the next answer needs (S18)."""
AGREED_KEY: Final = "agreed_venue_ms"
_STORED_EVERY_MS: Final = 60_000
_LATE_FILL_MS: Final = 240_000
"""A fill that the venue's records show so much later is found yet, by many comparisons."""


T = TypeVar("T")


class Difference(msgspec.Struct, frozen=True):
    """One symbol whose signed sizes disagree."""

    symbol: str
    ours: Decimal
    venues: Decimal


class ReconcileReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one comparison found and did; ``has_money`` is False where funding or cash flows could not be read."""

    complete: bool
    new_fills: int = 0
    differences: tuple[Difference, ...] = ()
    adopted: tuple[str, ...] = ()
    settled: int = 0
    orphans: int = 0
    has_money: bool = True
    text: str = ""

    @property
    def is_done(self) -> bool:
        """True where all was read and nothing is in doubt."""
        return self.complete and self.has_money and not self.differences


class Reconciler:
    """Compares and repairs; at most one comparison runs at a time."""

    def __init__(
        self,
        desk: Desk,
        fills: FillCollector,
        account: AccountWatch,
        entries: EntryDesk,
        exits: ExitDesk,
        protector: Protector,
        view: PortfolioView,
        *,
        halt: Callable[[HaltKind, str], Awaitable[object]],
        read_money: Callable[[], Awaitable[object]],
        on_adopted: Callable[[str, Holding | None, Holding | None], None],
        on_record: Callable[[str, OrderRecord], None],
    ) -> None:
        self._desk = desk
        self._fills = fills
        self._account = account
        self._entries = entries
        self._exits = exits
        self._protector = protector
        self._view = view
        self._halt = halt
        self._read_money = read_money
        self._on_adopted = on_adopted
        self._on_record = on_record
        self.followed: dict[str, Difference] = {}
        """Where two readings agreed against our book, by symbol: what it said, and what it follows since."""
        self._suspects: dict[str, tuple[Decimal, Decimal, int]] = {}
        self._running = False
        self._asked_again = False
        self._rechecking = False
        self._starting = True
        self._knows_fills = False
        self._unread = 0
        self._stored_agreed_ms = 0
        self.compared_ms = self.agreed_ms = 0
        self.agreed_venue_ms = 0
        """When, by the venue's clock, a whole comparison that found no difference began, restarts included."""

    def lost_touch(self) -> None:
        """The stream is down: what happens meanwhile is not seen, so nothing counts as compared until it is back."""
        self._view.reconciled = self._view.in_touch = False

    async def in_touch_again(self) -> ReconcileReport:
        """The stream is back: what it may have missed is read."""
        self._view.in_touch = True
        return await self.run()

    async def run(self) -> ReconcileReport:
        """One comparison; an incomplete one (the venue not readable) leaves ``reconciled`` as it was, and says so.

        It is repeated soon, not at the next turn of the timer, where it was incomplete, found a difference, or was
        asked for again while it ran: what it read first may be older than the reason of the second call.
        """
        if self._running:
            self._asked_again = True
            return ReconcileReport(complete=False, text="a comparison is running already")
        self._running, self._asked_again = True, False
        began_ms, venue_ms = self._desk.clock.now_ms(), self._desk.venue_clock.now_ms()
        try:
            with self._desk.stages.reconcile.measure():
                report = await self._compare()
        except VenueError as error:
            self._desk.reach.missed(began_ms)
            report = ReconcileReport(complete=False, text=str(error))
        finally:
            self._running = False
        self._unread = 0 if report.complete and report.has_money else self._unread + 1
        if report.complete:
            self.compared_ms = began_ms
            if not report.differences:
                self.agreed_ms = began_ms
                self._note_agreed(venue_ms)
        if report.is_done and self._view.in_touch and not self._asked_again:
            self._view.reconciled = True
        unfinished = not report.is_done or self._asked_again
        if unfinished and not self._rechecking and not self._starting:
            self._rechecking = True
            self._desk.pool.spawn("reconcile-again", self._again(self._pause_s(report)))
        return report

    def _pause_s(self, report: ReconcileReport) -> float:
        """Bookkeeping alone is asked for again at leisure: a whole comparison costs weight that others may need."""
        if report.complete and not report.has_money and not report.differences and not self._starting:
            return _MOST_UNREAD_S
        if report.complete and report.has_money:
            return _APART_MS / 1000 + 0.1
        return float(min(_MOST_UNREAD_S, _UNREAD_S * 2 ** max(0, self._unread - 2)))

    async def _again(self, pause_s: float) -> None:
        """The second reading of a difference, as soon as it counts; or of what could not be read."""
        try:
            await self._desk.clock.sleep(pause_s)
        finally:
            self._rechecking = False
        await self.run()

    def is_ignored(self, symbol: str) -> bool:
        """True for a position that is not ours where the policy says to leave such alone (S20's exemption, S53)."""
        holding = self._desk.positions.holdings.get(symbol)
        return self._desk.settings.foreign_policy == "ignore" and holding is not None and holding.owner == FOREIGN

    async def until_done(self) -> ReconcileReport:
        """Compare until the venue has been read whole and nothing is in doubt; protection runs meanwhile."""
        while True:
            report = await self.run()
            if report.is_done:
                self._starting = False
                return report
            await self._desk.clock.sleep(self._pause_s(report))

    async def look_at_list(self) -> Sequence[OpenOrder]:
        """The venue's list; a stop that it lacks is looked after at once, whatever else can not be read (S20)."""
        listed = await self._desk.client.open_orders()
        there = {order.oid for order in listed}
        stops = [(symbol, self._protector.stop_of(symbol)) for symbol in self._desk.positions.holdings]
        self._protect(symbol for symbol, stop in stops if stop is not None and stop.oid not in there)
        return listed

    async def _compare(self) -> ReconcileReport:
        before = self._desk.clock.now_ms()
        if self._knows_fills and not self._view.reconciled:  # each stop by its own record, which is cheap to ask for
            self._protect(self._desk.positions.holdings)
        fills, orders, protected = await asyncio.gather(
            self._fills_since(), self.look_at_list(), self._protect_what_agrees(), return_exceptions=True
        )
        _answer(protected)
        new, listed = _answer(fills), _answer(orders)
        state = await self._account.refresh()
        orphans = await self._open_orders(listed, state)
        self._protect(self._desk.positions.holdings)  # nothing below may delay it
        settled = await self._vanished(listed, before) + await self._orders_in_doubt()
        unread = await self._money()
        differences, adopted = await self._positions(state)
        return ReconcileReport(
            complete=True,
            new_fills=new,
            differences=tuple(differences),
            adopted=tuple(adopted),
            settled=settled,
            orphans=orphans,
            has_money=not unread,
            text=unread,
        )

    async def _protect_what_agrees(self) -> None:
        """At a start, a position that the venue shows as the last life left it waits for no fills to have its stop
        looked after: those cost as much weight as sixty looks at the account, and can be lost again and again (S20).
        """
        on_record = self._with_stops_on_record()
        if self._knows_fills or not on_record:
            return
        try:
            state = await self._account.refresh()
        except VenueError:
            return  # the comparison goes on with what it can read
        held = self._desk.positions
        self._protect(symbol for symbol in on_record if held.size(symbol) == _size_of(state, symbol) != 0)

    def _with_stops_on_record(self) -> list[str]:
        """Held symbols whose stop is known here; one that is not may lie in the venue's list."""
        return [symbol for symbol in self._desk.positions.holdings if self._desk.orders.live(symbol, Purpose.STOP)]

    async def _money(self) -> str:
        """Funding and cash flows; why they could not be read where that is so, which holds up nothing else."""
        try:
            await self._read_money()
        except VenueError as error:
            return str(error)
        return ""

    def _note_agreed(self, venue_ms: int) -> None:
        """On disk now and then: the next life does not have to read what this one knows."""
        if venue_ms - self._stored_agreed_ms >= _STORED_EVERY_MS:
            self._stored_agreed_ms = venue_ms
            self._desk.journal.later(lambda tx: tx.meta.put_int(AGREED_KEY, venue_ms))
        self.agreed_venue_ms = venue_ms

    async def _fills_since(self) -> int:
        """The fills that may be missing here: a live order's since it was sent, but none from long before the books
        last agreed. A stop rests for weeks, and each 20 rows cost weight that protection needs (API sheet 5.1).
        """
        since = self._fills.newest_ms
        live = [order.sent_ms for order in self._desk.orders.live()]
        if live and since:
            since = min(since, max(min(live), self.agreed_venue_ms - _LATE_FILL_MS))
        new = self._fills.take(await self._desk.client.fills(max(0, since - 60_000)))
        self._knows_fills = True
        # It may be gone since the last life.
        self._protect(symbol for symbol in self._with_stops_on_record() if not self._protector.is_settled(symbol))
        return new

    def _protect(self, symbols: Iterable[str]) -> None:
        for symbol in list(symbols):
            self._desk.pool.spawn(f"protect-{symbol}", self._protector.ensure(symbol))

    async def _orders_in_doubt(self) -> int:
        """Orders that a restart or a lost answer left open here: the venue's record decides, entries and exits by
        proof.
        """
        settled = 0
        for order in self._desk.orders.live():
            if self._is_being_handled(order):
                continue
            record = await look_up(self._desk.client, order.cloid)
            if record is None:
                raise VenueError("the venue's order records could not be read")
            if record.group is not OrderGroup.MISSING:
                self._desk.orders.apply_record(order.cloid, record)
                settled += 1
                if record.group is OrderGroup.FILLED:
                    self._desk.pool.spawn(f"fills-{order.cloid}", self._fills.complete(order.cloid, record.status_ms))
                if order.intent.purpose is Purpose.ENTRY and record.group is OrderGroup.LIVE:
                    self._desk.pool.spawn(f"settle-{order.cloid}", self._entries.settle(order))
            elif order.intent.purpose is Purpose.ENTRY:
                self._desk.pool.spawn(f"settle-{order.cloid}", self._entries.settle(order))
            elif order.intent.purpose is Purpose.EXIT:
                self._desk.pool.spawn(f"settle-{order.cloid}", self._exits.settle(order))
            elif order.expires_ms is None or self._desk.venue_clock.now_ms() > order.expires_ms + 3_000:
                self._desk.orders.update(
                    order.cloid, status=OrderStatus.NEVER_ARMED, detail="the venue has no record of it"
                )
                settled += 1
        return settled

    async def _vanished(self, listed: Sequence[OpenOrder], before_ms: int) -> int:
        """Orders that rest here and are no longer listed: their records tell what became of them (S54)."""
        there, gone = {order.oid for order in listed}, 0
        for order in self._desk.orders.live():
            if order.oid is None or order.oid in there or order.updated_ms >= before_ms:
                continue
            if order.status not in (OrderStatus.RESTING, OrderStatus.TRIGGERED):
                continue
            record = await look_up(self._desk.client, order.cloid)
            if record is not None and record.group not in (OrderGroup.MISSING, OrderGroup.LIVE):
                self._on_record(order.cloid, record)
                gone += 1
        return gone

    def _is_being_handled(self, order: Order) -> bool:
        """True for what another task is settling, and for stops and targets that rest as they should."""
        symbol = order.intent.symbol
        if order.intent.purpose in (Purpose.STOP, Purpose.TARGET):
            return self._protector.is_settled(symbol) or self._protector.is_busy(symbol)
        if order.intent.purpose is Purpose.ENTRY:
            return self._entries.is_busy(symbol, order.cloid)
        return self._exits.is_busy(symbol, order.cloid)

    async def _open_orders(self, listed: Sequence[OpenOrder], state: AccountState) -> int:
        """Orders that the venue lists and we do not: orphans of ours are cancelled, foreign ones freeze their symbol
        (S21, S53).
        """
        orphans: list[tuple[str, int]] = []
        foreign = 0
        for order in listed:
            known = self._desk.orders.get(order.cloid)
            if known is not None:
                if known.status.is_terminal and self._is_spare(order):
                    orphans.append((order.symbol, order.oid))
                continue
            parts = read_cloid(order.cloid)
            if parts is not None and parts.epoch == self._desk.epoch:
                if not self._take_in(order, parts, state):
                    orphans.append((order.symbol, order.oid))
            else:
                foreign += 1
                self._freeze(order.symbol, f"order {order.oid} there is not ours")
        self._view.foreign_open_orders = foreign
        if orphans:
            await self._desk.client.cancel_oids(orphans)
            self._desk.say(
                "orphan-orders", "", f"cancelled {len(orphans)} orders of ours that nothing needs", grave=True
            )
        return len(orphans)

    def _is_spare(self, order: OpenOrder) -> bool:
        """True where nothing is lost without it: it opens, its symbol is flat, or a confirmed stop is there (S16)."""
        flat = order.symbol not in self._desk.positions.holdings
        return not order.reduce_only or flat or self._protector.stop_of(order.symbol) is not None

    def _take_in(self, listed: OpenOrder, parts: CloidParts, state: AccountState) -> bool:
        """A trigger of ours that would reduce the symbol's position becomes its stop or target; False for others."""
        holding, theirs = self._desk.positions.holdings.get(listed.symbol), state.positions.get(listed.symbol)
        held = holding.size if holding is not None else theirs.size if theirs is not None else ZERO
        if held == 0 or listed.buy is (held > 0) or not listed.reduce_only or listed.trigger_price is None:
            return False
        intent = OrderIntent(
            number=parts.number if parts.recorded else 0,
            purpose=Purpose.STOP if listed.is_stop else Purpose.TARGET,
            symbol=listed.symbol,
            side=Side.LONG if held > 0 else Side.SHORT,
            buy=listed.buy,
            size=listed.original_size,
            limit_price=listed.limit_price,
            tif=TimeInForce.GTC,
            reduce_only=True,
            strategy=holding.owner if holding is not None else FOREIGN,
            created_ms=listed.time_ms,
            episode=holding.episode if holding is not None else "",
            trigger=Trigger(price=listed.trigger_price, is_stop=listed.is_stop),
            reason="found at the venue",
        )
        self._desk.orders.add(
            Order(
                intent=intent,
                attempt=parts.attempt,
                cloid=listed.cloid or "",
                status=OrderStatus.RESTING,
                sent_ms=listed.time_ms,
                oid=listed.oid,
                updated_ms=listed.time_ms,
            )
        )
        if holding is not None and listed.is_stop and holding.plan.stop_price is None:
            holding.plan = msgspec.structs.replace(
                holding.plan, stop_price=listed.trigger_price, stop_limit_price=listed.limit_price
            )
        self._desk.say("order-taken-in", listed.symbol, f"{intent.purpose} {listed.oid} of ours was found", grave=True)
        return True

    async def _positions(self, state: AccountState) -> tuple[list[Difference], list[str]]:
        differences, adopted = [], []
        ours = {symbol: holding.size for symbol, holding in self._desk.positions.holdings.items()}
        now = self._desk.clock.now_ms()
        for symbol in sorted(set(ours) | set(state.positions)):
            theirs = state.positions.get(symbol)
            size = _size_of(state, symbol)
            if ours.get(symbol, ZERO) == size:
                self._suspects.pop(symbol, None)
                continue
            difference = Difference(symbol, ours.get(symbol, ZERO), size)
            known = self._suspects.get(symbol)
            fresh = state.time_ms > self._fills.newest_ms
            if known is None or known[:2] != (difference.ours, size) or not fresh:
                if fresh:
                    self._suspects[symbol] = (difference.ours, size, now)
                differences.append(difference)
            elif now - known[2] < _APART_MS:
                differences.append(difference)
            else:
                self._suspects.pop(symbol)
                adopted.append(symbol)
                await self._follow(difference, theirs)
        return differences, adopted

    async def _follow(self, difference: Difference, theirs: VenuePosition | None) -> None:
        """Make the local book the venue's, protect it, keep the evidence, and treat what is not ours by policy.

        Halting comes last: it may wait for the disk, and protection may not.
        """
        symbol, before = difference.symbol, self._desk.positions.holdings.get(difference.symbol)
        text = f"fills say {difference.ours}, the venue says {difference.venues}"
        self._freeze(symbol, text)
        self.followed[symbol] = difference
        self._desk.positions.overrule(symbol, theirs.size if theirs else ZERO, theirs.entry_price if theirs else ZERO,
                                      owner=FOREIGN, now_ms=self._desk.venue_clock.now_ms())  # fmt: skip
        holding = self._desk.positions.holdings.get(symbol)
        self._on_adopted(symbol, before, holding)
        if holding is not None and holding.owner == FOREIGN:
            self._desk.say("foreign-position", symbol, text, episode=holding.episode, grave=True)
        self.treat(symbol)
        if before is not None:
            await self._halt(HaltKind.RECONCILIATION, f"{symbol}: {text}; the book follows the venue")

    def treat(self, symbol: str) -> None:
        """Do what is due for a symbol whose position just appeared: flatten one that is not ours where the policy says
        so, leave it alone where it says that, and protect in all other cases.
        """
        holding = self._desk.positions.holdings.get(symbol)
        policy = self._desk.settings.foreign_policy
        if holding is not None and holding.owner == FOREIGN and policy == "flatten":
            self._desk.pool.spawn(
                f"flatten-{symbol}", self._exits.close(symbol, "a position that is not ours, by policy")
            )
        self._desk.pool.spawn(f"protect-{symbol}", self._protector.ensure(symbol))

    def _freeze(self, symbol: str, why: str) -> None:
        if symbol not in self._view.frozen:
            self._view.frozen[symbol] = why
            self._desk.say("symbol-frozen", symbol, why, grave=True)


def _size_of(state: AccountState, symbol: str) -> Decimal:
    position = state.positions.get(symbol)
    return position.size if position is not None else ZERO


def _answer(read: T | BaseException) -> T:
    """What was read; raises what came instead of it."""
    if isinstance(read, BaseException):
        raise read
    return read
