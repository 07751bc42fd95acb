"""The optimized client over real sockets, by HTTP and by the streams' WebSocket, at the paper exchange's port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from tests.unit.venue.scripted import KEY, order

from perpstrader.domain import TimeInForce
from perpstrader.paper import PaperPlan, open_paper
from perpstrader.paper.server.http import PaperServer, serve
from perpstrader.runtime import SystemClock
from perpstrader.runtime.http import HttpTransport
from perpstrader.venue import HyperliquidClient, MarketData, NonceSource, Signer, Streams, WireEncoder
from perpstrader.venue import contract as c
from perpstrader.venue.posting import PostingTransport

ACCOUNT = Signer(KEY, mainnet=False).address
CLOID = "0x" + "0" * 31 + "7"
WAIT_S = 60


class Quiet:
    """Listens to streams and tells that they are up."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()

    def on_connected(self, reconnected: bool) -> None:
        self.connected.set()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


class Near:
    """A client, its streams and its transport at a server's port."""

    def __init__(self, server: PaperServer, by_socket: tuple[str, ...]) -> None:
        clock = SystemClock()
        self.server = server
        self.transport = PostingTransport(HttpTransport(server.url), clock, by_socket=by_socket)
        nonces = NonceSource(clock, 0, lambda mark: None)
        encoder = WireEncoder(Signer(KEY, mainnet=False))
        self.client = HyperliquidClient(self.transport, clock, encoder, nonces, account=ACCOUNT, timeout_s=10.0)
        self.listener = Quiet()
        quiet: Any = self.listener
        self.streams = Streams(
            self.transport, clock, self.client.venue_clock, MarketData(), quiet, account=ACCOUNT, symbols=("BTC",),
            interval="1m", rng=Random(1), note=lambda kind, text: None, reads=self.client.streamed,
        )  # fmt: skip


def at_the_port(story: Callable[[Near], Awaitable[None]], by_socket: tuple[str, ...] = ()) -> None:
    async def main() -> None:
        plan = PaperPlan(symbols=("BTC", "ETH"), bar_ms=250, enforce_limits=False)
        async with open_paper(plan, None, SystemClock()) as exchange:
            exchange.ensure_funded(ACCOUNT, Decimal(10_000))
            server = await serve(exchange.venue, port=0)
            near = Near(server, by_socket)
            following = asyncio.create_task(near.streams.run(lambda: None))
            try:
                async with asyncio.timeout(WAIT_S):
                    await near.listener.connected.wait()
                    await near.client.venue_time_ms()
                    await near.client.metadata()
                    await story(near)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                await near.client.close()
                await server.close()

    asyncio.run(main())


async def far(client: HyperliquidClient) -> str:
    asset = (await client.metadata(max_age_ms=None))["BTC"]
    return str(asset.bound((await client.mids())["BTC"] * Decimal("0.8"), buy=True))


@pytest.mark.parametrize("by_socket", [(), ("/info", "/exchange")], ids=["http", "websocket"])
def test_an_order_lives_and_is_read_the_same_either_way(by_socket: tuple[str, ...]) -> None:
    async def story(near: Near) -> None:
        client = near.client
        [ack] = await client.place([order(CLOID, price=await far(client), tif=TimeInForce.ALO)])
        assert isinstance(ack, c.Resting)
        assert [listed.oid for listed in await client.open_orders(max_age_ms=None)] == [ack.oid]
        assert (await client.order(CLOID)).group is c.OrderGroup.LIVE
        assert await client.cancel([("BTC", CLOID)]) == [c.Canceled()]
        assert await client.open_orders(max_age_ms=None) == ()
        assert (near.transport.posted > 0) is bool(by_socket)

    at_the_port(story, by_socket)


def test_what_is_read_again_and_again_is_answered_by_the_streams() -> None:
    async def story(near: Near) -> None:
        client = near.client
        asked = client.reads.total("asked")
        for _ in range(50):
            book = await client.book("BTC", max_age_ms=None)
            mids = await client.mids(["BTC"], max_age_ms=None)
            assert book.bids[0].price * Decimal("0.9") < mids["BTC"] < book.asks[0].price * Decimal("1.1")
            await asyncio.sleep(0.02)
        assert client.reads.total("streamed") > 50
        assert client.reads.total("asked") - asked < 50

    at_the_port(story)


def test_S11_a_server_that_goes_away_with_an_order_under_way_leaves_it_unknown() -> None:
    async def story(near: Near) -> None:
        client, price = near.client, await far(near.client)
        taken = asyncio.Event()
        near.server.venue.streams.take = lambda session, raw: taken.set()  # type: ignore[method-assign]  # it hears, and says nothing
        placing = asyncio.create_task(client.place([order(CLOID, price=price, tif=TimeInForce.ALO)]))
        await taken.wait()
        near.server.venue.streams.hang_up_all("the exchange fell over")
        [ack] = await placing
        assert isinstance(ack, c.Unknown)

    at_the_port(story, ("/exchange",))
