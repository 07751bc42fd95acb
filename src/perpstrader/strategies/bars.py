"""For strategies that follow bars: each bar is absorbed exactly once and in order, also after a start, a skip or a
repeat."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

import msgspec

from perpstrader.domain import Candle, MarketView, Signal
from perpstrader.strategies.port import BaseStrategy


class BarState(Protocol):
    """What a strategy remembers of one symbol."""

    def absorb(self, candle: Candle) -> None:
        """Take the next bar."""
        ...


StateT = TypeVar("StateT", bound=BarState)


class StrategyParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a strategy; ranges are part of the field types, so that ``checked`` and the loader enforce the
    same ones."""

    def checked(self) -> StrategyParams:
        """Itself; raises ``msgspec.ValidationError`` with the field and its range when a value is out of it."""
        return msgspec.convert(msgspec.to_builtins(self), type(self))


class BarStrategy(BaseStrategy, Generic[StateT]):
    """Keeps one state a symbol in step with its bars and asks ``decide`` once for each new bar.

    On the first view of a symbol the bars of ``view.history`` are absorbed first, which warms the state up. Bars that
    were not shown (the trader was down, the strategy was skipped) are taken from ``view.history`` too. A bar that was
    seen already gives no second signal.
    """

    def __init__(self) -> None:
        self._states: dict[str, StateT] = {}
        self._last: dict[str, Candle] = {}

    @abstractmethod
    def new_state(self) -> StateT:
        """An empty state for a symbol that is seen for the first time."""

    @abstractmethod
    def decide(self, state: StateT, view: MarketView) -> Signal | None:
        """The wish on the bar that ``state`` has just absorbed."""

    def state(self, symbol: str) -> StateT | None:
        """The state of ``symbol``; ``None`` before its first bar."""
        return self._states.get(symbol)

    def on_market(self, view: MarketView) -> Signal | None:
        """Absorb what is new, then decide."""
        candle, symbol = view.candle, view.symbol
        state = self._states.get(symbol)
        if state is None:
            state = self._states[symbol] = self.new_state()
            self._catch_up(state, view.history, after_ms=-1, before_ms=candle.open_ms)
        else:
            last = self._last[symbol]
            if candle.open_ms <= last.open_ms:
                return None
            if candle.open_ms != last.close_ms + 1:
                self._catch_up(state, view.history, after_ms=last.open_ms, before_ms=candle.open_ms)
        self._last[symbol] = candle
        state.absorb(candle)
        return self.decide(state, view)

    @staticmethod
    def _catch_up(state: StateT, history: Iterable[Candle], *, after_ms: int, before_ms: int) -> None:
        for candle in history:
            if after_ms < candle.open_ms < before_ms:
                state.absorb(candle)
