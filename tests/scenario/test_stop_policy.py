"""A stop of the program carries out its stated policy and records it (S24)."""

from __future__ import annotations

import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import calm

from perpstrader.domain import Side, Trace
from perpstrader.execution.execution import Execution

BOTH: Script = {("BTC", 1): go(Side.LONG, 57_000, 66_000), ("ETH", 1): go(Side.SHORT, 3_150, 2_700)}


def _stopped(policy: str) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held = stage.position("BTC"), stage.position("ETH")
        assert held[0] > 0 > held[1]
        stored: list[Trace] = []
        store = stage.trader.recorder.store
        stage.trader.recorder.store = lambda trace: stored.append(trace) or store(trace)  # type: ignore[func-returns-value, method-assign]
        await stage.trader.stop()
        if policy == "keep":
            assert (stage.position("BTC"), stage.position("ETH")) == held
            assert {stage.coins(coin, stage.stop_of(coin).size) for coin in ("BTC", "ETH")} == {held[0], -held[1]}
        else:
            assert (stage.position("BTC"), stage.position("ETH")) == (0, 0)
        assert any(f"stop by policy {policy}" in step.text for trace in stored for step in trace.steps)

    coins = {"BTC": calm(60_000), "ETH": calm(3_000)}
    play(coins, {"alpha": BOTH}, act, sound=False, overrides={"trader.stop_policy": policy})


@pytest.mark.parametrize("policy", ["keep", "flatten"])
def test_S24_a_stop_keeps_positions_under_their_stops_or_flattens_as_the_policy_says(policy: str) -> None:
    _stopped(policy)


def test_S24_the_proof_fails_where_the_policy_is_not_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Execution, reason: str) -> None:
        """Mutant: flatten is said and not done."""

    monkeypatch.setattr(Execution, "flatten", nothing)
    with pytest.raises(AssertionError):
        _stopped("flatten")
