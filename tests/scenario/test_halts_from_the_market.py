"""Every limit that halts, halves or counts, tripped by what the market does, and what the venue then shows (S41)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from tests.scenario.kit import Script, Stage, go, leave, play
from tests.scenario.market import Bar, calm

from perpstrader.domain import Approved, HaltKind, Side

BOTH: Script = {("BTC", 1): go(Side.LONG, 57_000, 66_000), ("ETH", 1): go(Side.LONG, 2_850, 3_300)}
MANY = {"risk.max_entries_per_minute": 9}
ENDURING = {"risk.loss_streak_limit": 50}


def _falling(*parts: str) -> dict[str, list[Bar]]:
    falls = [Decimal(part) for part in parts]
    return {
        "BTC": [*calm(60_000, 3), *(Bar(path=(str(60_000 * fall),)) for fall in falls)],
        "ETH": [*calm(3_000, 3), *(Bar(path=(str(3_000 * fall),)) for fall in falls)],
        "SOL": calm(150),
    }


def _approvals(stage: Stage, symbol: str) -> list[Approved]:
    return [t.verdict for t in stage.decisions() if isinstance(t.verdict, Approved) and t.symbol == symbol]


def _sentences(stage: Stage) -> list[str]:
    found = [t.verdict for t in stage.decisions()]
    return [verdict.refusals[0].sentence() for verdict in found if verdict is not None and hasattr(verdict, "refusals")]


def _halving(limits: dict[str, Any], coins: dict[str, list[Bar]], script: Script, word: str) -> None:
    """The entry in SOL at bar 5 is half of what it is in a market that stood still, and the venue holds that half."""

    def size(over: dict[str, Any], market: dict[str, Sequence[Bar]]) -> Decimal:
        async def act(stage: Stage) -> Decimal:
            await stage.bar(6)
            [approved] = _approvals(stage, "SOL")
            assert any(word in warning for warning in approved.warnings) is (market is coins)
            assert stage.halts() == []
            assert stage.position("SOL") == approved.size
            return approved.size

        return play(market, {"alpha": {**script, ("SOL", 5): go(Side.LONG, 145)}}, act, overrides=MANY | over)

    full, half = size({}, {coin: bars[:1] for coin, bars in coins.items()}), size(limits, coins)
    assert abs(half - full / 2) <= Decimal("0.05")


def test_S41_a_drawdown_that_the_market_made_halves_the_next_entry() -> None:
    _halving({"risk.drawdown_halve_fraction": "0.003"}, _falling("0.965"), BOTH, "in a drawdown")


def test_S41_a_fast_market_halves_the_next_entry() -> None:
    coins = {"BTC": [*calm(60_000, 3), Bar(path=(58_500, 57_500, 56_400)), *calm(56_400)], "SOL": calm(150)}
    _halving({}, coins, {}, "in a fast market")


def test_S41_a_crash_of_the_market_stops_entries_and_closes_nothing() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held = stage.position("ETH")
        assert held > 0
        await stage.bar(6)
        assert stage.refusals() == ["VOLATILITY"]
        assert "limit 10 %" in _sentences(stage)[0]
        assert (stage.position("SOL"), stage.position("ETH")) == (0, held)
        assert stage.stop_of("ETH")

    crash = [*calm(60_000, 3), Bar(path=(58_000, 56_000, 54_500, 53_900)), *calm(53_900)]
    script: Script = {("ETH", 1): go(Side.LONG, 2_850, 3_300), ("SOL", 5): go(Side.LONG, 145)}
    play({"BTC": crash, "ETH": calm(3_000), "SOL": calm(150)}, {"alpha": script}, act, overrides=MANY)


def test_S41_a_deeper_drawdown_halts_for_an_operator_and_flattens_before_any_stop_is_met() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        assert stage.position("BTC") > 0
        await stage.bar(6)
        for coin, trigger in (("BTC", 57_000), ("ETH", 2_850)):
            assert (stage.position(coin), stage.listed(coin)) == (0, [])
            assert stage.usd(coin, stage.fills(coin)[-1].px) > trigger
        [halt] = stage.trader.keeper.state.halts
        assert (halt.kind, halt.flatten, halt.until_ms) == (HaltKind.DRAWDOWN, True, None)
        assert stage.refusals() == ["DRAWDOWN"]

    limits = {"risk.drawdown_halve_fraction": "0.004", "risk.max_drawdown_fraction": "0.0075"}
    script: Script = {**BOTH, ("SOL", 5): go(Side.LONG, 145)}
    play(_falling("0.965", "0.953"), {"alpha": script}, act, overrides=limits)


def test_S41_a_timed_halt_says_until_when_and_so_does_a_refusal_by_it() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(5)
        [halt] = stage.trader.keeper.state.halts
        assert (halt.kind, halt.until_ms) == (HaltKind.LOSS_STREAK, halt.since_ms + 3_600_000)
        [told] = stage.commands.risk().halts
        assert told.until_ms == halt.until_ms
        await stage.bar(7)
        [sentence] = _sentences(stage)
        assert sentence.startswith("LOSS_STREAK")
        assert "until 2023-11-15 13:00:" in sentence
        assert stage.position("BTC") == 0

    opens = {("BTC", n): go(Side.LONG, 58_800) for n in (0, 2, 6)}
    script: Script = {**opens, ("BTC", 1): leave, ("BTC", 3): leave}
    limits = {"risk.loss_streak_limit": 2, "risk.loss_streak_cooldown_ms": 3_600_000}
    play({"BTC": calm(60_000)}, {"alpha": script}, act, overrides=MANY | ENDURING | limits)


def _counted(limits: dict[str, Any], reason: str, taken: dict[str, int]) -> None:
    """Round trips in two coins, of which the venue shows exactly as many as the limit allows."""

    async def act(stage: Stage) -> None:
        await stage.bar(8)
        assert {coin: len(stage.fills(coin)) for coin in taken} == {coin: 2 * n for coin, n in taken.items()}
        assert set(stage.refusals()) == {reason}

    script: dict[Any, Any] = {}
    for coin, stop in (("BTC", 58_800), ("ETH", 2_940)):
        script |= {(coin, n): go(Side.LONG, stop) for n in (1, 3, 5)} | {(coin, n): leave for n in (2, 4, 6)}
    play({"BTC": calm(60_000), "ETH": calm(3_000)}, {"alpha": script}, act, overrides=MANY | ENDURING | limits)


def test_S41_entries_a_day_end_with_the_last_one_allowed() -> None:
    limits = {"risk.max_entries_per_day": 4, "risk.max_entries_per_symbol_day": 4, "risk.max_entries_per_minute": 4}
    _counted(limits | {"risk.max_entries_per_symbol_hour": 4}, "ENTRIES_PER_DAY", {"BTC": 2, "ETH": 2})


def test_S41_entries_a_symbol_and_day_end_with_the_last_one_allowed() -> None:
    limits = {"risk.max_entries_per_symbol_day": 2, "risk.max_entries_per_symbol_hour": 2}
    _counted(limits, "ENTRIES_PER_SYMBOL_DAY", {"BTC": 2, "ETH": 2})


def test_S41_entries_a_minute_end_with_the_last_one_allowed() -> None:
    _counted({"risk.max_entries_per_minute": 2}, "ENTRIES_PER_MINUTE", {"BTC": 1, "ETH": 1})


def test_S41_a_liquidation_at_the_venue_halts_entries_until_somebody_resumes() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        stage.engine.update_leverage(stage.user, "BTC", 40, True, stage.clock.now_ms())
        stage.by_hand("BTC", buy=True, size="0.5")
        await stage.bar(8)
        assert any(fill.liquidation is not None for fill in stage.fills("BTC")), "the venue liquidated it"
        assert "liquidation" in stage.halts()
        [halt] = [halt for halt in stage.trader.keeper.state.halts if halt.kind is HaltKind.LIQUIDATION]
        assert halt.until_ms is None
        result = await stage.signal("SOL", Side.LONG, stop_price="145")
        assert not result.done
        assert stage.position("SOL") == 0

    fall = [*calm(60_000, 3), Bar(path=(59_500, 59_000, 58_700, 58_400, 58_000), gap=True), *calm(57_000)]
    limits = {"execution.foreign_policy": "ignore"}
    play({"BTC": fall, "SOL": calm(150)}, {"alpha": {}}, act, sound=False, overrides=limits)


def test_S41_an_auto_deleveraging_halts_entries_and_the_stop_follows_the_size_that_is_left() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held = stage.position("BTC")
        asset = next(asset for asset in stage.engine.assets if asset.coin == "BTC")
        # A short of the outside market is bankrupt: the best placed long is closed against it.
        closed = stage.engine.auto_deleverage("BTC", -200, stage.clock.now_ms())
        assert asset.size_text(closed) == "0.002"
        assert stage.fills("BTC")[-1].dir == "Auto-Deleveraging"
        await stage.bar(5)
        assert stage.position("BTC") == held - Decimal("0.002")
        assert stage.coins("BTC", stage.stop_of("BTC").size) == stage.position("BTC")
        [halt] = stage.trader.keeper.state.halts
        assert halt.kind is HaltKind.LIQUIDATION
        assert "auto-deleveraged" in halt.reason
        assert not (await stage.signal("ETH", Side.LONG, stop_price="2940")).done
        assert stage.position("ETH") == 0

    play({"BTC": calm(60_000), "ETH": calm(3_000)}, {"alpha": {("BTC", 1): go(Side.LONG, 58_800)}}, act)
