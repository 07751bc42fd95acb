"""The plain recovery: sequential, uncached; it finds positions in trouble and takes them out through the executor.

A check reads everything anew, asks every rule about every position, and begins what the worst issue of each calls for:
what is critical at once, all else one position after another, because each exit changes what is true of the rest. It
never asks a limit, a halt or a breaker (S01); the size is that of the moment at which the exit is made.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.breakers import Watch
from perpstrader.domain import ZERO, Candle, Order, RiskState
from perpstrader.domain.money import MIN_NOTIONAL_USD
from perpstrader.domain.wording import plural
from perpstrader.execution import Execution, ExitReport, FlattenReport
from perpstrader.execution.exits import OnSent
from perpstrader.monitor import Timer
from perpstrader.recovery.attempts import Attempts, note_loaded
from perpstrader.recovery.contract import (
    CRITICAL_BOUND_MS,
    Action,
    Disposition,
    Halter,
    Issue,
    Priority,
    Recorder,
    Recovered,
    RecoveryError,
    RecoveryStats,
)
from perpstrader.recovery.evidence import EvidenceReader
from perpstrader.recovery.findings import Findings
from perpstrader.recovery.rules import Case, Limits, analyse, critical_mark, deciding
from perpstrader.risk.contract import RiskManager
from perpstrader.state import StateStore

ACTOR: Final = "recovery"
_TURN_MS: Final = 10_000
_EXHAUSTED_PAUSE_MS: Final = 60_000
_RETRY_MS: Final = 5_000
_READS: Final = 3
_READ_PAUSE_S: Final = 0.5


class _Run(msgspec.Struct):
    """One recovery while it is under way; times are our clock's."""

    issue: Issue
    action: Action
    begun_ms: int
    found_ms: int
    attempt: int = 0
    task: asyncio.Task[object] | None = None


class RecoveryService:
    """See ``perpstrader.recovery.contract.RecoveryService`` for what it promises."""

    def __init__(
        self,
        execution: Execution,
        risk: RiskManager,
        store: StateStore,
        limits: Limits,
        *,
        risk_state: Callable[[], RiskState],
        strategies: frozenset[str],
        halt: Halter,
        record: Recorder,
        timer: Timer,
        watch: Watch,
        interval_s: float,
    ) -> None:
        self._execution = execution
        self._desk = execution.desk
        self._store = store
        self._limits = limits
        self._strategies = strategies
        self._halt = halt
        self._record = record
        self._timer = timer
        self._watch = watch
        self._interval_s = interval_s
        self._evidence = EvidenceReader(execution, risk, limits, risk_state=risk_state, loaded=strategies)
        self._attempts = Attempts(self._desk.journal)
        self._findings = Findings(self._desk)
        self._runs: dict[str, _Run] = {}
        self._critical: dict[str, tuple[Decimal, int]] = {}
        self._again_ms: dict[str, int] = {}
        self._exhausted: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._checking = False
        self._stopped = False
        self._checks = self._last_check_ms = 0
        self._submitted = self._succeeded = self._failed = self._slowest_ms = 0

    # --- life ---

    async def restore(self) -> None:
        """Take up the attempts of living episodes, and remember which strategies are loaded."""
        for episode in await self._attempts.restore(self._store):
            self._evidence.acted_ms[episode] = self._desk.venue_clock.now_ms()  # when it was, nobody knows any more
        self._evidence.once_loaded = await note_loaded(self._store, self._strategies)

    async def run(self, beat: Callable[[], None]) -> None:
        """Check in the set interval, and at once when a critical mark was seen or a recovery has ended."""
        while True:
            beat()
            self._wake.clear()
            await self.check()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._wake.wait()

    async def stop(self) -> None:
        """Nothing more is begun; an exit that is under way stays with the executor, which the trader stops."""
        self._stopped = True
        for run in list(self._runs.values()):
            if run.task is not None:
                run.task.cancel()
                await asyncio.gather(run.task, return_exceptions=True)

    # --- what happens ---

    def on_market(self, symbol: str) -> None:
        """A mark beyond the position's critical one, or the first of a position that no check has seen, brings the next
        check forward to now (S51).
        """
        run = self._runs.get(symbol)
        if run is not None and run.action is Action.CLOSE:
            return
        mark, critical = self._desk.prices.mark(symbol), self._critical.get(symbol)
        if critical is None or (mark is not None and (mark - critical[0]) * critical[1] < 0):
            self._wake.set()

    def on_bar(self, candle: Candle) -> None:
        """A closed bar."""
        self._evidence.take(candle)

    # --- checking ---

    async def check(self) -> tuple[Issue, ...]:
        """All rules over all positions, then what the worst issue of each calls for; one at a time (PR-22)."""
        if self._checking or self._stopped:
            return self._findings.active
        self._checking, ended = True, self._watch()
        try:
            with self._timer.measure():
                cases = self._evidence.cases()
                found = {case.position.symbol: analyse(case, self._limits) for case in cases}
            self._checks += 1
            self._last_check_ms = self._desk.clock.now_ms()
            self._forget()
            self._critical = dict(self._critical_marks(cases))
            self._findings.see(issue for issues in found.values() for issue in issues)
            worst = [issue for issue in map(deciding, found.values()) if issue is not None]
            for issue in sorted(worst, key=lambda issue: issue.rank, reverse=True):
                self._begin(issue)
            ended(None)
        except Exception as error:
            ended(error)
            raise
        finally:
            self._checking = False
        return self._findings.active

    def _critical_marks(self, cases: list[Case]) -> Iterator[tuple[str, tuple[Decimal, int]]]:
        """The mark at which each position becomes critical, and its side."""
        for case in cases:
            mark = critical_mark(case, self._limits)
            if mark is not None:
                yield case.position.symbol, (mark, case.position.side.sign)

    def _forget(self) -> None:
        """What is kept by episode goes with it."""
        living = frozenset(holding.episode for holding in self._desk.positions.holdings.values())
        self._attempts.keep(living)
        self._again_ms = {key: value for key, value in self._again_ms.items() if key in living}
        self._exhausted = {key: symbol for key, symbol in self._exhausted.items() if key in living}
        self._evidence.keep(living)

    # --- acting ---

    def _begin(self, issue: Issue) -> None:
        """Begin what an issue calls for, unless the position is being taken out, or has to wait for its turn."""
        now, critical = self._desk.clock.now_ms(), issue.priority is Priority.CRITICAL
        known = self._runs.get(issue.symbol)
        if known is not None and not (critical and known.action is Action.REDUCE and issue.action is Action.CLOSE):
            return  # what is critical takes a slow reduction over; the executor keeps it one exit
        if self._stopped or now < self._again_ms.get(issue.episode, 0):
            return
        if not critical and any(now - run.begun_ms < _TURN_MS for run in self._runs.values()):
            return
        action = issue.action
        if self._attempts.of(issue.episode) >= self._limits.recovery.max_attempts:
            action = self._escalate(issue)
            self._again_ms[issue.episode] = now + _EXHAUSTED_PAUSE_MS
        run = _Run(issue=issue, action=action, begun_ms=now, found_ms=now)
        run.task = self._desk.pool.spawn(f"recovery-{issue.symbol}", self._recover(run))
        if run.task is not None:
            self._runs[issue.symbol] = run

    def _escalate(self, issue: Issue) -> Action:
        """The attempts are used up: a person is told; what was halved is closed, which is tried each minute (S52)."""
        tried = self._attempts.of(issue.episode)
        text = f"{plural(tried, 'attempt')} did not settle it ({issue.sentence()}); it is closed whole: look at it"
        self._desk.say("recovery-exhausted", issue.symbol, text, episode=issue.episode, grave=True)
        self._exhausted[issue.episode] = issue.symbol
        return Action.CLOSE

    async def _recover(self, run: _Run) -> None:
        """One recovery from its note to its proof."""
        issue, is_done = run.issue, False
        reason = f"{ACTOR}: {issue.sentence()}"
        try:
            self._findings.note(issue, Disposition.ACTING)
            text = f"{run.action.value}: {issue.sentence()}"
            self._desk.say("recovery-acts", issue.symbol, text, episode=issue.episode, grave=True)
            done = await self._carry_out(issue.symbol, run.action, reason, ACTOR, lambda order: self._sent(run, order))
            done = msgspec.structs.replace(done, attempt=run.attempt, issues=self._of(issue.episode))
            self._settled(run, done)
            is_done = done.done
        finally:
            if self._runs.get(issue.symbol) is run:
                del self._runs[issue.symbol]
            if is_done:
                self._wake.set()
            else:  # whatever went wrong, it is not tried again at once
                again_ms = self._desk.clock.now_ms() + _RETRY_MS
                self._again_ms[issue.episode] = max(again_ms, self._again_ms.get(issue.episode, 0))

    def _sent(self, run: _Run, order: Order) -> None:
        """An order of the exit has left; the first one is what makes an attempt (PR-07)."""
        if run.attempt:
            return
        run.attempt = self._attempts.count(run.issue.episode)
        self._submitted += 1
        took_ms = order.intent.created_ms - run.found_ms
        if run.issue.priority is Priority.CRITICAL:
            self._slowest_ms = max(self._slowest_ms, took_ms)
            if took_ms > CRITICAL_BOUND_MS:
                text = f"{run.issue.sentence()}: its exit was made after {took_ms} ms, bound {CRITICAL_BOUND_MS} ms"
                self._desk.say("recovery-late", run.issue.symbol, text, episode=run.issue.episode, grave=True)

    def _settled(self, run: _Run, done: Recovered) -> None:
        issue = run.issue
        if done.done:
            self._succeeded += 1
            self._evidence.acted_ms[issue.episode] = self._desk.venue_clock.now_ms()
            how = Disposition.CLOSED if done.after == 0 else Disposition.REDUCED
            self._desk.say("recovery-done", issue.symbol, done.text, episode=issue.episode)
        else:
            self._failed += 1
            how = Disposition.FAILED
            self._desk.say("recovery-failed", issue.symbol, done.text, episode=issue.episode, grave=True)
        self._findings.note(issue, how, done.text)
        self._record(done)

    def _of(self, episode: str) -> tuple[Issue, ...]:
        return tuple(issue for issue in self._findings.active if issue.episode == episode)

    async def _carry_out(
        self, symbol: str, action: Action, reason: str, actor: str, on_sent: OnSent | None = None
    ) -> Recovered:
        """The exit, at the size of this moment, and what the venue shows afterwards."""
        holding = self._desk.positions.holdings.get(symbol)
        if holding is None:
            return Recovered(
                symbol=symbol, episode="", action=action, actor=actor, reason=reason, done=False,
                text="nothing is open; nothing was done", before=ZERO, after=ZERO, attempt=0,
            )  # fmt: skip
        episode, before = holding.episode, holding.size
        half = self._half(symbol, abs(before)) if action is Action.REDUCE else None
        if half is None:
            report = await self._execution.close(symbol, reason, on_sent=on_sent)
        else:
            report = await self._execution.reduce(symbol, half, reason, on_sent=on_sent)
        done, text = await self._shown(symbol, before, report)
        return Recovered(
            symbol=symbol, episode=episode, action=action, actor=actor, reason=reason, done=done, text=text,
            before=before, after=self._desk.positions.size(symbol), attempt=0,
        )  # fmt: skip

    def _half(self, symbol: str, held: Decimal) -> Decimal | None:
        """Half of it, rounded up to the lot; ``None``, which is all of it, where one half could not be sold alone
        (S06, PR-26).
        """
        half = self._desk.asset(symbol).ceil_size(held / 2)
        mark = self._desk.prices.mark(symbol)
        least = MIN_NOTIONAL_USD / (1 - self._desk.settings.max_exit_slip_fraction)
        return half if mark is None or (held - half) * mark >= least else None

    async def _shown(self, symbol: str, before: Decimal, report: ExitReport) -> tuple[bool, str]:
        """Whether the venue itself shows the position gone, or smaller as our fills have it (PR-05, PR-27)."""
        if report.flat and self._desk.positions.size(symbol) == 0:
            return True, f"{before:f} closed in {plural(report.attempts, 'order')}; the venue shows it flat"
        if report.closed <= 0:
            return False, f"nothing was closed: {report.text}"
        for read in range(_READS):
            if read:
                await self._desk.clock.sleep(_READ_PAUSE_S)
            state = await self._execution.account.try_refresh()
            theirs = state.positions.get(symbol) if state is not None else None
            if state is None:
                continue
            size = theirs.size if theirs is not None else ZERO
            if abs(size) < abs(before) and size == self._desk.positions.size(symbol):
                return True, f"{before:f} reduced to {size:f}, as the venue shows"
        return False, f"{report.closed:f} of {abs(before):f} filled, but the venue has not shown it: {report.text}"

    # --- what people ask for ---

    async def recover(self, symbol: str, action: Action, reason: str, *, actor: str) -> Recovered:
        """Close or halve a position because somebody says so, whatever the attempts; done once the venue shows it."""
        if not action.trades:
            raise RecoveryError(f"{action.value} sends no order; recover takes close or reduce, and nothing was done")
        if self._stopped:
            raise RecoveryError("the trader is stopping; nothing was done")
        done = await self._carry_out(symbol, action, f"{actor}: {reason}", actor)
        done = msgspec.structs.replace(done, issues=self._of(done.episode))
        self._record(done)
        self._wake.set()
        return done

    async def emergency_close_all(self, reason: str, *, actor: str) -> FlattenReport:
        """Halt, then the flatten road; the halt is waited for no longer than an exit waits for the disk (S05)."""
        await self._halt(reason, actor)
        return await self._execution.flatten(reason)

    def reset_attempts(self, symbol: str) -> bool:
        """Count the attempts of the symbol's episode anew; False where it has none."""
        holding = self._desk.positions.holdings.get(symbol)
        if holding is None or not self._attempts.of(holding.episode):
            return False
        self._attempts.reset(holding.episode)
        self._exhausted.pop(holding.episode, None)
        self._again_ms.pop(holding.episode, None)
        self._wake.set()
        return True

    def stats(self) -> RecoveryStats:
        """Recovery so far."""
        holdings = self._desk.positions.holdings.values()
        return RecoveryStats(
            last_check_ms=self._last_check_ms, checks=self._checks, active=self._findings.active,
            history=self._findings.history,
            attempts={h.symbol: count for h in holdings if (count := self._attempts.of(h.episode))},
            max_attempts=self._limits.recovery.max_attempts, acting=tuple(self._runs), submitted=self._submitted,
            succeeded=self._succeeded, failed=self._failed, exhausted=tuple(self._exhausted.values()),
            slowest_critical_ms=self._slowest_ms,
        )  # fmt: skip
