"""The one owner of the risk state and the halts: in memory at once, on disk in ``state.db`` (S35, S37, S39-S41).

Memory leads: a loss counts and a halt holds from the moment it is known. The day's realised totals have one source of
truth, the ledger, and are read from it again at each start; the stored row holds what the ledger cannot tell (equity at
00:00 UTC, peak, loss streak, entries). An operator's halt is on disk before ``halt`` returns; a halt that a limit
tripped is queued at once and on disk when ``settle_halts`` returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from perpstrader.domain import ZERO, Candle, Halt, HaltKind, RiskState, StateError, UnsafeError, plain, usd
from perpstrader.risk import losses
from perpstrader.risk.conduct import ConductMemory, read_conduct
from perpstrader.risk.contract import HaltChange
from perpstrader.risk.saved import DAY_MS, Saved, day_start_ms, read_saved, undelayed
from perpstrader.risk.volatility import REFERENCE, HourlyMove
from perpstrader.runtime.clock import Clock
from perpstrader.settings.limits import RiskSettings
from perpstrader.state import StateStore, Transaction, utc_day

Persist = Callable[[Callable[[Transaction], object]], None]
"""Queues a write; it reaches the disk in order, and after a failure again."""

_MINUTE_MS: Final = 60_000
_LIMITS: Final = "risk limits"


class RiskKeeper:
    """Keeps ``RiskState``; entries are refused until ``load`` has read what is on disk.

    Times are UTC milliseconds of the clock and of the venue; a day begins with the first of both that shows it, and a
    day never comes back.
    """

    def __init__(self, limits: RiskSettings, store: StateStore, clock: Clock, persist: Persist) -> None:
        self._limits = limits
        self._store = store
        self._clock = clock
        self._persist = persist
        self._durable = asyncio.Lock()
        self._equity_usd: Decimal | None = None
        self._delayed_usd = ZERO  # deposits of today that limits do not count yet
        self._unabsorbed_usd = ZERO  # cash flows that peak and limits do not know yet
        self._judged: tuple[Decimal, int] | None = None  # the equity and the state that were judged last
        self._move = HourlyMove()
        self.conduct = ConductMemory(limits)
        self._unsettled: list[Halt] = []
        self._tripped: list[Halt] = []
        self._row_queued = False
        self._readable = False
        self.on_halt: Callable[[HaltChange], None] = lambda change: None
        now_ms = clock.now_ms()
        unread = Halt(kind=HaltKind.STATE, since_ms=now_ms, reason="the risk state is not read yet", actor=_LIMITS)
        self._unread = unread
        self._state = RiskState(version=0, day=utc_day(now_ms), halts=(unread,))

    # --- reading ---

    @property
    def state(self) -> RiskState:
        """The day so far and the halts in force now: a new day, and a halt whose time is over, show at once."""
        self._tick(self._clock.now_ms())
        return self._state

    @property
    def judged_state(self) -> RiskState:
        """``state`` with the market's move and what was tried lately: what a decision is judged by (S41)."""
        now_ms = self._clock.now_ms()
        return replace(
            self.state, market_move_fraction=self._move.fraction(now_ms), conduct=self.conduct.now(now_ms)
        )

    @property
    def size_multiplier(self) -> Decimal:
        """What sizes are multiplied with: 1, or 1/2 in a drawdown or while the drawdown is not known."""
        return losses.size_multiplier(self._limits, self._state.peak_equity_usd, self._equity_usd)

    @property
    def inactive(self) -> tuple[str, ...]:
        """The limits that have no live input yet, in words (S41)."""
        found = []
        if self._equity_usd is None or self._state.day_start_equity_usd is None:
            found += ["daily loss by equity: no equity was read today", "drawdown: no equity was read since the start"]
        if self._move.fraction(self._clock.now_ms()) is None:
            found.append(f"volatility: no bar of {REFERENCE} has closed within the hour")
        return tuple(found)

    # --- what moved ---

    def on_bar(self, candle: Candle) -> None:
        """A closed bar; only the reference coin's matter here."""
        if candle.symbol == REFERENCE:
            self._move.take(candle)

    def on_fill(self, net_usd: Decimal, fee_usd: Decimal, time_ms: int) -> None:
        """The fill's realised profit, net of its fee, counts for its UTC day, exactly once and unaltered (S35, S37)."""
        if self._plausible("a fill's profit", net_usd, time_ms) and self._is_today(time_ms):
            state = self._state
            self._change(realized_usd=state.realized_usd + net_usd, fees_usd=state.fees_usd + fee_usd)
            self._judge_day()

    def on_funding(self, usd: Decimal, time_ms: int) -> None:
        """The payment counts for its UTC day."""
        if self._plausible("a funding payment", usd, time_ms) and self._is_today(time_ms):
            state = self._state
            self._change(realized_usd=state.realized_usd + usd, funding_usd=state.funding_usd + usd)
            self._judge_day()

    def on_episode_end(self, symbol: str, net_usd: Decimal, time_ms: int) -> None:
        """A losing round trip lengthens the streak, any other ends it; entries do neither (RM-27)."""
        if net_usd.is_finite():
            self.conduct.on_exit(symbol, net_usd, time_ms)
        if not self._plausible(f"the profit of a position in {symbol}", net_usd, time_ms):
            return
        self._tick(time_ms)
        streak = self._state.loss_streak + 1 if net_usd < 0 else 0
        self._change(loss_streak=streak)
        if streak >= self._limits.loss_streak_limit:
            now_ms = self._clock.now_ms()
            reason = f"{streak} losing round trips in a row, limit {self._limits.loss_streak_limit}"
            self._trip(HaltKind.LOSS_STREAK, reason, until_ms=now_ms + self._limits.loss_streak_cooldown_ms)

    def on_cash_flow(self, usd: Decimal, time_ms: int) -> None:
        """Neither profit nor loss: start of day, peak and limits move with it; a deposit raises limits tomorrow (S39).

        The peak moves in proportion, so that a withdrawal leaves the drawdown fraction as it was (RM-28).
        """
        if not usd.is_finite():
            self._trip(HaltKind.IMPLAUSIBLE, f"a cash flow of {usd} USD at {time_ms}")
            return
        today = self._is_today(time_ms)
        if self._equity_usd is None:
            self._unabsorbed_usd += usd
        if today:
            self._delayed_usd = undelayed(self._delayed_usd, usd)
            self._change(cash_flows_usd=self._state.cash_flows_usd + usd)
        elif self._state.day_start_equity_usd is not None:
            self._change(day_start_equity_usd=self._state.day_start_equity_usd + usd)
        if self._equity_usd is None:
            return
        self._absorb(usd, self._equity_usd)
        self._equity_usd += usd
        self._change(limits_equity_usd=self._equity_usd - self._delayed_usd)

    def on_entry(self, symbol: str, now_ms: int) -> None:
        """One more entry today, of this symbol, and in this minute."""
        self._tick(now_ms)
        state = self._state
        recent = [time_ms for time_ms in state.recent_entries_ms if now_ms - time_ms < _MINUTE_MS]
        counts = {**state.entries_by_symbol, symbol: state.entries_by_symbol.get(symbol, 0) + 1}
        self._change(entries=state.entries + 1, entries_by_symbol=counts, recent_entries_ms=(*recent, now_ms))

    def on_equity(self, equity_usd: Decimal, now_ms: int) -> tuple[Halt, ...]:
        """Judge the equity at mark; the halts that tripped since the last call, by whatever event (S41).

        They hold in memory already; await ``settle_halts`` before acting on them. A reading that moved by more than the
        account without a cash flow halts and is not judged; the next one is judged against it (S37).
        """
        self._tick(now_ms)
        if (equity_usd, self._state.version) == self._judged:
            return ()
        before_usd, self._equity_usd = self._equity_usd, equity_usd if equity_usd.is_finite() else self._equity_usd
        if not equity_usd.is_finite():
            self._trip(HaltKind.IMPLAUSIBLE, f"an equity of {equity_usd} USD")
        elif before_usd is not None and before_usd > 0 and abs(equity_usd - before_usd) > before_usd:
            self._trip(HaltKind.IMPLAUSIBLE, f"equity went from {plain(before_usd)} to {plain(equity_usd)} USD at once")
        else:
            self._take_equity(equity_usd)
            self._judge_day()
            self._judge_drawdown(equity_usd)
            self._judged = (equity_usd, self._state.version)
        tripped, self._tripped = tuple(self._tripped), []
        return tripped

    # --- halts ---

    async def load(self) -> None:
        """Read what is on disk and the day's totals from the ledger; what cannot be read halts (S40, RM-29)."""
        try:
            await self._load()
        except StateError as error:
            self._state = replace(self._state, halts=self._memory_halts())
            self._trip(HaltKind.STATE, f"the risk state cannot be read: {error}")

    async def halt(
        self, kind: HaltKind, reason: str, actor: str, flatten: bool = False, until_ms: int | None = None
    ) -> Halt:
        """Entries are stopped at once, and on disk when this returns; the halt in force (S40).

        Raises ``StateError`` when it cannot be written: memory stays halted, and the write is queued, as it is for who
        gives up waiting. A kind already in force only gets stricter.
        """
        now_ms = self._clock.now_ms()
        self._tick(now_ms)
        new = Halt(kind=kind, since_ms=now_ms, reason=reason, actor=actor, until_ms=until_ms, flatten=flatten)
        self._begin(new)
        try:
            async with self._durable:
                await self._store.transact(lambda tx: _write_halt(tx, new))
                self._begin(new)  # a resume may have passed while the lock was waited for
        except BaseException:
            self._begin(new)
            for halt in [halt for halt in self._state.halts if halt.kind is kind]:
                self._write_later(halt)
            raise
        return next(halt for halt in self._state.halts if halt.kind is kind)

    async def settle_halts(self) -> None:
        """Every halt that limits tripped is on disk; raises ``StateError`` when it cannot be written, still halted."""
        async with self._durable:
            await self._settle()

    async def resume(self, actor: str, reason: str) -> tuple[Halt, ...]:
        """The halts that are released now, recorded with actor and reason; the first thing that can release them (S40).

        A daily loss beyond its limit stays until 00:00 UTC: the next mark would trip it again. Releasing a drawdown
        begins a new peak at today's equity. Raises ``UnsafeError`` without actor and reason, ``StateError`` when the
        state on disk cannot be read or written: then nothing is released.
        """
        if not actor.strip() or not reason.strip():
            raise UnsafeError("a resume needs an actor and a reason; say who resumes and why")
        self._tick(self._clock.now_ms())
        async with self._durable:
            await self._settle()
            if not self._readable:
                await self._load()
            released = tuple(halt for halt in self._state.halts if not self._must_stay(halt))
            after = self._row(self._released(released))
            now_ms = self._clock.now_ms()
            await self._store.transact(lambda tx: _write_release(tx, released, after, actor, reason, now_ms))
            self._change_to(self._released(released))
            self._tell_over(released, actor, reason)
        return released

    # --- inside ---

    async def _load(self) -> None:
        saved = await self._store.read(lambda tx: read_saved(tx, self._clock.now_ms()))
        since_ms = self._clock.now_ms() - self.conduct.horizon_ms
        self.conduct.restore(await self._store.read(lambda tx: read_conduct(tx, since_ms)))
        self._readable = True
        self._unabsorbed_usd, self._delayed_usd = saved.unabsorbed_usd, saved.delayed_usd
        tripped = self._memory_halts()
        self._state = _restored(saved, self._state)
        for halt in tripped:
            self._enforce(halt)
        self._tick(self._clock.now_ms())

    def _memory_halts(self) -> tuple[Halt, ...]:
        """What halted already in this process, without the halt that only says that nothing was read yet."""
        return tuple(halt for halt in self._state.halts if halt is not self._unread)

    async def _settle(self) -> None:
        waiting = [halt for halt in self._unsettled if halt in self._state.halts]
        if waiting:
            await self._store.transact(lambda tx: [tx.halts.activate(halt) for halt in waiting])
        self._unsettled = [halt for halt in self._unsettled if halt not in waiting and halt in self._state.halts]

    def _tick(self, now_ms: int) -> None:
        """A new UTC day resets its counters once, and only them; a halt whose time is over ends."""
        clock_ms = self._clock.now_ms()
        day = utc_day(max(clock_ms, min(now_ms, clock_ms + _MINUTE_MS)))
        if day > self._state.day:
            self._delayed_usd = ZERO
            self._change(
                day=day, realized_usd=ZERO, fees_usd=ZERO, funding_usd=ZERO, cash_flows_usd=ZERO, entries=0,
                entries_by_symbol={}, day_start_equity_usd=self._equity_usd, limits_equity_usd=self._equity_usd,
            )  # fmt: skip
        over = tuple([h for h in self._state.halts if h.until_ms is not None and h.until_ms <= clock_ms])
        if over:
            self._change_to(self._released(over))
            self._persist(lambda tx: self._write_over(tx, over))
            self._tell_over(over, _LIMITS, "its time is over")

    def _is_today(self, time_ms: int) -> bool:
        self._tick(time_ms)
        return utc_day(min(time_ms, self._clock.now_ms() + _MINUTE_MS)) >= self._state.day

    def _plausible(self, what: str, net_usd: Decimal, time_ms: int) -> bool:
        """A profit beyond the account halts with the evidence and still counts; only what is no number does not."""
        self._tick(time_ms)
        known = (self._equity_usd, self._state.day_start_equity_usd, self._state.peak_equity_usd)
        most = max((abs(amount) for amount in known if amount is not None), default=None)
        if not net_usd.is_finite() or (most is not None and abs(net_usd) > most):
            account = "unknown" if most is None else plain(most)
            self._trip(HaltKind.IMPLAUSIBLE, f"{what} of {net_usd} USD at {time_ms}, the account holds {account}")
        return net_usd.is_finite()

    def _take_equity(self, equity_usd: Decimal) -> None:
        state = self._state
        if self._unabsorbed_usd:
            self._absorb(self._unabsorbed_usd, equity_usd - self._unabsorbed_usd)
            self._unabsorbed_usd = ZERO
        peak, start = self._state.peak_equity_usd, state.day_start_equity_usd
        if start is None:  # first equity of the day: what was lost today already belongs to the day
            start = equity_usd - state.cash_flows_usd + max(ZERO, -state.realized_usd)
        peak = equity_usd if peak is None else max(peak, equity_usd)
        limits_equity = equity_usd - self._delayed_usd
        if (peak, start, limits_equity) != (state.peak_equity_usd, state.day_start_equity_usd, state.limits_equity_usd):
            durable = (peak, start) != (state.peak_equity_usd, state.day_start_equity_usd)
            self._change_to(
                replace(
                    self._state, peak_equity_usd=peak, day_start_equity_usd=start, limits_equity_usd=limits_equity
                ),
                durable=durable,
            )

    def _absorb(self, flow_usd: Decimal, before_usd: Decimal) -> None:
        peak, after_usd = self._state.peak_equity_usd, before_usd + flow_usd
        if peak is None:
            return
        scalable = before_usd > 0 and after_usd > 0
        self._change(peak_equity_usd=usd(peak * after_usd / before_usd if scalable else max(ZERO, peak + flow_usd)))

    def _judge_day(self) -> None:
        bounds = losses.day_bounds(self._limits, self._state)
        if bounds is None:
            return
        loss_usd, until_ms = losses.day_loss_usd(self._state, self._equity_usd), day_start_ms(self._state.day) + DAY_MS
        if loss_usd > bounds.flatten_usd:
            reason = f"lost {plain(usd(loss_usd))} USD today, limit {plain(usd(bounds.flatten_usd))}"
            self._trip(HaltKind.DAILY_LOSS, reason, until_ms=until_ms, flatten=True)
        elif loss_usd > bounds.entry_stop_usd:
            reason = f"lost {plain(usd(loss_usd))} USD today, entries stop at {plain(usd(bounds.entry_stop_usd))}"
            self._trip(HaltKind.DAILY_LOSS, reason, until_ms=until_ms)

    def _judge_drawdown(self, equity_usd: Decimal) -> None:
        peak = self._state.peak_equity_usd
        drawdown = losses.drawdown_fraction(peak, equity_usd)
        if peak is not None and drawdown is not None and drawdown > self._limits.max_drawdown_fraction:
            reason = (
                f"equity {equity_usd:.2f} USD is {drawdown:.2%} under its peak of {peak:.2f} USD, "
                f"limit {plain(self._limits.max_drawdown_fraction * 100)}%"
            )
            self._trip(HaltKind.DRAWDOWN, reason, flatten=True)

    def _must_stay(self, halt: Halt) -> bool:
        bounds = losses.day_bounds(self._limits, self._state)
        if halt.kind is not HaltKind.DAILY_LOSS or bounds is None:
            return False
        return losses.day_loss_usd(self._state, self._equity_usd) > bounds.entry_stop_usd

    def _trip(self, kind: HaltKind, reason: str, *, until_ms: int | None = None, flatten: bool = False) -> None:
        since_ms = self._clock.now_ms()
        new = Halt(kind=kind, since_ms=since_ms, reason=reason, actor=_LIMITS, until_ms=until_ms, flatten=flatten)
        in_force = self._begin(new)
        if in_force is not None:
            self._tripped.append(in_force)
            self._write_later(in_force)

    def _write_later(self, halt: Halt) -> None:
        self._unsettled.append(halt)
        self._persist(lambda tx: tx.halts.activate(halt) if halt in self._state.halts else None)

    def _begin(self, new: Halt) -> Halt | None:
        """As ``_enforce``; whoever listens is told of what is news."""
        in_force = self._enforce(new)
        if in_force is not None:
            now_ms = self._clock.now_ms()
            self.on_halt(
                HaltChange(halt=in_force, began=True, time_ms=now_ms, actor=new.actor, reason=new.reason)
            )
        return in_force

    def _tell_over(self, over: tuple[Halt, ...], actor: str, reason: str) -> None:
        now_ms = self._clock.now_ms()
        for halt in over:
            time_ms = min(now_ms, halt.until_ms) if halt.until_ms is not None else now_ms
            self.on_halt(HaltChange(halt=halt, began=False, time_ms=time_ms, actor=actor, reason=reason))

    def _enforce(self, new: Halt) -> Halt | None:
        """Memory is halted by it; the halt now in force where that is news. One of its kind only gets stricter."""
        current = next((halt for halt in self._state.halts if halt.kind is new.kind), None)
        if current is None:
            self._change(halts=(*self._state.halts, new))
            return new
        endless = current.until_ms is None or new.until_ms is None
        until_ms = None if endless else max(current.until_ms or 0, new.until_ms or 0)
        flatten = current.flatten or new.flatten
        if (until_ms, flatten) == (current.until_ms, current.flatten):
            return None
        stricter = replace(new, since_ms=current.since_ms, until_ms=until_ms, flatten=flatten)
        self._change(halts=tuple(stricter if halt is current else halt for halt in self._state.halts))
        return stricter

    def _released(self, over: tuple[Halt, ...]) -> RiskState:
        """The state without these halts; a streak that was paid for starts again, and a drawdown that was looked at."""
        kinds = [halt.kind for halt in over]
        return replace(
            self._state,
            halts=tuple(halt for halt in self._state.halts if halt not in over),
            loss_streak=0 if HaltKind.LOSS_STREAK in kinds else self._state.loss_streak,
            peak_equity_usd=self._equity_usd if HaltKind.DRAWDOWN in kinds else self._state.peak_equity_usd,
        )

    def _change(self, **changes: object) -> None:
        self._change_to(replace(self._state, **changes))

    def _change_to(self, state: RiskState, *, durable: bool = True) -> None:
        self._state = replace(state, version=self._state.version + 1)
        if durable and self._readable and not self._row_queued:
            self._row_queued = True
            self._persist(self._write_row)

    def _write_row(self, tx: Transaction) -> None:
        self._row_queued = False  # first: a change that comes while this runs queues another write
        tx.risk.save(self._row(self._state))

    def _row(self, state: RiskState) -> RiskState:
        """What is stored: of the cash flows those that its peak knows, so that a start can tell which it does not."""
        return replace(state, cash_flows_usd=state.cash_flows_usd - self._unabsorbed_usd)

    def _write_over(self, tx: Transaction, over: tuple[Halt, ...]) -> None:
        for halt in over:
            if all(other.kind is not halt.kind for other in self._state.halts):
                tx.halts.release(halt.kind, _LIMITS, "its time is over", halt.until_ms or 0)


def _restored(saved: Saved, memory: RiskState) -> RiskState:
    """The stored state and halts, with the day's totals from the ledger; a new day begins without counts."""
    row, totals = saved.row, saved.totals
    same_day = row is not None and row.day == totals.day
    fresh = RiskState(version=memory.version + 1, day=totals.day)
    base = fresh if row is None else replace(row, version=max(row.version, memory.version) + 1, day=totals.day)
    if not same_day:
        base = replace(base, entries=0, entries_by_symbol={}, day_start_equity_usd=None)
    return replace(
        base, realized_usd=totals.net_usd, fees_usd=totals.fees_usd, funding_usd=totals.funding_usd,
        cash_flows_usd=totals.cash_flows_usd, limits_equity_usd=None, halts=saved.halts,
    )  # fmt: skip


def _write_halt(tx: Transaction, halt: Halt) -> None:
    tx.halts.activate(halt)
    given = {"kind": halt.kind.value, "flatten": str(halt.flatten).lower()}
    tx.audit.add(
        time_ms=halt.since_ms, actor=halt.actor, command="halt", arguments=given, result="halted", reason=halt.reason
    )


def _write_release(
    tx: Transaction, released: tuple[Halt, ...], after: RiskState, actor: str, reason: str, now_ms: int
) -> None:
    for halt in released:
        tx.halts.release(halt.kind, actor, reason, now_ms)
    kinds = ", ".join(halt.kind.value for halt in released) or "nothing"
    tx.audit.add(
        time_ms=now_ms, actor=actor, command="resume", arguments={}, result=f"released {kinds}", reason=reason
    )
    tx.risk.save(after)
