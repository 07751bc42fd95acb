"""The leverage that sizes are made for is the one that the venue has, also after a person has changed it (S34)."""

from __future__ import annotations

import pytest
from tests.scenario.kit import Stage, play
from tests.scenario.market import calm

from perpstrader.domain import Side
from perpstrader.execution.execution import Execution


def _changed_by_hand() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        stage.engine.update_leverage(stage.user, "BTC", 20, True, stage.clock.now_ms())
        await stage.seconds(360)
        assert (await stage.signal("BTC", Side.LONG)).done
        [position] = (await stage.trader.execution.desk.client.account()).positions.values()
        assert (position.symbol, position.leverage, position.is_cross) == ("BTC", 3, True)

    play({"BTC": calm(60_000)}, {"alpha": {}}, act)


def test_S34_a_leverage_that_was_changed_by_hand_is_set_back_before_the_next_entry() -> None:
    _changed_by_hand()


def test_S34_the_proof_fails_where_a_confirmed_leverage_is_believed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Execution, "doubt_leverage", lambda self: None)
    with pytest.raises(AssertionError):
        _changed_by_hand()
