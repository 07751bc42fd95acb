"""Execution: the one road from a verdict to the venue and back; every other room talks to this object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from perpstrader.domain import (
    ZERO,
    Approved,
    CashFlow,
    Fill,
    FundingPayment,
    HaltKind,
    Order,
    OrderStatus,
    Position,
    Purpose,
    Reason,
    Refusal,
    VenueError,
)
from perpstrader.execution.account import AccountWatch, Books
from perpstrader.execution.bookkeeping import Accountant, RiskEvents, restored_holdings
from perpstrader.execution.desk import Desk
from perpstrader.execution.entry import EntryDesk, EntryReport, Gate, plan_from
from perpstrader.execution.exits import ExitDesk, ExitReport, OnSent
from perpstrader.execution.fills import FillCollector, is_ours
from perpstrader.execution.flatten import FlattenReport, flatten
from perpstrader.execution.positions import FOREIGN, FillEffect, Holding, Plan
from perpstrader.execution.protection import Protector
from perpstrader.execution.reconcile import AGREED_KEY, Reconciler
from perpstrader.execution.stop_moves import StopMover
from perpstrader.execution.unstreamed import UnstreamedLook
from perpstrader.execution.view import LiquidationPrices, PortfolioView
from perpstrader.state import StateStore, Transaction
from perpstrader.venue.contract import LeverageSet, OrderGroup, OrderRecord

_RECENT_FILLS: Final = 5_000
_MODE_READS: Final = 10
_MODE_PAUSE_S: Final = 0.5
NUMBER_BLOCK: Final = 10_000
FLOOR_KEY: Final = "floor_ms"
"""Where the store's own history begins: fills before it belong to nobody here."""


class Execution:
    """Entries, exits, protection, reconciliation and bookkeeping of one account; built once, by ``trader``."""

    def __init__(
        self,
        desk: Desk,
        store: StateStore,
        books: Books,
        risk: RiskEvents,
        *,
        gate: Gate,
        release: Callable[[int], None],
        halt: Callable[[HaltKind, str], Coroutine[Any, Any, object]],
        liquidation: LiquidationPrices,
        default_stop_fraction: Decimal,
    ) -> None:
        self.desk = desk
        self._store = store
        self._halt = halt
        self.accountant = Accountant(desk, books, risk)
        self._gate = gate
        self._reserving = False
        self._doubted: dict[str, None] = {}
        self.fills = FillCollector(desk, self._on_effect, self._plan_of)
        self.exits = ExitDesk(desk, self.fills)
        self.protector = Protector(desk, self.fills, self.exits.close, default_stop_fraction, self._is_exempt)
        self.protector.on_plan = self.accountant.book_stop
        self.mover = StopMover(desk, self.protector)
        self.entries = EntryDesk(desk, self.fills, self.protector, gate=self.refusal, release=release)
        self.account = AccountWatch(desk, self.fills, books, halt, self.read_money)
        self.view = PortfolioView(desk, self.account, self.protector, liquidation)
        self.view.exits_in_progress = self.exits.in_progress
        self.reconciler = Reconciler(
            desk, self.fills, self.account, self.entries, self.exits, self.protector, self.view,
            halt=halt, read_money=self.read_money, on_adopted=self.accountant.book_adopted,
            on_record=self.on_order_record,
        )  # fmt: skip
        self.unstreamed = UnstreamedLook(
            desk, self.account, self.protector, self.view, compare=self.reconciler.run,
            look_at_list=self.reconciler.look_at_list, on_record=self.on_order_record,
        )  # fmt: skip

    @property
    def paused_until_ms(self) -> int:
        """No entries before this time of our clock: the venue was halted, or took post-only orders alone."""
        return self.desk.paused_until_ms

    def entries_paused(self) -> bool:
        """True while entries wait because the venue was halted shortly ago."""
        return self.desk.clock.now_ms() < self.desk.paused_until_ms

    # --- start ---

    async def restore(self) -> None:
        """Take up where the store left off: positions, seen fills, live orders with their plans."""
        symbols = list(self.desk.assets)
        saved = await self._store.read(lambda tx: _restored(tx, symbols))
        self.desk.positions.restore(
            saved.holdings, [(fill.symbol, fill.tid, fill.time_ms) for fill in reversed(saved.recent)]
        )
        self.desk.positions.start_at(saved.floor_ms)
        self.reconciler.agreed_venue_ms = saved.agreed_ms
        if len(saved.recent) >= _RECENT_FILLS:  # what is older was applied, and is remembered no longer
            self.desk.positions.start_at(min(fill.time_ms for fill in saved.recent) + 1)
        self.fills.newest_ms = max([saved.floor_ms, *(fill.time_ms for fill in saved.recent)])
        for holding in self.desk.positions.holdings.values():
            self.protector.begin_clock(holding)
        self.desk.orders.restore(_with_booked_fills(order, saved.recent) for order in saved.live)
        self.accountant.restore(saved.funding, saved.flows, floor_ms=saved.floor_ms)
        for order in saved.live:
            if order.intent.purpose is Purpose.ENTRY:
                self.entries.restore_plan(order, plan_from(saved.live, order))

    async def start(self) -> None:
        """Refuse an account whose equity cannot be read, then compare with the venue until nothing is in doubt.

        Positions wait for their protection meanwhile, so one bad answer of a venue that has answered before is asked
        again (S55); raises ``UnsafeError`` for the account's mode, ``VenueError`` when the venue stays away.
        """
        for asked in range(_MODE_READS):
            try:
                await self.account.check_mode()
                break
            except VenueError:
                if asked == _MODE_READS - 1:
                    raise
                await self.desk.clock.sleep(_MODE_PAUSE_S)
        await self.reconciler.until_done()

    # --- decisions ---

    async def submit(
        self,
        approved: Approved,
        *,
        digest: str,
        trace_ack: Callable[[], Awaitable[object]] | None,
        ack_deadline_ms: int,
    ) -> EntryReport:
        """Carry out an approved entry; see ``EntryDesk.submit``."""
        return await self.entries.submit(approved, digest=digest, trace_ack=trace_ack, ack_deadline_ms=ack_deadline_ms)

    async def close(self, symbol: str, reason: str, *, on_sent: OnSent | None = None) -> ExitReport:
        """Close the symbol's whole position; see ``ExitDesk.close``."""
        return await self.exits.close(symbol, reason, on_sent=on_sent)

    async def reduce(self, symbol: str, size: Decimal, reason: str, *, on_sent: OnSent | None = None) -> ExitReport:
        """Make the symbol's position smaller by ``size``."""
        return await self.exits.reduce(symbol, size, reason, on_sent=on_sent)

    async def flatten(self, reason: str, *, symbols: Sequence[str] | None = None) -> FlattenReport:
        """Cancel entries, close everything, verify, and say what happened to each position (S05); halting is the
        caller's first step.
        """
        if symbols is None:  # what the policy leaves alone is left alone
            symbols = [symbol for symbol in self.desk.assets if not self.reconciler.is_ignored(symbol)]
        return await flatten(self.desk, self.entries, self.exits, self.account, reason, symbols)

    def position(self, symbol: str) -> Position | None:
        """The open position of a symbol."""
        return self.view.position(symbol)

    async def confirm_leverage(self, symbol: str, leverage: int) -> bool:
        """Set the leverage at the venue and read it back; True when it is what was asked for, in cross mode (S34)."""
        if self.view.leverage.get(symbol) == leverage and symbol not in self._doubted:
            return True
        self.view.leverage.pop(symbol, None)
        try:
            if await self.desk.client.leverage(symbol) != (leverage, True):
                ack = await self.desk.client.set_leverage(symbol, leverage)
                if not isinstance(ack, LeverageSet):
                    self.desk.say("leverage-refused", symbol, getattr(ack, "text", "no answer"), grave=True)
                    return False
                if await self.desk.client.leverage(symbol) != (leverage, True):
                    return False
        except VenueError as error:
            self.desk.say("leverage-unconfirmed", symbol, str(error))
            return False
        self.view.leverage[symbol] = leverage
        self._doubted.pop(symbol, None)
        return True

    def doubt_leverage(self) -> None:
        """Have each symbol's leverage read again before its next entry: a person may have changed it (S34)."""
        self._doubted.update(dict.fromkeys(self.view.leverage))

    # --- what the venue tells ---

    def on_fills(self, fills: Sequence[Fill]) -> None:
        """Fills from the stream."""
        self.fills.take(fills)

    def on_funding(self, payments: Sequence[FundingPayment]) -> None:
        """Funding from the stream."""
        self.accountant.book_funding(payments)

    def on_cash_flows(self, flows: Sequence[CashFlow]) -> None:
        """Deposits, withdrawals and transfers from the stream."""
        self.accountant.book_flows(flows)

    def on_order_record(self, cloid: str, record: OrderRecord) -> None:
        """A change of one of our orders from the stream; protection looks again where a stop went away."""
        before = self.desk.orders.get(cloid)
        if before is None:
            return
        after = self.desk.orders.apply_record(cloid, record)
        if record.group is OrderGroup.FILLED and after is not None and after.is_live:
            self.desk.pool.spawn(f"fills-{cloid}", self.fills.complete(cloid, record.status_ms))
        if (
            after is None
            or before.intent.purpose not in (Purpose.STOP, Purpose.TARGET)
            or before.status == after.status
        ):
            return
        if after.status in (OrderStatus.TRIGGERED, OrderStatus.CANCELED, OrderStatus.REJECTED, OrderStatus.PARTIAL):
            stop = self.protector.stop_of(after.intent.symbol)
            if stop is not None and stop.cloid == cloid:
                self.protector.lost(after.intent.symbol)
            self._look_again(after.intent.symbol)

    def refusal(self, symbol: str) -> Refusal | None:
        """What stops an entry right before it goes out: what is known here, then what the trader's gate says (S03)."""
        if self.entries_paused():
            left = (self.desk.paused_until_ms - self.desk.clock.now_ms()) // 1000
            return Refusal(
                reason=Reason.VENUE_UNREACHABLE, value=str(left), unit="s left",
                hint="the venue was halted or took post-only orders alone; entries wait until its books are back",
            )  # fmt: skip
        if self.exits.in_progress(symbol):
            hint = "an exit of the last position is not settled yet"
            return Refusal(reason=Reason.EXIT_IN_PROGRESS, value=symbol, hint=hint)
        if self.protector.has_leftovers(symbol):
            hint = "a stop or target of the last position may still be at the venue and would reduce the next one"
            return Refusal(reason=Reason.EXIT_IN_PROGRESS, value=symbol, hint=hint)
        return self._gate(symbol)

    def _plan_of(self, order: Order) -> Plan | None:
        return self.entries.plan_of(order)

    def _is_exempt(self, symbol: str) -> bool:
        return self.reconciler.is_ignored(symbol)

    async def read_money(self) -> None:
        """Read funding and cash flows that a stream may have missed, and book them; raises ``VenueError``."""
        client = self.desk.client
        self.accountant.book_funding(await client.funding(max(0, self.accountant.newest_funding_ms)))
        self.accountant.book_flows(await client.cash_flows(max(0, self.accountant.newest_flow_ms)))

    async def watch_protection(self) -> None:
        """One look at every symbol with a position or an order of ours; what is not as it should be is taken up."""
        symbols = dict.fromkeys([*self.desk.positions.holdings, *(o.intent.symbol for o in self.desk.orders.live())])
        for symbol in symbols:
            if not self.protector.is_settled(symbol):
                self._look_again(symbol)
        self.unstreamed.look()
        if self.desk.numbers.left < NUMBER_BLOCK // 2 and not self._reserving:
            self._reserving = True
            self.desk.pool.spawn("intent-numbers", self._reserve_numbers())

    async def _reserve_numbers(self) -> None:
        """Another block of intent numbers, well before the one in use ends; without it only exits and stops go out."""
        try:
            first = await self._store.transact(lambda tx: tx.intents.reserve_numbers(NUMBER_BLOCK))
            self.desk.numbers.extend(first, NUMBER_BLOCK)
        finally:
            self._reserving = False

    async def journal_settled(self) -> None:
        """Everything that happened so far is on disk."""
        await self.desk.journal.flush()

    # --- inside ---

    def _on_effect(self, effect: FillEffect, order: Order | None) -> None:
        """A fill in memory: first protection, then the notes and the books."""
        symbol = effect.fill.symbol
        live = self.desk.positions.holdings.get(symbol)
        if live is not None and not self.protector.is_settled(symbol):
            self.protector.lost(symbol)
        if effect.opened and effect.holding.owner == FOREIGN:
            self.reconciler.treat(symbol)
        else:
            self._look_again(symbol)
        self.accountant.book_fill(effect, order)
        self._tell(effect, order)

    def _look_again(self, symbol: str) -> None:
        self.desk.pool.spawn(f"protect-{symbol}", self.protector.ensure(symbol))

    def _tell(self, effect: FillEffect, order: Order | None) -> None:
        fill = effect.fill
        holding: Holding = effect.ended if effect.ended is not None else effect.holding
        side, purpose = "bought" if fill.buy else "sold", order.intent.purpose.value if order is not None else "foreign"
        text = f"{side} {fill.size} at {fill.price} ({purpose})"
        self.desk.say("fill", fill.symbol, text, episode=holding.episode, strategy=holding.owner)
        if effect.ended is not None:
            text = f"flat; net {effect.ended.net_usd:.6f} USD"
            self.desk.say("episode-ended", fill.symbol, text, episode=effect.ended.episode, strategy=effect.ended.owner)
        if fill.forced:
            self.desk.say("liquidation", fill.symbol, text, episode=holding.episode, grave=True)
            self.desk.pool.spawn(
                "halt-liquidation", self._halt(HaltKind.LIQUIDATION, f"{fill.symbol} was {fill.forced}: {text}")
            )
        elif order is None and not is_ours(fill, self.desk.epoch):
            self.view.frozen.setdefault(fill.symbol, f"fill {fill.tid} there is not ours")
            self.desk.say("foreign-fill", fill.symbol, text, grave=True)


def _with_booked_fills(order: Order, booked: Sequence[Fill]) -> Order:
    """The order with the fills that are on disk: its own row may be one write ahead of them or behind."""
    fills = [f for f in booked if f.cloid == order.cloid or (order.oid is not None and f.oid == order.oid)]
    filled = sum((fill.size for fill in fills), ZERO)
    paid = sum((fill.size * fill.price for fill in fills), ZERO)
    return msgspec.structs.replace(order, filled=filled, average_price=paid / filled if filled else None)


class _Restored(msgspec.Struct, frozen=True):
    holdings: list[Holding]
    recent: list[Fill]
    live: tuple[Order, ...]
    funding: tuple[FundingPayment, ...]
    flows: tuple[CashFlow, ...]
    floor_ms: int
    agreed_ms: int


def _restored(tx: Transaction, symbols: list[str]) -> _Restored:
    floor = tx.meta.get_int(FLOOR_KEY) or 0
    recent = [booked.fill for booked in tx.ledger.recent_fills(_RECENT_FILLS)]
    return _Restored(
        restored_holdings(tx, symbols),
        recent,
        tx.intents.live_orders(),
        tx.ledger.funding_since(floor),
        tx.ledger.cash_flows_since(floor),
        floor,
        tx.meta.get_int(AGREED_KEY) or 0,
    )
