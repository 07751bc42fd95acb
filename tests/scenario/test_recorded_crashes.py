"""The crashes of 17 August 2023 and 3 February 2025 as they were recorded, with all shipped strategies at the limits
that everybody gets: nothing is liquidated, nothing stays without its stop, and halts are what is documented.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perpstrader.domain import HaltKind, Order
from perpstrader.execution.desk import Desk
from perpstrader.execution.protection import Protector
from perpstrader.paper.engine import EngineConfig
from perpstrader.paper.feeds import open_replay
from perpstrader.runtime import VirtualClock, run_virtual
from perpstrader.settings import Settings, load
from perpstrader.simulate.invariants import Witness, WitnessedExchange
from perpstrader.simulate.reach import Reach
from perpstrader.simulate.replay import for_replay, pace_of
from perpstrader.simulate.watch import Watch
from perpstrader.simulate.world import LEAD_MS, simulated, simulated_identity
from perpstrader.venue.contract import OrderAck, Waiting

DAY_MS = 86_400_000
BAR_MS = 300_000
SEED = 1
OF_LIMITS = {HaltKind.DAILY_LOSS, HaltKind.DRAWDOWN, HaltKind.LOSS_STREAK}
"""The halts that a market alone may trip; volatility refuses entry by entry."""


class Crash(msgspec.Struct, frozen=True):
    """A recording and the day that matters; a sample begins two days before it and ends two days after."""

    folder: str
    day_ms: int
    sample_only: bool = False


CRASHES = [
    pytest.param(Crash("binance_usdm_5m_2023-01_2024-05", 1_692_230_400_000), id="17 Aug 2023"),
    pytest.param(Crash("binance_usdm_5m_2025Q1_feb3_crash", 1_738_540_800_000), id="3 Feb 2025"),
]


class Lived(msgspec.Struct, frozen=True):
    """What a replay came to, as the venue saw it and as the trader did."""

    failures: tuple[str, ...]
    evaluated: dict[str, int]
    longest_unprotected_ms: int
    told_unprotected_ms: int
    liquidations: int
    entries: int
    fills: int
    halts: tuple[tuple[str, int, int | None], ...]
    entries_in_halts: int


@pytest.fixture
def live_through(test_data: Path, prove: bool, monkeypatch: pytest.MonkeyPatch) -> Callable[[Crash], Lived]:
    """Replay the days around a crash (the whole recording at full size), with a witness inside the venue."""

    def run(crash: Crash) -> Lived:
        whole = prove and not crash.sample_only
        feed = open_replay(
            test_data / crash.folder, "5m", seed=SEED, start_ms=None if whole else crash.day_ms - 2 * DAY_MS,
            end_ms=None if whole else crash.day_ms + 2 * DAY_MS,
        )  # fmt: skip
        shipped = {"trader.strategies": "trend,reversion,funding", "data.dir": "/nonexistent/scenario"}
        settings = for_replay(load(None, {}, shipped), feed, BAR_MS)
        return run_virtual(lambda clock: _live(settings, clock, feed, monkeypatch), start_ms=feed.start_ms - LEAD_MS)

    return run


async def _live(settings: Settings, clock: VirtualClock, feed: Any, patch: pytest.MonkeyPatch) -> Lived:
    user = simulated_identity(SEED).account
    witness = Witness(user, feed.assets, clock.now_ms, Reach(clock.now_ms), settings)
    patch.setattr(
        "perpstrader.simulate.world.Exchange",
        lambda assets, config: WitnessedExchange(assets, EngineConfig(), witness),
    )
    on_order = Watch.on_order

    def tell(watch: Watch, order: Order) -> None:
        witness.meant(order)
        on_order(watch, order)

    patch.setattr(Watch, "on_order", tell)
    async with simulated(settings, clock, feed, seed=SEED, pace=pace_of(BAR_MS)) as world:
        await world.market
        await world.trader.cycle.idle.wait()
        await world.trader.execution.journal_settled()
        entries = [fill.time_ms for fill in world.watch.fills if world.watch.purpose_of[fill.tid] == "entry"]
        halts = tuple((span.kind, span.since_ms, span.until_ms) for span in world.watch.halts)
        witness.end()
        return Lived(
            failures=tuple(witness.failures), evaluated=witness.evaluated,
            longest_unprotected_ms=witness.longest_unprotected_ms,
            told_unprotected_ms=world.trader.execution.protector.max_unprotected_ms,
            liquidations=world.watch.liquidations, entries=len(entries), fills=len(world.watch.fills), halts=halts,
            entries_in_halts=sum(_within(time_ms, halts) for time_ms in entries),
        )  # fmt: skip


def _within(time_ms: int, halts: tuple[tuple[str, int, int | None], ...]) -> bool:
    return any(since < time_ms and (until is None or time_ms < until) for _, since, until in halts)


@pytest.mark.parametrize("crash", CRASHES)
def test_S20_S22_S41_a_crash_liquidates_nothing_and_leaves_nothing_without_its_stop(
    crash: Crash, live_through: Callable[[Crash], Lived], record_property: Callable[[str, object], None]
) -> None:
    lived = live_through(crash)
    for name, value in msgspec.structs.asdict(lived).items():
        record_property(name, value)
    assert lived.liquidations == 0
    assert lived.failures == ()
    assert lived.entries > 0
    assert lived.evaluated["S20"] > 0, "positions were held, and each was looked at"
    assert lived.longest_unprotected_ms <= 5_000
    assert lived.told_unprotected_ms <= 5_000
    assert {kind for kind, _, _ in lived.halts} <= {kind.value for kind in OF_LIMITS}
    assert lived.entries_in_halts == 0


def test_S20_the_proof_fails_where_nothing_is_protected(
    live_through: Callable[[Crash], Lived], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> None:
        return None

    async def bare(desk: Desk, orders: Sequence[Order], *_: object) -> list[OrderAck]:
        acks = await send(desk, orders[:1])
        return [*acks, *(Waiting("never sent") for _ in orders[1:])]

    send = Desk.send
    monkeypatch.setattr(Desk, "send", bare)
    monkeypatch.setattr(Protector, "_find_or_place", nothing)
    monkeypatch.setattr(Protector, "_unprotected", nothing)
    lived = live_through(Crash("binance_usdm_5m_2025Q1_feb3_crash", 1_738_540_800_000, sample_only=True))
    assert any(failure.startswith("S20") for failure in lived.failures)
