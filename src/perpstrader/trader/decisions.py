"""Deciding: a signal meets fresh evidence, the risk manager's verdict, and the one road to the venue, with a trace of
all of it.

An ``open`` is judged by the risk manager on an account and a book that were read for it. A ``close`` or ``reduce`` is
judged by ownership alone (S38): only the position's owner or the operator may, naming the episode; an ended episode is
a recorded no-op; then it goes out whatever the limits say (S01).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from perpstrader.breakers import TRACES, BreakerState, CircuitBreakersContract
from perpstrader.domain import (
    Action,
    Approved,
    BarHistory,
    Candle,
    DecisionInputs,
    MarketSnapshot,
    Portfolio,
    Reason,
    Refusal,
    Refused,
    RiskState,
    Signal,
    StateError,
    StrategyView,
    TraceKind,
    VenueError,
    Verdict,
)
from perpstrader.domain.wording import near_name
from perpstrader.execution import EntryReport, Execution, ExitReport
from perpstrader.monitor import Stages
from perpstrader.risk.conduct import ConductMemory
from perpstrader.risk.contract import RiskManager
from perpstrader.runtime import Clock
from perpstrader.state import StateStore, Transaction
from perpstrader.trader.counters import RunCounters
from perpstrader.trader.guard import entry_refusal
from perpstrader.trader.recorder import Recorder
from perpstrader.venue.market_data import MarketData

OPERATOR: Final = "operator"
_REMEMBERED: Final = 256
_READS: Final = 3
_BOOK_AGE_MS: Final = 250
"""The oldest book that an entry is judged and bounded by; the account is asked for anew (S30)."""
"""An account read before a fill that happened meanwhile is read again, so often."""

_ENCODER: Final = msgspec.json.Encoder(decimal_format="string", order="sorted")


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided on a signal and what came of it so far."""

    trace_id: str
    verdict: Verdict | None
    entry: EntryReport | None = None
    exit: ExitReport | None = None

    @property
    def refused(self) -> bool:
        """True when nothing was sent."""
        return isinstance(self.verdict, Refused) or (self.entry is not None and self.entry.refusal is not None)


class Decider:
    """Carries one signal from its arrival to its outcome."""

    def __init__(
        self,
        execution: Execution,
        risk: RiskManager,
        market: MarketData,
        recorder: Recorder,
        clock: Clock,
        store: StateStore,
        counters: RunCounters,
        stages: Stages,
        *,
        risk_state: Callable[[], RiskState],
        conduct: ConductMemory,
        symbols: frozenset[str],
        leverage: int,
        ack_deadline_ms: int,
        breakers: CircuitBreakersContract,
    ) -> None:
        self._execution = execution
        self._risk = risk
        self._market = market
        self._recorder = recorder
        self._clock = clock
        self._store = store
        self._counters = counters
        self._stages = stages
        self._risk_state = risk_state
        self._conduct = conduct
        self.bars: Callable[[str], BarHistory | None] = lambda symbol: None
        self._symbols = symbols
        self._leverage = leverage
        self._ack_deadline_ms = ack_deadline_ms
        self._breakers = breakers
        self._unwritten: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def decide(
        self,
        signal: Signal,
        *,
        candle: Candle | None = None,
        indicators: Mapping[str, float] | None = None,
        came_ns: int | None = None,
        view: StrategyView | None = None,
    ) -> Decision:
        """Judge and carry out one signal; always leaves a trace, never raises for what the market or the venue does.

        ``came_ns`` is when the bar that it answers came, by the monotonic clock; ``view`` is what the strategy saw.
        """
        self._counters.signals += 1
        by = self._counters.signals_by_strategy
        by[signal.strategy] = by.get(signal.strategy, 0) + 1
        if signal.is_exit:
            return await self._exit(signal, candle, indicators, came_ns, view)
        return await self._open(signal, candle, indicators, came_ns, view)

    # --- entries ---

    async def _open(
        self, signal: Signal, candle: Candle | None, indicators: Mapping[str, float] | None, came_ns: int | None,
        view: StrategyView | None,
    ) -> Decision:
        self._conduct.on_signal(signal, self._clock.now_ms())
        started = self._stages.evidence.now()
        evidence = await self._evidence(signal.symbol)
        self._stages.evidence.since(started, ok=not isinstance(evidence, Refusal))
        inputs = None
        if isinstance(evidence, Refusal):
            verdict: Verdict = Refused(signal=signal, refusals=(evidence,), decided_ms=self._clock.now_ms())
            portfolio, market = self._execution.view.build(), self._market.snapshot(signal.symbol)
        else:
            portfolio, market = evidence
            market = msgspec.structs.replace(market, bars=self.bars(signal.symbol))
            state, assets = self._risk_state(), self._execution.desk.assets
            inputs = DecisionInputs.of(signal.symbol, portfolio, state, assets)
            with self._stages.risk.measure():
                verdict = self._risk.approve(
                    signal, portfolio, market, assets.get(signal.symbol), state,
                    self._execution.desk.venue_clock.now_ms(),
                )  # fmt: skip
        self._time_decision(came_ns)
        trace = self._recorder.make(
            TraceKind.DECISION,
            signal.symbol,
            signal.strategy,
            signal=signal,
            verdict=verdict,
            candle=candle,
            market=market,
            portfolio=portfolio,
            inputs=inputs,
            view=view,
            indicators=indicators,
            led_to_order=isinstance(verdict, Approved),
        )
        if isinstance(verdict, Refused):
            self._counters.refuse(verdict.reason)
            self._recorder.store(trace)
            return Decision(trace_id=trace.id, verdict=verdict)
        self._counters.approved += 1
        acknowledged = self._recorder.store(trace)
        report = await self._execution.submit(
            verdict,
            digest=_digest(signal, portfolio, market),
            trace_ack=(lambda: acknowledged) if self._waits_for_traces() else None,
            ack_deadline_ms=self._ack_deadline_ms,
        )
        self._note_entry(trace.id, report)
        return Decision(trace_id=trace.id, verdict=verdict, entry=report)

    async def _evidence(self, symbol: str) -> tuple[Portfolio, MarketSnapshot] | Refusal:
        """An account and a book read for this decision, and a leverage that the venue has confirmed (S30, S34)."""
        if symbol not in self._symbols:
            near = near_name(symbol, sorted(self._symbols))
            hint = f"did you mean {near}?" if near else "add it to trader.symbols"
            limit = f"one of {', '.join(sorted(self._symbols))}"
            return Refusal(reason=Reason.UNKNOWN_SYMBOL, value=symbol, limit=limit, hint=hint)
        blocked = entry_refusal(self._breakers)
        if blocked is not None:
            return blocked
        await self._execution.confirm_leverage(symbol, self._leverage)
        for _ in range(_READS):
            try:
                state, book = await asyncio.gather(
                    self._execution.account.refresh(),
                    self._execution.desk.client.book(symbol, max_age_ms=_BOOK_AGE_MS),
                )
            except VenueError as error:
                hint = "entries wait until account and book can be read"
                return Refusal(reason=Reason.VENUE_UNREACHABLE, value=str(error), hint=hint)
            if self._execution.account.agrees(state):
                break
            if state.time_ms > self._execution.fills.newest_ms:
                return self._not_reconciled()
        else:
            return self._not_reconciled()
        self._market.take_book(book)
        market = self._market.snapshot(symbol)
        if market is None:
            return Refusal(reason=Reason.NO_PRICE, value=symbol)
        return self._execution.view.build(), market

    def _not_reconciled(self) -> Refusal:
        """The venue's positions are not what the fills add up to, and no fill has just happened that would explain it.
        """
        self._execution.desk.pool.spawn("reconcile", self._execution.reconciler.run())
        hint = "the venue's positions are not what the fills add up to; comparing again"
        return Refusal(reason=Reason.NOT_RECONCILED, hint=hint)

    def _waits_for_traces(self) -> bool:
        """A record that keeps failing is no longer waited for; that is told as an incident (S62)."""
        return self._breakers.status(TRACES).state is BreakerState.CLOSED

    def _time_decision(self, came_ns: int | None) -> None:
        if came_ns is not None:
            self._stages.bar_to_decision.since(came_ns)

    def _note_entry(self, trace_id: str, report: EntryReport) -> None:
        if report.refusal is not None:
            self._counters.approved -= 1
            self._counters.refuse(report.refusal.reason)
        if report.order is not None:
            self._counters.orders += 1
        step = f"not sent: {report.refusal.sentence()}" if report.refusal is not None else "sent to the venue"
        self._recorder.amend(
            trace_id, order=report.order, step=step, episode=report.episode, led_to_order=report.order is not None
        )

    # --- exits ---

    async def _exit(
        self, signal: Signal, candle: Candle | None, indicators: Mapping[str, float] | None, came_ns: int | None,
        view: StrategyView | None,
    ) -> Decision:
        refusal = await self._may_exit(signal)
        self._time_decision(came_ns)
        holding = self._execution.desk.positions.holdings.get(signal.symbol)
        episode = holding.episode if holding is not None else signal.episode or ""
        verdict = (
            Refused(signal=signal, refusals=(refusal,), decided_ms=self._clock.now_ms())
            if refusal is not None
            else None
        )
        trace = self._recorder.make(
            TraceKind.EXIT,
            signal.symbol,
            signal.strategy,
            signal=signal,
            verdict=verdict,
            candle=candle,
            market=self._market.snapshot(signal.symbol),
            portfolio=self._execution.view.build(),
            view=view,
            indicators=indicators,
            episode=episode,
            led_to_order=refusal is None,
        )
        self._recorder.store(trace)
        if refusal is not None:
            self._counters.refuse(refusal.reason)
            return Decision(trace_id=trace.id, verdict=verdict)
        self._counters.exits += 1
        reason = f"{signal.strategy}: {signal.reason}" if signal.reason else signal.strategy
        if signal.action is Action.CLOSE or signal.size_hint is None:
            report = await self._execution.close(signal.symbol, reason)
        else:
            report = await self._execution.reduce(signal.symbol, signal.size_hint, reason)
        self._counters.orders += report.attempts
        self._recorder.amend(trace.id, step=f"{report.text}: closed {report.closed}, left {report.left}")
        return Decision(trace_id=trace.id, verdict=None, exit=report)

    async def _may_exit(self, signal: Signal) -> Refusal | None:
        """Whose position it is decides, and nothing else (S38)."""
        holding = self._execution.desk.positions.holdings.get(signal.symbol)
        if holding is None:
            return Refusal(
                reason=Reason.EPISODE_ENDED if signal.episode else Reason.NO_POSITION,
                value=signal.episode or signal.symbol,
                hint="nothing is open; nothing was done",
            )
        if signal.episode is not None and signal.episode != holding.episode:
            return Refusal(
                reason=Reason.EPISODE_ENDED,
                value=signal.episode,
                limit=holding.episode,
                hint="it means another position",
            )
        if signal.strategy != OPERATOR and signal.strategy != holding.owner:
            return Refusal(
                reason=Reason.NOT_OWNER,
                value=signal.strategy,
                limit=holding.owner,
                hint="only its owner or the operator may exit it",
            )
        if signal.strategy != OPERATOR and signal.episode is None:
            return Refusal(
                reason=Reason.NOT_OWNER,
                value="no episode named",
                limit=holding.episode,
                hint="an exit names the episode it means",
            )
        if await self._is_first(signal):
            return None
        return Refusal(reason=Reason.DUPLICATE_SIGNAL, value=signal.id, hint="this signal was acted on already")

    async def _is_first(self, signal: Signal) -> bool:
        """True for an exit not acted on before; the disk is asked no longer than an exit waits for it (S01)."""
        name, now_ms, desk = (signal.strategy, signal.id), self._clock.now_ms(), self._execution.desk
        if name in self._unwritten:
            return False

        def claim(tx: Transaction) -> bool:
            return tx.signals.first_seen(*name, now_ms)

        try:
            return await self._store.transact(claim, timeout_s=desk.settings.state_deadline_ms / 1000)
        except (StateError, TimeoutError) as error:
            text = f"{signal.id} goes out before it is on disk: {str(error) or 'it took too long'}"
            desk.say("exit-unrecorded", signal.symbol, text, grave=True)
            self._unwritten[name] = None
            while len(self._unwritten) > _REMEMBERED:
                self._unwritten.popitem(last=False)
            desk.journal.later(claim)
            return True


def _digest(signal: Signal, portfolio: Portfolio, market: MarketSnapshot | None) -> str:
    """SHA-256 over what the decision read, kept with the intent."""
    return hashlib.sha256(_ENCODER.encode((signal, portfolio, market))).hexdigest()
