"""What the trader shows a strategy is what its contract says."""

from __future__ import annotations

import itertools

import pytest
from tests.scenario.kit import Scripted, Stage, play
from tests.scenario.market import calm

from perpstrader.domain import MarketView


def test_history_is_the_bars_before_the_one_that_is_decided_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, list[int]]] = []

    def look(self: Scripted, view: MarketView) -> None:
        seen.append((view.candle.open_ms, [bar.open_ms for bar in view.history]))

    monkeypatch.setattr(Scripted, "on_market", look)

    async def act(stage: Stage) -> None:
        await stage.bar(6)

    play({"BTC": calm(60_000)}, {"alpha": {}}, act)
    assert len(seen) >= 5
    for (before, _), (shown, history) in itertools.pairwise(seen):
        assert history[-1] == before < shown
        assert history == sorted(set(history))
