"""What may go wrong between several callers, one signed action and its answer: each order executes once, and each
caller is told what is true of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

import pytest
from tests.scenario.soak import ACCOUNT, KEY, RecordingExchange

from perpstrader.domain import AssetSpec, TimeInForce
from perpstrader.domain.cloids import make_cloid
from perpstrader.paper.engine import EngineConfig
from perpstrader.paper.faults import NO_FAULT, FaultKind, FrameFate, RequestFate
from perpstrader.paper.feeds import SyntheticFeed
from perpstrader.paper.server import InProcessTransport, LatencyModel, PaperVenue
from perpstrader.runtime import Socket, VirtualClock, run_virtual
from perpstrader.venue import HyperliquidClient, NonceSource, Signer, WireEncoder, settle
from perpstrader.venue import contract as c
from perpstrader.venue.posting import PostingTransport

T = TypeVar("T")
START_MS = 1_760_000_000_000
WINDOW_MS = 20
LIFE_MS = 8_000


class Fates:
    """The next signed requests meet these fates; frames meet none."""

    def __init__(self) -> None:
        self.coming: list[FaultKind] = []

    def of_request(self, path: str, body: bytes) -> RequestFate:
        """See ``Faults``."""
        return RequestFate(self.coming.pop(0)) if path == "/exchange" and self.coming else NO_FAULT

    def of_frame(self, frame: bytes) -> FrameFate:
        """See ``Faults``."""
        return None


class Market:
    """A client that gathers, and the venue's own view of what it did."""

    def __init__(self, clock: VirtualClock, *, by_socket: bool) -> None:
        feed = SyntheticFeed(5, START_MS, symbols=("BTC",), speed=0.01)
        self.clock = clock
        self.engine = RecordingExchange(feed.assets, EngineConfig())
        self.venue = PaperVenue(self.engine, feed, clock)
        self.fates = Fates()
        inner = InProcessTransport(self.venue, Random(1), LatencyModel(), faults=self.fates)
        self.transport = PostingTransport(inner, clock, by_socket=["/exchange"] if by_socket else [])
        self.client = HyperliquidClient(
            self.transport, clock, WireEncoder(Signer(KEY, mainnet=False)), NonceSource(clock, 0, lambda mark: None),
            account=ACCOUNT, coalesce_ms=WINDOW_MS,
        )  # fmt: skip
        self.asset: AssetSpec
        self.mid = Decimal(0)
        self._sent_ms: dict[str, int] = {}

    async def open(self) -> None:
        """Money, metadata, and a price."""
        self.venue.fund(ACCOUNT, 100_000_000_000)
        self.asset = (await self.client.metadata())["BTC"]
        self.mid = (await self.client.mids())["BTC"]

    def order(self, number: int, *, away: str = "0.01", tif: TimeInForce = TimeInForce.GTC) -> c.OrderRequest:
        """A bid that far below the middle; above it where ``away`` is negative."""
        price = self.asset.price_near(self.mid * (1 - Decimal(away)))
        return c.OrderRequest(
            symbol="BTC", buy=True, size=Decimal("0.01"), limit_price=price, tif=tif, reduce_only=False,
            cloid=make_cloid(1, number, 1),
        )  # fmt: skip

    async def place(self, order: c.OrderRequest) -> c.OrderAck:
        """As one caller among several."""
        now = self._sent_ms[order.cloid] = self.clock.now_ms()
        [ack] = await self.client.place([order], expires_ms=now + LIFE_MS)
        return ack

    async def settled(self, order: c.OrderRequest) -> c.OrderGroup:
        """What the venue's records prove."""
        sent_ms = self._sent_ms[order.cloid]
        proof = await settle(self.client, self.clock, order.cloid, expires_ms=sent_ms + LIFE_MS, sent_ms=sent_ms)
        return proof.record.group

    def arrived(self, *orders: c.OrderRequest) -> list[int]:
        """How often each reached the engine."""
        assert self.engine.doubles == []
        return [self.engine.arrived[order.cloid] for order in orders]


def play(story: Callable[[Market], Awaitable[T]], *, by_socket: bool = False) -> T:
    async def main(clock: VirtualClock) -> T:
        market = Market(clock, by_socket=by_socket)
        async with asyncio.TaskGroup() as group:
            moving = group.create_task(market.venue.run())
            await clock.sleep(2)
            await market.open()
            result = await story(market)
            await market.client.close()
            moving.cancel()
        return result

    return run_virtual(main, start_ms=START_MS - 1_000)


async def together(market: Market, *orders: c.OrderRequest) -> list[c.OrderAck]:
    return list(await asyncio.gather(*(market.place(order) for order in orders)))


@pytest.mark.parametrize(
    "fate", [FaultKind.RESPONSE_LOST, FaultKind.BAD_GATEWAY_AFTER, FaultKind.REQUEST_TWICE], ids=lambda fate: fate.value
)
def test_S10_S11_of_a_gathered_action_that_executed_unheard_each_caller_finds_its_own(fate: FaultKind) -> None:
    async def story(market: Market) -> None:
        orders = [market.order(1), market.order(2, away="-0.01", tif=TimeInForce.IOC), market.order(3)]
        market.fates.coming = [fate]
        acks = await together(market, *orders)
        assert [type(ack) for ack in acks] == [c.Unknown] * 3
        assert [await market.settled(order) for order in orders] == [
            c.OrderGroup.LIVE, c.OrderGroup.FILLED, c.OrderGroup.LIVE,
        ]  # fmt: skip
        assert market.arrived(*orders) == [1, 1, 1]
        assert market.client.entries.sent == 1

    play(story)


@pytest.mark.parametrize("fate", [FaultKind.REQUEST_LOST, FaultKind.TOO_MANY], ids=lambda fate: fate.value)
def test_S11_of_a_gathered_action_that_never_arrived_each_caller_has_proof_before_it_may_try_again(
    fate: FaultKind,
) -> None:
    async def story(market: Market) -> None:
        orders = [market.order(1), market.order(2)]
        market.fates.coming = [fate]
        acks = await together(market, *orders)
        assert [type(ack) for ack in acks] == [c.Unknown] * 2
        assert [await market.settled(order) for order in orders] == [c.OrderGroup.MISSING] * 2
        assert market.arrived(*orders) == [0, 0]
        assert await market.client.venue_time_ms() > market._sent_ms[orders[0].cloid] + LIFE_MS

    play(story)


def test_one_member_that_is_refused_takes_nobody_with_it() -> None:
    async def story(market: Market) -> None:
        missed = market.order(1, tif=TimeInForce.IOC)
        rests, fills = market.order(2), market.order(3, away="-0.01")
        acks = await together(market, missed, rests, fills)
        assert [type(ack) for ack in acks] == [c.Rejected, c.Resting, c.Filled]
        assert market.client.entries.sent == 1
        assert market.arrived(missed, rests, fills) == [1, 1, 1]

    play(story)


@pytest.mark.parametrize("after_s", [0.005, 0.05], ids=["before_it_leaves", "in_flight"])
def test_S10_a_caller_that_gives_up_leaves_the_others_their_outcomes_and_finds_its_own(after_s: float) -> None:
    async def story(market: Market) -> None:
        stays, goes = market.order(1), market.order(2)
        async with asyncio.TaskGroup() as group:
            staying, going = group.create_task(market.place(stays)), group.create_task(market.place(goes))
            await market.clock.sleep(after_s)
            going.cancel()
        assert isinstance(staying.result(), c.Resting)
        left = after_s * 1000 > WINDOW_MS
        assert await market.settled(goes) is (c.OrderGroup.LIVE if left else c.OrderGroup.MISSING)
        assert market.arrived(stays, goes) == [1, int(left)]

    play(story)


def test_S16_cancels_of_several_callers_whose_answer_was_lost_are_told_by_the_records() -> None:
    async def story(market: Market) -> None:
        orders = [market.order(1), market.order(2)]
        await together(market, *orders)
        market.fates.coming = [FaultKind.RESPONSE_LOST]
        acks = await asyncio.gather(*(market.client.cancel([("BTC", order.cloid)]) for order in orders))
        assert [type(ack) for [ack] in acks] == [c.Unknown] * 2
        again = await asyncio.gather(*(market.client.cancel([("BTC", order.cloid)]) for order in orders))
        assert all(not isinstance(ack, c.Canceled) for [ack] in again)
        records = [await market.client.order(order.cloid) for order in orders]
        assert [record.group for record in records] == [c.OrderGroup.CANCELED] * 2
        assert not market.engine.open_orders(ACCOUNT)

    play(story)


def test_S11_an_action_whose_socket_is_lost_in_flight_is_not_sent_again_and_is_found() -> None:
    async def story(market: Market) -> None:
        socket: Socket = await market.transport.open_socket(lambda frame: None, lambda reason: None)
        orders = [market.order(1), market.order(2)]
        placing = asyncio.gather(*(market.place(order) for order in orders))
        while not any(market.arrived(*orders)):
            await market.clock.sleep(0.001)
        market.venue.streams.hang_up_all("connection reset by peer")  # executed; the answer is on its way
        acks = await placing
        assert [type(ack) for ack in acks] == [c.Unknown] * 2
        assert [await market.settled(order) for order in orders] == [c.OrderGroup.LIVE] * 2
        assert market.arrived(*orders) == [1, 1]
        assert market.transport.posted == 1
        await socket.close()
        assert isinstance(await market.place(market.order(3)), c.Resting), "by HTTP, as no socket is open"

    play(story, by_socket=True)


def test_S01_an_exit_waits_for_no_gathering_and_shares_no_fate() -> None:
    async def story(market: Market) -> None:
        await market.place(market.order(1, away="-0.01"))
        close: Any = c.OrderRequest(
            symbol="BTC", buy=False, size=Decimal("0.01"), limit_price=market.asset.price_near(market.mid * 95 / 100),
            tif=TimeInForce.IOC, reduce_only=True, cloid=make_cloid(1, 2, 1),
        )  # fmt: skip
        entries = [market.order(3), market.order(4)]
        sent = market.client.entries.sent
        async with asyncio.TaskGroup() as group:
            entering = [group.create_task(market.place(order)) for order in entries]
            leaving = group.create_task(market.client.place([close], expires_ms=market.clock.now_ms() + LIFE_MS))
            await market.clock.sleep(0)
            market.fates.coming = [FaultKind.RESPONSE_LOST]  # the exit has left already
        assert isinstance(leaving.result()[0], c.Filled)
        assert [type(task.result()) for task in entering] == [c.Unknown] * 2
        assert market.client.entries.sent == sent + 1

    play(story)
