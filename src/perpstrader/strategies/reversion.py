"""An example: bet on the way back to the mean when price leaves its Bollinger band and the RSI is extreme."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from perpstrader.domain import Candle, MarketView, Side, Signal
from perpstrader.strategies.bars import BarStrategy, StrategyParams
from perpstrader.strategies.indicators import Atr, Bollinger, Rsi
from perpstrader.strategies.port import price_level


class ReversionParams(StrategyParams, frozen=True, kw_only=True):
    """Ordinary textbook values; none of them was fitted to any recording.

    The stop is ``stop_atr`` ATRs from the close, at least ``min_stop_fraction`` of the price. An entry whose way to
    the middle band is shorter than ``min_target_fraction`` of the price is left alone: it could not even pay a
    taker's round trip of about 0.1 %.
    """

    name: Annotated[str, Meta(min_length=1, max_length=40)] = "reversion"
    period: Annotated[int, Meta(ge=5, le=500)] = 20
    width: Annotated[float, Meta(ge=0.5, le=6)] = 2.0
    rsi: Annotated[int, Meta(ge=2, le=200)] = 14
    oversold: Annotated[float, Meta(ge=1, lt=50)] = 30.0
    atr: Annotated[int, Meta(ge=2, le=500)] = 14
    stop_atr: Annotated[float, Meta(ge=0.5, le=20)] = 2.0
    min_stop_fraction: Annotated[float, Meta(ge=0.001, le=0.2)] = 0.006
    min_target_fraction: Annotated[float, Meta(ge=0, le=0.2)] = 0.002


class _State:
    """Bands, RSI and ATR of one symbol, and whether its last excursion has been used."""

    __slots__ = ("armed", "atr", "bands", "close", "rsi")

    def __init__(self, params: ReversionParams) -> None:
        self.bands = Bollinger(params.period, params.width)
        self.rsi = Rsi(params.rsi)
        self.atr = Atr(params.atr)
        self.close = 0.0
        self.armed = True

    def absorb(self, candle: Candle) -> None:
        self.close = close = float(candle.close)
        self.bands.update(close)
        self.rsi.update(close)
        self.atr.update(float(candle.high), float(candle.low), close)
        if not self.armed and self.bands.lower <= close <= self.bands.upper:
            self.armed = True


class ReversionStrategy(BarStrategy[_State]):
    """Opens against a close outside the band with an extreme RSI, aims at the middle band, closes there.

    Assumes that excursions are noise. When one is the start of a trend, the stop is hit, and one excursion is entered
    only once: the next entry needs a close back inside the bands first. It is an example and a load for the
    machinery, not evidence of profit.

    ``confidence = 0.5 + 0.25 * min(1, deviations beyond the band) + 0.25 * min(1, RSI beyond its threshold /
    threshold)``.
    """

    Params = ReversionParams

    def __init__(self, params: ReversionParams | None = None) -> None:
        super().__init__()
        self.params = params or ReversionParams()
        self.params.checked()
        self.name = self.params.name
        self.warmup_bars = max(self.params.period, 10 * self.params.rsi, 4 * self.params.atr)

    def new_state(self) -> _State:
        """Empty bands."""
        return _State(self.params)

    def decide(self, state: _State, view: MarketView) -> Signal | None:
        """Close what has come back to the middle, open against what went too far."""
        middle, close = state.bands.middle, state.close
        if middle is None:
            return None
        position = view.position
        if position is not None and position.owner == self.name:
            if (close - middle) * position.side.sign >= 0:
                return self.close(view, reason=f"price {close:.6g} is back at the middle band {middle:.6g}")
            return None
        if state.bands.lower <= close <= state.bands.upper or not state.armed:
            return None
        return self._enter(state, view, Side.LONG if close < middle else Side.SHORT)

    def _enter(self, state: _State, view: MarketView, side: Side) -> Signal | None:
        params, close, sign = self.params, state.close, side.sign
        middle, deviation, atr, rsi = state.bands.middle, state.bands.stdev, state.atr.value, state.rsi.value
        if middle is None or not deviation or atr is None or rsi is None:
            return None
        extreme = rsi if side is Side.LONG else 100.0 - rsi
        distance = max(params.stop_atr * atr, params.min_stop_fraction * close)
        reward = sign * (middle - close)
        if extreme > params.oversold or reward < params.min_target_fraction * close or distance >= close:
            return None
        state.armed = False
        beyond = reward / deviation - params.width
        return self.open(
            view,
            side,
            confidence=0.5
            + 0.25 * min(1.0, max(0.0, beyond))
            + 0.25 * min(1.0, (params.oversold - extreme) / params.oversold),
            stop_price=price_level(close - sign * distance),
            target_price=price_level(middle),
            reason=f"price {close:.6g} is {reward / deviation:.2f} deviations off the mean {middle:.6g}, RSI {rsi:.1f}",
        )

    def indicators(self, symbol: str) -> Mapping[str, float]:
        """Bands, RSI and ATR, as far as they are known."""
        state = self.state(symbol)
        if state is None or state.bands.middle is None:
            return {}
        values = {"bb_lower": state.bands.lower, "bb_middle": state.bands.middle, "bb_upper": state.bands.upper}
        values |= {name: x.value for name, x in (("rsi", state.rsi), ("atr", state.atr)) if x.value is not None}
        return values

    def explain(self, symbol: str) -> str:
        """Where price stands between the bands, what the RSI reads, and what an entry would need."""
        state = self.state(symbol)
        if state is None or state.bands.middle is None:
            return f"warming up: {self.params.period} bars are needed before there are bands"
        low, high = self.params.oversold, 100.0 - self.params.oversold
        rsi = math.nan if state.rsi.value is None else state.rsi.value
        used = "" if state.armed else "; this excursion has been used and price must come back inside first"
        return (
            f"price {state.close:.6g}, bands {state.bands.lower:.6g} to {state.bands.upper:.6g}, RSI {rsi:.1f}; "
            f"an entry needs a close outside the bands with the RSI under {low:.0f} or over {high:.0f}{used}"
        )
