"""What refusals missed and spared: where the price stood 1, 5 and 20 bars after, as far as the record itself knows.

The price of a decision is the close of the bar that it decided on, the price after is the close of the bar that a later
decision of the same symbol and interval answered, or had seen before. Where none did nothing is known, and nothing is
made up.
Moves are in favour of what was wanted, before costs, as if held to that close whatever happened between.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain.market import INTERVAL_MS, Candle
from perpstrader.domain.signals import Action
from perpstrader.domain.traces import Trace, TraceKind
from perpstrader.domain.verdicts import Refused

HORIZONS: Final = (1, 5, 20)
"""Bars after the refused decision's own."""


class Spared(msgspec.Struct, frozen=True, kw_only=True):
    """The refusals for one ``reason`` (empty: all) seen ``bars`` bars later: would have won, lost, gone nowhere.

    ``mean_fraction`` is the mean move in favour, of those that are known.
    """

    reason: str
    bars: int
    won: int
    lost: int
    even: int
    unknown: int
    mean_fraction: float | None


class _Tally(msgspec.Struct):
    won: int = 0
    lost: int = 0
    even: int = 0
    unknown: int = 0
    sum_fraction: float = 0.0

    def add(self, move: Decimal | None) -> None:
        if move is None:
            self.unknown += 1
            return
        self.won += move > 0
        self.lost += move < 0
        self.even += move == 0
        self.sum_fraction += float(move)

    def shown(self, reason: str, bars: int) -> Spared:
        known = self.won + self.lost + self.even
        return Spared(
            reason=reason, bars=bars, won=self.won, lost=self.lost, even=self.even, unknown=self.unknown,
            mean_fraction=self.sum_fraction / known if known else None,
        )  # fmt: skip


class _Waiting(msgspec.Struct, frozen=True):
    reason: str
    bars: int
    price: Decimal
    sign: int


class _Series:
    """The bars of one symbol and interval: which are waited for, by their end, and up to which all were looked at."""

    def __init__(self) -> None:
        self.waiting: dict[int, list[_Waiting]] = {}
        self.seen_ms = -1


class Hindsight:
    """Is shown traces oldest first (``see``) and says in the end what became of the refused ones among them."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], _Series] = {}
        self._tallies: dict[tuple[str, int], _Tally] = {}

    @property
    def is_waiting(self) -> bool:
        """True while bars after refused decisions were not shown."""
        return any(series.waiting for series in self._series.values())

    def see(self, trace: Trace, *, counts: bool = True) -> None:
        """Take its bars as prices, and wait for later ones if it is a refused entry (and ``counts``)."""
        candle = trace.candle
        series = self._series_of(candle) if candle is not None else _Series()
        if candle is not None:
            self._look(series, trace, candle)
        verdict = trace.verdict
        if not counts or trace.kind is not TraceKind.DECISION or not isinstance(verdict, Refused):
            return
        if verdict.signal.action is not Action.OPEN:
            return
        reason = verdict.reason.value
        for bars in HORIZONS:
            if candle is None or candle.close <= 0 or candle.interval not in INTERVAL_MS:
                self._add(reason, bars, None)
                continue
            close_ms = candle.close_ms + bars * INTERVAL_MS[candle.interval]
            waiting = _Waiting(reason, bars, candle.close, verdict.signal.side.sign)
            series.waiting.setdefault(close_ms, []).append(waiting)

    def result(self) -> tuple[Spared, ...]:
        """By reason and horizon, all reasons together first; what is still waited for is not known."""
        for series in self._series.values():
            for waiting in itertools.chain.from_iterable(series.waiting.values()):
                self._add(waiting.reason, waiting.bars, None)
            series.waiting.clear()
        return tuple(self._shown())

    def _shown(self) -> Iterator[Spared]:
        for bars in HORIZONS:
            total = _Tally()
            for (_, horizon), tally in self._tallies.items():
                if horizon == bars:
                    total.won += tally.won
                    total.lost += tally.lost
                    total.even += tally.even
                    total.unknown += tally.unknown
                    total.sum_fraction += tally.sum_fraction
            yield total.shown("", bars)
        for (reason, bars), tally in sorted(self._tallies.items()):
            yield tally.shown(reason, bars)

    def _series_of(self, candle: Candle) -> _Series:
        return self._series.setdefault((candle.symbol, candle.interval), _Series())

    def _look(self, series: _Series, trace: Trace, candle: Candle) -> None:
        """The bars of a decision that no decision before it had: its own, and what it saw, newest first."""
        self._learn(series, candle)
        history = trace.view.history if trace.view is not None else ()
        for bar in reversed(history):
            if bar.close_ms <= series.seen_ms or not series.waiting:
                break
            if (bar.symbol, bar.interval) == (candle.symbol, candle.interval):
                self._learn(series, bar)
        if history:
            series.seen_ms = max(series.seen_ms, candle.close_ms)

    def _learn(self, series: _Series, bar: Candle) -> None:
        for waiting in series.waiting.pop(bar.close_ms, ()):
            self._add(waiting.reason, waiting.bars, (bar.close - waiting.price) / waiting.price * waiting.sign)

    def _add(self, reason: str, bars: int, move: Decimal | None) -> None:
        self._tallies.setdefault((reason, bars), _Tally()).add(move)
