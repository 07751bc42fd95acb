"""The trading cycle: one a symbol on each closed bar; every strategy looks, what it wants is decided, what it does not
want is noted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from perpstrader.domain import BarHistory, Candle, MarketView, Signal, StrategyView
from perpstrader.execution import Execution, Note
from perpstrader.monitor import Stages
from perpstrader.runtime import Clock
from perpstrader.runtime.pool import TaskPool
from perpstrader.strategies import StrategyRunner
from perpstrader.traces.records import NoteCode
from perpstrader.trader.counters import RunCounters
from perpstrader.trader.decisions import Decider
from perpstrader.trader.recorder import Recorder
from perpstrader.venue.market_data import MarketData

_HISTORY: Final = 400
_NOTED_MS: Final = 300_000
"""A strategy that fails now and then is told of in the log at most this often; its counts are always in the status."""


class _Heard(msgspec.Struct):
    """What came of asking the strategies about one bar."""

    signals: int = 0
    quiet: list[StrategyRunner] = msgspec.field(default_factory=list)
    shown: StrategyView | None = None


class Cycle:
    """Takes closed bars as they come and runs their cycles in order; a signal's way to the venue delays no other
    symbol.
    """

    def __init__(
        self,
        runners: Sequence[StrategyRunner],
        decider: Decider,
        execution: Execution,
        market: MarketData,
        recorder: Recorder,
        clock: Clock,
        pool: TaskPool,
        counters: RunCounters,
        stages: Stages,
        *,
        halted: Callable[[], str | None],
        least_bars: int,
        recorded_bars: int,
    ) -> None:
        self.runners = tuple(runners)
        self._decider = decider
        self._execution = execution
        self._market = market
        self._recorder = recorder
        self._clock = clock
        self._pool = pool
        self._counters = counters
        self._stages = stages
        self._halted = halted
        self._least_bars = least_bars
        self._recorded_bars = recorded_bars
        self._history: dict[str, deque[Candle]] = {}
        self._unbroken: dict[str, int] = {}
        self._waiting: deque[tuple[Candle, int]] = deque()
        self._wake = asyncio.Event()
        self._noted_ms: dict[str, int] = {}
        self._busy = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def warm_up(self, candles: Iterable[Candle]) -> None:
        """Take bars that are long over into the history, in their places; nobody acts on them."""
        symbols: dict[str, None] = {}
        for candle in candles:
            symbols[candle.symbol] = None
            history = self._history.setdefault(candle.symbol, deque(maxlen=_HISTORY))
            if not history or candle.open_ms > history[-1].open_ms:
                history.append(candle)
            elif all(known.open_ms != candle.open_ms for known in history):
                merged = sorted([*history, candle], key=lambda known: known.open_ms)
                self._history[candle.symbol] = deque(merged, maxlen=_HISTORY)
        for symbol in symbols:
            self._unbroken[symbol] = _unbroken(self._history[symbol])

    def take(self, candle: Candle) -> None:
        """A closed bar; its cycle runs as soon as the loop gets to it."""
        self._waiting.append((candle, self._clock.monotonic_ns()))
        self.idle.clear()
        self._wake.set()

    async def run(self, beat: Callable[[], None]) -> None:
        """Run cycles for ever."""
        while True:
            beat()
            while self._waiting:
                await self._one(*self._waiting.popleft())
                beat()
            self._settle_idle()
            self._wake.clear()
            await self._wake.wait()

    def history(self, symbol: str) -> Sequence[Candle]:
        """The bars of a symbol that are kept, oldest first."""
        return tuple(self._history.get(symbol, ()))

    def bars(self, symbol: str) -> BarHistory:
        """What the newest bars say of whether the symbol's market is understood: see ``BarHistory``."""
        history = self._history.get(symbol)
        if not history:
            return BarHistory(unbroken=0, bar_ms=0)
        newest = history[-1]
        return BarHistory(
            unbroken=self._unbroken[symbol], bar_ms=newest.close_ms - newest.open_ms + 1,
            newest_close_ms=newest.close_ms, volume=newest.volume,
        )  # fmt: skip

    async def _one(self, candle: Candle, came_ns: int) -> None:
        history = self._history.get(candle.symbol)
        if history and candle.open_ms <= history[-1].open_ms:
            return
        try:
            await self._show(candle, came_ns)
        finally:
            self._remember(candle)

    async def _show(self, candle: Candle, came_ns: int) -> None:
        """Ask every strategy about a bar; what it is shown as history are the bars before this one."""
        self._counters.bars += 1
        self._counters.cycles += 1
        self._market.take_bar(candle)
        market = self._market.snapshot(candle.symbol)
        if market is None:
            self._recorder.silence(candle, NoteCode.DATA_STALE, "no price has been seen yet")
            return
        view = MarketView(
            symbol=candle.symbol,
            time_ms=self._clock.now_ms(),
            candle=candle,
            history=self._history.setdefault(candle.symbol, deque(maxlen=_HISTORY)),
            market=market,
            position=self._execution.position(candle.symbol),
        )
        heard = _Heard()
        for runner in self.runners:
            if runner.wants(candle.symbol, candle.interval):
                await self._ask(runner, view, came_ns, heard)
        if heard.quiet and not heard.signals:
            self._note_silence(candle, heard.quiet)

    async def _ask(self, runner: StrategyRunner, view: MarketView, came_ns: int, heard: _Heard) -> None:
        """Ask one strategy; what failed or was not asked is written down under its name, and is no silence."""
        failing = runner.failing_since_ms
        outcome = await runner.on_market(view)
        if outcome.skipped is not None:
            self._recorder.silence(view.candle, NoteCode.STRATEGY_SKIPPED, outcome.skipped, runner.name)
            return
        self._stages.strategy.record(outcome.elapsed_ns, ok=outcome.error is None)
        if outcome.error is not None:
            self._counters.strategy_errors += 1
            self._recorder.silence(view.candle, NoteCode.STRATEGY_FAILED, outcome.error, runner.name)
            self._tell_failed(runner, view.symbol, outcome.error)
        elif failing is not None and runner.failing_since_ms is None:
            self._tell(runner, view.symbol, "strategy-works", f"{runner.name} works again", grave=False)
        if outcome.signal is not None:
            heard.signals += 1
            if heard.shown is None:  # one for all strategies that answer this bar, so that its bars are shared
                heard.shown = self._shown(view)
            self._decide(outcome.signal, view.candle, runner.indicators(view.symbol), came_ns, heard.shown)
        elif outcome.error is None:
            heard.quiet.append(runner)

    def _tell_failed(self, runner: StrategyRunner, symbol: str, error: str) -> None:
        now_ms, last_ms = self._clock.now_ms(), self._noted_ms.get(runner.name)
        if last_ms is None or now_ms - last_ms >= _NOTED_MS:
            self._noted_ms[runner.name] = now_ms
            text = f"{runner.name} failed ({runner.errors} so far): {error}"
            self._tell(runner, symbol, "strategy-failed", text, grave=True)

    def _tell(self, runner: StrategyRunner, symbol: str, kind: str, text: str, *, grave: bool) -> None:
        now_ms, name = self._clock.now_ms(), runner.name
        self._recorder.take(Note(time_ms=now_ms, kind=kind, symbol=symbol, text=text, strategy=name, grave=grave))

    def _shown(self, view: MarketView) -> StrategyView:
        """What the strategies see, for the record: of the history the newest bars."""
        kept = self._recorded_bars
        history = tuple(view.history)[-kept:] if kept else ()
        return StrategyView(time_ms=view.time_ms, market=view.market, position=view.position, history=history)

    def _decide(
        self, signal: Signal, candle: Candle, indicators: Mapping[str, float], came_ns: int, view: StrategyView
    ) -> None:
        self._busy += 1
        self._pool.spawn(f"decide-{signal.id}", self._decided(signal, candle, indicators, came_ns, view))

    async def _decided(
        self, signal: Signal, candle: Candle, indicators: Mapping[str, float], came_ns: int, view: StrategyView
    ) -> None:
        try:
            await self._decider.decide(signal, candle=candle, indicators=indicators, came_ns=came_ns, view=view)
        finally:
            self._busy -= 1
            self._settle_idle()

    def _settle_idle(self) -> None:
        if not self._busy and not self._waiting:
            self.idle.set()

    def _note_silence(self, candle: Candle, quiet: Sequence[StrategyRunner]) -> None:
        """Why those that were asked and wanted nothing wanted nothing."""
        why = self._halted()
        if why is not None:
            self._recorder.silence(candle, NoteCode.TRADER_HALTED, why)
            return
        code, seen = self._readiness(candle)
        said = (_said(runner, candle.symbol) for runner in quiet)
        self._recorder.silence(candle, code, "; ".join(filter(None, (seen, *said))))

    def _readiness(self, candle: Candle) -> tuple[NoteCode, str]:
        """What would have held an entry back at this bar, had anybody wanted one."""
        if not candle.volume:
            return NoteCode.MARKET_HALTED, "nothing traded in this bar"
        if not self._execution.view.reconciled:
            return NoteCode.NOT_READY, "the books are being compared with the venue"
        known = self._history.get(candle.symbol)
        have = 1 + self._unbroken[candle.symbol] if known and known[-1].close_ms + 1 == candle.open_ms else 1
        if have < self._least_bars:
            return NoteCode.WARM_UP, f"{have} bars without a gap, {self._least_bars} are needed"
        return NoteCode.NO_SIGNAL, ""

    def _remember(self, candle: Candle) -> None:
        history = self._history.setdefault(candle.symbol, deque(maxlen=_HISTORY))
        if not history or candle.open_ms > history[-1].open_ms:
            follows = bool(history) and history[-1].close_ms + 1 == candle.open_ms
            before = self._unbroken.get(candle.symbol, 0) if follows else 0
            self._unbroken[candle.symbol] = min(before + 1, _HISTORY)
            history.append(candle)


def _unbroken(history: Sequence[Candle]) -> int:
    """How many of the newest bars follow each other without a gap."""
    count, begin_ms = 0, -1
    for candle in reversed(history):
        if count and candle.close_ms + 1 != begin_ms:
            break
        count, begin_ms = count + 1, candle.open_ms
    return count


def _said(runner: StrategyRunner, symbol: str) -> str:
    text = runner.explain(symbol)
    return f"{runner.strategy.name}: {text}" if text else ""
