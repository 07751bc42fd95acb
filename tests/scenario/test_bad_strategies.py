"""A strategy that raises, answers nonsense or hangs costs its own cycle; the others trade on."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.scenario.kit import Script, Scripted, Stage, go, play
from tests.scenario.market import calm

from perpstrader.domain import MarketView, Side
from perpstrader.strategies import StrategyRunner

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
