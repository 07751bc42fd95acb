"""The trader: all parts of one account's trading, running together, and stopped by a stated policy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.breakers import Watch, unwatched
from perpstrader.domain import (
    Candle,
    CashFlow,
    Fill,
    FundingPayment,
    HaltKind,
    PerpsTraderError,
    Reason,
    Refusal,
    StateError,
    Trace,
    TraceKind,
    VenueError,
)
from perpstrader.execution import Execution, Note
from perpstrader.monitor import PerformanceMonitor
from perpstrader.recovery import RecoveryServiceContract
from perpstrader.risk.contract import RiskManager
from perpstrader.risk.keeper import RiskKeeper
from perpstrader.runtime import Clock, Heartbeat, Supervisor
from perpstrader.runtime.pool import TaskPool
from perpstrader.settings import Settings
from perpstrader.state import StateStore
from perpstrader.traces.postgres import Shipper
from perpstrader.trader.agent import AgentLease
from perpstrader.trader.alarms import LOOK_S, SKEW_ALARM_MS, Alarms
from perpstrader.trader.counters import RunCounters
from perpstrader.trader.cycle import Cycle
from perpstrader.trader.decisions import Decider
from perpstrader.trader.guard import Guard
from perpstrader.trader.ratchet import Ratchet
from perpstrader.trader.recorder import Recorder
from perpstrader.trader.shipping import deadline_ms, ship_the_rest
from perpstrader.trader.stopping import StopReport, carry_out
from perpstrader.trader.upkeep import Upkeep
from perpstrader.trader.warming import WarmUp
from perpstrader.venue.contract import OrderRecord, RateLimit
from perpstrader.venue.market_data import MarketData
from perpstrader.venue.streams import Streams

_LATE: Final = 4
GUARD_DEADLINE_MS: Final = 600_000
"""Every probe and every check may take its whole deadline, one after another."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often the loops look that only make sure, in seconds; what happens is acted on at once, whatever the pace.

    Without ``streamed_reads`` the streams that only answer reads are not followed: in a replay nobody asks them.
    """

    ping_s: float = 20.0
    protection_s: float = 1.0
    records_s: float = 5.0
    guard_s: float = 1.0
    recovery_s: float = 0.0
    streamed_reads: bool = True


REAL_TIME: Final = Pace()


class Trader:
    """Built by ``trader.build``; ``start`` returns when the account is reconciled and protected, ``stop`` when nothing
    more is sent.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        store: StateStore,
        execution: Execution,
        keeper: RiskKeeper,
        market: MarketData,
        cycle: Cycle,
        decider: Decider,
        recorder: Recorder,
        pool: TaskPool,
        supervisor: Supervisor,
        counters: RunCounters,
        monitor: PerformanceMonitor,
        pace: Pace,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.store = store
        self.execution = execution
        self.keeper = keeper
        self.market = market
        self.streams: Streams
        self.guard: Guard
        self.upkeep: Upkeep
        self.warm_up: WarmUp
        self.agent: AgentLease
        self.ratchet: Ratchet
        self.risk: RiskManager
        self.recovery: RecoveryServiceContract
        self.cycle = cycle
        self.decider = decider
        self.recorder = recorder
        self.counters = counters
        self.monitor = monitor
        self._pool = pool
        self._supervisor = supervisor
        self._pace = pace
        self._stopping = False
        self.stopped: StopReport | None = None
        self.started_ms = 0
        self.connected = False
        self.disconnected_ms = 0
        self.address_budget: RateLimit | None = None
        self.alarms: Alarms | None = None
        self.shipper: Shipper | None = None
        self.halt_writes: Watch = unwatched
        self.start_equity_usd = Decimal(0)
        self.start_cash_flows_usd = Decimal(0)

    # --- life ---

    async def start(self) -> None:
        """Connect, restore, compare with the venue and protect; then confirm leverage, warm up and begin the cycles.

        Raises what makes trading unsafe.
        """
        self.started_ms = self.clock.now_ms()
        if self.alarms is not None:
            self._supervisor.start("alerts", self.alarms.desk.run, deadline_ms=60_000)
            self._supervisor.start("alarms", self.alarms.run, deadline_ms=int(_LATE * 1000 * LOOK_S))
        self._supervisor.start("journal", self.execution.desk.journal.run, deadline_ms=60_000 * 60)
        self._supervisor.start("guard", self.guard.run, deadline_ms=GUARD_DEADLINE_MS)
        await self.execution.restore()
        await self.recovery.restore()
        self._supervisor.start("streams", self.streams.run, deadline_ms=60_000)
        await self.execution.start()
        await self._acknowledge_restore()
        await self._check_account(at_once=True)
        self.start_equity_usd = self.execution.view.equity_usd()
        self.start_cash_flows_usd = self.execution.account.books.cash_flows_usd
        await self._on_equity()
        self._look_after()
        leverage = self.settings.venue.leverage
        await asyncio.gather(
            *(self.execution.confirm_leverage(symbol, leverage) for symbol in self.settings.trader.symbols)
        )
        await self.warm_up.run(self._remember, self.on_bar)
        self._supervisor.start("cycles", self.cycle.run, deadline_ms=60_000 * 60)

    def _look_after(self) -> None:
        """The loops that keep what is held safe; they wait for nothing that only trading needs."""
        self._supervisor.start(
            "protection", self._watch_protection, deadline_ms=int(_LATE * self._pace.protection_s * 1000)
        )
        interval = self.settings.execution.reconcile_interval_ms
        self._supervisor.start("reconcile", self._reconcile, deadline_ms=_LATE * interval)
        interval = max(self.settings.recovery.interval_ms, int(self._pace.recovery_s * 1000))
        self._supervisor.start("recovery", self.recovery.run, deadline_ms=_LATE * interval)
        self._supervisor.start("records", self._flush_records, deadline_ms=int(_LATE * self._pace.records_s * 1000))
        if self.shipper is not None:
            self._supervisor.start("trace-shipper", self.shipper.run, deadline_ms=deadline_ms(self.settings))

    async def _acknowledge_restore(self) -> None:
        """A restored backup is a store like any other once it has been compared with the venue."""
        if await self.store.read(lambda tx: tx.meta.is_restored()):
            await self.store.transact(lambda tx: tx.meta.acknowledge_restore())
            self._note("restored", "this is a restored backup: it was compared with the venue; orders bear a new epoch")

    async def stop(self) -> StopReport:
        """No more entries; then the stop policy: keep every position under its stop, or flatten. When it returns
        nothing more is sent; ``stopped`` has the report from then on.
        """
        self._stopping = True
        await self.recovery.stop()
        policy = self.settings.trader.stop_policy
        self.stopped = report = await carry_out(self.execution, policy, self.settings.trader.stop_deadline_ms)
        trace = self.recorder.make(TraceKind.COMMAND, "", "trader", steps=(report.text,))
        if not report.done:
            self._note("stop-incomplete", report.text)
        if self.alarms is not None:
            await self.alarms.finish()
        await self._supervisor.stop()
        await self._pool.stop()
        await self._last_writes(trace)
        if self.shipper is not None:
            await ship_the_rest(self.shipper)
        await self.execution.desk.client.close()
        return report

    async def _last_writes(self, trace: Trace) -> None:
        try:
            await self.recorder.store(trace)
            await self.recorder.drain()
            await self.recorder.flush()
            await self.execution.desk.journal.flush()
        except PerpsTraderError as error:
            self._note("records", f"not everything was written at the stop: {error}")

    def _remember(self, history: Sequence[Candle]) -> None:
        """Bars from before the start, for everyone who looks back; nobody acts on them."""
        self.cycle.warm_up(history)
        for candle in history:
            self.keeper.on_bar(candle)
            self.recovery.on_bar(candle)

    # --- what the venue's streams tell (venue.streams.StreamHandler) ---

    def on_bar(self, candle: Candle) -> None:
        """A closed bar; at a start it waits until the history before it has been read."""
        if self.warm_up.keeps(candle):
            return
        self.keeper.on_bar(candle)
        self.execution.desk.observer.on_bar(candle)
        self.recovery.on_bar(candle)
        self.cycle.take(candle)

    def on_fills(self, fills: Sequence[Fill]) -> None:
        """Fills of this account."""
        before = self.execution.accountant.fills
        self.execution.on_fills(fills)
        self.counters.fills += self.execution.accountant.fills - before

    def on_order_record(self, cloid: str, record: OrderRecord) -> None:
        """A change of one order."""
        self.execution.on_order_record(cloid, record)

    def on_funding(self, payments: Sequence[FundingPayment]) -> None:
        """Funding payments."""
        self.execution.on_funding(payments)

    def on_cash_flows(self, flows: Sequence[CashFlow]) -> None:
        """Deposits, withdrawals, transfers."""
        self.execution.on_cash_flows(flows)

    def on_market(self, symbol: str) -> None:
        """A new price; the loss limits look at every mark of what is held, and so do its stops (S41, S22)."""
        if symbol in self.execution.desk.positions.holdings and not self._stopping:
            self._look_at_equity()
            self.ratchet.on_market(symbol)
            self.recovery.on_market(symbol)

    def on_implausible(self, symbol: str, text: str) -> None:
        """A price that cannot be is no loss: entries halt, the evidence is kept, nothing is closed (S37)."""
        if not any(halt.kind is HaltKind.IMPLAUSIBLE for halt in self.keeper.state.halts):
            self._pool.spawn(f"implausible-{symbol}", self.halt_in_time(HaltKind.IMPLAUSIBLE, text))

    def on_connected(self, reconnected: bool) -> None:
        """The stream is up; after a break everything that it may have missed is read again."""
        self.connected = True
        if reconnected or not self.execution.view.in_touch:
            self._pool.spawn("reconcile-reconnect", self._come_back())

    def on_disconnected(self, reason: str) -> None:
        """The stream is down; entries wait, protection and exits go on by REST."""
        if self.connected:
            self.disconnected_ms = self.clock.now_ms()
        self.connected = False
        self.execution.reconciler.lost_touch()
        if not self._stopping:
            self._note("stream-down", reason)

    async def _come_back(self) -> None:
        """After a break: what the stream may have missed, and the clock, which may have been set meanwhile."""
        await self.execution.reconciler.in_touch_again()
        await self._check_clock()

    def heartbeats(self) -> list[Heartbeat]:
        """The loops that run, and how long each has been silent."""
        return self._supervisor.heartbeats()

    # --- gates ---

    def gate(self, symbol: str) -> Refusal | None:
        """Asked once more right before an entry goes out (S40): anything that stops entries stops this one too."""
        state = self.keeper.state
        if state.halts:
            halt = state.halts[0]
            hint = "" if halt.until_ms is not None else "look at the cause, then `perpstrader resume` with a reason"
            return Refusal(reason=Reason.HALTED, value=f"{halt.kind.value}: {halt.words}", hint=hint)
        if self._stopping:
            return Refusal(reason=Reason.HALTED, value="stopping", hint="the trader is stopping")
        if self.settings.risk.emergency_stop:
            return Refusal(
                reason=Reason.EMERGENCY_STOP, value="true", hint="set EMERGENCY_STOP to false and start again"
            )
        if (lapse := self.agent.refusal()) is not None:
            return lapse
        if (unreachable := self._unreachable()) is not None:
            return unreachable
        skew, limit = self.execution.desk.venue_clock.skew_ms, self.settings.execution.max_clock_skew_ms
        if abs(skew) > limit:
            return Refusal(
                reason=Reason.CLOCK_SKEW, value=str(skew), limit=str(limit), unit="ms", hint="set this machine's clock"
            )
        if (blocked := self.guard.refusal()) is not None:
            return blocked
        if self.execution.exits.in_progress(symbol):
            return Refusal(
                reason=Reason.EXIT_IN_PROGRESS, value=symbol, hint="an exit of the last position is not settled yet"
            )
        if not self.execution.view.reconciled:
            return Refusal(reason=Reason.NOT_RECONCILED, hint="the books are being compared with the venue")
        return None

    def _unreachable(self) -> Refusal | None:
        """The venue is not heard, or did not answer what it was asked last: whatever is known of it grows old."""
        now_ms, out_ms = self.clock.now_ms(), self.execution.desk.reach.since_ms
        if not self.connected:
            seconds, unit = (now_ms - (self.disconnected_ms or self.started_ms)) // 1000, "s without the venue's stream"
        elif out_ms is not None:
            seconds, unit = (now_ms - out_ms) // 1000, "s without an answer of the venue"
        else:
            return None
        hint = "entries wait until the venue can be reached and the books are compared again"
        return Refusal(reason=Reason.VENUE_UNREACHABLE, value=str(seconds), unit=unit, hint=hint)

    def no_entries(self) -> dict[str, Refusal]:
        """By symbol, what would stop an entry right before it goes out, now; those that may be entered are absent."""
        refusals = {symbol: self.execution.refusal(symbol) for symbol in self.settings.trader.symbols}
        return {symbol: refusal for symbol, refusal in refusals.items() if refusal is not None}

    @property
    def is_stopping(self) -> bool:
        """True from the moment that a stop was asked for."""
        return self._stopping

    def halted(self) -> str | None:
        """What halts entries until it is released or over, or ``None``; ``no_entries`` tells all that stops them."""
        halts = self.keeper.state.halts
        if halts:
            return f"halted ({halts[0].kind.value}): {halts[0].words}"
        return "the trader is stopping" if self._stopping else None

    async def halt(self, kind: HaltKind, reason: str, actor: str = "trader") -> None:
        """No entries from now on; on disk before it returns, or it raises ``StateError`` and halts all the same (S40).
        """
        await self.keeper.halt(kind, reason, actor)

    async def halt_in_time(self, kind: HaltKind, reason: str, actor: str = "trader") -> None:
        """As ``halt``, for what goes on with exits: the disk is waited for no longer than an exit waits for it (S05).
        """
        await self._in_time(self.halt(kind, reason, actor), f"the halt {kind.value}")

    async def _in_time(self, write: Awaitable[object], what: str) -> None:
        """A halt that is not on disk in time holds in memory, and its write is queued."""
        ended = self.halt_writes()
        try:
            async with asyncio.timeout(self.settings.execution.state_deadline_ms / 1000):
                await write
            ended(None)
        except (StateError, TimeoutError) as error:
            ended(error)
            self._note("halt-unwritten", f"{what} holds, but is not on disk yet: {str(error) or 'it took too long'}")

    # --- loops ---

    async def _watch_protection(self, beat: Callable[[], None]) -> None:
        while True:
            beat()
            await self.execution.watch_protection()
            await self.clock.sleep(self._pace.protection_s)

    async def _reconcile(self, beat: Callable[[], None]) -> None:
        interval_s = self.settings.execution.reconcile_interval_ms / 1000
        while True:
            beat()
            await self.clock.sleep(interval_s)
            await self._check_account()
            report = await self.execution.reconciler.run()
            if report.differences:
                self._note(
                    "differs",
                    ", ".join(f"{d.symbol}: {d.ours} here, {d.venues} at the venue" for d in report.differences),
                )
            await self.upkeep.look()
            await self.agent.look()
            self._look_at_equity()
            await self._carry_out_halts()

    async def _check_account(self, *, at_once: bool = False) -> None:
        """The account's mode, the address budget and the leverage, at the mode's pace (S39, S18, S34)."""
        await self._check_clock()
        age = self.clock.now_ms() - self.execution.account.mode_read_ms
        if age < self.settings.execution.account_mode_interval_ms and not at_once:
            return
        self.execution.doubt_leverage()
        try:
            self.address_budget = await self.execution.desk.client.rate_limit()
            self.execution.view.address_budget_left = self.address_budget.left
            await self.execution.account.check_mode()
        except VenueError as error:
            self._note("account-unreadable", str(error))
        except PerpsTraderError as error:
            await self.halt_in_time(HaltKind.CASH_FLOW, str(error))

    async def _check_clock(self) -> None:
        """Measure the venue's clock; expiries are stamped with it, and a large skew stops entries (domain notes, 16).
        """
        try:
            await self.execution.desk.client.venue_time_ms()
        except VenueError as error:
            self._note("clock-unmeasured", str(error))
            return
        skew = self.execution.desk.venue_clock.skew_ms
        if abs(skew) > SKEW_ALARM_MS:
            self._note("clock-skew", f"this machine's clock differs from the venue's by {skew} ms")

    async def _flush_records(self, beat: Callable[[], None]) -> None:
        while True:
            beat()
            await self.clock.sleep(self._pace.records_s)
            await self.recorder.flush()
            await self.recorder.retain()
            await self._check_place()

    async def _check_place(self) -> None:
        """What is written must be found again; where it will not be, nothing new is begun (S40)."""
        if not self.store.is_in_place() and not any(h.kind is HaltKind.STATE for h in self.keeper.state.halts):
            await self.halt_in_time(
                HaltKind.STATE,
                f"{self.store.path} was moved or deleted while the trader runs, and what it writes is lost: stop it, "
                "put the file back or restore a backup, start again",
            )

    # --- loss limits ---

    def _look_at_equity(self) -> None:
        equity_usd = self.execution.view.equity_usd()
        halts = self.keeper.on_equity(equity_usd, self.clock.now_ms())
        self.recorder.observer.on_equity(equity_usd)
        if halts:
            self._pool.spawn("halts", self._carry_out_halts())

    async def _on_equity(self) -> None:
        self.keeper.on_equity(self.execution.view.equity_usd(), self.clock.now_ms())
        await self._carry_out_halts()

    async def _carry_out_halts(self) -> None:
        """Have tripped halts on disk where that is done in time, and flatten where one of them says so."""
        await self._in_time(self.keeper.settle_halts(), "a tripped halt")
        for halt in self.keeper.state.halts:
            if halt.flatten and self.execution.desk.positions.holdings:
                await self.execution.flatten(f"{halt.kind.value}: {halt.reason}")

    def _note(self, kind: str, text: str) -> None:
        self.recorder.take(Note(time_ms=self.clock.now_ms(), kind=kind, symbol="", text=text, grave=True))
