"""In shadow the baseline's reads are given, and what the cache would have given otherwise is counted and told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest
from tests.contract.venue.test_reads_are_true import ACCOUNT, START, Quiet, World
from tests.unit.venue.scripted import KEY

from perpstrader.runtime import VirtualClock, run_virtual
from perpstrader.venue import MarketData, NonceSource, Streams
from perpstrader.venue.reads import Kind
from perpstrader.venue.shadow import HyperliquidClient

KINDS = ("account", "open_orders", "book", "mids", "metadata")


class Shadowed(World):
    """The world of the property, with a shadow for its client."""

    def __init__(self, clock: VirtualClock, seed: int) -> None:
        super().__init__(clock, "baseline", seed)
        nonces = NonceSource(clock, 10**12, lambda mark: None)
        self.shadow = HyperliquidClient(self.transport, clock, KEY, nonces, account=ACCOUNT)
        self.client = self.shadow
        self.told: list[str] = []
        self.shadow.on_divergence = self.told.append


def play(story: Callable[[Shadowed], Awaitable[Any]], *, streams: bool = False) -> Shadowed:
    async def main(clock: VirtualClock) -> Shadowed:
        world = Shadowed(clock, 5)
        tasks = [asyncio.create_task(world.venue.run())]
        world.venue.fund(ACCOUNT, 10_000_000_000)
        await clock.sleep(1)
        await world.client.venue_time_ms()
        world.assets = await world.client.metadata()
        if streams:
            quiet: Any = Quiet()
            follow = Streams(
                world.transport, clock, world.shadow.venue_clock, MarketData(), quiet, account=ACCOUNT,
                symbols=("BTC",), interval="1s", rng=Random(2), note=lambda kind, text: None,
                reads=world.shadow.streamed,
            )  # fmt: skip
            tasks.append(asyncio.create_task(follow.run(lambda: None)))
            await clock.sleep(0.5)
        await story(world)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return world

    return run_virtual(main, start_ms=START)


async def busy(world: Shadowed) -> None:
    for step in range(40):
        if step % 8 == 3:
            await world.act("1.02" if step % 16 == 3 else "0.9")
        await asyncio.gather(*(world.read(kind, None, None) for kind in KINDS))
        await world.clock.sleep(0.13)


@pytest.mark.parametrize("streams", [False, True])
def test_an_honest_cache_never_differs_and_every_read_is_the_venues_own(streams: bool) -> None:
    world = play(busy, streams=streams)
    assert (world.wrong, world.told, world.shadow.divergences) == ([], [], 0)
    assert world.given == 40 * len(KINDS)
    assert world.shadow.reads.total("hits") + world.shadow.reads.total("streamed") > 40


@pytest.mark.parametrize("kind", ["account", "open_orders", "mids", "book"])
def test_an_answer_that_the_venue_never_gave_is_counted_and_told(kind: str) -> None:
    lies: dict[str, Callable[[Any], Any]] = {
        "account": lambda state: msgspec.structs.replace(state, positions={}),
        "open_orders": lambda orders: (),
        "mids": lambda mids: {coin: price * 2 for coin, price in mids.items()},
        "book": lambda book: msgspec.structs.replace(
            book, bids=tuple(msgspec.structs.replace(level, price=level.price * 2) for level in book.bids)
        ),
    }
    keys = {"account": (Kind.ACCOUNT, ""), "open_orders": (Kind.ORDERS, ""), "mids": (Kind.MIDS, "")}

    async def story(world: Shadowed) -> None:
        await world.act("1.02")
        await world.act("0.9")
        await world.clock.sleep(1)
        client = world.shadow
        true = await world._ask(kind, None)
        key = keys.get(kind, (Kind.BOOK, "BTC"))
        client.reads.keep(key, lies[kind](true), *client.reads.begin(key[0]))
        await world.read(kind, None, None)

    world = play(story)
    assert world.wrong == []
    assert world.shadow.divergences == 1
    [text] = world.told
    assert "would have given" in text


def test_prices_that_moved_as_prices_do_are_no_divergence() -> None:
    async def story(world: Shadowed) -> None:
        client = world.shadow
        mids = await client.mids()
        near = {coin: price * Decimal("1.01") for coin, price in mids.items()}
        client.reads.keep((Kind.MIDS, ""), near, *client.reads.begin(Kind.MIDS))
        await client.mids()

    assert play(story).shadow.divergences == 0
