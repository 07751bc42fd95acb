"""Reconciliation: at start, on reconnect and on a timer, until local = venue for positions, open orders and fills
(S54).

The venue is right. A difference counts when two reads, at least 2 s apart and both newer than the last fill, agree on
it; then the local book follows the venue, the symbol is frozen for entries, and a position that is not ours is treated
by policy: adopted, ignored or flattened, never closed because a lookup failed (S53).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain import ZERO, HaltKind, Order, OrderStatus, Purpose, VenueError, read_cloid
from perpstrader.execution.account import AccountWatch
from perpstrader.execution.desk import Desk
from perpstrader.execution.entry import EntryDesk
from perpstrader.execution.exits import ExitDesk
from perpstrader.execution.fills import FillCollector
from perpstrader.execution.positions import Holding
from perpstrader.execution.protection import Protector
from perpstrader.execution.view import PortfolioView
from perpstrader.venue.contract import AccountState, OpenOrder, OrderGroup, VenuePosition
from perpstrader.venue.settlement import look_up

_APART_MS: Final = 2_000
_FOREIGN: Final = "foreign"


class Difference(msgspec.Struct, frozen=True):
    """One symbol whose signed sizes disagree."""

    symbol: str
    ours: Decimal
    venues: Decimal


class ReconcileReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one comparison found and did."""

    complete: bool
    new_fills: int = 0
    differences: tuple[Difference, ...] = ()
    adopted: tuple[str, ...] = ()
    settled: int = 0
    orphans: int = 0
    text: str = ""


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
        on_adopted: Callable[[Holding], None],
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
        self._suspects: dict[str, tuple[Decimal, Decimal, int]] = {}
        self._running = False
        self.ignored: dict[str, None] = {}

    async def run(self) -> ReconcileReport:
        """One comparison; an incomplete one (the venue not readable) leaves ``reconciled`` as it was, and says so."""
        if self._running:
            return ReconcileReport(complete=False, text="a comparison is running already")
        self._running = True
        try:
            report = await self._compare()
        except VenueError as error:
            return ReconcileReport(complete=False, text=str(error))
        finally:
            self._running = False
        if report.complete:
            self._view.reconciled = not report.differences
        return report

    async def until_done(self) -> ReconcileReport:
        """Compare until the venue has been read whole and nothing is in doubt; protection runs meanwhile."""
        while True:
            report = await self.run()
            if report.complete and not report.differences:
                return report
            await self._desk.clock.sleep(_APART_MS / 1000 + 0.1 if report.complete else 1.0)

    async def _compare(self) -> ReconcileReport:
        new = await self._fills_since()
        await self._read_money()
        settled = await self._orders_in_doubt()
        state = await self._account.refresh()
        listed = await self._desk.client.open_orders()
        orphans = await self._open_orders(listed)
        differences, adopted = await self._positions(state)
        for symbol in list(self._desk.positions.holdings):
            self._desk.pool.spawn(f"protect-{symbol}", self._protector.ensure(symbol))
        return ReconcileReport(
            complete=True,
            new_fills=new,
            differences=tuple(differences),
            adopted=tuple(adopted),
            settled=settled,
            orphans=orphans,
        )

    async def _fills_since(self) -> int:
        since = self._fills.newest_ms
        live = [order.sent_ms for order in self._desk.orders.live()]
        if live and since:
            since = min(since, *live)
        return self._fills.take(await self._desk.client.fills(max(0, since - 60_000)))

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

    def _is_being_handled(self, order: Order) -> bool:
        """True for what another task is settling, and for stops and targets that rest as they should."""
        symbol = order.intent.symbol
        if order.intent.purpose in (Purpose.STOP, Purpose.TARGET):
            return self._protector.is_settled(symbol) or self._protector.is_busy(symbol)
        if order.intent.purpose is Purpose.ENTRY:
            return self._entries.is_busy(symbol, order.cloid)
        return self._exits.is_busy(symbol, order.cloid)

    async def _open_orders(self, listed: Sequence[OpenOrder]) -> int:
        """Orders that the venue lists and we do not: orphans of ours are cancelled, foreign ones freeze their symbol
        (S21, S53).
        """
        orphans: list[tuple[str, int]] = []
        foreign = 0
        for order in listed:
            if self._desk.orders.get(order.cloid) is not None:
                continue
            parts = read_cloid(order.cloid)
            if parts is not None and parts.epoch == self._desk.epoch:
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

    async def _positions(self, state: AccountState) -> tuple[list[Difference], list[str]]:
        differences, adopted = [], []
        ours = {symbol: holding.size for symbol, holding in self._desk.positions.holdings.items()}
        now = self._desk.clock.now_ms()
        for symbol in sorted(set(ours) | set(state.positions)):
            theirs = state.positions.get(symbol)
            size = theirs.size if theirs is not None else ZERO
            if ours.get(symbol, ZERO) == size or symbol in self.ignored:
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
        """Make the local book the venue's, keep the evidence, and treat what is not ours by policy."""
        symbol, holding = difference.symbol, self._desk.positions.holdings.get(difference.symbol)
        text = f"fills say {difference.ours}, the venue says {difference.venues}"
        self._freeze(symbol, text)
        if holding is not None:
            await self._halt(HaltKind.RECONCILIATION, f"{symbol}: {text}; the book follows the venue")
        policy = self._desk.settings.foreign_policy
        self._desk.positions.overrule(symbol, theirs.size if theirs else ZERO, theirs.entry_price if theirs else ZERO,
                                      owner=_FOREIGN, now_ms=self._desk.venue_clock.now_ms())  # fmt: skip
        adopted = self._desk.positions.holdings.get(symbol)
        if adopted is None:
            await self._protector.ensure(symbol)
            return
        self._on_adopted(adopted)
        self._desk.say("foreign-position", symbol, f"{text}; policy {policy}", episode=adopted.episode, grave=True)
        if policy == "ignore":
            self.ignored[symbol] = None
        elif policy == "flatten":
            self._desk.pool.spawn(
                f"flatten-{symbol}", self._exits.close(symbol, "a position that is not ours, by policy")
            )
        else:
            self._desk.pool.spawn(f"protect-{symbol}", self._protector.ensure(symbol))

    def _freeze(self, symbol: str, why: str) -> None:
        if symbol not in self._view.frozen:
            self._view.frozen[symbol] = why
            self._desk.say("symbol-frozen", symbol, why, grave=True)
