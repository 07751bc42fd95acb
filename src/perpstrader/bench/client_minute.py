"""A minute of a trader's reads, and a burst of its orders, 20 ms from the venue: what goes over the wire, and how long
the caller waits.

The minute passes in virtual time; a wait is that time and what the code takes in real time besides. Both builds ask the
same, at the same seeded instants, of markets that move alike. Whether they are told the same is seen on a market that
stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from random import Random
from time import perf_counter_ns, process_time_ns
from typing import Any, Final, cast

from perpstrader.bench.desk import SYMBOLS, Build, CountingTransport, Desk, StandingClock, open_desk
from perpstrader.bench.harness import Arm, Case, Subject
from perpstrader.bench.samples import NOW_MS
from perpstrader.bench.statistics import quantile
from perpstrader.domain import Candle, TimeInForce
from perpstrader.paper.build import build_venue
from perpstrader.paper.feeds import SyntheticFeed
from perpstrader.paper.server import InProcessTransport, LatencyModel, PaperVenue, VenueConfig
from perpstrader.runtime import VirtualClock, VirtualLoop
from perpstrader.venue import HyperliquidClient, MarketData, Streams
from perpstrader.venue.contract import HyperliquidClient as Client
from perpstrader.venue.contract import OrderRecord, OrderRequest, Resting

BUILDS: Final[tuple[Build, Build]] = ("baseline", "optimized")
MIX: Final = {"mids": 400, "account": 300, "open_orders": 150, "book": 100, "metadata": 50}
_ORDERS: Final = 100
_MINUTE_S: Final = 60.0
_ROUND_TRIP: Final = LatencyModel(median_s=0.02, p99_s=0.02)
_SEED: Final = 11
_COALESCE_MS: Final = 5
_NS_PER_US: Final = 1_000
_ASKED: Final = "1,000 reads of a seeded minute (400 mids, 300 account, 150 open orders, 100 book, 50 meta), 20 ms away"
_SHOWN: Final = "each reader takes the age that the settings allow; answers compared on a market that stands still"

Read = tuple[float, str, str]
"""When, in seconds of the minute; the method; the coin that it is about."""


@dataclass(slots=True)
class Minute:
    """What one minute cost on the wire, and how long each reader waited, in ascending microseconds."""

    calls: int
    weight: int
    waits_us: list[float]


@dataclass(slots=True)
class Minutes:
    """The minutes that were run so far: every row takes its figures from the same ones."""

    run: dict[tuple[Build, bool], list[Minute]] = field(default_factory=dict)
    told: dict[Build, list[Any]] = field(default_factory=dict)
    taken: dict[tuple[Build, str], int] = field(default_factory=dict)
    instant: StandingClock = field(default_factory=StandingClock)

    async def figure(self, build: Build, row: str, of: Callable[[Minute], float], streamed: bool) -> float:
        """The row's figure of the next minute that it has not taken yet."""
        number = self.taken.get((build, row), 0)
        self.taken[build, row] = number + 1
        run = self.run.setdefault((build, streamed and build == "optimized"), [])
        if number >= len(run):
            run.append(await _minute(build, streamed=streamed and build == "optimized"))
        return of(run[number])

    async def answers(self, build: Build) -> list[Any]:
        """What a client of this build is told on a market that stands still, orders between its reads."""
        if build not in self.told:
            self.told[build] = await _told(build, self.instant)
        return self.told[build]


def cases() -> list[Case]:
    """The rows of the minute, and those of orders at the same distance."""
    minutes = Minutes()
    figures: list[tuple[str, str, Callable[[Minute], float], float, str]] = [
        ("calls", "messages", lambda minute: minute.calls, 10.0, "requests, and messages to the streams"),
        ("weight", "weight", lambda minute: minute.weight, 10.0, "IP weight, of 1200 a minute"),
        ("latency-p50", "us", lambda minute: quantile(minute.waits_us, 0.5), 4.0, "as the caller waits"),
        ("latency-p99", "us", lambda minute: quantile(minute.waits_us, 0.99), 4.0, "as the caller waits"),
    ]
    return [
        *[
            Case(
                "client", row + suffix, unit, 1, partial(_row, minutes, row + suffix, of, not suffix),
                claim=None if suffix else claim, counted=True, virtual=True,
                note=f"{_ASKED}: {note}{by}; virtual time and real work; {_SHOWN}",
            )
            for suffix, by in (("", "; the paper exchange's streams show a book four times a second, the account once"),
                               ("-unstreamed", "; without streams, by shared and kept answers alone"))
            for row, unit, of, claim, note in figures
        ],
        Case(
            "client", "order-latency", "us/order", 1, partial(_orders, _one_by_one), counted=True, virtual=True,
            note="median wait for the answer to one order, 20 ms away in virtual time, its real work added: a signed "
            "action cannot be answered from a cache, and an entry waits 5 ms for others to share one with",
        ),
        Case(
            "client", "orders-per-second", "us/order", _ORDERS, partial(_orders, _at_once), counted=True, virtual=True,
            note=f"{_ORDERS} orders at once, 20 ms away in virtual time, their real work added: a million over this is "
            "orders a second; entries within 5 ms share an action",
        ),
        Case(
            "client", "cpu-per-order", "us/order", _ORDERS, partial(_orders, _cpu), counted=True, virtual=True,
            note=f"CPU time of {_ORDERS} orders one after another, the paper exchange's own in it (limit-venue-answer)",
        ),
    ]  # fmt: skip


@asynccontextmanager
async def _row(
    minutes: Minutes, row: str, of: Callable[[Minute], float], streamed: bool
) -> AsyncIterator[Subject]:
    arms = [
        Arm(run=partial(minutes.figure, build, row, of, streamed), answer=partial(minutes.answers, build))
        for build in BUILDS
    ]
    yield Subject.of(arms)


# --- the minute ---


def plan() -> list[Read]:
    """The reads of the minute in their order."""
    rng = Random(_SEED)
    kinds = [kind for kind, times in MIX.items() for _ in range(times)]
    rng.shuffle(kinds)
    return [(when, kind, rng.choice(SYMBOLS)) for when, kind in zip(sorted(_instants(rng)), kinds, strict=True)]


def _instants(rng: Random) -> list[float]:
    return [rng.uniform(0.0, _MINUTE_S) for _ in range(sum(MIX.values()))]


async def _ask(client: Client, kind: str, coin: str) -> Any:
    if kind == "book":
        return await client.book(coin, max_age_ms=None)
    if kind == "mids":
        return await client.mids([coin], max_age_ms=None)
    return await getattr(client, kind)(max_age_ms=None)


async def _minute(build: Build, *, streamed: bool) -> Minute:
    async with _near_venue(build) as (desk, clock):
        await _prepare(desk.client)
        waits_us: list[float] = []

        async def read(kind: str, coin: str) -> None:
            began = clock.monotonic_ns(), perf_counter_ns()
            await _ask(desk.client, kind, coin)
            waits_us.append(_since_us(clock, *began))

        before = desk.transport.calls, desk.transport.weight
        async with asyncio.TaskGroup() as group:
            streams = None
            if streamed:
                streams = group.create_task(_follow(desk, clock), name="bench-streams")
                await clock.sleep(0.1)
            started_ns = clock.monotonic_ns()
            async with asyncio.TaskGroup() as readers:
                for when, kind, coin in plan():
                    await clock.sleep(max(0.0, when - (clock.monotonic_ns() - started_ns) / 1e9))
                    readers.create_task(read(kind, coin))
            if streams is not None:
                streams.cancel()
        calls, weight = desk.transport.calls - before[0], desk.transport.weight - before[1]
        return Minute(calls, weight, sorted(waits_us))


async def _follow(desk: Desk, clock: VirtualClock) -> None:
    client = cast(HyperliquidClient, desk.client)
    streams = Streams(
        desk.transport, clock, client.venue_clock, MarketData(), _Nobody(), account=desk.account, symbols=SYMBOLS,
        interval="1s", rng=Random(_SEED), note=lambda kind, text: None, reads=client.streamed,
    )  # fmt: skip
    await streams.run(lambda: None)


async def _told(build: Build, clock: StandingClock) -> list[Any]:
    told: list[Any] = []
    async with open_desk(build, clock) as desk:
        await _prepare(desk.client)
        far = await _far(desk.client)
        for number, (_, kind, coin) in enumerate(plan()):
            if number % 10 == 0:
                told.append(await desk.client.place([_order(1_000 + number, far)]))
            told.append(await _ask(desk.client, kind, coin))
    return told


# --- orders ---


@asynccontextmanager
async def _orders(how: Callable[[Desk, VirtualClock], Awaitable[float]]) -> AsyncIterator[Subject]:
    async def figure(build: Build) -> float:
        async with _near_venue(build) as (desk, clock):
            await desk.client.metadata()
            return await how(desk, clock)

    async def answer(build: Build) -> list[bool]:
        async with _near_venue(build) as (desk, _):
            await desk.client.metadata()
            return [isinstance(ack, Resting) for ack in await _burst(desk.client)]

    arms = [Arm(run=partial(figure, build), answer=partial(answer, build)) for build in BUILDS]
    yield Subject.of(arms, expected=[True] * _ORDERS)


async def _one_by_one(desk: Desk, clock: VirtualClock) -> float:
    far, waits_us = await _far(desk.client), []
    for number in range(_ORDERS):
        began = clock.monotonic_ns(), perf_counter_ns()
        await desk.client.place([_order(number + 1, far)])
        waits_us.append(_since_us(clock, *began))
    return quantile(sorted(waits_us), 0.5)


async def _at_once(desk: Desk, clock: VirtualClock) -> float:
    began = clock.monotonic_ns(), perf_counter_ns()
    await _burst(desk.client)
    return _since_us(clock, *began)


async def _cpu(desk: Desk, clock: VirtualClock) -> float:
    far, began_ns = await _far(desk.client), process_time_ns()
    for number in range(_ORDERS):
        await desk.client.place([_order(number + 1, far)])
    return (process_time_ns() - began_ns) / _NS_PER_US


async def _burst(client: Client) -> list[Any]:
    far = await _far(client)
    acks = await asyncio.gather(*(client.place([_order(number + 1, far)]) for number in range(_ORDERS)))
    return [ack for [ack] in acks]


# --- the desk ---


@asynccontextmanager
async def _near_venue(build: Build) -> AsyncIterator[tuple[Desk, VirtualClock]]:
    """A client 20 ms from a moving market, on the virtual loop that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    clock = VirtualClock(loop, NOW_MS)
    config = VenueConfig(enforce_ip_limits=False, enforce_address_budget=False)
    feed = SyntheticFeed(_SEED, clock.now_ms(), symbols=SYMBOLS, prehistory_bars=2)
    venue = build_venue(feed, clock, config=config)
    async with asyncio.TaskGroup() as group:
        market = group.create_task(venue.run(), name="bench-market")
        await venue.opened.wait()
        desk = Desk(venue, clock, build, transport=CountingTransport(_near(venue)), coalesce_ms=_COALESCE_MS)
        await desk.client.venue_time_ms()
        yield desk, clock
        await desk.client.close()
        venue.stop()
        market.cancel()


def _near(venue: PaperVenue) -> InProcessTransport:
    return InProcessTransport(venue, Random(_SEED), _ROUND_TRIP)


async def _prepare(client: Client) -> None:
    """A position, and three orders that rest."""
    far = await _far(client)
    await client.place([_order(900, far * Decimal("1.5"), TimeInForce.IOC)])
    for number in range(901, 904):
        await client.place([_order(number, far)])


async def _far(client: Client) -> Decimal:
    """About a fifth under the market, on tick."""
    await client.metadata()
    return ((await client.mids())["BTC"] * Decimal("0.8")).quantize(Decimal(1))


def _order(number: int, price: Decimal, tif: TimeInForce = TimeInForce.GTC) -> OrderRequest:
    return OrderRequest(
        symbol="BTC", buy=True, size=Decimal("0.01"), limit_price=price.quantize(Decimal(1)), tif=tif,
        reduce_only=False, cloid=f"0x{number:032x}",
    )  # fmt: skip


def _since_us(clock: VirtualClock, virtual_ns: int, real_ns: int) -> float:
    return (clock.monotonic_ns() - virtual_ns + perf_counter_ns() - real_ns) / _NS_PER_US


class _Nobody:
    """Listens to streams that only answer reads."""

    def on_bar(self, candle: Candle) -> None:
        """Nobody trades here."""

    def on_fills(self, fills: Any) -> None:
        """Nobody trades here."""

    def on_order_record(self, cloid: str, record: OrderRecord) -> None:
        """Nobody trades here."""

    def on_funding(self, payments: Any) -> None:
        """Nobody trades here."""

    def on_cash_flows(self, flows: Any) -> None:
        """Nobody trades here."""

    def on_market(self, symbol: str) -> None:
        """Nobody trades here."""

    def on_connected(self, reconnected: bool) -> None:
        """Nobody trades here."""

    def on_disconnected(self, reason: str) -> None:
        """Nobody trades here."""
