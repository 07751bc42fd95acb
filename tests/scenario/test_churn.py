"""Who tries the same again, or comes back too soon, is held off; exits never are, and a restart forgets nothing (S01).

The pauses are those of the shipped settings where a scenario does not say otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.scenario.kit import AT_ONCE, Script, Stage, go, leave, play
from tests.scenario.market import Bar, calm

from perpstrader.domain import Side
from perpstrader.risk.conduct import ConductMemory
from perpstrader.settings.limits import RiskSettings

SHIPPED = {key: str(getattr(RiskSettings(), key.removeprefix("risk."))) for key in AT_ONCE}
BTC = {"BTC": calm(60_000)}


def _only(*keys: str) -> dict[str, Any]:
    """These settings as shipped, the other pauses off."""
    return {"risk." + key: SHIPPED["risk." + key] for key in keys} | {"risk.max_entries_per_minute": 9}


def test_after_a_loss_the_symbol_rests_for_five_minutes_and_others_do_not() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(9)
        assert stage.position("BTC") == 0
        assert stage.position("ETH") > 0
        assert stage.refusals() == ["COOLDOWN"]
        [refusal] = [t.verdict.refusals[0] for t in stage.decisions() if hasattr(t.verdict, "refusals")]
        assert "a loss, until 2023-11-15 12:05:" in refusal.sentence()
        await stage.bar(66)
        assert stage.position("BTC") > 0

    again = {("BTC", n): go(Side.LONG, 58_800) for n in (1, 5, 65)}
    script: Script = {**again, ("BTC", 3): leave, ("ETH", 5): go(Side.LONG, 2_940)}
    coins = {"BTC": calm(60_000), "ETH": calm(3_000)}
    play(coins, {"alpha": script}, act, overrides=_only("loss_cooldown_ms"))


def test_S01_no_guard_against_churn_holds_an_exit_back() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(4)
        assert stage.position("BTC") == 0, "the strategy's own exit, seconds after its entry"
        assert stage.refusals() == ["COOLDOWN"]

    script: Script = {("BTC", 1): go(Side.LONG, 58_800), ("BTC", 2): leave, ("BTC", 3): go(Side.LONG, 58_800)}
    play(BTC, {"alpha": script}, act, overrides=SHIPPED)


@pytest.mark.parametrize("crashes", [False, True], ids=["stopped", "crashed"])
def test_what_was_left_and_what_was_sent_is_known_after_a_restart(tmp_path: Path, crashes: bool) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(4)
        await stage.trader.execution.journal_settled()
        await (stage.crash() if crashes else stage.stop())
        await stage.start_again()
        conduct = stage.trader.keeper.judged_state.conduct
        assert [entry.symbol for entry in conduct.entries] == ["BTC"]
        assert [(gone.symbol, gone.net_usd < 0) for gone in conduct.exits] == [("BTC", True)]
        result = await stage.signal("BTC", Side.LONG, stop_price="58800")
        assert "COOLDOWN" in result.text

    script: Script = {("BTC", 1): go(Side.LONG, 58_800), ("BTC", 2): leave}
    play(BTC, {"alpha": script}, act, overrides=SHIPPED, state_path=tmp_path / "state.db")


def test_the_same_entry_is_not_sent_again_and_one_at_another_price_is() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(6)
        assert stage.refusals() == ["DUPLICATE_ENTRY"]
        assert stage.position("BTC") == 0
        await stage.bar(9)
        assert stage.position("BTC") > 0

    script: Script = {
        ("BTC", 1): go(Side.LONG, 58_800), ("BTC", 2): leave, ("BTC", 4): go(Side.LONG, 58_800),
        ("BTC", 8): go(Side.LONG, 58_800),
    }  # fmt: skip
    bars = [*calm(60_000, 6), Bar(path=(60_200, 60_450, 60_600)), *calm(60_600)]
    play({"BTC": bars}, {"alpha": script}, act, overrides=_only("duplicate_entry_window_ms"))


def test_an_entry_that_did_not_fill_is_followed_by_a_pause_that_doubles() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        assert stage.position("BTC") == 0
        await stage.bar(3)
        assert stage.refusals()[-1] == "COOLDOWN"
        await stage.bar(6)
        assert stage.refusals().count("COOLDOWN") == 1, "the second try came after the first pause"
        await stage.bar(9)
        assert stage.refusals().count("COOLDOWN") == 2, "the second pause is longer than the first"

    # A limit price below the market rests, is taken back when its signal's time is over, and has not filled.
    wish = go(Side.LONG, 57_000, entry_price=Decimal(59_900), ttl_ms=2_000)
    script: Script = {("BTC", n): wish for n in (1, 2, 5, 8)}
    play(BTC, {"alpha": script}, act, overrides=_only("failed_entry_cooldown_ms"))


def test_a_strategy_that_signals_at_each_bar_is_heard_three_times_a_minute() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(6)
        assert stage.refusals().count("SIGNALS_PER_MINUTE") == 0
        reasons = [
            [refusal.reason.value for refusal in trace.verdict.refusals]
            for trace in stage.decisions() if hasattr(trace.verdict, "refusals")
        ]  # fmt: skip
        assert ["SIGNALS_PER_MINUTE" in found for found in reasons] == [False, False, True, True]
        assert stage.position("BTC") > 0

    script: Script = {("BTC", n): go(Side.LONG, 58_800) for n in (1, 2, 3, 4, 5)}
    play(BTC, {"alpha": script}, act, overrides=_only("max_signals_per_minute"))


def test_a_symbol_is_entered_no_more_often_in_an_hour_than_its_limit() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(8)
        assert len(stage.fills("BTC")) == 4
        assert stage.refusals() == ["ENTRIES_PER_SYMBOL_HOUR"]

    opens = {("BTC", n): go(Side.LONG, 58_800) for n in (1, 3, 5)}
    script: Script = {**opens, ("BTC", 2): leave, ("BTC", 4): leave}
    limits = {"risk.max_entries_per_symbol_hour": 2, "risk.max_entries_per_minute": 9}
    play(BTC, {"alpha": script}, act, overrides=limits)


@pytest.mark.parametrize(
    ("hook", "proof"),
    [
        ("on_order", test_the_same_entry_is_not_sent_again_and_one_at_another_price_is),
        ("on_exit", test_after_a_loss_the_symbol_rests_for_five_minutes_and_others_do_not),
        ("on_signal", test_a_strategy_that_signals_at_each_bar_is_heard_three_times_a_minute),
    ],
)
def test_each_of_these_proofs_fails_where_nobody_remembers(
    hook: str, proof: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ConductMemory, hook, lambda self, *told: None)
    with pytest.raises(AssertionError):
        proof()
