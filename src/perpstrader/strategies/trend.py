"""An example: follow the trend when a fast moving average crosses a slow one, with a stop a few ATR away."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from perpstrader.domain import Candle, MarketView, Side, Signal
from perpstrader.strategies.bars import BarStrategy, StrategyParams
from perpstrader.strategies.indicators import Atr, Ema
from perpstrader.strategies.port import price_level


class TrendParams(StrategyParams, frozen=True, kw_only=True):
    """Ordinary textbook values; none of them was fitted to any recording.

    ``stop_atr`` ATRs from the close is the stop, but never nearer than ``min_stop_fraction`` of the price: a taker's
    round trip costs about 0.1 %, and a stop within a few times that is paid to the exchange. A cross that could not
    be acted on is forgotten after ``patience_bars``.
    """

    name: Annotated[str, Meta(min_length=1, max_length=40)] = "trend"
    fast: Annotated[int, Meta(ge=2, le=1000)] = 20
    slow: Annotated[int, Meta(ge=3, le=2000)] = 50
    atr: Annotated[int, Meta(ge=2, le=500)] = 14
    stop_atr: Annotated[float, Meta(ge=0.5, le=20)] = 3.0
    min_stop_fraction: Annotated[float, Meta(ge=0.001, le=0.2)] = 0.01
    patience_bars: Annotated[int, Meta(ge=1, le=100)] = 3

    def __post_init__(self) -> None:
        if self.fast >= self.slow:
            raise ValueError(f"fast ({self.fast}) must be smaller than slow ({self.slow})")


class _State:
    """Averages of one symbol, the side they speak for, and a cross that still waits to be acted on."""

    __slots__ = ("atr", "close", "fast", "patience", "side", "slow", "wanted", "wanted_bars")

    def __init__(self, params: TrendParams) -> None:
        self.fast = Ema(params.fast)
        self.slow = Ema(params.slow)
        self.atr = Atr(params.atr)
        self.patience = params.patience_bars
        self.close = 0.0
        self.side: Side | None = None
        self.wanted: Side | None = None
        self.wanted_bars = 0

    def absorb(self, candle: Candle) -> None:
        self.close = close = float(candle.close)
        fast = self.fast.update(close)
        slow = self.slow.update(close)
        self.atr.update(float(candle.high), float(candle.low), close)
        if self.wanted is not None:
            self.wanted_bars -= 1
            if self.wanted_bars <= 0:
                self.wanted = None
        if slow is None or fast is None or fast == slow:
            return
        side = Side.LONG if fast > slow else Side.SHORT
        if side is not self.side:
            if self.side is not None:  # the first reading is no cross: the trend may be old
                self.wanted, self.wanted_bars = side, self.patience
            self.side = side


class TrendStrategy(BarStrategy[_State]):
    """Opens with a cross of two EMAs, closes with the opposite one; a flip is a close first and an open on a later bar.

    Assumes that moves go on for longer than the averages lag, which pays in trends and loses in ranges, most of it in
    fees. It is an example and a load for the machinery, not evidence of profit.

    ``confidence = clip(0.5 + 0.25 * side * (close - slow) / ATR, 0, 1)``: 0.5 at the slow average, 1 two ATR beyond it.
    """

    Params = TrendParams

    def __init__(self, params: TrendParams | None = None) -> None:
        super().__init__()
        self.params = params or TrendParams()
        self.params.checked()
        self.name = self.params.name
        self.warmup_bars = 4 * max(self.params.slow, self.params.atr)

    def new_state(self) -> _State:
        """Empty averages."""
        return _State(self.params)

    def decide(self, state: _State, view: MarketView) -> Signal | None:
        """Close what the averages speak against, open what a fresh cross speaks for."""
        position = view.position
        if position is not None and position.owner == self.name:
            if state.side is not None and position.side is not state.side:
                return self.close(view, reason=f"the averages crossed against the {position.side}: {_numbers(state)}")
            state.wanted = None
            return None
        wanted, slow, atr = state.wanted, state.slow.value, state.atr.value
        if wanted is None or slow is None or atr is None:
            return None
        state.wanted = None
        close, sign = state.close, wanted.sign
        params = self.params
        distance = max(params.stop_atr * atr, params.min_stop_fraction * close)
        if distance >= close:
            return None
        lead = sign * (close - slow) / atr if atr > 0 else 0.0
        return self.open(
            view,
            wanted,
            confidence=min(1.0, max(0.0, 0.5 + 0.25 * lead)),
            stop_price=price_level(close - sign * distance),
            reason=f"EMA {params.fast} crossed {'above' if sign > 0 else 'below'} EMA {params.slow}: {_numbers(state)}",
        )

    def indicators(self, symbol: str) -> Mapping[str, float]:
        """Both averages and the ATR, as far as they are known."""
        state = self.state(symbol)
        if state is None:
            return {}
        values = {"ema_fast": state.fast.value, "ema_slow": state.slow.value, "atr": state.atr.value}
        return {name: value for name, value in values.items() if value is not None}

    def explain(self, symbol: str) -> str:
        """Which way the averages point, and that only a fresh cross opens."""
        state = self.state(symbol)
        if state is None or state.side is None:
            return f"warming up: {self.params.slow} bars are needed before the averages say anything"
        side = "above" if state.side is Side.LONG else "below"
        return f"the fast average is {side} the slow one ({_numbers(state)}); only a fresh cross opens a position"


def _numbers(state: _State) -> str:
    fast, slow, atr = (math.nan if x is None else x for x in (state.fast.value, state.slow.value, state.atr.value))
    return f"fast {fast:.6g}, slow {slow:.6g}, ATR {atr:.4g}"
