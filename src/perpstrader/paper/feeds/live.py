"""The real venue's market as it is now: its public books, trades, prices and bars, mirrored and never traded on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Final

from perpstrader.domain.errors import PerpsTraderError
from perpstrader.paper.engine.assets import MICRO, EngineAsset, MarginTier
from perpstrader.paper.engine.market import BarClose, Level, MarketUpdate, TradePrint
from perpstrader.paper.feeds.bars import DAY_MS, HOUR_MS, bars_needed, joined, scaled_to_day
from perpstrader.paper.feeds.contract import FeedError, FeedReport, FeedStep, Grade, never_quiet
from perpstrader.runtime import Clock, Socket, Transport, TransportError
from perpstrader.venue.wire import WireError, info, market, ws
from perpstrader.venue.wire.numbers import parse_decimal

STALE_MS: Final = 15_000
"""Thrice the slowest cadence of the venue's books (API sheet 6.2)."""
_PING_S: Final = 20.0
_READ_S: Final = 15.0
_BARS: Final = 5_000
_FIRST_BARS: Final = 1_500
_MINUTE_MS: Final = 60_000
_KNOWN_TRADES: Final = 2_000
_MAX_FRAMES: Final = 20_000
_BACKOFF_S: Final = (0.5, 30.0)
_LARGE: Final = frozenset({"BTC", "ETH"})
_PING: Final = b'{"method":"ping"}'
_CHANNELS: Final = ("l2Book", "bbo", "trades", "activeAssetCtx")


class LiveFeed:
    """Mirrors ``symbols`` of the venue behind ``transport``; made by ``open``, moved by ``arriving``.

    Every instant is shown when it arrives, at our own time. From a break, or a silence of ``stale_ms``, until a coin's
    next book that coin is halted: nothing fills and no trigger fires on prices that are old. Frames that make no sense
    are counted in ``bad_frames`` and left out. Bars are the venue's 1-minute candles; funding is the rate it shows.
    """

    interval: str = "1m"
    grade: Grade = "book"
    end_ms: int | None = None

    def __init__(
        self, transport: Transport, clock: Clock, assets: Sequence[EngineAsset], rng: Random, *, stale_ms: int
    ) -> None:
        self.assets: tuple[EngineAsset, ...] = tuple(assets)
        self.start_ms = clock.now_ms()
        self.bad_frames = 0
        self.breaks = 0
        """How often the connection ended or fell silent."""
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._stale_ms = stale_ms
        self._coins = {asset.coin: _Coin(asset) for asset in assets}
        self._frames: deque[bytes] = deque(maxlen=_MAX_FRAMES)
        self._heard_of = asyncio.Event()
        self._is_broken = False
        self._published = 0
        self._hour = self.start_ms // HOUR_MS

    @classmethod
    async def open(
        cls, transport: Transport, clock: Clock, symbols: Sequence[str], rng: Random, *, stale_ms: int = STALE_MS
    ) -> LiveFeed:
        """The feed with the coins' rules, prices, books and bars of now; raises ``FeedError`` or ``TransportError``."""
        meta, ctxs = await _read(transport, info.META_AND_ASSET_CTXS, info.InfoRequest("metaAndAssetCtxs"))
        listed = {row.name: number for number, row in enumerate(meta.universe) if not row.is_delisted}
        missing = [symbol for symbol in symbols if symbol not in listed]
        if missing or not symbols:
            raise FeedError(f"the live venue does not list {', '.join(missing) or 'a market without coins'}")
        assets = [_asset(meta, listed[symbol], index) for index, symbol in enumerate(symbols)]
        feed = cls(transport, clock, assets, rng, stale_ms=stale_ms)
        now_ms = clock.now_ms()
        for coin in feed._coins.values():
            name = coin.asset.coin
            coin.take_ctx(ctxs[listed[name]])
            wanted = info.CandleRequest(name, "1m", now_ms - _FIRST_BARS * _MINUTE_MS, now_ms)
            rows = await _read(transport, info.CANDLE_SNAPSHOT, info.InfoRequest("candleSnapshot", req=wanted))
            coin.bars.extend([bar for bar in map(coin.bar, rows) if bar.close_ms < now_ms])
            book = await _read(transport, info.L2_BOOK, info.InfoRequest("l2Book", coin=name))
            if book is None:
                raise FeedError(f"the live venue has no book of {name}")
            coin.take_book(book)
        return feed

    # --- what a feed is asked ---

    def steps(
        self, position_sign: Callable[[str], int], is_quiet: Callable[[], bool] = never_quiet
    ) -> Iterator[FeedStep]:
        """A live market is not made as it is asked for; raises ``FeedError``. See ``arriving``."""
        raise FeedError("a live market arrives by itself; it cannot be stepped through")

    def history(self, coin: str, interval: str, before_ms: int, limit: int) -> list[BarClose]:
        """See ``Feed``: the bars since the start, and at most 1,500 from before it."""
        if coin not in self._coins:
            raise FeedError(f"this market has no coin {coin!r}; it has {', '.join(self._coins)}")
        needed = bars_needed(self.interval, interval, limit)
        known = [bar for bar in self._coins[coin].bars if bar.close_ms < before_ms]
        return joined(known[-needed:] if needed > 0 else [], interval, before_ms, limit)

    def day_volume(self, coin: str, before_ms: int) -> int:
        """See ``Feed``."""
        bars = [bar for bar in self._coins[coin].bars if before_ms - DAY_MS <= bar.open_ms and bar.close_ms < before_ms]
        return scaled_to_day(sum(bar.volume for bar in bars), len(bars) * _MINUTE_MS)

    def report(self, ambiguous_bars: int = 0) -> FeedReport:
        """See ``Feed``; a gap is a break of the connection."""
        return FeedReport(
            grade=self.grade, bars=self._published, ambiguous_bars=ambiguous_bars, halted_bars=0, gaps=self.breaks
        )

    # --- the market arrives ---

    async def arriving(self) -> AsyncIterator[FeedStep]:
        """The market from now on, as it arrives, for ever; breaks are mended with growing pauses."""
        yield self._step([coin.update(self._clock.now_ms(), whole=True) for coin in self._coins.values()])
        pause_s = _BACKOFF_S[0]
        while True:
            heard = False
            try:
                socket = await self._connect()
                try:
                    async for step in self._listen(socket):
                        heard = True
                        yield step
                finally:
                    await socket.close()
            except TransportError:
                pass
            self.breaks += 1
            now_ms = self._clock.now_ms()
            for coin in self._coins.values():
                coin.lose_sight()
            yield self._step([coin.update(now_ms) for coin in self._coins.values()])
            pause_s = _BACKOFF_S[0] if heard else min(pause_s * 2, _BACKOFF_S[1])
            await self._clock.sleep(pause_s * self._rng.random())

    async def _connect(self) -> Socket:
        self._frames.clear()
        self._is_broken = False
        socket = await self._transport.open_socket(self._hear, self._break)
        wanted = [ws.Subscription(kind, coin) for coin in self._coins for kind in _CHANNELS]
        wanted += [ws.Subscription("candle", coin, interval=self.interval) for coin in self._coins]
        for subscription in wanted:
            socket.send(ws.encode(ws.Subscribe(subscription)))
        now_ms = self._clock.now_ms()
        for coin in self._coins.values():
            coin.heard_ms = now_ms
        return socket

    def _hear(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._heard_of.set()

    def _break(self, reason: str) -> None:
        self._is_broken = True
        self._heard_of.set()

    async def _listen(self, socket: Socket) -> AsyncIterator[FeedStep]:
        """What arrives, until the connection breaks or one coin's book has been silent for too long."""
        ping_ms = self._clock.now_ms() + round(_PING_S * 1000)
        while True:
            now_ms = self._clock.now_ms()
            stale_ms = min(coin.heard_ms for coin in self._coins.values()) + self._stale_ms
            if self._is_broken or now_ms >= stale_ms:
                return
            if now_ms >= ping_ms:
                socket.send(_PING)
                ping_ms = now_ms + round(_PING_S * 1000)
            self._heard_of.clear()
            if not self._frames:
                try:
                    async with asyncio.timeout((min(stale_ms, ping_ms) - now_ms) / 1000):
                        await self._heard_of.wait()
                except TimeoutError:
                    continue
            step = self._take_all()
            if step.updates or step.bars:
                yield step

    def _take_all(self) -> FeedStep:
        """All frames that wait, as one instant."""
        bars: list[BarClose] = []
        touched: dict[str, _Coin] = {}
        while self._frames:
            try:
                coin = self._take(self._frames.popleft(), bars)
            except (PerpsTraderError, ValueError, ArithmeticError):
                self.bad_frames += 1
                continue
            if coin is not None:
                touched[coin.asset.coin] = coin
        now_ms = self._clock.now_ms()
        return self._step([coin.update(now_ms) for coin in touched.values()], bars)

    def _take(self, raw: bytes, bars: list[BarClose]) -> _Coin | None:
        """The coin that a frame is about; raises ``WireError`` and the like for one that makes no sense."""
        frame = ws.decode_frame(raw)
        if frame is None:
            return None
        now_ms = self._clock.now_ms()
        match frame.channel:
            case "l2Book":
                book = ws.L2_BOOK.decode(frame)
                return self._of(book.coin).take_book(book, now_ms)
            case "bbo":
                bbo = ws.BBO.decode(frame)
                return self._of(bbo.coin).take_touch(bbo)
            case "trades":
                rows = ws.TRADES.decode(frame)
                return self._of(rows[0].coin).take_trades(rows) if rows else None
            case "activeAssetCtx":
                data = ws.ACTIVE_ASSET_CTX.decode(frame)
                return self._of(data.coin).take_ctx(data.ctx)
            case "candle":
                row = ws.CANDLE.decode(frame)
                bars += self._of(row.coin).take_candle(row)
        return None

    def _of(self, name: str) -> _Coin:
        coin = self._coins.get(name)
        if coin is None:
            raise WireError(f"a frame is about {name[:20]!r}, which was not asked for")
        return coin

    def _step(self, updates: list[MarketUpdate], bars: Sequence[BarClose] = ()) -> FeedStep:
        now_ms = self._clock.now_ms()
        self._published += len(bars)
        funding: tuple[tuple[str, Decimal], ...] = ()
        if now_ms // HOUR_MS > self._hour:
            self._hour = now_ms // HOUR_MS
            funding = tuple([(name, coin.funding) for name, coin in self._coins.items() if coin.funding is not None])
        return FeedStep(time_ms=now_ms, updates=tuple(updates), bars=tuple(bars), funding=funding)


class _Coin:
    """What is known of one coin, in the engine's units, and what of it has not been shown yet."""

    def __init__(self, asset: EngineAsset) -> None:
        self.asset = asset
        self.bars: deque[BarClose] = deque(maxlen=_BARS)
        self.heard_ms = 0
        self.funding: Decimal | None = None
        self._bids: tuple[Level, ...] = ()
        self._asks: tuple[Level, ...] = ()
        self._mark: int | None = None
        self._oracle: int | None = None
        self._last: int | None = None
        self._prints: list[TradePrint] = []
        self._tids: dict[int, None] = {}
        self._knows_trades = False
        self._is_in_sight = False
        self._is_book_new = False
        self._forming: BarClose | None = None

    def take_book(self, book: market.L2Book, now_ms: int | None = None) -> _Coin:
        """A whole book; it is in sight again."""
        bids, asks = ([self._level(row) for row in side] for side in book.levels)
        falls = all(a.price > b.price for a, b in pairwise(bids))
        rises = all(a.price < b.price for a, b in pairwise(asks))
        if not (falls and rises) or (bids and asks and bids[0].price >= asks[0].price):
            raise WireError(f"the book of {book.coin} is out of order")
        self._bids, self._asks = tuple(bids), tuple(asks)
        self._is_in_sight = self._is_book_new = True
        if now_ms is not None:
            self.heard_ms = now_ms
        return self

    def take_touch(self, bbo: ws.Bbo) -> _Coin:
        """The best prices, which are newer than the book's: what they contradict in it goes."""
        bid, ask = (None if row is None else self._level(row) for row in bbo.bbo)
        if bid is not None and ask is not None and bid.price >= ask.price:
            raise WireError(f"the best prices of {bbo.coin} cross")
        if bid is not None:
            self._bids = (bid, *[level for level in self._bids if level.price < bid.price])
            self._asks = tuple([level for level in self._asks if level.price > bid.price])
        if ask is not None:
            self._asks = (ask, *[level for level in self._asks if level.price > ask.price])
            self._bids = tuple([level for level in self._bids if level.price < ask.price])
        self._is_book_new = True
        return self

    def take_trades(self, rows: list[market.Trade]) -> _Coin:
        """New trades, each once; the first of a connection may be old ones (API sheet 6.2), and fill nothing."""
        fresh = [row for row in rows if row.tid not in self._tids]
        prints = [TradePrint(self._scaled(row.px, "px"), self._lots(row.sz), row.side == "B") for row in fresh]
        for row in fresh:
            self._tids[row.tid] = None
        while len(self._tids) > _KNOWN_TRADES:
            del self._tids[next(iter(self._tids))]
        if prints:
            self._last = prints[-1].price
        if self._knows_trades:
            self._prints += prints
        self._knows_trades = True
        return self

    def take_ctx(self, ctx: market.AssetCtx) -> _Coin:
        """Mark, oracle and the hour's funding."""
        self._mark, self._oracle = self._scaled(ctx.mark_px, "markPx"), self._scaled(ctx.oracle_px, "oraclePx")
        self.funding = parse_decimal(ctx.funding, "funding")
        return self

    def take_candle(self, row: market.CandleWire) -> list[BarClose]:
        """The bar before, once the next one has begun."""
        bar, before = self.bar(row), self._forming
        if before is not None and bar.open_ms < before.open_ms:
            return []
        self._forming = bar
        newest = self.bars[-1].open_ms if self.bars else 0
        if before is None or bar.open_ms == before.open_ms or before.open_ms <= newest:
            return []
        self.bars.append(before)
        return [before]

    def lose_sight(self) -> None:
        """The connection is gone: until the next book nothing fills."""
        self._is_in_sight = self._knows_trades = False
        self._prints.clear()

    def update(self, now_ms: int, *, whole: bool = False) -> MarketUpdate:
        """What is new, as the engine takes it."""
        shows_book = (self._is_book_new and self._is_in_sight) or whole
        prints, self._prints, self._is_book_new = tuple(self._prints), [], False
        return MarketUpdate(
            coin=self.asset.coin, time_ms=now_ms, bids=self._bids if shows_book else None,
            asks=self._asks if shows_book else None, last=self._last, mark=self._mark, oracle=self._oracle,
            trades=prints if self._is_in_sight else (), halted=not self._is_in_sight,
        )  # fmt: skip

    def bar(self, row: market.CandleWire) -> BarClose:
        """A candle of the wire."""
        return BarClose(
            coin=self.asset.coin, interval=row.interval, open_ms=row.open_ms, close_ms=row.close_ms,
            open=self._scaled(row.open, "o"), high=self._scaled(row.high, "h"), low=self._scaled(row.low, "l"),
            close=self._scaled(row.close, "c"), volume=self._lots(row.volume, may_be_none=True), trades=row.trades,
        )  # fmt: skip

    def _level(self, row: market.L2Level) -> Level:
        return Level(self._scaled(row.px, "px"), self._lots(row.sz))

    def _scaled(self, text: str, what: str) -> int:
        """A price above 0 in the engine's units; marks and oracles may be finer than the venue's ticks."""
        price = round(parse_decimal(text, what).scaleb(self.asset.price_decimals))
        if not 0 < price < 10**15:
            raise WireError(f"{what} {text[:40]} of {self.asset.coin} is no price")
        return price

    def _lots(self, text: str, *, may_be_none: bool = False) -> int:
        lots = int(parse_decimal(text, "sz").scaleb(self.asset.size_decimals))
        if not (0 if may_be_none else 1) <= lots < 10**18:
            raise WireError(f"size {text[:40]} of {self.asset.coin} is no size")
        return lots


async def _read(transport: Transport, call: info.InfoCall[info.T], request: info.InfoRequest) -> info.T:
    answer = await transport.post("/info", info.encode(request), timeout_s=_READ_S)
    if answer.status != 200:
        raise FeedError(f"the live venue answers {call.kind} with HTTP {answer.status}: try again later")
    try:
        return call.decode(answer.body)
    except WireError as error:
        raise FeedError(f"the live venue is not understood: {error}") from error


def _asset(meta: market.Meta, number: int, index: int) -> EngineAsset:
    """One coin's rules at the live venue, at its place here."""
    row = meta.universe[number]
    table = dict(meta.margin_tables).get(row.margin_table_id or 0)
    tiers = () if table is None else tuple(
        [MarginTier(int(parse_decimal(tier.lower_bound) * MICRO), tier.max_leverage) for tier in table.margin_tiers]
    )  # fmt: skip
    return EngineAsset(
        coin=row.name, index=index, size_decimals=row.sz_decimals, max_leverage=row.max_leverage, tiers=tiers,
        impact_notional=(20_000 if row.name in _LARGE else 6_000) * MICRO,
    )  # fmt: skip
