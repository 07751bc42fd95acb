"""The recorder: makes the trace of each decision, stores it, and adds what became of it, refusals and silences
included.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.breakers import Watch, unwatched
from perpstrader.domain import (
    Candle,
    DecisionInputs,
    Fill,
    MarketSnapshot,
    Order,
    Portfolio,
    PortfolioDigest,
    Signal,
    Step,
    StrategyView,
    Trace,
    TraceKind,
    Verdict,
    plain,
)
from perpstrader.domain.wording import moment_text
from perpstrader.execution import Note
from perpstrader.execution.positions import FillEffect
from perpstrader.monitor import Timer
from perpstrader.risk.contract import HaltChange
from perpstrader.runtime import Clock
from perpstrader.runtime.pool import TaskPool
from perpstrader.state import Episode
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.records import CycleNote, NoteCode, Retention
from perpstrader.trader.observer import Observer

_OPEN_TRACES: Final = 512
_NOTES_PER_COMMIT: Final = 512
_RECENT: Final = 500
_EARLY: Final = 64
_RETAIN_MS: Final = 3_600_000
_SETTLE_S: Final = 1.0
_PASSES: Final = 2
"""A revision is handed in by a task of its own: it begins in the next pass of the loop, and waits for one more."""
_TAKE_UP_S: Final = 2.0
_TAKE_UP_PAGES: Final = 4


class Recorder:
    """One a trader. What it cannot store is counted and reported; it never raises into the order path (S62)."""

    def __init__(
        self,
        store: TraceStore,
        clock: Clock,
        pool: TaskPool,
        *,
        prefix: str,
        settings_digest: str,
        version: str,
        interval: str,
        on_gap: Callable[[str], None],
        observer: Observer,
        timer: Timer,
    ) -> None:
        self._store = store
        self._clock = clock
        self._pool = pool
        self._prefix = prefix
        self._settings_digest = settings_digest
        self._version = version
        self._interval = interval
        self._on_gap = on_gap
        self.observer = observer
        self._timer = timer
        self._urgent = False
        self.retention: Retention | None = None
        self._retain_ms = 0
        self._sequence = 0
        self._notes: list[CycleNote] = []
        self._open: OrderedDict[str, Trace] = OrderedDict()
        self._of_episode: dict[str, str] = {}
        self._revising: dict[str, None] = {}
        self._early_fills: OrderedDict[str, list[Fill]] = OrderedDict()
        self.on_note: Callable[[Note], None] = lambda note: None
        self.watch: Watch = unwatched
        self.recent: deque[Note] = deque(maxlen=_RECENT)
        self.recent_decisions: deque[Trace] = deque(maxlen=50)

    def make(
        self,
        kind: TraceKind,
        symbol: str,
        strategy: str,
        *,
        signal: Signal | None = None,
        verdict: Verdict | None = None,
        candle: Candle | None = None,
        market: MarketSnapshot | None = None,
        portfolio: Portfolio | None = None,
        inputs: DecisionInputs | None = None,
        view: StrategyView | None = None,
        indicators: Mapping[str, float] | None = None,
        steps: tuple[str, ...] = (),
        errors: tuple[str, ...] = (),
        episode: str = "",
        led_to_order: bool = False,
    ) -> Trace:
        """A new trace of this moment, numbered, not yet stored."""
        now = self._clock.now_ms()
        self._sequence += 1
        return Trace(
            id=f"{now:012x}-{self._prefix}-{self._sequence:06x}",
            sequence=self._sequence,
            kind=kind,
            accepted_ms=now,
            symbol=symbol,
            strategy=strategy,
            interval=self._interval,
            settings_digest=self._settings_digest,
            version=self._version,
            signal=signal,
            verdict=verdict,
            candle=candle,
            market=market,
            portfolio=_digest(portfolio) if portfolio is not None else None,
            inputs=inputs,
            view=view,
            ages_ms=_ages(market, portfolio, now),
            indicators=dict(indicators or {}),
            steps=tuple(Step(time_ms=now, text=text) for text in steps),
            errors=errors,
            episode=episode,
            led_to_order=led_to_order,
            completed=not errors,
        )

    def store(self, trace: Trace) -> Awaitable[None]:
        """Store it beside the trading; the awaitable is its acknowledgement, and nobody has to await it."""
        self.recent_decisions.append(trace)
        self._keep(trace)
        self.observer.on_decision(trace)
        return self._written(trace, self._store.store(trace))

    def on_halt(self, change: HaltChange) -> None:
        """Every halt and every end of one is recorded, whoever caused it (S40)."""
        halt, kind = change.halt, change.halt.kind.value
        if change.began:
            until = f" until {moment_text(halt.until_ms)} UTC" if halt.until_ms is not None else " until it is released"
            step = f"{kind}: {change.reason}; entries are halted{until}{', positions are closed' * halt.flatten}"
        else:
            lasted_s = max(0, change.time_ms - halt.since_ms) // 1000
            step = f"{kind} is over after {lasted_s} s: {change.reason} (it was: {halt.reason})"
        self.store(self.make(TraceKind.HALT, "", change.actor, steps=(step,)))
        self.observer.on_halt(change)

    def amend(
        self,
        trace_id: str,
        *,
        order: Order | None = None,
        fills: tuple[Fill, ...] = (),
        step: str = "",
        episode: str = "",
        errors: tuple[str, ...] = (),
        outcome_usd: Decimal | None = None,
        led_to_order: bool | None = None,
    ) -> None:
        """Add to the later life of a decision; a trace that is no longer held here is left as it is."""
        trace = self._open.get(trace_id)
        if trace is None:
            return
        now = self._clock.now_ms()
        orders = tuple(o for o in trace.orders if order is None or o.cloid != order.cloid) + (
            (order,) if order is not None else ()
        )
        steps = (*trace.steps, Step(time_ms=now, text=step)) if step else trace.steps
        if episode and episode not in self._of_episode:
            steps += self._told_before(episode)
            fills += tuple(self._early_fills.pop(episode, ()))
        changed = msgspec.structs.replace(
            trace,
            orders=orders,
            fills=trace.fills + fills,
            errors=trace.errors + errors,
            episode=episode or trace.episode,
            steps=steps,
            completed=trace.completed and not errors,
            outcome_usd=plain(outcome_usd) if outcome_usd is not None else trace.outcome_usd,
            outcome_ms=now if outcome_usd is not None else trace.outcome_ms,
            led_to_order=trace.led_to_order if led_to_order is None else led_to_order,
        )
        self._open[trace_id] = changed
        if episode:
            self._of_episode[episode] = trace_id
        if trace_id not in self._revising:
            self._revising[trace_id] = None
            self._pool.spawn(f"trace-{trace_id}", self._revise(trace_id))

    def on_fill(self, effect: FillEffect, order: Order | None) -> None:
        """A fill belongs to the trace of its episode, and so does what the episode made when it ends."""
        holding = effect.ended if effect.ended is not None else effect.holding
        trace_id = self._of_episode.get(holding.episode)
        if trace_id is not None:
            outcome = effect.ended.net_usd if effect.ended is not None else None
            self.amend(trace_id, fills=(effect.fill,), outcome_usd=outcome)
        else:
            self._early_fills.setdefault(holding.episode, []).append(effect.fill)
            while len(self._early_fills) > _EARLY:
                self._early_fills.popitem(last=False)

    def take(self, note: Note) -> None:
        """A note from execution: kept for the console, heard by the alarms, and added to the trace of its episode."""
        self.recent.append(note)
        self.on_note(note)
        trace_id = self._of_episode.get(note.episode)
        if trace_id is not None:
            self.amend(trace_id, step=_words(note))

    async def take_up(self, episodes: Sequence[Episode]) -> None:
        """Go on with the stories of the positions that a trader before this one left open.

        What cannot be read in time is reported, and trading does not wait for it (S62).
        """
        try:
            async with asyncio.timeout(_TAKE_UP_S):
                for episode in episodes:
                    await self._take_up(episode)
        except Exception as error:
            self._on_gap(f"earlier decisions were not read: {type(error).__name__}: {error}")

    async def _take_up(self, episode: Episode) -> None:
        cursor: str | None = None
        for _ in range(_TAKE_UP_PAGES):
            page = await self._store.find(
                symbol=episode.symbol, kind=TraceKind.DECISION, executed=True, limit=_NOTES_PER_COMMIT, cursor=cursor
            )
            row = next((row for row in page.rows if row.episode == episode.id), None)
            trace = await self._store.get(row.id) if row is not None else None
            if trace is not None:
                self._open[trace.id] = trace
                self._of_episode[episode.id] = trace.id
                return
            cursor = page.cursor
            if cursor is None:
                return

    def _told_before(self, episode: str) -> tuple[Step, ...]:
        """An entry's fills and its stop are told of before the decision knows the episode that they began."""
        return tuple(Step(time_ms=n.time_ms, text=_words(n)) for n in self.recent if n.episode == episode)

    def trace_of_episode(self, episode: str) -> str | None:
        """The decision that led to an episode, while it is held here."""
        return self._of_episode.get(episode)

    def silence(self, candle: Candle, code: NoteCode, text: str, strategy: str = "") -> None:
        """Note that a cycle decided nothing; written in batches."""
        self._notes.append(CycleNote(candle.symbol, candle.interval, candle.close_ms, code, text, strategy))
        if len(self._notes) >= _NOTES_PER_COMMIT:
            self._pool.spawn("cycle-notes", self.flush())

    async def probe(self) -> None:
        """Store one trace, which says that the store is tried again; raises what the store raises."""
        steps = ("the trace store is tried again after failures",)
        await self._store.store(self.make(TraceKind.INCIDENT, "", "trader", steps=steps))

    async def drain(self) -> None:
        """Wait until every trace that was handed in is stored or reported; revisions wait for no batch any more."""
        self._urgent = True
        await self._clock.sleep(0)
        await self._store.flush()
        await self._pool.drain()

    async def settle(self) -> None:
        """What was handed in so far can be read, or a second has passed: an answer that names it may go out.

        A revision does not wait for its batch then: who asks why is told what became of the order, too.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                for _ in range(_PASSES):
                    await self._clock.sleep(0)
                await self._store.flush()
        await self._pool.settle(_SETTLE_S)

    async def flush(self) -> None:
        """Have the noted silences on disk."""
        notes, self._notes = self._notes, []
        if notes:
            ended = self.watch()
            try:
                await self._store.store_notes(notes)
                ended(None)
            except Exception as error:
                ended(error)
                self._on_gap(f"{len(notes)} cycle notes were not stored: {error}")

    async def retain(self) -> None:
        """Keep the record within its bounds, at most once an hour (S64)."""
        if self.retention is None or self._clock.now_ms() < self._retain_ms:
            return
        self._retain_ms = self._clock.now_ms() + _RETAIN_MS
        try:
            await self._store.retain(msgspec.structs.replace(self.retention, now_ms=self._clock.now_ms()))
        except Exception as error:
            self._on_gap(f"the record could not be kept within its bounds: {error}")

    def _written(self, trace: Trace, stored: Awaitable[None]) -> Awaitable[None]:
        """Begin to store at once; after the pool has stopped, when it is awaited."""
        writing = self._guarded(trace, stored)
        return self._pool.spawn(f"trace-{trace.id}", writing) or self._guarded(trace, stored)

    async def _revise(self, trace_id: str) -> None:
        """Write a trace once for all that was added to it in this pass of the loop."""
        await self._clock.sleep(0)
        self._revising.pop(trace_id, None)
        trace = self._open.get(trace_id)
        if trace is not None:  # what waits for its batch says nothing of the disk's speed
            await self._guarded(trace, self._store.update(trace, urgent=self._urgent), timed=self._urgent)

    async def _guarded(self, trace: Trace, stored: Awaitable[None], *, timed: bool = True) -> None:
        """What cannot be stored is counted and reported here; the order path goes on (S62)."""
        ended = self.watch() if timed else None
        try:
            with self._timer.measure() if timed else nullcontext():
                await stored
        except Exception as error:
            (ended or self.watch())(error)
            self._on_gap(f"trace {trace.id} was not stored: {type(error).__name__}: {error}")
        else:
            (ended or self.watch())(None)

    def _keep(self, trace: Trace) -> None:
        """Hold the newest traces, and those whose position is still open however old they are."""
        self._open[trace.id] = trace
        looked = 0
        while len(self._open) > _OPEN_TRACES and looked < _OPEN_TRACES:
            looked += 1
            gone, old = self._open.popitem(last=False)
            if old.led_to_order and old.episode and old.outcome_usd is None and looked < _OPEN_TRACES:
                self._open[gone] = old
            elif self._of_episode.get(old.episode) == gone:
                del self._of_episode[old.episode]


def _words(note: Note) -> str:
    return f"{note.kind}: {note.text}"


def _digest(portfolio: Portfolio) -> PortfolioDigest:
    return PortfolioDigest(
        version=portfolio.version,
        equity_usd=plain(portfolio.equity_usd),
        available_usd=plain(portfolio.available_usd),
        gross_notional_usd=plain(portfolio.gross_notional_usd),
        positions=len(portfolio.positions),
        as_of_ms=portfolio.as_of_ms,
    )


def _ages(market: MarketSnapshot | None, portfolio: Portfolio | None, now_ms: int) -> dict[str, int]:
    ages = {}
    if market is not None:
        ages = {"book": now_ms - market.book_ms, "context": now_ms - market.context_ms}
    if portfolio is not None:
        ages["account"] = now_ms - portfolio.as_of_ms
    return ages
