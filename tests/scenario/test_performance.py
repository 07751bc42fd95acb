"""The running trader measures every stage of a decision's way, rightly, and trades the same as if it did not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.scenario.kit import Stage, go, leave, play
from tests.scenario.market import calm

from perpstrader.domain import Side
from perpstrader.monitor import Figures, PerformanceMonitor, PerformanceSnapshot, Stages
from perpstrader.paper.server import LatencyModel
from perpstrader.strategies import StrategyRunner

STAGES = {
    "bar_to_decision", "strategy", "evidence", "risk", "submit", "fill_to_stop", "exit", "reconcile", "state_commit",
    "trace_store", "info_request", "exchange_request", "recovery",
}  # fmt: skip
SLOW = LatencyModel(median_s=0.2, p99_s=0.4)
Played = tuple[PerformanceSnapshot, list[Any], Any]


def _trip(deaf: frozenset[str] = frozenset(), latency: LatencyModel | None = None) -> Played:
    """An entry, its stop, and its exit by the strategy: the figures, the fills, the status; ``deaf`` stages hear
    nothing.
    """

    async def act(stage: Stage) -> Played:
        await stage.bar(6)
        await stage.seconds(60)
        return stage.trader.monitor.snapshot(), stage.fills("BTC"), stage.commands.status()

    of = Stages.of

    def partly(monitor: PerformanceMonitor) -> Stages:
        heard, unheard = of(monitor), of(PerformanceMonitor(_clock_of(monitor)))
        names = Stages.__struct_fields__
        return Stages(**{name: getattr(unheard if name in deaf else heard, name) for name in names})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stages, "of", partly)
        script = {("BTC", 1): go(Side.LONG, 58_800), ("BTC", 4): leave}
        return play({"BTC": calm(60_000)}, {"alpha": script}, act, latency=latency)


def _clock_of(monitor: PerformanceMonitor) -> Any:
    class Its:
        monotonic_ns = staticmethod(monitor._clock_ns)

    return Its()


def _by_name(snapshot: PerformanceSnapshot) -> dict[str, Figures]:
    return {row.name: row for row in snapshot.timers}


def _unheard(snapshot: PerformanceSnapshot) -> set[str]:
    rows = _by_name(snapshot)
    return {name for name in STAGES if name not in rows or not rows[name].count}


def test_every_stage_is_measured_under_its_stable_name() -> None:
    snapshot, fills, _ = _trip()
    assert len(fills) == 2
    assert _unheard(snapshot) == set()
    assert set(Stages.__struct_fields__) == set(_by_name(snapshot)) == STAGES


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_the_check_finds_each_stage_whose_hook_is_gone(stage: str) -> None:
    assert _unheard(_trip(frozenset({stage}))[0]) == {stage}


def test_the_figures_are_those_of_what_happened() -> None:
    snapshot, _, status = _trip(latency=SLOW)
    rows = _by_name(snapshot)
    assert rows["strategy"].count == status.cycles == snapshot.counters["cycles"]
    assert (rows["submit"].count, rows["exit"].count, rows["evidence"].count, rows["risk"].count) == (1, 1, 1, 1)
    assert rows["bar_to_decision"].count == 2
    assert rows["fill_to_stop"].max_ms == status.max_unprotected_ms > 0
    assert rows["submit"].max_ms >= rows["exchange_request"].min_ms > 50
    assert rows["bar_to_decision"].max_ms >= rows["evidence"].max_ms >= rows["info_request"].min_ms > 50
    assert sum(row.failed for row in snapshot.timers) == 0
    assert snapshot.gauges["open_positions"] == 0


def test_measuring_changes_nothing_that_is_traded() -> None:
    _, fills, status = _trip(latency=SLOW)
    _, fills_unheard, status_unheard = _trip(frozenset(STAGES), latency=SLOW)
    assert (fills, status) == (fills_unheard, status_unheard)


def test_a_strategy_that_fails_is_measured_as_failed_and_one_that_is_skipped_not_at_all() -> None:
    def fail(strategy: Any, view: Any) -> None:
        raise ValueError("no")

    async def act(stage: Stage) -> tuple[Figures, int, StrategyRunner]:
        await stage.bar(8)
        row = _by_name(stage.trader.monitor.snapshot())["strategy"]
        [runner] = stage.trader.cycle.runners
        return row, stage.commands.status().cycles, runner

    script = {("BTC", number): fail for number in range(1, 9)}
    row, cycles, runner = play({"BTC": calm(60_000)}, {"alpha": script}, act)
    assert runner.skipped_cycles > 0
    assert (row.count, row.failed) == (cycles - runner.skipped_cycles, runner.errors)
