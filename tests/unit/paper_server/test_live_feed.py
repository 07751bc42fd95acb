"""A market mirrored from another venue: here from an exchange of our own, which is asked as the real one would be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec
import pytest
from tests.unit.paper_server.desk import START_MS, USER

from perpstrader.paper import LivePlan, PaperPlan, build_venue, open_paper
from perpstrader.paper.engine import Exchange, Grouping, NewOrder, Tif
from perpstrader.paper.feeds import FeedError, LiveFeed, SyntheticFeed
from perpstrader.paper.server import InProcessTransport, PaperVenue
from perpstrader.paper.server.http import serve
from perpstrader.runtime import (
    Answer,
    CloseHandler,
    FrameHandler,
    Socket,
    SystemClock,
    TransportError,
    VirtualClock,
    run_virtual,
)


class Line:
    """The way to the source, which a story cuts, silences or fills with nonsense."""

    def __init__(self, source: PaperVenue) -> None:
        self._inner = InProcessTransport(source, Random(1))
        self.is_cut = False
        self.is_silent = False
        self.opened = 0
        self.hear: FrameHandler = lambda frame: None
        self.end: CloseHandler = lambda reason: None

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        return await self._inner.post(path, body, timeout_s=timeout_s)

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        if self.is_cut:
            raise TransportError("no way", sent=False)
        self.opened += 1
        self.hear, self.end = on_frame, on_close
        return await self._inner.open_socket(lambda frame: None if self.is_silent else on_frame(frame), on_close)

    async def close(self) -> None:
        await self._inner.close()

    async def cut(self) -> None:
        self.is_cut = True
        await self._inner.close()
        self.end("cut")


class Mirror:
    """A source, its mirror, and the way between them, in virtual time."""

    def __init__(self, clock: VirtualClock, source: PaperVenue, line: Line, feed: LiveFeed, venue: PaperVenue) -> None:
        self.clock, self.source, self.line, self.feed, self.venue = clock, source, line, feed, venue

    def top(self, venue: PaperVenue, coin: str = "BTC") -> Any:
        return venue.engine.top(coin)

    def buy(self, price: int, tif: Tif = Tif.IOC) -> Any:
        order = NewOrder(coin="BTC", is_buy=True, limit_px=price, size=1_000, reduce_only=False, tif=tif)
        return self.venue.engine.place(USER, [order], Grouping.NA, self.clock.now_ms())[0]


def mirrored(story: Callable[[Mirror], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        made = SyntheticFeed(7, START_MS, symbols=("BTC", "ETH"))
        source = PaperVenue(Exchange(made.assets), made, clock)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(source.run())]
            await clock.sleep(0.1)
            line = Line(source)
            feed = await LiveFeed.open(line, clock, ("ETH", "BTC"), Random(2), stale_ms=5_000)
            venue = build_venue(feed, clock, funds_usd={USER: 100_000})
            tasks.append(group.create_task(venue.run()))
            await venue.opened.wait()
            await story(Mirror(clock, source, line, feed, venue))
            for task in tasks:
                task.cancel()

    run_virtual(main, start_ms=START_MS)


def test_books_prices_trades_and_bars_are_those_of_the_source() -> None:
    async def story(mirror: Mirror) -> None:
        await mirror.clock.sleep(200)
        for coin in ("BTC", "ETH"):
            assert mirror.top(mirror.venue, coin) == mirror.top(mirror.source, coin)
            ours, theirs = mirror.venue.engine.market(coin), mirror.source.engine.market(coin)
            assert (ours.mark, ours.oracle) == (theirs.mark, theirs.oracle)
            assert mirror.venue.world.trades.newest(coin)[0].px == mirror.source.world.trades.newest(coin)[0].px
        assert [asset.coin for asset in mirror.venue.engine.assets] == ["ETH", "BTC"]
        now_ms = mirror.clock.now_ms()
        bars = mirror.feed.history("BTC", "1m", now_ms, 3)
        assert bars == mirror.source.feed.history("BTC", "1m", now_ms, 3)
        assert mirror.feed.report().bars >= 4
        assert (mirror.feed.breaks, mirror.feed.bad_frames) == (0, 0)

    mirrored(story)


def test_an_account_trades_on_the_mirrored_book() -> None:
    async def story(mirror: Mirror) -> None:
        await mirror.clock.sleep(3)
        ask = mirror.top(mirror.venue)[1]
        mirror.buy(ask.px)
        fill = mirror.venue.engine.fills(USER)[0]
        assert fill.px == ask.px
        assert mirror.source.engine.users() == ()

    mirrored(story)


def test_when_the_source_breaks_nothing_fills_until_it_is_back() -> None:
    async def story(mirror: Mirror) -> None:
        await mirror.clock.sleep(3)
        bid = mirror.top(mirror.venue)[0]
        mirror.buy(bid.px, Tif.GTC)
        await mirror.line.cut()
        await mirror.clock.sleep(600)
        market = mirror.venue.engine._state.markets["BTC"]
        assert market.halted
        assert mirror.venue.engine.fills(USER) == ()
        assert mirror.feed.breaks > 3
        mirror.line.is_cut = False
        await mirror.clock.sleep(60)
        assert not market.halted
        assert mirror.top(mirror.venue, "ETH") == mirror.top(mirror.source, "ETH")

    mirrored(story)


def test_a_source_that_falls_silent_is_connected_anew() -> None:
    async def story(mirror: Mirror) -> None:
        await mirror.clock.sleep(3)
        assert mirror.line.opened == 1
        mirror.line.is_silent = True
        await mirror.clock.sleep(8)
        assert mirror.line.opened >= 2
        assert mirror.venue.engine._state.markets["BTC"].halted
        mirror.line.is_silent = False
        await mirror.clock.sleep(30)
        assert not mirror.venue.engine._state.markets["BTC"].halted

    mirrored(story)


NONSENSE: list[object] = [
    b"\xff\xfe", b"{", b'{"channel":1}', b"[1]", b'{"channel":"l2Book","data":null}',
    b'{"channel":"trades","data":[{}]}',
    {"channel": "l2Book", "data": {"coin": "NOPE", "levels": [[], []], "time": 1}},
    {"channel": "l2Book", "data": {"coin": "BTC", "levels": [[{"px": "NaN", "sz": "1", "n": 1}], []], "time": 1}},
    {"channel": "l2Book", "data": {"coin": "BTC", "levels": [[{"px": "-5", "sz": "1", "n": 1}], []], "time": 1}},
    {"channel": "l2Book", "data": {"coin": "BTC", "levels": [[{"px": "9" * 60, "sz": "1", "n": 1}], []], "time": 1}},
    {"channel": "l2Book", "data": {"coin": "BTC", "levels": [
        [{"px": "200000.0", "sz": "1", "n": 1}], [{"px": "1.0", "sz": "1", "n": 1}]], "time": 1}},
    {"channel": "bbo", "data": {"coin": "BTC", "time": 1, "bbo": [
        {"px": "200000.0", "sz": "1", "n": 1}, {"px": "1.0", "sz": "1", "n": 1}]}},
    {"channel": "activeAssetCtx", "data": {"coin": "BTC", "ctx": {
        "funding": "x", "openInterest": "0", "prevDayPx": "0", "dayNtlVlm": "0", "oraclePx": "0", "markPx": "0"}}},
    {"channel": "candle", "data": {"t": 1, "T": 2, "s": "BTC", "i": "1m", "o": "0", "c": "0", "h": "0", "l": "0",
                                   "v": "0", "n": 0}},
]  # fmt: skip


def test_frames_of_nonsense_are_counted_and_left_out() -> None:
    async def story(mirror: Mirror) -> None:
        await mirror.clock.sleep(3)
        before = mirror.feed.bad_frames
        for raw in NONSENSE:
            mirror.line.hear(raw if isinstance(raw, bytes) else msgspec.json.encode(raw))
        for raw in (b"", b"hello", b'{"channel":"unheard of","data":{}}', b'{"channel":"trades","data":[]}'):
            mirror.line.hear(raw)
        await mirror.clock.sleep(3)
        assert mirror.feed.bad_frames - before == len(NONSENSE) - 2  # two of them do not even look like frames
        assert mirror.top(mirror.venue) == mirror.top(mirror.source)
        assert mirror.feed.breaks == 0

    mirrored(story)


def test_a_coin_that_the_source_does_not_list_is_one_sentence() -> None:
    async def main(clock: VirtualClock) -> None:
        made = SyntheticFeed(7, START_MS, symbols=("BTC",))
        source = PaperVenue(Exchange(made.assets), made, clock)
        with pytest.raises(FeedError, match="does not list DOGE"):
            await LiveFeed.open(Line(source), clock, ("BTC", "DOGE"), Random(2))

    run_virtual(main, start_ms=START_MS)


def test_over_real_sockets_one_exchange_mirrors_another() -> None:
    async def main() -> None:
        clock = SystemClock()
        async with open_paper(PaperPlan(symbols=("BTC",), bar_ms=1_000), None, clock) as source:
            server = await serve(source.venue, port=0)
            try:
                plan = PaperPlan(symbols=("BTC",), live=LivePlan(url=server.url))
                async with open_paper(plan, None, clock) as mirror:
                    heard, frames = asyncio.Event(), 0

                    def hear(frame: bytes) -> None:
                        nonlocal frames
                        frames += b'"channel":"bbo"' in frame
                        if frames > 3:
                            heard.set()

                    socket = await mirror.transport().open_socket(hear, lambda reason: None)
                    socket.send(b'{"method":"subscribe","subscription":{"type":"bbo","coin":"BTC"}}')
                    async with asyncio.timeout(60):
                        await heard.wait()
                    assert mirror.venue.engine.market("BTC").mark is not None
            finally:
                await server.close()

    asyncio.run(main())
