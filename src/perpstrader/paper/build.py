"""Builds a paper exchange from plain arguments: a market, and on request a file in which its accounts survive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from perpstrader.paper.engine import EngineConfig, Exchange
from perpstrader.paper.engine.config import QueueModel
from perpstrader.paper.faults import Faults, RandomFaults, parse
from perpstrader.paper.feeds import Feed, LiveFeed, SyntheticFeed
from perpstrader.paper.feeds.live import STALE_MS
from perpstrader.paper.feeds.synthetic import SYMBOLS
from perpstrader.paper.server import InProcessTransport, LatencyModel, Network, PaperVenue, VenueConfig
from perpstrader.paper.store import PaperStore
from perpstrader.runtime import Clock
from perpstrader.runtime.http import HttpTransport
from perpstrader.venue.wire.numbers import micro_usd

_MICRO: Final = 1_000_000


class LivePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Which venue's market is mirrored, and after how long a silence it counts as gone."""

    url: str
    stale_ms: int = STALE_MS


class PaperPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A paper exchange in real time, on a made-up market (``SyntheticFeed``) or, with ``live``, a mirrored one.

    ``enforce_limits`` is for request weights, WebSocket limits and address budgets alike; ``latency`` for every
    client; ``faults`` are rules as ``faults.parse`` reads them, which ``fault_control`` lets change while it runs.
    ``engine`` and ``venue`` are the rules, as far as the fields here do not say them.
    """

    seed: int = 1
    symbols: tuple[str, ...] = SYMBOLS
    bar_ms: int = 1_000
    speed: float = 60.0
    network: Network = "any"
    enforce_limits: bool = True
    latency: LatencyModel | None = None
    queue_model: QueueModel = "trades"
    faults: tuple[str, ...] = ()
    fault_control: bool = False
    live: LivePlan | None = None
    engine: EngineConfig = EngineConfig()
    venue: VenueConfig = VenueConfig()


class PaperExchange:
    """A running exchange, and the ways to it."""

    def __init__(self, venue: PaperVenue, rng: Random, latency: LatencyModel | None) -> None:
        self.venue = venue
        self._rng = rng
        self._latency = latency

    def ensure_funded(self, account: str, usd: Decimal) -> None:
        """Open the account with ``usd``, unless it exists; raises ``WireError`` or ``MoneyError`` for what is none."""
        if not self.venue.engine.has_account(account.lower()):
            self.venue.fund(account, micro_usd(usd, "balance"))

    def transport(self, *, faults: Faults | None = None, client: str = "in-process") -> InProcessTransport:
        """A client's way in, without sockets; it meets the exchange's own faults unless others are given."""
        own = self.venue.faults if faults is None else faults
        return InProcessTransport(self.venue, self._rng, self._latency, faults=own, client=client)


@asynccontextmanager
async def open_paper(plan: PaperPlan, data_dir: Path | None, clock: Clock) -> AsyncIterator[PaperExchange]:
    """A running exchange whose market has opened; at the end of the block it has stopped.

    Its accounts are kept in ``data_dir`` (``None``: nowhere), and go on there at the next start, near their last
    prices. Raises ``PaperStoreError``, ``FeedError``, ``FaultRuleError`` or, on a live market, ``TransportError``.
    """
    rules = [parse(text) for text in plan.faults]
    try:
        async with AsyncExitStack() as stack:
            store = None if data_dir is None else PaperStore(data_dir)
            if store is not None:
                stack.callback(store.close)
            feed = await _feed(plan, clock, store, stack)
            limited = plan.enforce_limits
            config = msgspec.structs.replace(
                plan.venue, network=plan.network, enforce_ip_limits=limited, enforce_address_budget=limited
            )
            engine_config = msgspec.structs.replace(plan.engine, queue_model=plan.queue_model)
            venue = build_venue(feed, clock, config=config, engine_config=engine_config, store=store)
            if rules or plan.fault_control:
                venue.set_faults(RandomFaults(Random(f"{plan.seed}:faults"), rules))
            group = await stack.enter_async_context(asyncio.TaskGroup())
            market = group.create_task(venue.run(), name="paper-market")
            stack.callback(market.cancel)
            stack.callback(venue.stop)
            await venue.opened.wait()
            yield PaperExchange(venue, Random(f"{plan.seed}:network"), plan.latency)
    except BaseExceptionGroup as failed:
        # One thing went wrong, in the block or in the market: the caller meets it as it was.
        if len(failed.exceptions) == 1:
            raise failed.exceptions[0] from None
        raise


async def _feed(plan: PaperPlan, clock: Clock, store: PaperStore | None, stack: AsyncExitStack) -> Feed:
    if plan.live is None:
        return synthetic_feed(
            clock, seed=plan.seed, symbols=plan.symbols, bar_ms=plan.bar_ms, speed=plan.speed, store=store
        )
    transport = HttpTransport(plan.live.url)
    stack.push_async_callback(transport.close)
    rng = Random(f"{plan.seed}:live")
    return await LiveFeed.open(transport, clock, plan.symbols, rng, stale_ms=plan.live.stale_ms)


def synthetic_feed(
    clock: Clock,
    *,
    seed: int,
    symbols: Sequence[str] = SYMBOLS,
    bar_ms: int = 1_000,
    speed: float = 60.0,
    store: PaperStore | None = None,
) -> SyntheticFeed:
    """A made-up market that begins now; with a ``store``, near the prices at which the last one stopped."""
    last_prices = {} if store is None else store.last_prices()
    return SyntheticFeed(seed, clock.now_ms(), symbols=symbols, bar_ms=bar_ms, speed=speed, last_prices=last_prices)


def build_venue(
    feed: Feed,
    clock: Clock,
    *,
    config: VenueConfig | None = None,
    engine_config: EngineConfig | None = None,
    store: PaperStore | None = None,
    funds_usd: Mapping[str, int] | None = None,
) -> PaperVenue:
    """An exchange on ``feed``; accounts in ``store`` go on, and each change is kept there before it is answered.

    ``funds_usd`` opens accounts (lower-case address: whole USD) that do not exist yet. The store stays the caller's to
    close, after ``venue.stop()``.
    """
    engine = Exchange(feed.assets, engine_config)
    venue = PaperVenue(engine, feed, clock, config)
    if store is not None:
        store.recall(engine, venue.world)
        venue.keeper = store
    for user, usd in (funds_usd or {}).items():
        if not engine.has_account(user):
            venue.fund(user, usd * _MICRO)
    return venue
