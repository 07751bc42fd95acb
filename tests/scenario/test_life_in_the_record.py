"""A decision's record goes on over a restart: what came of the position is told in the trace that opened it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import calm

from perpstrader.domain import Side, Trace
from perpstrader.traces import explain, life_of
from perpstrader.trader.recorder import Recorder

LONG: Script = {("BTC", 1): go(Side.LONG, 57_000, 66_000)}


@pytest.mark.parametrize("crashes", [False, True], ids=["stopped", "crashed"])
def test_what_a_position_made_after_a_restart_is_told_where_it_was_decided(tmp_path: Path, crashes: bool) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        [decision] = stage.decisions()
        await (stage.crash() if crashes else stage.stop())
        await stage.start_again()
        result = await stage.commands.close("BTC", "enough for today", actor="tester")
        assert result.done
        await stage.trader.recorder.drain()
        store = stage.trader.recorder._store
        trace = await store.get(decision.id)
        assert isinstance(trace, Trace)
        assert trace.outcome_usd is not None
        assert [fill.buy for fill in trace.fills] == [True, False]
        story = explain(trace, await life_of(store, trace))
        assert any("operator asked for its exit: enough for today" in line for line in story)
        assert " net in 2 fills: " in story[-1]
        assert "at risk (R)" in story[-1]
        asked = await store.get(result.details["trace"])
        assert asked is not None
        told = explain(asked, await life_of(store, asked))
        assert f"(id {decision.id})" in told[-2]
        assert told[-1].startswith("Outcome of that position: ")

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act, state_path=tmp_path / "state.db")


def test_the_proof_fails_where_earlier_decisions_are_not_taken_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def nothing(self: Recorder, episodes: object) -> None:
        """Mutant: every start begins a new record."""

    monkeypatch.setattr(Recorder, "take_up", nothing)
    with pytest.raises(AssertionError):
        test_what_a_position_made_after_a_restart_is_told_where_it_was_decided(tmp_path, False)
