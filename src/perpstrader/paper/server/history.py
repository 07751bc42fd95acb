"""What the server remembers of the market: bars of every interval, the day's volume, recent trades."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from perpstrader.domain.market import INTERVAL_MS
from perpstrader.paper.engine import BarClose, MarketUpdate, TradeEvent
from perpstrader.paper.feeds.contract import Feed
from perpstrader.venue.wire.limits import CANDLES

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
RECENT_TRADES: Final = 50


class DayFigures(msgspec.Struct, frozen=True):
    """Lots traded in a day, and the price a day ago (``None``: unknown)."""

    lots: int
    day_ago_px: int | None


class Candles:
    """Bars of the feed's own interval and of its multiples. A longer bar that is still open is made of what has closed.

    Day figures are renewed once an hour.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._base_ms = INTERVAL_MS[feed.interval]
        self._forming: dict[tuple[str, str], BarClose] = {}
        self._days: dict[str, tuple[int, DayFigures]] = {}

    @property
    def base(self) -> str:
        """The feed's own interval, of which every bar is published when it has closed."""
        return self._feed.interval

    def offers(self, interval: str) -> bool:
        """Whether bars of that name can be made."""
        length = INTERVAL_MS.get(interval)
        return length is not None and length % self._base_ms == 0

    def snapshot(self, coin: str, interval: str, start_ms: int, end_ms: int, now_ms: int) -> list[BarClose]:
        """The newest 5000 bars at most, of those that begin from ``start_ms`` to ``end_ms``, oldest first."""
        bars = self._feed.history(coin, interval, now_ms, CANDLES)
        if interval != self.base:
            forming = self._build(coin, interval, now_ms - now_ms % INTERVAL_MS[interval], now_ms)
            if forming is not None:
                bars = [*bars, forming]
        return [bar for bar in bars if start_ms <= bar.open_ms <= end_ms][-CANDLES:]

    def extend(self, bar: BarClose, interval: str) -> BarClose:
        """The bar of the longer ``interval`` that ``bar`` has just become part of."""
        key = (bar.coin, interval)
        length = INTERVAL_MS[interval]
        begin = bar.open_ms - bar.open_ms % length
        known = self._forming.get(key)
        if known is not None and known.open_ms == begin:
            longer = _joined(known, bar)
        else:
            longer = self._build(bar.coin, interval, begin, bar.close_ms + 1) or _widened(bar, interval, begin)
        self._forming[key] = longer
        return longer

    def _build(self, coin: str, interval: str, begin: int, before_ms: int) -> BarClose | None:
        count = (before_ms - begin) // self._base_ms + 1
        parts = [bar for bar in self._feed.history(coin, self.base, before_ms, count) if bar.open_ms >= begin]
        if not parts:
            return None
        longer = _widened(parts[0], interval, begin)
        for part in parts[1:]:
            longer = _joined(longer, part)
        return longer

    def day(self, coin: str, now_ms: int) -> DayFigures:
        """Volume of the last day and the price before it, as of this hour's beginning or later."""
        known = self._days.get(coin)
        if known is not None and now_ms < known[0]:
            return known[1]
        before = self._feed.history(coin, self.base, now_ms - DAY_MS, 1)
        bars = before or self._feed.history(coin, self.base, now_ms, CANDLES)[:1]
        figures = DayFigures(self._feed.day_volume(coin, now_ms), bars[0].close if bars else None)
        self._days[coin] = (now_ms - now_ms % HOUR_MS + HOUR_MS, figures)
        return figures


def _widened(bar: BarClose, interval: str, begin: int) -> BarClose:
    close_ms = begin + INTERVAL_MS[interval] - 1
    return msgspec.structs.replace(bar, interval=interval, open_ms=begin, close_ms=close_ms)


def _joined(longer: BarClose, bar: BarClose) -> BarClose:
    return BarClose(
        coin=longer.coin, interval=longer.interval, open_ms=longer.open_ms, close_ms=longer.close_ms,
        open=longer.open, high=max(longer.high, bar.high), low=min(longer.low, bar.low), close=bar.close,
        volume=longer.volume + bar.volume, trades=longer.trades + bar.trades,
    )  # fmt: skip


class RecentTrades:
    """The newest trades of each coin: the outside market's and those in which an account took part."""

    def __init__(self) -> None:
        self._rows: dict[str, deque[TradeEvent]] = {}
        self._tid = 0

    def from_feed(self, update: MarketUpdate) -> list[TradeEvent]:
        """Keep the outside trades of an update, numbered below the engine's own."""
        rows = []
        for trade in update.trades:
            self._tid += 1
            rows.append(
                TradeEvent(update.coin, trade.price, trade.size, trade.buy, update.time_ms, self._tid, None, None)
            )
        self.keep(rows)
        return rows

    def keep(self, rows: list[TradeEvent]) -> None:
        """Keep trades."""
        for row in rows:
            self._rows.setdefault(row.coin, deque(maxlen=RECENT_TRADES)).append(row)

    def newest(self, coin: str) -> list[TradeEvent]:
        """The newest trades of a coin, newest first."""
        return list(reversed(self._rows.get(coin, ())))
