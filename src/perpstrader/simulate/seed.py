"""One seed's world, from first instant to last comparison: market, venue, faults, a trader's lives and deaths."""

from __future__ import annotations

import asyncio
import tempfile
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from perpstrader.domain import PerpsTraderError
from perpstrader.paper.engine import EngineConfig
from perpstrader.paper.feeds.synthetic import SyntheticFeed
from perpstrader.paper.server import InProcessTransport, LatencyModel, PaperVenue, VenueConfig
from perpstrader.runtime import VirtualClock
from perpstrader.runtime.loop import run_virtual
from perpstrader.settings import RiskSettings, Settings, TraderSettings
from perpstrader.settings.services import ClientSettings
from perpstrader.simulate.chaos import MortalTransport, PlannedFaults
from perpstrader.simulate.conduct import WitnessedBudget, WitnessedWeights
from perpstrader.simulate.disk import DiskFaults
from perpstrader.simulate.ending import judge_the_end
from perpstrader.simulate.invariants import Witness, WitnessedExchange
from perpstrader.simulate.life import Life
from perpstrader.simulate.meddler import Meddler
from perpstrader.simulate.plan import Plan, plan_of
from perpstrader.simulate.reach import Reach
from perpstrader.simulate.world import LEAD_MS, simulated_identity
from perpstrader.trader.clients import routed
from perpstrader.venue.wire.limits import BASE_REQUESTS

_MICRO: Final = 1_000_000
_RESTART_S: Final = 2.0
_STARTS: Final = 200
_LONGEST_S: Final = 7_200
_STREAMED_EACH: Final = 4
"""Every so many worlds the reads are followed on the streams as well, which costs a third more time."""
_BY_SOCKET: Final = ClientSettings(reads_by="websocket", actions_by="websocket")
_BY_SOCKET_EACH: Final = 3
"""Every so many worlds all requests go by the streams' WebSocket while that is open."""


class SeedOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one seed showed; ``failures`` are sentences without seed and command, ``faults`` those that landed."""

    seed: int
    failures: tuple[str, ...]
    faults: dict[str, int]
    evaluated: dict[str, int]
    orders: int
    deaths: int
    longest_unprotected_ms: int
    virtual_seconds: float


def run_seed(seed: int) -> SeedOutcome:
    """Live through the world of one seed in virtual time; the same seed gives the same outcome.

    An error of the program is a failure of its seed like any other, so that a campaign goes on to the next.
    """
    plan = plan_of(seed)
    with tempfile.TemporaryDirectory(prefix="perpstrader-simulate-") as directory:
        path = Path(directory) / "state.db"
        try:
            return run_virtual(lambda clock: _within_time(_World(plan, clock, path)), start_ms=plan.start_ms)
        except Exception as error:
            return SeedOutcome(
                seed=seed, failures=(f"the run itself failed: {_worded(error)}",), faults={},
                evaluated={}, orders=0, deaths=0, longest_unprotected_ms=0, virtual_seconds=0.0,
            )  # fmt: skip


async def _within_time(world: _World) -> SeedOutcome:
    """The world's outcome; one whose trader never starts or never settles ends, too."""
    async with asyncio.timeout(_LONGEST_S):
        return await world.live()


def campaign_settings(plan: Plan) -> Settings:
    """Limits wide enough that a campaign meets orders, not refusals by frequency; all safety settings by default."""
    wide = Decimal("0.9")
    risk = RiskSettings(
        max_entries_per_day=100_000, max_entries_per_symbol_day=100_000, max_entries_per_minute=30,
        max_entries_per_symbol_hour=100_000, max_signals_per_minute=100_000, duplicate_entry_window_ms=0,
        exit_cooldown_ms=0, loss_cooldown_ms=0, failed_entry_cooldown_ms=0,
        loss_streak_limit=100_000, max_positions=plan.max_positions,
        daily_loss_entry_stop_fraction=wide, max_daily_loss_fraction=wide,
        drawdown_halve_fraction=wide, max_drawdown_fraction=wide, volatility_reduce_fraction=wide,
        volatility_stop_fraction=wide, max_depth_fraction=Decimal(1), max_market_order_fraction=Decimal(1),
        min_symbol_volume_usd=Decimal(1),
        min_symbol_max_leverage=3,
    )  # fmt: skip
    client = ClientSettings(streamed_reads=plan.seed % _STREAMED_EACH == 0)
    return Settings(trader=TraderSettings(symbols=plan.symbols), risk=risk, client=client)


def _worded(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"it did not come to an end within {_LONGEST_S} s"
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


async def _start(life: Life) -> bool:
    """False where the trader refuses to start with a sentence; an error of the program is raised."""
    try:
        await life.start()
    except PerpsTraderError:
        return False
    return True


class _World:
    """The parts of one seed's run."""

    def __init__(self, plan: Plan, clock: VirtualClock, state_path: Path) -> None:
        self._plan = plan
        self._clock = clock
        self._state_path = state_path
        self._rng = Random(f"campaign life {plan.seed}")
        self._settings = campaign_settings(plan)
        self._identity = simulated_identity(plan.seed)
        self._feed = SyntheticFeed(plan.seed, clock.now_ms() + LEAD_MS)
        self._reach = Reach(clock.now_ms)
        self._witness = Witness(
            self._identity.account, self._feed.assets, clock.now_ms, self._reach,
            self._settings,
        )  # fmt: skip
        self._engine = WitnessedExchange(self._feed.assets, EngineConfig(), self._witness)
        self._venue = PaperVenue(self._engine, self._feed, clock, VenueConfig(enforce_ip_limits=True))
        self._watch_limits()
        self._disk = DiskFaults(Random(f"campaign disk {plan.seed}"), plan.disk_failures, self._is_at_stake)
        self._faults = PlannedFaults(plan, self._seconds, self._is_at_stake, self._reach)
        self._meddler = Meddler(self._engine, self._identity.account, clock, Random(f"campaign meddler {plan.seed}"))
        self._crashes = list(plan.crashes)
        self._deaths = 0
        self._deaths_at_stake = 0
        self._errors: list[str] = []
        self._survivors: tuple[asyncio.Task[Any], ...] = ()

    def _watch_limits(self) -> None:
        """The venue counts what it is asked for, and others may have used much of the address's budget already."""
        world = self._venue.world
        world.weights = WitnessedWeights(self._witness.judge)
        world.budget = WitnessedBudget(self._witness.judge)
        if self._plan.requests_left is not None:
            world.budget.used[self._identity.account] = BASE_REQUESTS - self._plan.requests_left

    async def live(self) -> SeedOutcome:
        """Run to the plan's end, then let everything settle and judge it."""
        self._venue.fund(self._identity.account, self._plan.deposit_usd * _MICRO)
        async with asyncio.TaskGroup() as group:
            market = group.create_task(self._venue.run(), name="market")
            meddling = group.create_task(self._meddler.run(), name="meddler")
            self._survivors = (market, meddling)
            await self._clock.sleep(LEAD_MS / 1000 + 0.001)
            await self._lives(group, meddling)
            market.cancel()
        return self._outcome()

    async def _lives(self, group: asyncio.TaskGroup, meddling: asyncio.Task[None]) -> None:
        life = await self._born(group)
        while (crash := await self._run_until_death(life)) is not None:
            await self._bury(life, crash)
            life = await self._born(group)
        self._faults.end()
        self._disk.end()
        meddling.cancel()
        await life.end_operator()
        assert life.trader is not None
        await judge_the_end(life, self._engine, self._witness, self._clock, self._paid_in())
        await life.stop()
        self._errors += life.errors

    async def _born(self, group: asyncio.TaskGroup) -> Life:
        """A trader that has started; one that refuses, or dies at its start, is started again as a supervisor would."""
        for _ in range(_STARTS):
            life, born_ms = self._new_life(), self._clock.now_ms()
            start = group.create_task(_start(life), name="start")
            died = group.create_task(life.transport.died.wait(), name="died")
            await asyncio.wait((start, died), return_when=asyncio.FIRST_COMPLETED)
            died.cancel()
            if not start.done():
                await self._bury(life, self._crashes[0].dead_s)
                continue
            if start.result():
                life.operate()
                return life
            self._reach.add(born_ms)  # a trader that did not start could protect nothing
            await life.kill(self._survivors)
            await self._clock.sleep(_RESTART_S)
        raise RuntimeError(f"the trader did not start in {_STARTS} attempts")

    def _new_life(self) -> Life:
        latency = LatencyModel() if self._plan.has_latency else None
        inner = InProcessTransport(self._venue, Random(self._rng.getrandbits(64)), latency, faults=self._faults)
        crash = self._crashes[0] if self._crashes else None
        # The witness stands where the trader asks, above the choice of the way, so that it sees requests, not frames.
        way = routed(inner, self._clock, _BY_SOCKET) if self._plan.seed % _BY_SOCKET_EACH == 0 else inner
        transport = MortalTransport(way, self._clock.now_ms, self._reach, self._witness, crash)
        rng = Random(self._rng.getrandbits(64))
        return Life(
            self._settings, self._clock, self._identity, rng, transport, self._witness, self._state_path, self._disk
        )

    async def _run_until_death(self, life: Life) -> float | None:
        """How long it stays dead; ``None`` where it lives to see the end."""
        left_s = self._plan.duration_s - self._seconds()
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                await life.transport.died.wait()
        except TimeoutError:
            return None
        return self._crashes[0].dead_s

    async def _bury(self, life: Life, dead_s: float) -> None:
        self._deaths += 1
        self._deaths_at_stake += self._is_at_stake()
        del self._crashes[0]
        await life.kill(self._survivors)
        self._errors += life.errors
        await self._clock.sleep(dead_s)

    def _paid_in(self) -> int:
        return self._plan.deposit_usd * _MICRO + self._meddler.paid_in

    def _seconds(self) -> float:
        return (self._clock.now_ms() - self._plan.start_ms) / 1000

    def _is_at_stake(self) -> bool:
        account = self._identity.account
        return bool(self._engine.open_orders(account)) or bool(self._engine.account_state(account).positions)

    def _outcome(self) -> SeedOutcome:
        self._witness.end()
        unforeseen = [f"an error nobody foresaw: {text}" for text in dict.fromkeys(self._errors)]
        return SeedOutcome(
            seed=self._plan.seed, failures=(*self._witness.failures, *unforeseen),
            faults={
                **{kind.value: count for kind, count in self._faults.landed.items()},
                "state_write": self._disk.landed, "crash": self._deaths_at_stake,
            },
            evaluated=dict(sorted(self._witness.evaluated.items())), orders=self._witness.orders, deaths=self._deaths,
            longest_unprotected_ms=self._witness.longest_unprotected_ms, virtual_seconds=self._seconds(),
        )  # fmt: skip
