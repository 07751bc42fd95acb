"""Asking the strategy of a recorded decision again: the bars that it was shown then, through its code as it is now."""

from __future__ import annotations

import msgspec

from perpstrader.domain import MarketView, PerpsTraderError, Signal, Trace
from perpstrader.runtime import Clock
from perpstrader.settings import Settings
from perpstrader.strategies import StrategyEntry, StrategyRunner, load_strategies
from perpstrader.traces.diff import Difference, diff


class Reasked(msgspec.Struct, frozen=True, kw_only=True):
    """What the strategy wanted ``then`` and wants ``now``, having seen ``bars`` bars before the one it answers.

    ``differences`` are those of the signal and of the indicators. ``error`` says why it gave no answer now.
    """

    strategy: str
    bars: int
    then: Signal | None
    now: Signal | None
    error: str
    differences: tuple[Difference, ...]

    @property
    def same_wish(self) -> bool:
        """True when it would want the same, whatever the numbers."""
        return self.error == "" and _wish(self.then) == _wish(self.now)


async def ask_again(trace: Trace, settings: Settings, clock: Clock) -> Reasked:
    """The strategy, made anew from ``settings``, on what it was shown then; it has seen no bar before those.

    What it computes over more bars than are kept may differ in the last digits. Raises ``PerpsTraderError`` for a
    record that does not hold what the strategy was shown, and for a strategy that the settings do not name.
    """
    view, candle = trace.view, trace.candle
    if view is None or candle is None:
        raise PerpsTraderError(
            f"trace {trace.id} does not hold what a strategy was shown: none was asked, or its program did not keep it"
        )
    if view.stored is not None:
        raise PerpsTraderError(
            f"the {view.stored.count} bars that {trace.strategy} saw cannot be read;"
            " `perpstrader traces verify` tells more"
        )
    runner = _runner(trace.strategy, settings, clock)
    shown = MarketView(
        symbol=candle.symbol, time_ms=view.time_ms, candle=candle, history=view.history, market=view.market,
        position=view.position,
    )  # fmt: skip
    outcome = await runner.on_market(shown)
    now = msgspec.structs.replace(trace, signal=outcome.signal, indicators=runner.indicators(candle.symbol))
    return Reasked(
        strategy=trace.strategy, bars=len(view.history), then=trace.signal, now=outcome.signal,
        error=outcome.error or "", differences=diff(trace, now),
    )  # fmt: skip


def _runner(name: str, settings: Settings, clock: Clock) -> StrategyRunner:
    entries = [StrategyEntry(use=s.use, params=dict(s.params)) for s in settings.trader.strategies]
    found = {strategy.name: strategy for strategy in load_strategies(entries)}
    if name not in found:
        known = ", ".join(found) or "none"
        raise PerpsTraderError(f"the settings name no strategy {name!r} (they name {known}): it cannot be asked again")
    return StrategyRunner(found[name], clock, settings.trader.strategy_timeout_ms)


def _wish(signal: Signal | None) -> tuple[object, ...] | None:
    return None if signal is None else (signal.action, signal.symbol, signal.side)
