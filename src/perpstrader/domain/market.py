"""What is known of a market: candles, best prices, mark, oracle, funding, each with its age."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain.portfolio import Position

INTERVAL_MS: Final = {
    "250ms": 250, "500ms": 500, "1s": 1_000, "5s": 5_000, "15s": 15_000,
    "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000,
    "1h": 3_600_000, "2h": 7_200_000, "4h": 14_400_000, "8h": 28_800_000, "12h": 43_200_000, "1d": 86_400_000,
}  # fmt: skip
"""Bar lengths in milliseconds: the venue's (API sheet 1.1), and those below a minute of the paper exchange."""


class Candle(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A closed bar from ``open_ms`` to ``close_ms`` inclusive; ``volume`` in base units."""

    symbol: str
    interval: str
    open_ms: int
    close_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trades: int = 0


class BookLevel(msgspec.Struct, gc=False, frozen=True):
    """Price and size of one level of a book."""

    price: Decimal
    size: Decimal


class BarHistory(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """The closed bars of one symbol: ``unbroken`` of them end with the newest without a gap (as far as anybody looks),
    ``volume`` is the newest one's in base units.
    """

    unbroken: int
    bar_ms: int
    newest_close_ms: int = 0
    volume: Decimal | None = None


class MarketSnapshot(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """The newest prices of one symbol with the venue times they carry; ``version`` grows with each change.

    ``mark``, ``oracle``, ``mid`` and ``last`` are four different series. ``funding_rate`` is hourly. Depths are base
    units within the entry slip cap, ``None`` when no book was read. ``bars`` is there where a decision is judged.
    """

    symbol: str
    version: int
    bid: Decimal | None = None
    ask: Decimal | None = None
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None
    book_ms: int = 0
    mark: Decimal | None = None
    oracle: Decimal | None = None
    last: Decimal | None = None
    context_ms: int = 0
    funding_rate: Decimal | None = None
    day_volume_usd: Decimal | None = None
    bids: tuple[BookLevel, ...] = ()
    asks: tuple[BookLevel, ...] = ()
    atr: Decimal | None = None
    bars: BarHistory | None = None

    @property
    def mid(self) -> Decimal | None:
        """The middle of the best prices, in USD."""
        if self.bid is None or self.ask is None:
            return None
        return (self.bid + self.ask) / 2

    @property
    def spread_fraction(self) -> Decimal | None:
        """Ask minus bid over mid."""
        mid = self.mid
        if mid is None or self.bid is None or self.ask is None:
            return None
        return (self.ask - self.bid) / mid


class MarketView(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy sees on a closed bar: the bar, the bars before it (newest last), prices, and its own position."""

    symbol: str
    time_ms: int
    candle: Candle
    history: Sequence[Candle]
    market: MarketSnapshot
    position: Position | None = None
