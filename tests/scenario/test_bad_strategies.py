"""A strategy that raises, answers nonsense or hangs costs its own cycle; the others trade on."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import pytest
from tests.scenario.kit import Script, Scripted, Stage, go, leave, play
from tests.scenario.market import calm

from perpstrader.alerts import RingChannel
from perpstrader.cli.screen import summary
from perpstrader.domain import MarketView, Side
from perpstrader.simulate import world
from perpstrader.strategies import StrategyRunner
from perpstrader.traces import NoteCode
from perpstrader.trader.alarms import Alarms
from perpstrader.trader.app import summary_of
from perpstrader.trader.build import Deps

GOOD: Script = {("BTC", 3): go(Side.LONG, 58_800)}


def _raises(strategy: Scripted, view: MarketView) -> Any:
    raise ZeroDivisionError("a strategy's own mistake")


def _garbage(strategy: Scripted, view: MarketView) -> Any:
    return "buy!"


async def _hangs_forever() -> None:
    await asyncio.Event().wait()


def _hangs(strategy: Scripted, view: MarketView) -> Any:
    return _hangs_forever()


def _for_another(strategy: Scripted, view: MarketView) -> Any:
    return msgspec.structs.replace(strategy.open(view, Side.LONG, confidence=1.0, reason="x"), symbol="ETH")


def _float_money(strategy: Scripted, view: MarketView) -> Any:
    return msgspec.structs.replace(strategy.open(view, Side.LONG, confidence=1.0, reason="x"), stop_price=58_800.0)


def _not_a_number(strategy: Scripted, view: MarketView) -> Any:
    return strategy.open(view, Side.LONG, confidence=float("nan"), reason="x", stop_price=Decimal("NaN"))


FAULTS = [_raises, _garbage, _hangs, _for_another, _float_money, _not_a_number]


def _beside(fault: Any) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(6)
        assert stage.position("BTC") > 0
        assert stage.stop_of("BTC")
        assert stage.position("ETH") == 0
        assert stage.trader.counters.strategy_errors == 1
        assert [decision.strategy for decision in stage.decisions()] == ["good"]

    play(
        {"BTC": calm(60_000), "ETH": calm(3_000)}, {"bad": {("BTC", 2): fault}, "good": GOOD}, act,
        overrides={"trader.strategy_timeout_ms": 500},
    )  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_S36_a_strategy_that_fails_costs_its_own_cycle_and_the_other_trades(fault: Any) -> None:
    _beside(fault)


def test_S36_the_proof_fails_where_an_answer_is_taken_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perpstrader.strategies.runner._fault", lambda answer, name, view: None)
    with pytest.raises((AssertionError, AttributeError)):
        _beside(_for_another)


def test_S36_the_proof_fails_where_an_error_is_not_contained(monkeypatch: pytest.MonkeyPatch) -> None:
    async def bare(self: StrategyRunner, view: MarketView) -> Any:
        """Mutant: nothing stands between a strategy and the cycle."""
        return self.strategy.on_market(view)

    monkeypatch.setattr(StrategyRunner, "on_market", bare)
    with pytest.raises(AssertionError):
        _beside(_raises)


def test_S36_a_strategy_that_keeps_failing_is_asked_less_and_less_and_harms_nobody() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(20)
        assert stage.position("BTC") > 0
        assert 0 < stage.trader.counters.strategy_errors < 10

    always: Script = {("BTC", n): _raises for n in range(30)}
    play({"BTC": calm(60_000)}, {"bad": always, "good": GOOD}, act)


def _told_where_a_person_looks() -> None:
    async def act(stage: Stage) -> None:
        alarms = stage.trader.alarms
        assert alarms is not None
        await stage.bar(10)
        status = stage.commands.status()
        [bad, good] = status.strategies
        assert (good.name, good.errors, good.skipped, good.trouble) == ("good", 0, 0, "")
        assert bad.errors >= 3
        assert bad.skipped >= 3
        assert bad.failing_since_ms is not None
        assert "a strategy's own mistake" in bad.last_error
        screen = [line.plain for line in summary(status, {})]
        assert [line for line in screen if line.startswith("! strategy bad fails since") and "own mistake" in line]
        assert not any("strategy-failed" in line for line in screen), "told once, not as an event of each bar, too"
        assert len(stage.notes("strategy-failed")) == 1, "one line in the log, not one a bar"
        assert [incident.title for incident in status.open_incidents] == ["the strategy bad fails"]

        end = summary_of(stage.trader)
        assert [(row.name, row.errors > 0) for row in end.strategies] == [("bad", True), ("good", False)]
        await _check_silences(stage)

        await stage.seconds(900)
        assert _told_of_bad(alarms) == ["new", "worse"], "for a quarter of an hour: worse"
        await stage.bar(420)
        assert _told_of_bad(alarms) == ["new", "worse", "over"]
        assert stage.notes("strategy-works")
        [bad, _] = stage.commands.status().strategies
        assert bad.failing_since_ms is None
        assert "works again" in bad.trouble

    always: Script = {("BTC", n): _raises for n in range(250)}
    quiet = {"trader.strategy_timeout_ms": 500}
    play({"BTC": calm(60_000, 440)}, {"bad": always, "good": {}}, act, overrides=quiet)


async def _check_silences(stage: Stage) -> None:
    """Each bar says who failed, who was not asked, and who looked and wanted nothing."""
    await stage.trader.recorder.flush()
    start_ms, bar_ms = stage.feed.start_ms, stage.feed.bar_ms
    said: dict[int, set[tuple[str, NoteCode]]] = {}
    for number in range(10):
        close_ms = start_ms + (number + 1) * bar_ms - 1
        nearby = await stage.trader.recorder._store.near(close_ms, "BTC")
        said[number] = {(note.strategy, note.code) for note in nearby.notes if note.bar_close_ms == close_ms}
    failed, skipped = ("bad", NoteCode.STRATEGY_FAILED), ("bad", NoteCode.STRATEGY_SKIPPED)
    assert all(("", NoteCode.NO_SIGNAL) in notes for notes in said.values()), "the good one looked at each bar"
    assert all((failed in notes) is not (skipped in notes) for notes in said.values())
    assert any(failed in notes for notes in said.values())
    assert any(skipped in notes for notes in said.values())


def _told_of_bad(alarms: Alarms) -> list[str]:
    """New, worse and over; reminders left out."""
    told = [alert.change.value for alert in alarms.desk.shown() if alert.incident.key == "strategy:bad"]
    return [change for change in told if change != "again"]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trader that a stage builds has a channel for its alerts."""
    monkeypatch.setattr(world, "Deps", partial(Deps, channels=(RingChannel(),)))


@pytest.mark.usefixtures("heard")
def test_S45_a_strategy_that_fails_is_seen_on_the_screen_in_the_status_at_the_end_and_in_the_record() -> None:
    _told_where_a_person_looks()


@pytest.mark.usefixtures("heard")
def test_S45_the_proof_fails_where_nobody_looks_at_the_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Alarms, "_strategies", lambda self, now_ms: iter(()))
    with pytest.raises(AssertionError):
        _told_where_a_person_looks()


def test_S38_an_exit_that_comes_late_is_carried_out_all_the_same() -> None:
    """A position should still be left, whatever took so long."""

    async def act(stage: Stage) -> None:
        await stage.bar(3)
        assert stage.position("BTC") > 0
        [runner] = stage.trader.cycle.runners
        runner._deadline_ms = -1  # whatever it answers from here on comes too late
        await stage.bar(6)
        assert stage.position("BTC") == 0
        assert runner.errors >= 1

    play({"BTC": calm(60_000)}, {"slow": {("BTC", 1): go(Side.LONG, 58_800), ("BTC", 4): leave}}, act)
