"""The composition root: the one place that builds everything, each role once, and hands it on (DESIGN section 3)."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from random import Random
from typing import Final

import msgspec

from perpstrader.alerts import AlertDesk, Channel
from perpstrader.breakers import (
    EXECUTION,
    RISK,
    TRACES,
    VENUE,
    CircuitBreakers,
    GuardedTransport,
    HealthChecks,
)
from perpstrader.domain import INTERVAL_MS, AssetSpec, Order, PerpsTraderError
from perpstrader.execution import (
    NUMBER_BLOCK,
    Desk,
    Execution,
    Journal,
    Numbers,
    OrderTracker,
    PositionBook,
)
from perpstrader.execution.view import LiquidationPrices
from perpstrader.monitor import MeasuredTransport, PerformanceMonitor, Stages
from perpstrader.risk import RiskManager
from perpstrader.risk.conduct import ConductMemory
from perpstrader.risk.keeper import RiskKeeper
from perpstrader.risk.liquidation import liquidation_prices
from perpstrader.runtime import Clock, DetachedExecutor, Executor, InlineExecutor, Supervisor, Transport
from perpstrader.runtime.pool import TaskPool
from perpstrader.settings import Settings
from perpstrader.state import StateStore, Transaction
from perpstrader.strategies import StrategyEntry, StrategyRunner, load_strategies
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.postgres import BotName, Server, Shipper
from perpstrader.trader.account import Identity, check_signer, open_books
from perpstrader.trader.agent import AgentLease
from perpstrader.trader.alarms import Alarms
from perpstrader.trader.clients import make_client, routed, streamed_reads, watch_reads
from perpstrader.trader.commands import Commands
from perpstrader.trader.counters import RunCounters
from perpstrader.trader.cycle import Cycle
from perpstrader.trader.decisions import Decider
from perpstrader.trader.guard import Guard, change_text, make_breakers, make_probes, recovery_watch
from perpstrader.trader.health import health_checks
from perpstrader.trader.observer import Nobody, Observer, Relay
from perpstrader.trader.perf import watch_counts
from perpstrader.trader.ratchet import Ratchet
from perpstrader.trader.recorder import Recorder
from perpstrader.trader.records import retention_of
from perpstrader.trader.recovering import build_recovery
from perpstrader.trader.shipping import make_shipper
from perpstrader.trader.trader import REAL_TIME, Pace, Trader
from perpstrader.trader.upkeep import Upkeep
from perpstrader.trader.warming import WarmUp
from perpstrader.trader.wiring import Wiring
from perpstrader.venue.address_budget import AddressBudget
from perpstrader.venue.bars import BarGap
from perpstrader.venue.budget import IpBudget
from perpstrader.venue.budgeted import BudgetedTransport
from perpstrader.venue.calls import VenueCalls
from perpstrader.venue.market_data import MarketData
from perpstrader.venue.messages import MessageBudget
from perpstrader.venue.nonces import NonceSource
from perpstrader.venue.signer import Signer
from perpstrader.venue.streams import Streams

_SPENT_KEY: Final = "ip_weight_spent"


class Deps(msgspec.Struct, kw_only=True):
    """What the outside hands in: time, chance, network, files. ``is_virtual`` forbids threads; without ``channels``
    nobody is alerted. ``keeps_all_traces`` is for a record that is one run and wanted whole. ``trace_server`` is where
    decisions are shipped to. ``tell`` is told why a start takes long, ``pause`` is how it waits: the clock's sleep
    unless somebody may have it give up.
    """

    clock: Clock
    rng: Random
    transport: Transport
    store: StateStore
    traces: TraceStore
    identity: Identity
    is_virtual: bool = False
    pace: Pace = REAL_TIME
    observer: Observer = msgspec.field(default_factory=Nobody)
    channels: Sequence[Channel] = ()
    keeps_all_traces: bool = False
    trace_server: Server | None = None
    tell: Callable[[str], None] = lambda text: None
    pause: Callable[[float], Awaitable[None]] | None = None


def interval_name(bar_ms: int) -> str:
    """The venue's name of a bar length, such as ``5m``; below a minute the paper exchange's own."""
    for name, length in INTERVAL_MS.items():
        if length == bar_ms:
            return name
    return f"{bar_ms}ms"


async def build_trader(settings: Settings, deps: Deps) -> tuple[Trader, Commands]:
    """A trader that has read the venue's metadata and its own files, but has sent nothing yet.

    Raises ``PerpsTraderError`` for settings that the venue contradicts, ``UnsafeError`` for a signer or an account that
    must not be traded.
    """
    counters, monitor = RunCounters(), PerformanceMonitor(deps.clock)
    stages = Stages.of(monitor)
    wiring = Wiring(deps.clock, counters)
    pool, supervisor = TaskPool(wiring.failed), Supervisor(deps.clock, wiring.failed)
    deps.traces.on_trouble = lambda text: wiring.note("traces-wait", text)
    recorder = wiring.recorder = _recorder(settings, deps, wiring, stages)
    journal = Journal(deps.store, deps.clock, wiring.failed, stages.state_commit)
    breakers = await make_breakers(settings, deps.clock, deps.rng, deps.store, journal, wiring.failed)
    recorder.watch = breakers.watch(TRACES)
    messages, interval = MessageBudget(deps.clock), interval_name(settings.bar_ms)
    route = routed(deps.transport, deps.clock, settings.client, messages)
    transport = GuardedTransport(route, breakers.watch(VENUE))
    budgeted = await _budgeted(settings, deps, transport, journal)
    client = await _client(settings, deps, budgeted or transport, journal, stages, wiring)
    assets = dict(await client.metadata())
    symbols = traded_symbols(settings, assets)
    books = await open_books(deps.store, client)
    market = MarketData()
    market.on_implausible = wiring.implausible
    keeper = await _keeper(settings, deps, journal, recorder)
    risk = RiskManager(settings.risk, settings.execution, settings.venue.leverage, assets)
    desk = await _desk(settings, deps, client, assets, market, journal, pool, recorder, stages, keeper.conduct)
    execution = Execution(
        desk, deps.store, books, keeper, gate=wiring.gate, release=risk.release, halt=wiring.halt,
        liquidation=_liquidation(assets), default_stop_fraction=settings.risk.default_stop_fraction,
    )  # fmt: skip
    desk.submissions = breakers.watch(EXECUTION)
    execution.view.reservations = lambda: risk.reservations
    decider = Decider(
        execution, risk, market, recorder, deps.clock, deps.store, counters, stages,
        risk_state=lambda: keeper.judged_state, conduct=keeper.conduct, symbols=frozenset(symbols),
        leverage=settings.venue.leverage, ack_deadline_ms=settings.traces.ack_deadline_ms, breakers=breakers,
    )  # fmt: skip
    runners = _runners(settings, deps)
    cycle = Cycle(
        runners, decider, execution, market, recorder, deps.clock, pool, counters, stages,
        halted=wiring.halted, least_bars=settings.risk.min_history_bars, recorded_bars=settings.traces.bars,
    )  # fmt: skip
    decider.bars = cycle.bars
    trader = wiring.trader = Trader(
        settings, deps.clock, deps.store, execution, keeper, market, cycle, decider, recorder, pool, supervisor,
        counters, monitor, deps.pace,
    )  # fmt: skip
    trader.agent, trader.shipper = await _agent(settings, deps, desk), await _shipper(settings, deps, desk, recorder)
    _surround(settings, deps, trader, risk, runners, breakers, transport)
    trader.streams = _streams(settings, deps, route, client, trader, symbols, interval, wiring, pool, messages)
    execution.unstreamed.is_quiet = lambda: trader.streams.is_quiet
    trader.warm_up = WarmUp(client, market, symbols, interval, settings.bar_ms, wiring.note, deps.tell)
    watch_reads(monitor, client)
    if budgeted is not None:
        _watch_budget(monitor, trader, budgeted)
    await recorder.take_up(await deps.store.read(lambda tx: tx.episodes.active()))
    return trader, Commands(trader, deps.rng)


async def _keeper(settings: Settings, deps: Deps, journal: Journal, recorder: Recorder) -> RiskKeeper:
    """What was remembered of the day, the losses and the halts, loaded; new halts are told to the record."""
    keeper = RiskKeeper(settings.risk, deps.store, deps.clock, persist=journal.later)
    keeper.on_halt = recorder.on_halt
    await keeper.load()
    return keeper


def _watch_budget(monitor: PerformanceMonitor, trader: Trader, budgeted: BudgetedTransport) -> None:
    """What is left of the budgets: for the monitor, for looks that can wait, and the address's for decisions as soon as
    an action is sent.
    """
    view, address = trader.execution.view, budgeted.address
    address.on_left = lambda left: setattr(view, "address_budget_left", left)
    trader.execution.unstreamed.has_room = budgeted.ip.has_light_to_spare
    monitor.watch_level("ip_weight", lambda: budgeted.ip.spent)
    monitor.watch_count("requests_kept_back", lambda: budgeted.ip.kept_back + address.kept_back)
    monitor.watch_count("requests_refused", lambda: budgeted.ip.refusals)


async def _shipper(settings: Settings, deps: Deps, desk: Desk, recorder: Recorder) -> Shipper | None:
    bot = BotName(account=desk.client.account_address, network=settings.venue.network, epoch=deps.store.epoch)
    return await make_shipper(settings, deps.traces, deps.trace_server, bot, deps.clock, deps.rng, recorder)


def _surround(
    settings: Settings, deps: Deps, trader: Trader, risk: RiskManager, runners: Sequence[StrategyRunner],
    breakers: CircuitBreakers, transport: GuardedTransport,
) -> None:  # fmt: skip
    """What looks after a trader beside its trading: upkeep, recovery, breakers and health, moving stops, alarms."""
    trader.upkeep = Upkeep(trader.execution)
    trader.recovery = build_recovery(
        trader, risk, [runner.strategy.name for runner in runners], recovery_watch(breakers),
        least_interval_s=deps.pace.recovery_s,
    )  # fmt: skip
    trader.halt_writes = breakers.watch(RISK)
    trader.guard = _guard(settings, deps, trader, breakers, transport)
    trader.risk = risk
    trader.ratchet = Ratchet(trader.execution, trader.market, settings.risk, fixed=_fixed_stops(settings, runners))
    watch_counts(trader.monitor, trader)
    if deps.channels:
        alerts = AlertDesk(deps.channels, deps.clock, timeout_ms=settings.alerts.timeout_ms)
        trader.alarms = Alarms(alerts, trader)
        trader.recorder.on_note = trader.alarms.on_note


def traded_symbols(settings: Settings, assets: Mapping[str, AssetSpec]) -> tuple[str, ...]:
    """The symbols of the settings, all of which the venue must list."""
    for symbol in settings.trader.symbols:
        if symbol not in assets:
            near = difflib.get_close_matches(symbol, list(assets), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise PerpsTraderError(f"trader.symbols names {symbol}, which the venue does not list{hint}")
    return settings.trader.symbols


def _recorder(settings: Settings, deps: Deps, wiring: Wiring, stages: Stages) -> Recorder:
    """Its writes have a pool of their own, so that a stop can wait for them when everything else has ended."""
    recorder = Recorder(
        deps.traces, deps.clock, TaskPool(wiring.failed), prefix=f"{deps.store.epoch & 0xFFFF:04x}",
        settings_digest=settings.digest, version=version("perpstrader"), interval=interval_name(settings.bar_ms),
        on_gap=wiring.gap, observer=deps.observer, timer=stages.trace_store,
    )  # fmt: skip
    recorder.retention = None if deps.keeps_all_traces else retention_of(settings)
    return recorder


async def _budgeted(
    settings: Settings, deps: Deps, guarded: Transport, journal: Journal
) -> BudgetedTransport | None:
    """The venue's budgets, with what the predecessor spent within the last minute (S18); ``None`` where the paper
    exchange keeps no limits. What this start reads is on disk before its first byte, so that a loop of crashes counts.
    """
    if settings.venue.network == "paper" and not settings.paper.enforce_limits:
        return None

    def put(text: str) -> Callable[[Transaction], object]:
        return lambda tx: tx.meta.put_text(_SPENT_KEY, text)

    ip = IpBudget(
        deps.clock, limit=settings.client.weight_per_minute, reserve=float(settings.client.exit_reserve_fraction),
        save=lambda text: journal.later(put(text)),
    )  # fmt: skip
    ip.load(await deps.store.read(lambda tx: tx.meta.get_text(_SPENT_KEY)))
    if (wait_s := ip.start_waits_s()) > 0:
        deps.tell(f"earlier starts used up the weight that the venue grants in a minute; this one waits {wait_s:.0f} s")
        await (deps.pause or deps.clock.sleep)(wait_s)
    await deps.store.transact(put(ip.begin()))
    return BudgetedTransport(guarded, ip, AddressBudget(deps.clock))


async def _client(
    settings: Settings, deps: Deps, limited: Transport, journal: Journal, stages: Stages, wiring: Wiring
) -> VenueCalls:
    """The build that the rollout asks for; both keep their nonces above what was ever used (S12)."""
    clock, mainnet = deps.clock, settings.venue.is_mainnet
    signer = Signer(deps.identity.private_key, mainnet=mainnet)
    last = await deps.store.read(lambda tx: tx.meta.nonce_high_water(signer.address))
    nonces = NonceSource(
        clock, last, lambda nonce: journal.later(lambda tx: tx.meta.raise_nonce(signer.address, nonce))
    )
    client = make_client(settings, deps.identity, MeasuredTransport(limited, stages), clock, nonces, wiring.note)
    nonces.clock = client.venue_clock
    await client.venue_time_ms()
    await check_signer(client, signer.address, settings)
    return client


async def _agent(settings: Settings, deps: Deps, desk: Desk) -> AgentLease:
    """The signer's lease; of a vault's or sub-account's agent the master is the account of the settings."""
    signer = Signer(deps.identity.private_key, mainnet=settings.venue.is_mainnet).address
    lease = AgentLease(desk, signer, (settings.venue.account_address or deps.identity.account).lower())
    await lease.look()
    return lease


async def _desk(
    settings: Settings,
    deps: Deps,
    client: VenueCalls,
    assets: dict[str, AssetSpec],
    market: MarketData,
    journal: Journal,
    pool: TaskPool,
    recorder: Recorder,
    stages: Stages,
    conduct: ConductMemory,
) -> Desk:
    first = await deps.store.transact(lambda tx: tx.intents.reserve_numbers(NUMBER_BLOCK))

    def on_change(order: Order) -> None:
        journal.later(desk.record(order))
        conduct.on_order(order)
        deps.observer.on_order(order)

    desk = Desk(
        client=client,
        clock=deps.clock,
        venue_clock=client.venue_clock,
        prices=market,
        settings=settings.execution,
        assets=assets,
        epoch=deps.store.epoch,
        numbers=Numbers(first, NUMBER_BLOCK),
        positions=PositionBook(),
        orders=OrderTracker(on_change),
        observer=Relay(recorder, deps.observer),
        journal=journal,
        pool=pool,
        note=recorder.take,
        stages=stages,
    )
    return desk


def _streams(
    settings: Settings, deps: Deps, route: Transport, client: VenueCalls, trader: Trader, symbols: tuple[str, ...],
    interval: str, wiring: Wiring, pool: TaskPool, messages: MessageBudget,
) -> Streams:  # fmt: skip
    follows = settings.client.streamed_reads and deps.pace.streamed_reads
    return Streams(
        route, deps.clock, client.venue_clock, trader.market, trader, account=client.account_address,
        symbols=symbols, interval=interval, rng=deps.rng, note=wiring.note,
        on_gap=lambda gap: _fill_gap(pool, client, trader.cycle, interval, gap), ping_interval_s=deps.pace.ping_s,
        reads=streamed_reads(client) if follows else None, messages=messages,
    )  # fmt: skip


def _guard(
    settings: Settings, deps: Deps, trader: Trader, breakers: CircuitBreakers, transport: GuardedTransport
) -> Guard:
    """The health checks, the probes, and the notes of what the breakers do."""
    health = HealthChecks(
        health_checks(trader, transport, deps.traces, least_recovery_ms=int(deps.pace.recovery_s * 1000)),
        breakers, deps.clock,
        deadline_ms=settings.breakers.call_deadline_ms, interval_ms=settings.breakers.health_interval_ms,
    )  # fmt: skip
    probes = make_probes(trader, transport)
    breakers.on_change(lambda change: trader.execution.desk.say("breaker", "", change_text(change), grave=True))
    return Guard(
        breakers, health, probes, deps.clock, interval_ms=settings.breakers.health_interval_ms,
        tick_s=deps.pace.guard_s,
    )  # fmt: skip


def _liquidation(assets: Mapping[str, AssetSpec]) -> LiquidationPrices:
    return lambda positions, equity_usd: liquidation_prices(positions, equity_usd, assets)


def _runners(settings: Settings, deps: Deps) -> list[StrategyRunner]:
    entries = [
        StrategyEntry(use=s.use, params=dict(s.params), symbols=s.symbols, intervals=s.intervals, isolated=s.isolated)
        for s in settings.trader.strategies
    ]
    strategies = load_strategies(entries)
    runners = []
    for entry, strategy in zip(entries, strategies, strict=True):
        executor: Executor | None = None
        if entry.isolated:
            executor = InlineExecutor() if deps.is_virtual else DetachedExecutor(f"strategy-{strategy.name}")
        runners.append(StrategyRunner(strategy, deps.clock, settings.trader.strategy_timeout_ms, executor=executor))
    return runners


def _fixed_stops(settings: Settings, runners: Sequence[StrategyRunner]) -> frozenset[str]:
    """The strategies, by the name that owns positions, whose stops stay where they were set."""
    pairs = zip(settings.trader.strategies, runners, strict=True)
    return frozenset(runner.strategy.name for entry, runner in pairs if not entry.moves_stops)


def _fill_gap(pool: TaskPool, client: VenueCalls, cycle: Cycle, interval: str, gap: BarGap) -> None:
    """Bars that the stream skipped are read for the history; nobody acts on a bar that is long over."""

    async def fetch() -> None:
        cycle.warm_up(await client.candles(gap.symbol, interval, gap.start_ms, gap.end_ms))

    pool.spawn(f"gap-{gap.symbol}", fetch())
