"""A whole world in virtual time: a feed, the paper exchange, a network without sockets, and a trader that knows nothing
of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from perpstrader.paper.engine import EngineConfig, Exchange
from perpstrader.paper.feeds.contract import Feed
from perpstrader.paper.server import InProcessTransport, LatencyModel, PaperVenue, VenueConfig
from perpstrader.runtime import InlineExecutor, VirtualClock
from perpstrader.runtime.pool import TaskPool
from perpstrader.settings import Settings
from perpstrader.simulate.stopwatch import Stopwatch
from perpstrader.simulate.watch import Watch
from perpstrader.state import StateStore
from perpstrader.trader.account import Identity
from perpstrader.trader.build import Deps, build_trader
from perpstrader.trader.commands import Commands
from perpstrader.trader.records import open_traces
from perpstrader.trader.trader import Pace, Trader
from perpstrader.venue.signer import Signer

LEAD_MS: Final = 1_000
"""The virtual clock starts this long before the feed's first instant."""

_MICRO: Final = 1_000_000
REPLAY_PACE: Final = Pace(
    ping_s=86_400.0, protection_s=60.0, records_s=3_600.0, recovery_s=60.0, guard_s=60.0, streamed_reads=False
)  # fmt: skip


class World(msgspec.Struct, kw_only=True):
    """The parts of one simulated run."""

    settings: Settings
    clock: VirtualClock
    engine: Exchange
    venue: PaperVenue
    market: asyncio.Task[None]
    transport: InProcessTransport
    trader: Trader
    commands: Commands
    watch: Watch


@asynccontextmanager
async def simulated(
    settings: Settings,
    clock: VirtualClock,
    feed: Feed,
    *,
    seed: int,
    latency: LatencyModel | None = None,
    state_path: Path | None = None,
    traces_path: Path | None = None,
    pace: Pace = REPLAY_PACE,
    stopwatch: Stopwatch | None = None,
) -> AsyncIterator[World]:
    """A started trader on a running market; at the end of the block both have stopped.

    Everything follows from the feed, the settings and ``seed``. The feed's time must lie ``LEAD_MS`` ahead of the
    clock.
    """
    rng = Random(seed)
    identity = simulated_identity(seed)
    engine = Exchange(feed.assets, EngineConfig())
    venue = PaperVenue(engine, feed, clock, VenueConfig(idle_close_ms=None))
    venue.fund(identity.account, int(settings.paper.balance_usd * _MICRO))
    async with AsyncExitStack() as stack:
        executor = InlineExecutor()
        store = await StateStore.open(
            state_path, executor=executor, account=identity.account, network="paper",
            new_epoch=lambda: rng.getrandbits(64), durable=False,
        )  # fmt: skip
        stack.push_async_callback(store.close)
        traces = await stack.enter_async_context(
            open_traces(settings, traces_path, clock, executor=executor, synchronous="OFF")
        )
        if stopwatch is not None:
            _time(stopwatch, venue)
        market = _open_market(venue, stack)
        await clock.sleep((feed.start_ms - clock.now_ms() + 1) / 1000)
        transport, watch = InProcessTransport(venue, Random(rng.getrandbits(64)), latency), Watch()
        deps = Deps(
            clock=clock, rng=rng, transport=transport, store=store, traces=traces, identity=identity, is_virtual=True,
            pace=pace, observer=watch, keeps_all_traces=True,
        )  # fmt: skip
        trader, commands = await build_trader(settings, deps)
        watch.equity_usd = trader.execution.view.equity_usd
        watch.mid_of = lambda symbol: snapshot.mid if (snapshot := trader.market.snapshot(symbol)) is not None else None
        stack.push_async_callback(trader.stop)
        await trader.start()
        yield World(
            settings=settings, clock=clock, engine=engine, venue=venue, market=market, transport=transport,
            trader=trader, commands=commands, watch=watch,
        )  # fmt: skip


def _open_market(venue: PaperVenue, stack: AsyncExitStack) -> asyncio.Task[None]:
    """The market moves until the stack is left."""
    pool = TaskPool(_raise)
    market = pool.spawn("market", venue.run())
    assert market is not None  # the pool has just been made
    stack.push_async_callback(pool.stop)
    return market


def simulated_identity(seed: int) -> Identity:
    """A key that belongs to the seed, and to nobody."""
    key = "0x" + hashlib.sha256(f"perpstrader simulated account {seed}".encode()).hexdigest()
    return Identity(private_key=key, account=Signer(key, mainnet=False).address)


def _time(stopwatch: Stopwatch, venue: PaperVenue) -> None:
    stopwatch.around(venue, "post", "exchange: requests")
    stopwatch.around(venue, "_show", "exchange: market")
    steps = venue.feed.steps
    setattr(venue.feed, "steps", lambda sign, quiet: stopwatch.through(steps(sign, quiet), "feed"))  # noqa: B010  # a wrapper on this instance alone


def _raise(name: str, error: Exception) -> None:
    raise error
