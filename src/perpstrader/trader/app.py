"""One whole run in real time: files, lock, paper exchange where there is one, trader, and a clean end."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import msgspec

from perpstrader.alerts import make_channels
from perpstrader.domain import VenueError, plain
from perpstrader.domain.errors import NotStartedError, StateError, UsageError
from perpstrader.domain.money import CENT
from perpstrader.execution import Note
from perpstrader.paper.build import LivePlan, PaperPlan, open_paper
from perpstrader.paper.feeds.synthetic import SYMBOLS
from perpstrader.paper.server import LatencyModel
from perpstrader.runtime import AccountLock, DetachedExecutor, Executor, SystemClock, ThreadedExecutor, Transport
from perpstrader.runtime.http import HttpTransport
from perpstrader.settings import PaperSettings, Settings
from perpstrader.state import StateStore
from perpstrader.traces.contract import TraceStore
from perpstrader.trader.account import KEY_FILE, Identity, lock_files, paper_key, real_key
from perpstrader.trader.alarms import write_log
from perpstrader.trader.build import Deps, build_trader
from perpstrader.trader.commands import Commands
from perpstrader.trader.earnings import Earnings, earnings_of
from perpstrader.trader.paper_rules import engine_config, venue_config
from perpstrader.trader.places import check_room, prepare_folder, set_aside_damaged
from perpstrader.trader.records import open_traces
from perpstrader.trader.shipping import server_of
from perpstrader.trader.status import StrategyRow, strategy_rows
from perpstrader.trader.trader import Trader
from perpstrader.venue.signer import Signer


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did; the one line of ``run --json``.

    ``net_pnl_usd`` is ``earnings.realized_usd``: what this process booked, open profit left out.
    """

    cycles: int
    signals: int
    approved: int
    refused: int
    orders: int
    fills: int
    equity_usd: str
    net_pnl_usd: str
    earnings: Earnings
    max_unprotected_ms: int
    stop: str
    clean_exit: bool
    refused_by_reason: dict[str, int]
    strategies: tuple[StrategyRow, ...] = ()


class Running(msgspec.Struct, kw_only=True):
    """A trader that runs; set ``stop_requested`` to end it gracefully."""

    settings: Settings
    trader: Trader
    commands: Commands
    traces: TraceStore
    urls: dict[str, str]
    stop_requested: asyncio.Event


async def run(
    settings: Settings, *, duration_s: float | None, stop_requested: asyncio.Event | None = None,
    on_started: Callable[[Running], Awaitable[None]] | None = None, tell: Callable[[str], None] = lambda text: None,
) -> RunSummary:  # fmt: skip
    """Trade until the duration is over or a stop is requested; then stop by the stated policy and say what was done.

    ``tell`` is told why a start takes long.
    """
    stop = stop_requested or asyncio.Event()
    async with running(settings, stop, tell) as app:
        if on_started is not None:
            await on_started(app)
        try:
            async with asyncio.timeout(duration_s):
                await stop.wait()
        except TimeoutError:
            pass
    return summary_of(app.trader)


@asynccontextmanager
async def running(
    settings: Settings, stop: asyncio.Event | None = None, tell: Callable[[str], None] = lambda text: None
) -> AsyncIterator[Running]:
    """A started trader; at the end of the block it has stopped, and everything is on disk and closed.

    Raises ``NotStartedError`` where ``stop`` is set while it waits for room at the venue, before it has sent anything.
    """
    data_dir, stopping = settings.data_dir, stop or asyncio.Event()
    async with AsyncExitStack() as stack:
        prepare_folder(data_dir)
        check_room(data_dir, settings.data.min_free_bytes)
        identity = identity_of(settings, data_dir)
        for path in lock_files(settings, identity.account):
            stack.enter_context(AccountLock(path, identity.account))
        clock, rng = SystemClock(), Random(secrets.randbits(64))
        store_thread, trace_thread = ThreadedExecutor("state"), ThreadedExecutor("traces")
        read_thread = ThreadedExecutor("traces-read")
        for thread in (store_thread, trace_thread, read_thread):
            stack.callback(thread.close)
        store = await _open_state(settings, identity, store_thread)
        stack.push_async_callback(store.close)
        aside = set_aside_damaged(data_dir / "traces.db", clock.now_ms())
        traces = await stack.enter_async_context(
            open_traces(settings, data_dir / "traces.db", clock, executor=trace_thread, reader=read_thread)
        )
        transport, urls = await _transport(settings, stack, identity, data_dir)
        channels = make_channels(settings.alerts, write_log, DetachedExecutor)
        for channel in channels:
            stack.callback(channel.close)
        deps = Deps(
            clock=clock, rng=rng, transport=transport, store=store, traces=traces, identity=identity, channels=channels,
            trace_server=server_of(settings), tell=tell, pause=lambda seconds: _pause(seconds, stopping),
        )  # fmt: skip
        trader, commands = await build_trader(settings, deps)
        stack.push_async_callback(trader.stop)
        if aside is not None:
            text = f"the record of decisions was damaged; it is {aside.name} now, and a new one is written"
            trader.recorder.take(Note(time_ms=clock.now_ms(), kind="traces-damaged", symbol="", text=text, grave=True))
        await trader.start()
        yield Running(
            settings=settings, trader=trader, commands=commands, traces=traces, urls=urls, stop_requested=stopping,
        )


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    """So long a start waits for the venue; a stop that is asked for meanwhile ends it."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
    raise NotStartedError(
        "stopped before it had started: nothing was sent; positions keep the stops that stand at the venue"
    )


async def _open_state(settings: Settings, identity: Identity, executor: Executor) -> StateStore:
    """What the trader must not have forgotten; without it nothing is traded (S40)."""
    try:
        return await StateStore.open(
            settings.data_dir / "state.db", executor=executor, account=identity.account,
            network=settings.venue.network, new_epoch=lambda: secrets.randbits(64),
        )  # fmt: skip
    except StateError as error:
        raise StateError(f"halted, nothing is traded: {error}") from error


async def _transport(
    settings: Settings, stack: AsyncExitStack, identity: Identity, data_dir: Path
) -> tuple[Transport, dict[str, str]]:
    """The venue's own address, or the paper exchange inside this process."""
    url = settings.venue.url
    if url is not None:
        transport = HttpTransport(url, connect_timeout_s=settings.client.connect_timeout_ms / 1000)
        stack.push_async_callback(transport.close)
        if settings.venue.network == "paper":
            await fund_remote(transport, identity.account, plain(settings.paper.balance_usd))
        return transport, {"venue": url}
    paper = await stack.enter_async_context(open_paper(paper_plan(settings), data_dir / "exchange", SystemClock()))
    paper.ensure_funded(identity.account, settings.paper.balance_usd)
    return paper.transport(), {"venue": "paper exchange in this process"}


def paper_plan(settings: Settings) -> PaperPlan:
    """The paper exchange that the settings describe; a recorded market is not one that real time can be spent on."""
    if settings.feed.source == "replay":
        raise UsageError(
            f"a recorded market is not traded in real time: run `perpstrader replay {settings.feed.path or 'PATH'}`"
        )
    paper, feed = settings.paper, settings.feed
    live = LivePlan(url=feed.live_url, stale_ms=feed.live_stale_ms) if feed.source == "live" else None
    return PaperPlan(
        seed=settings.feed.seed, bar_ms=settings.feed.bar_ms, speed=float(settings.feed.speed),
        network=paper.signature_network, enforce_limits=paper.enforce_limits,
        latency=latency_of(paper) if paper.latency == "lognormal" else None, queue_model=paper.queue_model,
        faults=paper.faults, fault_control=paper.fault_control, live=live,
        symbols=SYMBOLS if live is None else settings.trader.symbols,
        engine=engine_config(settings.paper_rules), venue=venue_config(settings.paper_rules),
    )  # fmt: skip


def latency_of(paper: PaperSettings) -> LatencyModel:
    """The round trips that the settings describe."""
    return LatencyModel(
        median_s=paper.latency_median_ms / 1000, p99_s=paper.latency_p99_ms / 1000,
        entry_fraction=float(paper.latency_entry_fraction),
    )  # fmt: skip


def identity_of(settings: Settings, data_dir: Path) -> Identity:
    """Who signs and whose account it is."""
    if settings.venue.network == "paper" and settings.venue.private_key is None:
        key = paper_key(data_dir, lambda: "0x" + secrets.token_hex(32))
    else:
        key = real_key(settings)
    signer = Signer(key, mainnet=settings.venue.is_mainnet).address
    account = settings.venue.vault_address or settings.venue.account_address or signer
    return Identity(private_key=key, account=account.lower())


def existing_identity(settings: Settings) -> Identity | None:
    """Who would sign, without making a key: ``None`` where the first start has yet to make the paper account's."""
    makes_one = settings.venue.network == "paper" and settings.venue.private_key is None
    if makes_one and not (settings.data_dir / KEY_FILE).exists():
        return None
    return identity_of(settings, settings.data_dir)


async def fund_remote(transport: Transport, account: str, usd: str) -> None:
    """Give a new account on a paper exchange elsewhere its start funds; an account that has funds keeps them."""
    body = msgspec.json.encode({"user": account, "usd": usd, "onlyIfNew": True})
    answer = await transport.post("/paper/fund", body, timeout_s=10)
    if answer.status != 200:
        raise VenueError(
            f"the exchange at venue.base_url gave {account} no start funds, it answered {answer.status} to /paper/fund:"
            " is it `perpstrader paper`, and does it run?"
        )


def summary_of(trader: Trader) -> RunSummary:
    """What the run counted."""
    counters = trader.counters
    return RunSummary(
        cycles=counters.cycles,
        signals=counters.signals,
        approved=counters.approved,
        refused=counters.refused,
        orders=counters.orders,
        fills=counters.fills,
        equity_usd=plain(trader.execution.view.equity_usd().quantize(CENT)),
        net_pnl_usd=plain(trader.execution.accountant.net_pnl_usd.quantize(CENT)),
        earnings=earnings_of(trader),
        max_unprotected_ms=trader.execution.protector.max_unprotected_ms,
        stop=trader.stopped.text if trader.stopped is not None else "",
        clean_exit=trader.stopped is not None and trader.stopped.done,
        refused_by_reason=dict(counters.refused_by_reason),
        strategies=strategy_rows(trader),
    )
