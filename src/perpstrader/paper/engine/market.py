"""What a feed tells the engine about one coin at one instant: book, last trade, mark and oracle, in integers."""

from __future__ import annotations

import msgspec


class Level(msgspec.Struct, frozen=True, array_like=True):
    """One price level of the feed's book: price in price units, size in lots."""

    price: int
    size: int


class TradePrint(msgspec.Struct, frozen=True, array_like=True):
    """One trade of the outside market; ``buy`` is the aggressor's side."""

    price: int
    size: int
    buy: bool


class MarketUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """The outside market of one coin at ``time_ms``; a field left ``None`` keeps its last value.

    Prices are integers of 10^-(6 - size_decimals) USD and sizes integers of 10^-size_decimals coins, so that price x
    size is exactly micro-USD (API sheet section 4: at most 6 - szDecimals decimals for perps). ``bids`` and ``asks``
    are best first and replace the outside book whole, with its liquidity. ``continuous`` says that the price moved here
    along a path and not in a jump: a trigger between the old and the new mark then meets the market at its own level, a
    jump meets it at the new one. In a ``halted`` market nothing fills and no trigger fires.
    """

    coin: str
    time_ms: int
    bids: tuple[Level, ...] | None = None
    asks: tuple[Level, ...] | None = None
    last: int | None = None
    mark: int | None = None
    oracle: int | None = None
    trades: tuple[TradePrint, ...] = ()
    continuous: bool = False
    halted: bool = False


class BarClose(msgspec.Struct, frozen=True, kw_only=True):
    """A closed candle of one coin, as the venue publishes it: integer prices as above, volume in lots."""

    coin: str
    interval: str
    open_ms: int
    close_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    trades: int
