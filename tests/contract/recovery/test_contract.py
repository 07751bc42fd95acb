"""What every recovery service promises, whatever it keeps or does at once: the same suite for each implementation.

The service stands in a running trader against the paper exchange in virtual time; what it did is read from the venue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import Bar, calm

from perpstrader import recovery
from perpstrader.domain import HaltKind, Side
from perpstrader.execution.reconcile import Difference
from perpstrader.recovery import (
    CRITICAL_BOUND_MS,
    Action,
    Disposition,
    IssueKind,
    Priority,
    RecoveryError,
    RecoveryServiceContract,
    baseline,
)
from perpstrader.trader.trader import Trader

IMPLEMENTATIONS = {"baseline": baseline.RecoveryService, "perpstrader.recovery": recovery.RecoveryService}
LONG: Script = {("BTC", 1): go(Side.LONG, 58_800)}
BOTH: Script = {**LONG, ("ETH", 1): go(Side.SHORT, 3_060)}
CALM = {"BTC": calm(60_000), "ETH": calm(3_000)}
CRASH = {"BTC": [*calm(60_000, 4), Bar(path=(53_000,), gap=True), *calm(53_000)], "ETH": calm(3_000)}

Act = Callable[[Stage, RecoveryServiceContract], Awaitable[None]]
Run = Callable[..., None]


@pytest.fixture(params=IMPLEMENTATIONS)
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Plays an act with the implementation under test in the trader's place for it."""
    monkeypatch.setattr("perpstrader.trader.recovering.RecoveryService", IMPLEMENTATIONS[request.param])

    def played(act: Act, market: Any = CALM, script: Script = BOTH, *, sound: bool = True, **overrides: Any) -> None:
        async def on_stage(stage: Stage) -> None:
            assert isinstance(stage.trader.recovery, IMPLEMENTATIONS[request.param])
            await stage.bar(2)
            await act(stage, stage.trader.recovery)

        settings = {f"recovery.{name}": value for name, value in overrides.items()}
        play(market, {"alpha": script}, on_stage, sound=sound, overrides=settings)

    return played


def _bare(stage: Stage) -> None:
    """BTC's stop is gone, and no stream told of it."""
    [stop] = stage.listed("BTC", "stop")
    stage.engine.cancel(stage.user, "BTC", stop.oid, stage.clock.now_ms())
    stage.untold()


def test_healthy_positions_are_checked_and_left_alone(run: Run) -> None:
    async def act(stage: Stage, service: RecoveryServiceContract) -> None:
        held = stage.position("BTC"), stage.position("ETH")
        await stage.seconds(60)
        stats = service.stats()
        assert stats.checks >= 10
        assert stage.clock.now_ms() - stats.last_check_ms <= 5_000
        assert (stats.active, stats.submitted, stats.attempts) == ((), 0, {})
        assert (stage.position("BTC"), stage.position("ETH")) == held

    run(act)


def test_S51_what_is_critical_is_acted_on_within_the_bound_and_the_rest_is_left_alone(run: Run) -> None:
    async def act(stage: Stage, service: RecoveryServiceContract) -> None:
        held = stage.position("ETH")
        _bare(stage)
        await stage.bar(3)
        await stage.seconds(CRITICAL_BOUND_MS / 1000 + 1)
        assert stage.position("BTC") == 0
        assert stage.position("ETH") == held
        stats = service.stats()
        assert (stats.submitted, stats.succeeded, stats.failed) == (1, 1, 0)
        assert stats.slowest_critical_ms <= CRITICAL_BOUND_MS
        closed = [h for h in stats.history if h.disposition is Disposition.CLOSED]
        assert [(h.issue.kind, h.issue.priority) for h in closed] == [(IssueKind.EXCESSIVE_LOSS, Priority.CRITICAL)]

    run(act, CRASH, sound=False)


def test_PR08_PR22_checks_that_overlap_make_one_order(run: Run) -> None:
    async def act(stage: Stage, service: RecoveryServiceContract) -> None:
        _bare(stage)
        await stage.bar(3)
        await asyncio.gather(*(service.check() for _ in range(5)))
        await stage.seconds(5)
        assert stage.position("BTC") == 0
        assert len([order for order in stage.sent("BTC", "plain") if not order.is_buy]) == 1
        assert service.stats().submitted == 1

    run(act, CRASH, sound=False)


def test_PR06_S52_attempts_are_those_of_the_episode(run: Run) -> None:
    async def act(stage: Stage, service: RecoveryServiceContract) -> None:
        await stage.seconds(70)
        assert service.stats().attempts == {"BTC": 1}
        assert service.reset_attempts("BTC")
        assert not service.reset_attempts("BTC")
        assert not service.reset_attempts("SOL")
        assert service.stats().attempts == {}
        await stage.seconds(65)
        assert service.stats().attempts == {"BTC": 1}
        assert (await service.recover("BTC", Action.CLOSE, "enough", actor="me")).done
        await service.check()
        assert service.stats().attempts == {}

    run(act, script=LONG, stuck_window_ms=60_000, stuck_action="reduce")


def test_PR05_recover_answers_what_the_venue_shows(run: Run) -> None:
    async def act(stage: Stage, service: RecoveryServiceContract) -> None:
        held = stage.position("ETH")
        done = await service.recover("ETH", Action.REDUCE, "too large", actor="me")
        assert (done.done, done.before, done.after) == (True, held, stage.position("ETH"))
        assert abs(done.after) <= abs(held) / 2
        done = await service.recover("ETH", Action.CLOSE, "all of it", actor="me")
        assert (done.done, done.after, stage.position("ETH")) == (True, 0, 0)
        nothing = await service.recover("ETH", Action.CLOSE, "once more", actor="me")
        assert not nothing.done
        assert "nothing is open" in nothing.text

    run(act)


@pytest.mark.parametrize("action", [Action.WAIT, Action.ALERT])
def test_PR19_recover_refuses_what_sends_no_order(run: Run, action: Action) -> None:
    async def act(stage: Stage, service: RecoveryServiceContract) -> None:
        with pytest.raises(RecoveryError, match="sends no order"):
            await service.recover("BTC", action, "x", actor="me")

    run(act)


def test_PR02_PR04_S05_emergency_close_all_halts_and_is_verified_whatever_is_halted_already(run: Run) -> None:
    async def act(stage: Stage, service: RecoveryServiceContract) -> None:
        await stage.trader.halt(HaltKind.DAILY_LOSS, "a bad day", "tester")
        report = await service.emergency_close_all("storm", actor="me")
        assert report.verified_flat
        assert {position.symbol for position in report.positions} == {"BTC", "ETH"}
        assert stage.position("BTC") == stage.position("ETH") == Decimal(0)
        assert set(stage.halts()) == {"daily_loss", "operator"}

    run(act)


def test_PR23_after_stop_returns_nothing_is_sent(run: Run) -> None:
    async def act(stage: Stage, service: RecoveryServiceContract) -> None:
        _bare(stage)
        await service.stop()
        await stage.bar(4)
        await service.check()
        service.on_market("BTC")
        await stage.seconds(3)
        assert service.stats().submitted == 0
        with pytest.raises(RecoveryError, match="stopping"):
            await service.recover("BTC", Action.CLOSE, "late", actor="me")

    run(act, CRASH, sound=False)


def test_S64_PRF06_the_history_is_bounded(run: Run) -> None:
    async def act(stage: Stage, service: RecoveryServiceContract) -> None:
        view = stage.trader.execution.view
        differences = stage.trader.execution.reconciler.followed
        differences["BTC"] = Difference("BTC", Decimal(1), Decimal(2))
        for _ in range(80):
            view.frozen["BTC"] = "wrong"
            await service.check()
            view.frozen.clear()
            await service.check()
        history = service.stats().history
        assert len(history) == 100
        assert {h.disposition for h in history} == {Disposition.REPORTED, Disposition.OVER}

    run(act)


def test_PR29_a_check_that_fails_is_taken_up_again_by_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(stage: Stage, service: RecoveryServiceContract) -> None:
        build = stage.trader.execution.view.build
        calls = iter(range(100))

        def fails_twice() -> Any:
            if next(calls) < 2:
                raise RuntimeError("no view")
            return build()

        before = service.stats().checks
        monkeypatch.setattr(stage.trader.execution.view, "build", fails_twice)
        await stage.seconds(30)
        assert service.stats().checks > before + 2
        assert isinstance(stage.trader, Trader)
        monkeypatch.undo()

    run(act, sound=False)
