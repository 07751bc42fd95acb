"""An example: take the side that is paid when funding is crowded, unless the trend runs against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from perpstrader.domain import Candle, MarketView, Side, Signal
from perpstrader.strategies.bars import BarStrategy, StrategyParams
from perpstrader.strategies.indicators import Atr, Ema
from perpstrader.strategies.port import price_level


class FundingParams(StrategyParams, frozen=True, kw_only=True):
    """Hourly rates as fractions: 0.00005 is 0.005 % an hour, about 44 % a year and four times Hyperliquid's base rate
    of 0.0000125.

    ``exit_rate`` is where funding counts as normal again. The trend filter is an EMA of ``trend`` bars: a short is
    taken only at or below it, a long only at or above it. None of the values was fitted to any recording.
    """

    name: Annotated[str, Meta(min_length=1, max_length=40)] = "funding"
    entry_rate: Annotated[float, Meta(gt=0, le=0.04)] = 0.00005
    exit_rate: Annotated[float, Meta(ge=0, le=0.04)] = 0.00002
    trend: Annotated[int, Meta(ge=2, le=2000)] = 50
    atr: Annotated[int, Meta(ge=2, le=500)] = 14
    stop_atr: Annotated[float, Meta(ge=0.5, le=20)] = 3.0
    min_stop_fraction: Annotated[float, Meta(ge=0.001, le=0.2)] = 0.01

    def __post_init__(self) -> None:
        if self.exit_rate >= self.entry_rate:
            raise ValueError(f"exit_rate ({self.exit_rate}) must be smaller than entry_rate ({self.entry_rate})")


class _State:
    """Trend and range of one symbol, the newest funding, and whether the current crowding has been used."""

    __slots__ = ("armed", "atr", "close", "rate", "trend")

    def __init__(self, params: FundingParams) -> None:
        self.trend = Ema(params.trend)
        self.atr = Atr(params.atr)
        self.close = 0.0
        self.rate: float | None = None
        self.armed = True

    def absorb(self, candle: Candle) -> None:
        self.close = close = float(candle.close)
        self.trend.update(close)
        self.atr.update(float(candle.high), float(candle.low), close)


class FundingStrategy(BarStrategy[_State]):
    """Opens on the side that funding pays while its rate is beyond ``entry_rate``, closes when it is normal again or
    has changed sign.

    Assumes that crowded positions pay longer than price moves against the other side; a squeeze is the usual way in
    which it loses, so the trend filter and the stop come first. One spell of crowding is entered once. It is an
    example and not evidence of profit.

    ``confidence = 0.5 + 0.5 * min(1, (|rate| / entry_rate - 1) / 2)``: 0.5 at the threshold, 1 at three times it.
    """

    Params = FundingParams

    def __init__(self, params: FundingParams | None = None) -> None:
        super().__init__()
        self.params = params or FundingParams()
        self.params.checked()
        self.name = self.params.name
        self.warmup_bars = 4 * max(self.params.trend, self.params.atr)

    def new_state(self) -> _State:
        """An empty trend."""
        return _State(self.params)

    def decide(self, state: _State, view: MarketView) -> Signal | None:
        """Close what is no longer paid, open what is paid well."""
        funding = view.market.funding_rate
        if funding is None:
            state.rate = None
            return None
        state.rate = rate = float(funding)
        position = view.position
        if position is not None and position.owner == self.name:
            state.armed = False
            if -position.side.sign * rate <= self.params.exit_rate:
                return self.close(
                    view, reason=f"funding is {_percent(rate)} an hour, which no longer pays the {position.side} enough"
                )
            return None
        if abs(rate) < self.params.entry_rate:
            if abs(rate) <= self.params.exit_rate:
                state.armed = True
            return None
        return self._enter(state, view, rate) if state.armed else None

    def _enter(self, state: _State, view: MarketView, rate: float) -> Signal | None:
        params, close, trend, atr = self.params, state.close, state.trend.value, state.atr.value
        side = Side.SHORT if rate > 0 else Side.LONG
        if trend is None or atr is None or (close - trend) * side.sign < 0:
            return None
        distance = max(params.stop_atr * atr, params.min_stop_fraction * close)
        if distance >= close:
            return None
        state.armed = False
        return self.open(
            view,
            side,
            confidence=0.5 + 0.5 * min(1.0, (abs(rate) / params.entry_rate - 1.0) / 2.0),
            stop_price=price_level(close - side.sign * distance),
            reason=f"funding of {_percent(rate)} an hour pays the {side}; price {close:.6g}, trend {trend:.6g}",
        )

    def indicators(self, symbol: str) -> Mapping[str, float]:
        """Funding, trend and ATR, as far as they are known."""
        state = self.state(symbol)
        if state is None:
            return {}
        values = {"funding_rate": state.rate, "ema_trend": state.trend.value, "atr": state.atr.value}
        return {name: value for name, value in values.items() if value is not None}

    def explain(self, symbol: str) -> str:
        """What funding is, what an entry needs, and which of the conditions is missing."""
        state = self.state(symbol)
        if state is None or state.trend.value is None:
            return f"warming up: {self.params.trend} bars are needed for the trend"
        if state.rate is None:
            return "the funding rate is not known"
        said = f"funding is {_percent(state.rate)} an hour"
        if abs(state.rate) < self.params.entry_rate:
            return f"{said}; an entry needs at least {_percent(self.params.entry_rate)} to either side"
        if not state.armed:
            return f"{said}, but this spell of crowding has been used; it must become normal first"
        relation = "above" if state.close > state.trend.value else "below"
        return f"{said}, but price {state.close:.6g} is {relation} the trend {state.trend.value:.6g}"


def _percent(rate: float) -> str:
    return f"{100 * rate:.4f} %"
