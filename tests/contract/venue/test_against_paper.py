"""Both clients and the streams on the paper exchange's own wire: an order's whole life, heard as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from tests.contract.venue.test_client_contract import BUILDS
from tests.unit.venue.scripted import KEY, order

from perpstrader.domain import TimeInForce, Trigger
from perpstrader.paper.engine import Exchange
from perpstrader.paper.feeds import SyntheticFeed
from perpstrader.paper.server import InProcessTransport, LatencyModel, PaperVenue
from perpstrader.runtime import Supervisor, VirtualClock, run_virtual
from perpstrader.venue import HyperliquidClient, MarketData, NonceSource, Signer, Streams, WireEncoder, settle
from perpstrader.venue import contract as c
from perpstrader.venue.baseline import HyperliquidClient as BaselineClient

START = 1_760_000_000_000
ACCOUNT = Signer(KEY, mainnet=False).address
STOP_CLOID, FAR_CLOID, ENTRY_CLOID = (f"0x{n:032x}" for n in (1, 2, 3))


class Listener:
    """Writes down what the streams tell."""

    def __init__(self) -> None:
        self.bars: list[Any] = []
        self.fills: list[Any] = []
        self.orders: list[tuple[str, str]] = []
        self.flows: list[Any] = []
        self.connections: list[bool] = []
        self.markets = 0

    def on_bar(self, candle: Any) -> None:
        self.bars.append(candle)

    def on_fills(self, fills: Any) -> None:
        self.fills.extend(fills)

    def on_order_record(self, cloid: str, record: c.OrderRecord) -> None:
        self.orders.append((cloid, record.status))

    def on_funding(self, payments: Any) -> None:
        pass

    def on_cash_flows(self, flows: Any) -> None:
        self.flows.extend(flows)

    def on_market(self, symbol: str) -> None:
        self.markets += 1

    def on_connected(self, reconnected: bool) -> None:
        self.connections.append(reconnected)

    def on_disconnected(self, reason: str) -> None:
        pass


class Trade:
    """One client, its streams, and the venue they are on."""

    def __init__(self, clock: VirtualClock, build: str, latency: LatencyModel | None) -> None:
        feed = SyntheticFeed(7, START, symbols=("BTC", "ETH"))
        self.clock = clock
        self.venue = PaperVenue(Exchange(feed.assets), feed, clock)
        self.transport = InProcessTransport(self.venue, Random(1), latency)
        self.client = self._client(build)
        self.market = MarketData()
        self.heard = Listener()
        self.notes: list[tuple[str, str]] = []
        self.streams = Streams(
            self.transport,
            clock,
            self.client.venue_clock,
            self.market,
            self.heard,
            account=ACCOUNT,
            symbols=("BTC", "ETH"),
            interval="1s",
            rng=Random(2),
            note=lambda kind, text: self.notes.append((kind, text)),
        )

    def _client(self, build: str) -> HyperliquidClient:
        nonces = NonceSource(self.clock, 0, lambda mark: None)
        if build == "baseline":
            return BaselineClient(self.transport, self.clock, KEY, nonces, account=ACCOUNT)
        encoder = WireEncoder(Signer(KEY, mainnet=False))
        return HyperliquidClient(self.transport, self.clock, encoder, nonces, account=ACCOUNT)


@pytest.fixture(params=sorted(BUILDS))
def build(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def play(build: str, story: Callable[[Trade], Awaitable[None]], latency: LatencyModel | None = None) -> Trade:
    async def main(clock: VirtualClock) -> Trade:
        trade = Trade(clock, build, latency)
        failures: list[Exception] = []
        supervisor = Supervisor(clock, lambda name, error: failures.append(error))
        market = asyncio.create_task(trade.venue.run())
        await clock.sleep(2)
        trade.venue.fund(ACCOUNT, 10_000_000_000)
        supervisor.start("streams", trade.streams.run, deadline_ms=60_000)
        while not trade.streams.status.connected:
            await clock.sleep(0.01)
        await trade.client.metadata()
        await trade.client.venue_time_ms()
        await story(trade)
        await supervisor.stop()
        trade.venue.stop()
        market.cancel()
        await asyncio.gather(market, return_exceptions=True)
        assert failures == []
        return trade

    return run_virtual(main, start_ms=START)


async def worst(trade: Trade, buy: bool) -> str:
    book = await trade.client.book("BTC")
    assets = await trade.client.metadata()
    touch = (book.asks if buy else book.bids)[0].price * (Decimal("1.01") if buy else Decimal("0.99"))
    return str(assets["BTC"].bound(touch, buy=buy))


async def whole_life(trade: Trade) -> None:
    client = trade.client
    assert isinstance(await client.set_leverage("BTC", 5), c.LeverageSet)
    assert await client.leverage("BTC") == (5, True)
    far = str((await client.metadata())["BTC"].bound((await client.mids())["BTC"] * Decimal("0.9"), buy=True))
    [resting] = await client.place([order(FAR_CLOID, price=far, tif=TimeInForce.ALO)])
    assert isinstance(resting, c.Resting)
    assert [listed.cloid for listed in await client.open_orders()] == [FAR_CLOID]
    assert (await client.order(FAR_CLOID)).group is c.OrderGroup.LIVE
    assert await client.cancel([("BTC", FAR_CLOID)]) == [c.Canceled()]
    assert await client.cancel([("BTC", FAR_CLOID)]) == [c.AlreadyGone()]

    expires = client.venue_clock.now_ms() + 15_000
    [filled] = await client.place([order(ENTRY_CLOID, price=await worst(trade, True))], expires_ms=expires)
    assert isinstance(filled, c.Filled)
    position = (await client.account()).positions["BTC"]
    assert position.size == filled.size
    low = (await client.metadata())["BTC"].bound(filled.average_price * Decimal("0.9"), buy=True)
    stop = Trigger(price=low, is_stop=True)
    [armed] = await client.place(
        [order(STOP_CLOID, buy=False, size=str(filled.size), price=str(low), reduce_only=True, trigger=stop)]
    )
    assert isinstance(armed, c.Resting)
    [listed] = await client.open_orders()
    assert (listed.cloid, listed.is_stop, listed.trigger_price, listed.reduce_only) == (STOP_CLOID, True, low, True)
    close = order(f"0x{4:032x}", buy=False, size=str(filled.size), price=await worst(trade, False), reduce_only=True)
    assert isinstance((await client.place([close]))[0], c.Filled)
    assert (await client.account()).positions == {}
    settled = await settle(client, trade.clock, ENTRY_CLOID, expires_ms=expires, sent_ms=START)
    assert settled.record.group is c.OrderGroup.FILLED
    await trade.clock.sleep(5)


@pytest.mark.parametrize("latency", [None, LatencyModel()], ids=["at once", "over a slow network"])
def test_an_order_lives_its_whole_life_and_the_streams_tell_all_of_it(build: str, latency: LatencyModel | None) -> None:
    trade = play(build, whole_life, latency)
    heard = trade.heard
    assert trade.notes == []
    assert heard.connections == [False]
    assert (ENTRY_CLOID, "filled") in heard.orders
    assert (FAR_CLOID, "canceled") in heard.orders
    assert {fill.cloid for fill in heard.fills} == {ENTRY_CLOID, f"0x{4:032x}"}
    assert [flow.usd for flow in heard.flows] == [Decimal(10_000)]
    snapshot = trade.market.snapshot("BTC")
    assert snapshot is not None
    assert snapshot.bid is not None
    assert snapshot.mark is not None
    for symbol in ("BTC", "ETH"):
        opens = [bar.open_ms for bar in heard.bars if bar.symbol == symbol]
        assert len(opens) >= 4
        assert opens == sorted(set(opens))
        assert all(later - earlier == 1_000 for earlier, later in pairwise(opens))


def test_settling_an_order_that_was_never_sent_ends_after_the_venues_own_time_passed_its_expiry(build: str) -> None:
    async def story(trade: Trade) -> None:
        expires = trade.client.venue_clock.now_ms() + 15_000
        settled = await settle(trade.client, trade.clock, STOP_CLOID, expires_ms=expires, sent_ms=trade.clock.now_ms())
        assert settled.record.group is c.OrderGroup.MISSING
        assert await trade.client.venue_time_ms() > expires + 3_000

    play(build, story)


def test_without_latency_a_bar_reaches_the_handler_in_the_instant_it_closes() -> None:
    late: list[int] = []

    async def story(trade: Trade) -> None:
        original = trade.heard.on_bar

        def on_bar(candle: Any) -> None:
            late.append(trade.clock.now_ms() - candle.close_ms - 1)
            original(candle)

        trade.streams._desk.bars._emit_bar = on_bar
        await trade.clock.sleep(10)

    play("own", story)
    assert late
    assert max(late) <= 1
