"""Replay: a recorded market through the whole trader in virtual time; the same result every time, and its report."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from perpstrader.domain import INTERVAL_MS
from perpstrader.domain.errors import UsageError
from perpstrader.domain.money import CENT, MICRO, ZERO
from perpstrader.paper.feeds import Feed, open_replay
from perpstrader.report import (
    Money,
    Recording,
    ReplayReport,
    Safety,
    Speed,
    replay_report,
    trades_of,
    write_html,
)
from perpstrader.runtime import VirtualClock, run_virtual
from perpstrader.settings import Settings
from perpstrader.simulate.stopwatch import Stopwatch
from perpstrader.simulate.watch import Watch
from perpstrader.simulate.world import LEAD_MS, World, simulated
from perpstrader.trader.app import latency_of
from perpstrader.trader.trader import Pace

RECONCILE_MS: Final = 3_600_000
RECONCILE_BARS: Final = 12
"""A replay compares with the venue each virtual hour, at the least each twelve bars, besides on every event that asks
for it.
"""
HEALTH_MS: Final = 86_400_000
"""A replay checks its health each virtual day; breakers observe every call, and are tried again at their own pace."""

_MARK_BARS: Final = 2
"""A mark of a recording is as old as this many bars at most."""

DAY_S: Final = 86_400.0
_PROGRESS_STEPS: Final = 200
Progress = Callable[[float], None]


class ReplayOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A replay's report, its JSON line, and where its files lie (``state.db``, ``traces.db``, ``report.html``)."""

    report: ReplayReport
    line: dict[str, object]
    folder: Path
    html: Path


def replay(
    settings: Settings,
    path: Path,
    *,
    interval: str,
    seed: int = 1,
    latency: bool = False,
    progress: Progress | None = None,
    data_dir: Path | None = None,
) -> ReplayOutcome:
    """Replay the recording at ``path`` with these settings; equal recordings, settings and seeds give equal
    fingerprints.

    Raises ``FeedError`` for a recording that cannot be used. The files of a run go to
    ``<data_dir>/replays/<fingerprint>``.
    """
    if interval not in INTERVAL_MS:
        raise UsageError(f"interval {interval!r} is not known; allowed are {', '.join(INTERVAL_MS)}")
    feed = open_replay(path, interval, seed=seed)
    folder = (data_dir or settings.data_dir) / "replays"
    work = folder / f".running-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        chosen = for_replay(settings, feed, INTERVAL_MS[interval])
        job = _Job(path=path, interval=interval, seed=seed, latency=latency)
        report = run_virtual(
            lambda clock: _replay(chosen, clock, feed, job, progress, work), start_ms=feed.start_ms - LEAD_MS
        )
        final = folder / report.fingerprint
        shutil.rmtree(final, ignore_errors=True)
        work.rename(final)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    html = write_html(report, final / "report.html")
    latest = folder / "latest"
    latest.unlink(missing_ok=True)
    latest.symlink_to(final.name)
    return ReplayOutcome(report=report, line=report.summary(), folder=final, html=html)


def for_replay(settings: Settings, feed: Feed, bar_ms: int) -> Settings:
    """The settings of a replay: the recording's symbols and bars, and the paces that virtual time asks for."""
    trader = settings.trader.model_copy(
        update={"symbols": tuple(asset.coin for asset in feed.assets), "bar_ms": bar_ms}
    )
    execution = settings.execution.model_copy(
        update={"reconcile_interval_ms": max(RECONCILE_MS, RECONCILE_BARS * bar_ms)}
    )
    recovery = settings.recovery.model_copy(
        update={
            "max_mark_age_ms": max(settings.recovery.max_mark_age_ms, _MARK_BARS * bar_ms),
            "max_account_age_ms": max(settings.recovery.max_account_age_ms, 4 * execution.reconcile_interval_ms),
        }
    )
    breakers = settings.breakers.model_copy(update={"health_interval_ms": HEALTH_MS})
    venue = settings.venue.model_copy(update={"network": "paper", "base_url": None})
    return dataclasses.replace(
        settings, trader=trader, execution=execution, venue=venue, recovery=recovery, breakers=breakers
    )


def pace_of(bar_ms: int) -> Pace:
    """How often the loops of a replay look that only make sure: each bar whether stops are in place, silences daily."""
    calm_s = max(60.0, bar_ms / 1000)
    return Pace(
        ping_s=DAY_S, protection_s=calm_s, records_s=DAY_S, guard_s=calm_s, recovery_s=calm_s, streamed_reads=False
    )  # fmt: skip


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be replayed."""

    path: Path
    interval: str
    seed: int
    latency: bool


class _Run(msgspec.Struct, frozen=True, kw_only=True):
    """What the virtual world was when it ended."""

    watch: Watch
    stopwatch: Stopwatch
    money: Money
    safety: Safety
    orders: int


async def _replay(
    settings: Settings, clock: VirtualClock, feed: Feed, job: _Job, progress: Progress | None, work: Path
) -> ReplayReport:
    stopwatch = Stopwatch()
    async with simulated(
        settings, clock, feed, seed=job.seed, latency=latency_of(settings.paper) if job.latency else None,
        state_path=work / "state.db", traces_path=work / "traces.db", pace=pace_of(INTERVAL_MS[job.interval]),
        stopwatch=stopwatch,
    ) as world:  # fmt: skip
        _report_progress(world.watch, feed, progress)
        await world.market
        await world.trader.cycle.idle.wait()
        await world.trader.execution.journal_settled()
        run = _Run(
            watch=world.watch, stopwatch=stopwatch, money=await _money(world), safety=_safety(world),
            orders=world.trader.counters.orders,
        )  # fmt: skip
    return _report(settings, feed, job, run)


def _safety(world: World) -> Safety:
    return Safety(
        max_unprotected_ms=world.trader.execution.protector.max_unprotected_ms, liquidations=world.watch.liquidations,
        strategy_errors=world.trader.counters.strategy_errors,
    )  # fmt: skip


def _report(settings: Settings, feed: Feed, job: _Job, run: _Run) -> ReplayReport:
    found, watch = feed.report(run.watch.ambiguous_bars), run.watch
    seconds = run.stopwatch.seconds()
    wall = sum(spent for _, spent in seconds)
    recording = Recording(
        source=job.path.name, grade=found.grade, symbols=settings.trader.symbols, interval=job.interval,
        interval_ms=INTERVAL_MS[job.interval], start_ms=feed.start_ms, end_ms=feed.end_ms or feed.start_ms,
        bars=found.bars, ambiguous_bars=found.ambiguous_bars, halted_bars=found.halted_bars,
    )  # fmt: skip
    speed = Speed(
        wall_seconds=wall, bars_per_second=found.bars / wall, decisions_per_second=watch.pulse.decisions_per_second,
        quiet_bars_per_second=watch.pulse.quiet_bars_per_second, breakdown=seconds,
    )  # fmt: skip
    trades = trades_of(
        watch.fills, watch.funding, strategy_of=lambda fill: watch.owner_of.get(fill.tid, ""),
        exit_of=lambda fill: watch.purpose_of.get(fill.tid, ""),
    )  # fmt: skip
    return replay_report(
        title=f"{job.path.name} {job.interval}", version=version("perpstrader"), seed=job.seed,
        fingerprint=watch.fingerprint, recording=recording, decisions_by_strategy=watch.decisions(), orders=run.orders,
        fills=len(watch.fills), money=run.money, safety=run.safety, speed=speed, curve=watch.curve, trades=trades,
        seen=watch.worst, halts=watch.halts,
    )  # fmt: skip


async def _money(world: World) -> Money:
    """Equity as the venue states it against what our own books add up to; the difference must be nothing (S35)."""
    execution, accountant = world.trader.execution, world.trader.execution.accountant
    state = await execution.account.refresh()
    end = state.equity_usd
    open_usd = execution.view.equity_usd() - execution.account.books.expected_usd
    net = accountant.net_pnl_usd + open_usd
    start = world.trader.start_equity_usd
    error = net - (end - start - execution.account.books.cash_flows_usd)
    return Money(
        start_equity_usd=start,
        end_equity_usd=end,
        net_pnl_usd=net.quantize(MICRO),
        fees_usd=accountant.fees_usd,
        funding_usd=accountant.funding_usd,
        slippage_usd=world.watch.slippage_usd,
        identity_error_usd=_to_the_cent(error),
    )


def _to_the_cent(error: Decimal) -> Decimal:
    rounded = error.quantize(CENT)
    return ZERO if rounded == 0 else rounded


def _report_progress(watch: Watch, feed: Feed, progress: Progress | None) -> None:
    if progress is None or feed.end_ms is None:
        return
    span, step = max(1, feed.end_ms - feed.start_ms), max(1, (feed.end_ms - feed.start_ms) // _PROGRESS_STEPS)
    due = feed.start_ms

    def tell(close_ms: int) -> None:
        nonlocal due
        if close_ms >= due:
            due = close_ms + step
            progress(min(1.0, (close_ms - feed.start_ms) / span))

    watch.on_time = tell
