"""Gathered writes end as those sent one by one: on the paper exchange, with and without faults of the network."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.venue.scripted import KEY, order

from perpstrader.domain import TimeInForce
from perpstrader.paper.engine import Exchange
from perpstrader.paper.feeds import SyntheticFeed
from perpstrader.paper.server import InProcessTransport, PaperVenue
from perpstrader.runtime import Answer, CloseHandler, FrameHandler, Socket, TransportError, VirtualClock, run_virtual
from perpstrader.venue import HyperliquidClient, NonceSource, Signer, WireEncoder, settle
from perpstrader.venue import contract as c
from perpstrader.venue.baseline import HyperliquidClient as BaselineClient

START = 1_760_000_000_000
ACCOUNT = Signer(KEY, mainnet=False).address


class Lossy:
    """Loses requests and answers of actions by chance, and answers for a proxy; reads pass."""

    def __init__(self, inner: InProcessTransport, rng: Random, share: float) -> None:
        self._inner = inner
        self._rng = rng
        self._share = share
        self.lost = 0
        self.actions = 0

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        if path != "/exchange":
            return await self._inner.post(path, body, timeout_s=timeout_s)
        self.actions += 1
        if self._rng.random() >= self._share:
            return await self._inner.post(path, body, timeout_s=timeout_s)
        self.lost += 1
        how = self._rng.randrange(4)
        if how == 0:
            raise TransportError("connection refused", sent=False)
        if how != 1:
            await self._inner.post(path, body, timeout_s=timeout_s)
        if how == 3:
            return Answer(502, b"<html>bad gateway</html>")
        raise TransportError("no answer", sent=True)

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        return await self._inner.open_socket(on_frame, on_close)

    async def close(self) -> None:
        await self._inner.close()


async def open_venue(clock: VirtualClock) -> tuple[PaperVenue, InProcessTransport, asyncio.Task[None]]:
    feed = SyntheticFeed(7, START, symbols=("BTC", "ETH"))
    venue = PaperVenue(Exchange(feed.assets), feed, clock)
    market = asyncio.create_task(venue.run())
    await clock.sleep(2)
    venue.fund(ACCOUNT, 10_000_000_000_000)
    return venue, InProcessTransport(venue, Random(1)), market


def client_of(transport: Any, clock: VirtualClock, build: str) -> c.HyperliquidClient:
    nonces = NonceSource(clock, 0, lambda mark: None)
    if build == "baseline":
        return BaselineClient(transport, clock, KEY, nonces, account=ACCOUNT)
    encoder = WireEncoder(Signer(KEY, mainnet=False))
    return HyperliquidClient(transport, clock, encoder, nonces, account=ACCOUNT, coalesce_ms=5)


ORDERS = st.tuples(
    st.sampled_from(["BTC", "ETH"]),
    st.sampled_from(["0.01", "0.000001", "0.02"]),  # the second is no lot of either
    st.sampled_from([TimeInForce.GTC, TimeInForce.ALO, TimeInForce.IOC]),
    st.sampled_from(["0.5", "0.51234567", "0.02", "1.3"]),  # of the price: rests, off tick, out of band, crosses
)
STEPS = st.lists(
    st.tuples(st.lists(ORDERS, min_size=1, max_size=2), st.integers(0, 8), st.booleans()), min_size=2, max_size=14
)


def told(ack: Any) -> Any:
    """What an acknowledgement says, without oids; several refusals of one action may be told as shared."""
    return (type(ack).__name__, str(ack.code)) if isinstance(ack, c.Rejected) else type(ack).__name__


async def live(clock: VirtualClock, build: str, steps: Any) -> tuple[list[Any], list[Any], int]:
    venue, transport, market = await open_venue(clock)
    quiet = Lossy(transport, Random(0), 0.0)
    client = client_of(quiet, clock, build)
    assets, mids = await client.metadata(), await client.mids()
    said: dict[str, Any] = {}

    async def act(number: int, wanted: Any, cancels: bool) -> None:
        orders = []
        for place, (symbol, size, tif, share) in enumerate(wanted):
            raw = mids[symbol] * Decimal(share)
            price = raw if share == "0.51234567" else assets[symbol].bound(raw, buy=True)
            name = f"0x{number * 10 + place:032x}"
            orders.append(order(name, symbol, True, size, f"{price.quantize(Decimal('0.00001')).normalize():f}", tif))
        acks = await client.place(orders, expires_ms=clock.now_ms() + 15_000)
        said.update({one.cloid: told(ack) for one, ack in zip(orders, acks, strict=True)})
        if cancels:
            gone = await client.cancel([(one.symbol, one.cloid) for one in orders])
            said.update({f"cancel {o.cloid}": told(ack) for o, ack in zip(orders, gone, strict=True)})

    async with asyncio.TaskGroup() as group:
        for number, (wanted, pause_ms, cancels) in enumerate(steps):
            group.create_task(act(number, wanted, cancels))
            await clock.sleep(pause_ms / 1000)
    left = sorted(str(listed.cloid) for listed in await client.open_orders())
    filled = sorted({str(fill.cloid) for fill in await client.fills(START)})
    await client.close()
    venue.stop()
    market.cancel()
    await asyncio.gather(market, return_exceptions=True)
    return sorted(said.items()), [left, filled], quiet.actions


@given(steps=STEPS)
@settings(max_examples=25, deadline=None)
def test_gathered_writes_have_the_outcomes_of_those_sent_alone(steps: Any) -> None:
    alone, together = (
        run_virtual(lambda clock, b=b: live(clock, b, steps), start_ms=START) for b in ("baseline", "own")
    )
    assert together[0] == alone[0]
    assert together[1] == alone[1]
    assert together[2] <= alone[2]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_S10_S11_gathered_entries_are_executed_exactly_once_whatever_is_lost(seed: int) -> None:
    """Every caller proves what became of its order; the venue's fills say the same, each cloid used once."""

    async def main(clock: VirtualClock) -> None:
        venue, transport, market = await open_venue(clock)
        rng = Random(seed)
        lossy = Lossy(transport, rng, 0.4)
        client = client_of(lossy, clock, "own")
        assets = await client.metadata()
        proven: dict[str, bool] = {}

        async def trade(number: int) -> None:
            name, sent_ms = f"0x{number:032x}", clock.now_ms()
            symbol = rng.choice(["BTC", "ETH"])
            touch = (await client.book(symbol)).asks[0].price
            bound = assets[symbol].bound(touch * Decimal("1.02"), buy=True)
            expires_ms = clock.now_ms() + 4_000
            [ack] = await client.place([order(name, symbol, True, "0.01", f"{bound:f}")], expires_ms=expires_ms)
            if isinstance(ack, c.Unknown):
                settled = await settle(client, clock, name, expires_ms=expires_ms, sent_ms=sent_ms)
                proven[name] = settled.record.group is c.OrderGroup.FILLED
            else:
                proven[name] = isinstance(ack, c.Filled)

        async with asyncio.TaskGroup() as group:
            for number in range(1, 31):
                group.create_task(trade(number))
                await clock.sleep(rng.choice([0.0, 0.001, 0.004, 0.05]))
        sizes: dict[str, Decimal] = {}
        for fill in await client.fills(START):
            sizes[str(fill.cloid)] = sizes.get(str(fill.cloid), Decimal(0)) + fill.size
        assert {name for name, filled in proven.items() if filled} == set(sizes)
        assert all(size == Decimal("0.01") for size in sizes.values())
        assert lossy.actions < 30, "some were gathered"
        await client.close()
        venue.stop()
        market.cancel()
        await asyncio.gather(market, return_exceptions=True)

    run_virtual(main, start_ms=START)
