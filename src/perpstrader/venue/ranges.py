"""The hourly average true range of a symbol, from its own bars: what stops and sizes are scaled by."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal
from typing import Final

from perpstrader.domain import Candle

HOUR_MS: Final = 3_600_000
PERIOD: Final = 14

_LEAST_COVERED_MS: Final = HOUR_MS * 9 // 10
_CONTEXT: Final = Context(prec=16)
"""Enough for any price, and the same digits whatever the caller's own context is."""


class HourlyRange:
    """Wilder's ATR over 14 UTC hours in USD, seeded with the mean of the first 14 ranges (the first hour's is high
    minus low).

    An hour counts when bars cover at least nine tenths of it; of a thinner one only the last close is used, because
    half an hour's range would call the market calmer than it is. Bars longer than an hour cannot make hours and are
    ignored.
    """

    __slots__ = (
        "_close",
        "_count",
        "_covered_ms",
        "_high",
        "_hour",
        "_low",
        "_previous_close",
        "_seen_open_ms",
        "_sum",
        "value",
    )

    _hour: int

    def __init__(self) -> None:
        self._seen_open_ms = -1
        self._restart()

    def take(self, candle: Candle) -> None:
        """The next closed bar; one that is not newer than the last is ignored."""
        length_ms = candle.close_ms - candle.open_ms + 1
        if candle.open_ms <= self._seen_open_ms or length_ms > HOUR_MS:
            return
        self._seen_open_ms = candle.open_ms
        hour = candle.open_ms // HOUR_MS
        if hour != self._hour:
            self._close_hour()
            self._hour, self._high, self._low, self._covered_ms = hour, candle.high, candle.low, 0
        elif candle.high > self._high:
            self._high = candle.high
        if candle.low < self._low:
            self._low = candle.low
        self._close = candle.close
        self._covered_ms += length_ms
        if (candle.close_ms + 1) % HOUR_MS == 0:
            self._close_hour()

    def seed(self, hours: Iterable[Candle]) -> None:
        """Start anew from closed one-hour bars, oldest first; they are ignored when bars newer than all of them were
        taken already.
        """
        bars = list(hours)
        if not bars or bars[-1].open_ms < self._seen_open_ms:
            return
        self._restart()
        self._seen_open_ms = -1
        for bar in bars:
            self.take(bar)

    def _restart(self) -> None:
        self.value: Decimal | None = None
        self._hour = -1
        self._high = self._low = self._close = self._sum = Decimal(0)
        self._covered_ms = 0
        self._count = 0
        self._previous_close: Decimal | None = None

    def _close_hour(self) -> None:
        if self._hour < 0:
            return
        previous, self._previous_close = self._previous_close, self._close
        covered, self._hour = self._covered_ms, -1
        if covered < _LEAST_COVERED_MS:
            return
        high, low = self._high, self._low
        if previous is not None:
            high, low = max(high, previous), min(low, previous)
        true_range = high - low
        if self.value is not None:
            self.value = _CONTEXT.add(self.value, _CONTEXT.divide(true_range - self.value, Decimal(PERIOD)))
            return
        self._count += 1
        self._sum += true_range
        if self._count == PERIOD:
            self.value = _CONTEXT.divide(self._sum, Decimal(PERIOD))
