"""A recorded decision through its strategy again, on the bars that it was shown: the same wish, or what changed."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from tests.contract.traces.samples import BAR_MS, START_MS, candle, trace
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import calm

from perpstrader.domain import (
    Action,
    Candle,
    MarketSnapshot,
    MarketView,
    PerpsTraderError,
    Side,
    StoredBars,
    StrategyView,
    Trace,
    TraceKind,
)
from perpstrader.runtime import SystemClock
from perpstrader.settings import Settings, StrategySetting, load
from perpstrader.strategies import BaseStrategy
from perpstrader.strategies.trend import TrendStrategy
from perpstrader.traces import TraceStore
from perpstrader.trader.reasking import Reasked, ask_again

SCRIPT: Script = {("BTC", 5): go(Side.LONG, 57_000, 66_000), ("ETH", 9): go(Side.SHORT, 3_150, 2_600)}


def test_what_a_running_trader_records_lets_the_strategy_be_asked_again() -> None:
    asked: list[Reasked] = []
    seen: list[Trace] = []

    async def act(stage: Stage) -> None:
        await stage.bar(12)
        await stage.trader.recorder.drain()
        store: Any = stage.trader.recorder._store
        seen.extend(t for t in await store.recent(100) if t.kind is TraceKind.DECISION)
        asked.extend([await ask_again(t, stage.trader.settings, stage.clock) for t in seen])

    play({"BTC": calm(60_000), "ETH": calm(3_000)}, {"alpha": SCRIPT}, act)
    assert len(seen) == 2
    for each, found in zip(seen, asked, strict=True):
        assert each.view is not None
        assert each.candle is not None
        assert each.view.history[-1].close_ms + 1 == each.candle.open_ms
        assert found.same_wish
        assert found.differences == ()
        assert found.bars == len(each.view.history) >= 5


def test_the_setting_says_how_many_bars_are_kept() -> None:
    kept: list[int] = []

    async def act(stage: Stage) -> None:
        await stage.bar(12)
        await stage.trader.recorder.drain()
        store: Any = stage.trader.recorder._store
        kept.extend(len(t.view.history) for t in await store.recent(100) if t.view is not None)

    for bars in (3, 0):
        play({"BTC": calm(60_000)}, {"alpha": SCRIPT}, act, overrides={"traces.bars": bars})
    assert kept == [3, 0]


class Walk:
    """The trend strategy over a random walk, as a trader shows it, with a trace of each signal."""

    def __init__(self, bars: int) -> None:
        self.traces: list[Trace] = []
        strategy, chance, price = TrendStrategy(), Random(11), 60_000.0
        history: deque[Candle] = deque(maxlen=400)
        for number in range(bars):
            price *= 1 + chance.gauss(0, 0.004)
            at = candle(START_MS + number * BAR_MS)
            bar = msgspec.structs.replace(
                at, close=Decimal(f"{price:.1f}"), high=Decimal(f"{price * 1.001:.1f}"),
                low=Decimal(f"{price * 0.999:.1f}"),
            )  # fmt: skip
            market = MarketSnapshot(symbol="BTC", version=number)
            view = MarketView(symbol="BTC", time_ms=bar.close_ms, candle=bar, history=history, market=market)
            signal = strategy.on_market(view)
            if signal is not None:
                shown = StrategyView(time_ms=view.time_ms, market=market, history=tuple(history))
                told = dict(strategy.indicators("BTC"))
                self.traces.append(trace(number + 1, signal=signal, candle=bar, view=shown, indicators=told))
            history.append(bar)


def settings() -> Settings:
    return load(None, {"HOME": "/nowhere"}, {})


def ask(item: Trace, wanted: Settings) -> Reasked:
    return asyncio.run(ask_again(item, wanted, SystemClock()))


def test_a_strategy_that_remembers_more_than_is_kept_wants_the_same_to_the_last_digits(tmp_path: Path) -> None:
    walk = Walk(1_500)
    assert len(walk.traces) > 10

    async def kept() -> list[Trace]:
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for item in walk.traces:
                await store.store(item)
            return await store.between(0, 2**60)

    traces = asyncio.run(kept())
    assert traces == walk.traces
    for item in traces:
        found = ask(item, settings())
        assert found.same_wish, item.id
        for difference in found.differences:
            if difference.path != "signal.reason":
                assert float(difference.first) == pytest.approx(float(difference.second), rel=1e-4)


def test_other_code_and_other_parameters_show_as_differences() -> None:
    item = Walk(1_500).traces[0]
    strategies = (StrategySetting(use="trend", params={"stop_atr": 5.0, "min_stop_fraction": 0.002}),)
    trader = settings().trader.model_copy(update={"strategies": strategies})
    found = ask(item, replace(settings(), trader=trader))
    assert found.same_wish
    assert "signal.stop_price" in {difference.path for difference in found.differences}
    other = (StrategySetting(use=f"{__name__}:Contrary"),)
    found = ask(item, replace(settings(), trader=trader.model_copy(update={"strategies": other})))
    assert not found.same_wish
    assert found.now is not None
    assert found.then is not None
    assert found.now.side is not found.then.side


def test_what_cannot_be_asked_again_says_why() -> None:
    item = Walk(1_500).traces[0]
    assert item.view is not None
    with pytest.raises(PerpsTraderError, match="does not hold what a strategy was shown"):
        ask(msgspec.structs.replace(item, view=None), settings())
    with pytest.raises(PerpsTraderError, match="name no strategy 'gone'"):
        ask(msgspec.structs.replace(item, strategy="gone"), settings())
    away = StoredBars(symbol="BTC", interval="5m", bar_ms=BAR_MS, runs=((START_MS, 9),), digest="00")
    lost = msgspec.structs.replace(item.view, history=(), stored=away)
    with pytest.raises(PerpsTraderError, match="the 9 bars that trend saw cannot be read"):
        ask(msgspec.structs.replace(item, view=lost), settings())


class Contrary(BaseStrategy):
    """Wants the opposite of a long, and is called as the strategy that it took the place of."""

    name = "trend"

    def on_market(self, view: MarketView) -> Any:
        """Always against."""
        other = TrendStrategy().on_market(view)
        if other is None:
            return None
        assert other.action is Action.OPEN
        side = Side.SHORT if other.side is Side.LONG else Side.LONG
        return msgspec.structs.replace(other, side=side)
