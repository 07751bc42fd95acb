"""Bars: built from trades, joined into longer ones; and whether a bar could have met both stop and target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perpstrader.domain.market import INTERVAL_MS
from perpstrader.paper.engine.market import BarClose
from perpstrader.paper.feeds.contract import FeedError, IntervalError

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
_NAMES: Final = {ms: name for name, ms in INTERVAL_MS.items()}


def interval_length(interval: str) -> int:
    """The length of a named interval in milliseconds; raises ``IntervalError`` for an unknown name."""
    length = INTERVAL_MS.get(interval)
    if length is None:
        raise IntervalError(f"interval {interval!r} is not known; allowed are {', '.join(INTERVAL_MS)}")
    return length


def interval_name(length_ms: int) -> str:
    """The name of an interval; raises ``IntervalError`` for a length that has none."""
    name = _NAMES.get(length_ms)
    if name is None:
        raise IntervalError(f"bars of {length_ms} ms are not offered; allowed are {', '.join(INTERVAL_MS)}")
    return name


def ambiguous(bar: BarClose, lower: int, upper: int) -> bool:
    """Whether the bar reaches both prices, so that only an assumption says which of stop and target came first."""
    return bar.low <= lower and bar.high >= upper


class BarBuilder:
    """Builds the bars of one coin from its trades; a bar without trades repeats the last price with no volume."""

    def __init__(self, coin: str, interval: str) -> None:
        self.coin = coin
        self.interval = interval
        self.length_ms = interval_length(interval)
        self._last = 0
        self._reset()

    def _reset(self) -> None:
        self._open = self._high = self._low = self._close = self._last
        self._volume = self._trades = 0

    def add(self, price: int, size: int) -> None:
        """Count one trade into the bar that is open."""
        if not self._trades:
            self._open = self._high = self._low = price
        self._high = max(self._high, price)
        self._low = min(self._low, price)
        self._close = self._last = price
        self._volume += size
        self._trades += 1

    def close(self, open_ms: int) -> BarClose | None:
        """The bar that began at ``open_ms``, and begin the next; ``None`` while there never was a trade."""
        if not self._last:
            return None
        bar = BarClose(
            coin=self.coin, interval=self.interval, open_ms=open_ms, close_ms=open_ms + self.length_ms - 1,
            open=self._open, high=self._high, low=self._low, close=self._close,
            volume=self._volume, trades=self._trades,
        )  # fmt: skip
        self._reset()
        return bar


def bars_needed(base: str, wanted: str, limit: int) -> int:
    """How many ``base`` bars hold the last ``limit`` bars of ``wanted``; raises ``FeedError`` if it is no multiple."""
    ratio, rest = divmod(interval_length(wanted), interval_length(base))
    if rest or not ratio:
        raise FeedError(f"{wanted} bars cannot be made of this market's {base} bars; ask for a multiple of {base}")
    return limit if ratio == 1 else (limit + 2) * ratio


def joined(bars: Sequence[BarClose], wanted: str, before_ms: int, limit: int) -> list[BarClose]:
    """The last ``limit`` bars of ``wanted`` that closed before ``before_ms``, joined from ``bars`` (oldest first).

    Longer bars begin at multiples of their length since 1970. One whose beginning lies before ``bars`` is left out.
    """
    length = interval_length(wanted)
    if bars and bars[0].interval == wanted:
        return [bar for bar in bars if bar.close_ms < before_ms][-limit:] if limit > 0 else []
    groups: dict[int, list[BarClose]] = {}
    for bar in bars:
        groups.setdefault(bar.open_ms - bar.open_ms % length, []).append(bar)
    if bars and bars[0].open_ms % length:
        del groups[bars[0].open_ms - bars[0].open_ms % length]
    complete = [_join(group, wanted, at, length) for at, group in groups.items() if at + length <= before_ms]
    return complete[-limit:] if limit > 0 else []


def _join(group: Sequence[BarClose], interval: str, open_ms: int, length: int) -> BarClose:
    return BarClose(
        coin=group[0].coin, interval=interval, open_ms=open_ms, close_ms=open_ms + length - 1,
        open=group[0].open, high=max(bar.high for bar in group),
        low=min(bar.low for bar in group), close=group[-1].close,
        volume=sum(bar.volume for bar in group), trades=sum(bar.trades for bar in group),
    )  # fmt: skip


def scaled_to_day(volume: int, covered_ms: int) -> int:
    """``volume`` of ``covered_ms`` brought up to a whole day."""
    return volume * DAY_MS // covered_ms if 0 < covered_ms < DAY_MS else volume
