"""The newest market of each symbol: taking a frame costs next to nothing, a snapshot is made when somebody asks and
kept until it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final

from perpstrader.domain import BookLevel, Candle, MarketSnapshot
from perpstrader.venue.contract import Book
from perpstrader.venue.ranges import HourlyRange
from perpstrader.venue.wire import market, ws
from perpstrader.venue.wire.numbers import check_decimals, parse_decimal

DEPTH_LIFE_MS: Final = 5_000
"""Levels that are older than the best prices by more than this say nothing any more and are left out."""


JUMP_RATIO: Final = 10
JUMP_MS: Final = 60_000
"""A mark ten times, or a tenth, of the one before it is not believed within this time of that one (S37)."""


class _Market:
    """What is held of one symbol; wire text stays text until a snapshot is asked for."""

    __slots__ = (
        "ask",
        "bid",
        "book",
        "book_ms",
        "cached",
        "context",
        "context_ms",
        "hours",
        "last",
        "last_ms",
        "mark",
        "symbol",
        "version",
    )

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.version = 0
        self.bid: market.L2Level | BookLevel | None = None
        self.ask: market.L2Level | BookLevel | None = None
        self.book_ms = 0
        self.book: Book | None = None
        self.context: market.AssetCtx | None = None
        self.context_ms = 0
        self.mark: Decimal | None = None
        self.last: Decimal | None = None
        self.last_ms = 0
        self.hours = HourlyRange()
        self.cached: MarketSnapshot | None = None


class MarketData:
    """Holds the newest of everything; a frame older than what is held is dropped, and ``snapshot`` is the same object
    for the same version.

    Times are the venue's: those that the frames carry, else the venue's time at arrival. Methods that take a frame
    raise ``WireError`` for text that is no finite number and hold on to what they had. ``on_implausible`` is told, with
    symbol and evidence, of a mark that is not believed.
    """

    def __init__(self) -> None:
        self._markets: dict[str, _Market] = {}
        self.on_implausible: Callable[[str, str], None] = lambda symbol, text: None

    def take_bbo(self, bbo: ws.Bbo) -> None:
        """The best bid and ask at ``bbo.time``; a side without orders is ``None``."""
        held = self._market(bbo.coin)
        if bbo.time < held.book_ms:
            return
        bid, ask = bbo.bbo
        if bid is not None:
            check_decimals(bid.px, bid.sz)
        if ask is not None:
            check_decimals(ask.px, ask.sz)
        held.bid, held.ask, held.book_ms = bid, ask, bbo.time
        held.version += 1

    def take_context(self, symbol: str, context: market.AssetCtx, received_ms: int) -> None:
        """Mark, oracle, funding and volume; the frame has no time of its own, so ``received_ms`` is the venue's time at
        arrival. One whose mark is off by an order of magnitude is dropped and told of; what is held grows old.
        """
        check_decimals(context.mark_px, context.oracle_px, context.funding, context.day_ntl_vlm)
        held = self._market(symbol)
        if held.context is not None and received_ms - held.context_ms < JUMP_MS:
            before, now = float(held.context.mark_px), float(context.mark_px)
            if not before / JUMP_RATIO < now < before * JUMP_RATIO:
                text = f"the mark of {symbol} went from {held.context.mark_px} to {context.mark_px} at once"
                self.on_implausible(symbol, text)
                return
        held.context, held.context_ms, held.mark = context, received_ms, None
        held.version += 1

    def take_book(self, book: Book) -> None:
        """The levels of a book read by REST, and its best prices where they are newer than those held."""
        held = self._market(book.symbol)
        if held.book is not None and book.time_ms < held.book.time_ms:
            return
        held.book = book
        if book.time_ms >= held.book_ms:
            held.bid = book.bids[0] if book.bids else None
            held.ask = book.asks[0] if book.asks else None
            held.book_ms = book.time_ms
        held.version += 1

    def take_trades(self, trades: Sequence[market.Trade]) -> None:
        """The newest price that anybody traded at."""
        for trade in trades:
            held = self._market(trade.coin)
            if trade.time >= held.last_ms:
                held.last, held.last_ms = parse_decimal(trade.px, "trade price"), trade.time
                held.version += 1

    def take_bar(self, candle: Candle) -> None:
        """A closed bar: its close is the last price as of its end, and the hourly ATR moves on."""
        held = self._market(candle.symbol)
        if candle.close_ms >= held.last_ms:
            held.last, held.last_ms = candle.close, candle.close_ms
        held.hours.take(candle)
        held.version += 1

    def seed_hours(self, symbol: str, candles: Iterable[Candle]) -> None:
        """Closed one-hour bars, oldest first, from which the ATR starts; without 14 of them it stays unknown until 14
        hours have passed.
        """
        held = self._market(symbol)
        held.hours.seed(candles)
        held.version += 1

    def mark(self, symbol: str) -> Decimal | None:
        """The mark price, or ``None`` before the first context."""
        held = self._markets.get(symbol)
        if held is None or held.context is None:
            return None
        if held.mark is None:
            held.mark = Decimal(held.context.mark_px)
        return held.mark

    def version(self, symbol: str) -> int:
        """Grows with each change of the symbol's market; 0 before the first."""
        held = self._markets.get(symbol)
        return 0 if held is None else held.version

    def snapshot(self, symbol: str) -> MarketSnapshot | None:
        """The market as it stands, ``None`` before anything was heard of ``symbol``; what is not known is ``None`` in
        it.
        """
        held = self._markets.get(symbol)
        if held is None or held.version == 0:
            return None
        cached = held.cached
        if cached is None or cached.version != held.version:
            cached = held.cached = self._make(held)
        return cached

    def _make(self, held: _Market) -> MarketSnapshot:
        bid, bid_size = _level(held.bid)
        ask, ask_size = _level(held.ask)
        context, book = held.context, held.book
        levels = book if book is not None and book.time_ms >= held.book_ms - DEPTH_LIFE_MS else None
        return MarketSnapshot(
            symbol=held.symbol,
            version=held.version,
            bid=bid,
            ask=ask,
            bid_size=bid_size,
            ask_size=ask_size,
            book_ms=held.book_ms,
            mark=self.mark(held.symbol),
            oracle=Decimal(context.oracle_px) if context is not None else None,
            last=held.last,
            context_ms=held.context_ms,
            funding_rate=Decimal(context.funding) if context is not None else None,
            day_volume_usd=Decimal(context.day_ntl_vlm) if context is not None else None,
            bids=levels.bids if levels is not None else (),
            asks=levels.asks if levels is not None else (),
            atr=held.hours.value,
        )

    def _market(self, symbol: str) -> _Market:
        held = self._markets.get(symbol)
        if held is None:
            held = self._markets[symbol] = _Market(symbol)
        return held


def _level(level: market.L2Level | BookLevel | None) -> tuple[Decimal | None, Decimal | None]:
    if level is None:
        return None, None
    if isinstance(level, BookLevel):
        return level.price, level.size
    return Decimal(level.px), Decimal(level.sz)
