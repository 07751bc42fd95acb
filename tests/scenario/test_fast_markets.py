"""A market that moves fast halves sizes and then stops entries; the limit reads bars and no strategy's word (S41)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import Bar, calm

from perpstrader.domain import Side
from perpstrader.risk.keeper import RiskKeeper

ENTRY: Script = {("ETH", 6): go(Side.LONG, 2_850, 3_300)}


def _entered(btc: int) -> tuple[Decimal, list[str]]:
    """The size of an entry in ETH after BTC has gone from 60,000 to ``btc``, and the reasons of a refusal."""

    async def act(stage: Stage) -> tuple[Decimal, list[str]]:
        await stage.bar(7)
        return stage.position("ETH"), stage.refusals()

    coins = {"BTC": [*calm(60_000, 3), Bar(path=(btc,), gap=True)], "ETH": calm(3_000)}
    return play(coins, {"alpha": ENTRY}, act)


def _one_move_halves_and_a_larger_one_stops() -> None:
    usual, _ = _entered(60_600)
    halved, _ = _entered(56_700)
    assert usual / 2 - Decimal("0.0001") <= halved <= usual / 2
    assert _entered(53_400) == (0, ["VOLATILITY"])


def test_S41_a_fall_of_btc_within_the_hour_halves_entries_and_then_stops_them() -> None:
    _one_move_halves_and_a_larger_one_stops()


def test_S41_a_rise_counts_as_a_fall_does() -> None:
    assert _entered(66_600) == (0, ["VOLATILITY"])


def test_S41_the_proof_fails_where_nobody_hears_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RiskKeeper, "on_bar", lambda self, candle: None)
    with pytest.raises(AssertionError):
        _one_move_halves_and_a_larger_one_stops()


def test_S41_without_bars_of_btc_the_limit_says_that_it_is_inactive() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        [said] = stage.commands.status().inactive
        assert said.startswith("volatility: no bar of BTC")

    play({"ETH": calm(3_000)}, {}, act)
