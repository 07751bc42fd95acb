"""Streaming indicators: one bar in, one value out, the same work for each bar however long the window is.

Values are floats, because they are statistics and not money; ``value`` is ``None`` until enough bars have been seen.
Each formula is the textbook's, and names its seed, because two programs that seed differently disagree for hundreds
of bars. The tests compare each with a naive formula over the whole series. Inputs must be finite.
"""

from __future__ import annotations

import math
from collections import deque


def _checked(period: int, least: int = 1) -> int:
    if period < least:
        raise ValueError(f"an indicator's period must be at least {least}, got {period}")
    return period


class Sma:
    """Simple moving average: the mean of the last ``period`` values."""

    __slots__ = ("_sum", "_turn", "_window", "period", "value")

    def __init__(self, period: int) -> None:
        self.period = _checked(period)
        self.value: float | None = None
        self._window: deque[float] = deque(maxlen=period)
        self._sum = 0.0
        self._turn = 0

    def update(self, x: float) -> float | None:
        """Take the next value; the mean once ``period`` values are in."""
        window = self._window
        if len(window) < self.period:
            window.append(x)
            self._sum += x
            if len(window) < self.period:
                return None
        else:
            self._sum += x - window[0]
            window.append(x)
            self._turn += 1
            if self._turn >= self.period:  # once a window the sum is made anew, so that rounding errors cannot pile up
                self._turn = 0
                self._sum = math.fsum(window)
        self.value = self._sum / self.period
        return self.value


class Ema:
    """Exponential moving average with ``alpha = 2 / (period + 1)``, seeded with the mean of the first ``period``
    values."""

    __slots__ = ("_alpha", "_count", "_sum", "period", "value")

    def __init__(self, period: int) -> None:
        self.period = _checked(period)
        self.value: float | None = None
        self._alpha = 2.0 / (period + 1)
        self._count = 0
        self._sum = 0.0

    def update(self, x: float) -> float | None:
        """Take the next value; the average once ``period`` values are in."""
        value = self.value
        if value is not None:
            self.value = value = value + self._alpha * (x - value)
            return value
        self._count += 1
        self._sum += x
        if self._count == self.period:
            self.value = self._sum / self.period
        return self.value


class Rsi:
    """Wilder's relative strength index, 0..100, seeded with the mean gain and loss of the first ``period`` changes.

    A series without any change reads 50, as nothing speaks for either side.
    """

    __slots__ = ("_count", "_gain", "_loss", "_previous", "period", "value")

    def __init__(self, period: int = 14) -> None:
        self.period = _checked(period)
        self.value: float | None = None
        self._previous: float | None = None
        self._count = 0
        self._gain = 0.0
        self._loss = 0.0

    def update(self, x: float) -> float | None:
        """Take the next price; the index once ``period + 1`` prices are in."""
        previous, self._previous = self._previous, x
        if previous is None:
            return None
        change = x - previous
        period = self.period
        gain, loss = (change, 0.0) if change > 0 else (0.0, -change)
        if self._count >= period:
            self._gain += (gain - self._gain) / period
            self._loss += (loss - self._loss) / period
        else:
            self._count += 1
            self._gain += gain / period
            self._loss += loss / period
            if self._count < period:
                return None
        total = self._gain + self._loss
        self.value = 100.0 * self._gain / total if total > 0 else 50.0
        return self.value


class Atr:
    """Wilder's average true range in USD, seeded with the mean of the first ``period`` ranges; the first bar's is
    high minus low."""

    __slots__ = ("_count", "_previous_close", "_sum", "period", "value")

    def __init__(self, period: int = 14) -> None:
        self.period = _checked(period)
        self.value: float | None = None
        self._previous_close: float | None = None
        self._count = 0
        self._sum = 0.0

    def update(self, high: float, low: float, close: float) -> float | None:
        """Take the next bar; the average once ``period`` bars are in."""
        previous = self._previous_close
        self._previous_close = close
        if previous is not None:
            high = high if high > previous else previous
            low = low if low < previous else previous
        true_range = high - low
        value = self.value
        if value is not None:
            self.value = value = value + (true_range - value) / self.period
            return value
        self._count += 1
        self._sum += true_range
        if self._count == self.period:
            self.value = self._sum / self.period
        return self.value


class RollingStdev:
    """Mean and population standard deviation of the last ``period`` values (``value`` and ``mean``)."""

    __slots__ = ("_m2", "_turn", "_window", "mean", "period", "value")

    def __init__(self, period: int) -> None:
        self.period = _checked(period, 2)
        self.value: float | None = None
        self.mean = 0.0
        self._window: deque[float] = deque(maxlen=period)
        self._m2 = 0.0
        self._turn = 0

    def update(self, x: float) -> float | None:
        """Take the next value; the deviation once ``period`` values are in."""
        window, period = self._window, self.period
        if len(window) < period:
            window.append(x)
            if len(window) < period:
                return None
            self._remake()
        else:
            oldest, mean = window[0], self.mean
            window.append(x)
            self._turn += 1
            if self._turn >= period:  # as in Sma: a jump that has left the window must leave no residue behind
                self._remake()
            else:
                change = x - oldest
                self.mean = mean + change / period
                self._m2 += change * (x - self.mean + oldest - mean)
        m2 = self._m2
        self.value = math.sqrt(m2 / period) if m2 > 0 else 0.0
        return self.value

    def _remake(self) -> None:
        self._turn = 0
        self.mean = mean = math.fsum(self._window) / self.period
        self._m2 = math.fsum((x - mean) ** 2 for x in self._window)


class Bollinger:
    """Bollinger bands: the mean of ``period`` closes, and ``width`` population standard deviations to either side."""

    __slots__ = ("_stdev", "lower", "middle", "period", "upper", "width")

    def __init__(self, period: int = 20, width: float = 2.0) -> None:
        self.period = _checked(period, 2)
        self.width = width
        self._stdev = RollingStdev(period)
        self.middle: float | None = None
        self.lower = self.upper = 0.0

    @property
    def stdev(self) -> float | None:
        """The standard deviation behind the bands, in USD."""
        return self._stdev.value

    def update(self, x: float) -> float | None:
        """Take the next close; the middle band once ``period`` closes are in."""
        deviation = self._stdev.update(x)
        if deviation is None:
            return None
        self.middle = middle = self._stdev.mean
        reach = self.width * deviation
        self.lower = middle - reach
        self.upper = middle + reach
        return middle
