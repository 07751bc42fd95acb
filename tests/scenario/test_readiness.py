"""A symbol is entered only where its market is understood: bars enough, without a gap, new ones, and trades (S30)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import Bar, calm

from perpstrader.domain import Candle, Side
from perpstrader.traces.records import NoteCode
from perpstrader.trader.cycle import Cycle

LONG: Script = {("BTC", 3): go(Side.LONG, 58_800)}
BTC = {"BTC": calm(60_000)}


def test_S30_a_symbol_with_too_few_bars_is_not_entered_until_it_has_them() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(4)
        assert stage.refusals() == ["NOT_ENOUGH_HISTORY"]
        await stage.bar(12)
        assert stage.position("BTC") > 0

    script: Script = {**LONG, ("BTC", 11): go(Side.LONG, 58_800)}
    play(BTC, {"alpha": script}, act, overrides={"risk.min_history_bars": 40})


def test_S30_a_gap_in_the_bars_begins_the_count_anew_and_filling_it_ends_that() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        history = stage.trader.cycle._history["BTC"]
        lost = history[-5]
        history.remove(lost)
        stage.trader.cycle.warm_up([history[-1]])  # counted again, as after every bar that comes late
        await stage.bar(4)
        assert stage.refusals() == ["NOT_ENOUGH_HISTORY"]
        stage.trader.cycle.warm_up([lost])
        await stage.bar(7)
        assert stage.position("BTC") > 0

    script: Script = {**LONG, ("BTC", 6): go(Side.LONG, 58_800)}
    play(BTC, {"alpha": script}, act)


def test_S30_bars_that_stopped_coming_are_noticed_by_a_signal_from_outside() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        stage.trader.cycle.take = lambda candle: None  # type: ignore[method-assign]  # the bars stop, prices go on
        await stage.seconds(18)
        assert (await stage.signal("BTC", Side.LONG, stop_price="57000", target_price="66000")).done
        await stage.commands.close("BTC", "enough", actor="tester")
        await stage.seconds(10)
        result = await stage.signal("BTC", Side.LONG, stop_price="57000", target_price="66000")
        assert "STALE_BARS" in result.text

    play(BTC, {"alpha": {}}, act)


def test_S30_a_market_that_stands_still_is_not_entered() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(5)
        assert stage.refusals() == ["MARKET_HALTED"]
        assert stage.position("BTC") == 0

    play({"BTC": [*calm(60_000, 2), *[Bar(path=(60_000,), halted=True)] * 4, *calm(60_000)]}, {"alpha": LONG}, act)


@pytest.mark.parametrize(
    ("bars", "overrides", "spoil", "code"),
    [
        (BTC, {}, lambda stage: None, NoteCode.NO_SIGNAL),
        (BTC, {"risk.min_history_bars": 100}, lambda stage: None, NoteCode.WARM_UP),
        (BTC, {}, lambda stage: setattr(stage.trader.execution.view, "reconciled", False), NoteCode.NOT_READY),
        ({"BTC": [*calm(60_000, 2), Bar(path=(60_000,), halted=True)]}, {}, lambda stage: None, NoteCode.MARKET_HALTED),
    ],
    ids=["ready", "warming up", "not compared", "standing still"],
)
def test_a_bar_on_which_nobody_wanted_anything_says_what_would_have_held_an_entry_back(
    bars: dict[str, list[Bar]], overrides: dict[str, Any], spoil: Callable[[Stage], object], code: NoteCode
) -> None:
    async def act(stage: Stage) -> None:
        noted: list[NoteCode] = []
        silence = stage.trader.recorder.silence

        def heard(candle: Candle, found: NoteCode, text: str, strategy: str = "") -> None:
            noted.append(found)
            silence(candle, found, text, strategy)

        stage.trader.recorder.silence = heard  # type: ignore[method-assign]
        await stage.bar(1)
        spoil(stage)
        noted.clear()
        await stage.bar(2)
        assert noted == [code]
        stage.trader.execution.view.reconciled = True

    play(bars, {"alpha": {}}, act, overrides=overrides)


def test_S30_the_proof_fails_where_nobody_hands_in_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cycle, "bars", lambda self, symbol: None)
    with pytest.raises(AssertionError):
        test_S30_a_symbol_with_too_few_bars_is_not_entered_until_it_has_them()
