"""What a person is told of risk: the day, each position's stop and what moved it, each limit, halts, what waits."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import Bar, calm
from tests.unit.cli.support import run_cli, trader_at

from perpstrader.domain import Side
from perpstrader.trader.risking import RiskReport

LONG: Script = {("BTC", 1): go(Side.LONG, 58_800, 66_000), ("ETH", 1): go(Side.LONG, 2_940, 3_300)}
COINS = {
    "BTC": [*calm(60_000, 3), Bar(path=(60_500, 61_000, 61_300)), *calm(61_300)],
    "ETH": calm(3_000),
}


def _report() -> RiskReport:
    async def act(stage: Stage) -> RiskReport:
        await stage.bar(5)
        await stage.commands.halt("a person says stop", actor="tester")
        return stage.commands.risk()

    return play(COINS, {"alpha": LONG}, act)


def test_each_position_is_told_with_its_stop_and_what_moved_it() -> None:
    btc, eth = _report().positions
    assert (btc.risk.symbol, btc.first_stop, btc.best_mark) == ("BTC", 58_800, 61_300)
    assert btc.stop_price is not None
    assert btc.stop_price > 60_000
    assert btc.moved_by.startswith("breakeven: ")
    assert btc.moves_left == 11
    assert (eth.stop_price, eth.moved_by, eth.fixed) == (2_940, "", "")


def test_each_limit_is_told_with_its_value_and_how_much_of_it_is_used() -> None:
    limits = {(row.rule, row.unit): row for row in _report().limits}
    entries = limits["ENTRIES_PER_DAY", "entries today"]
    assert (entries.value, entries.limit, entries.used_pct) == ("2", "50", "4")
    minute = limits["ENTRIES_PER_MINUTE", "entries within a minute"]
    assert (minute.value, minute.used_pct, minute.passed) == ("2", "100", True)
    rules = {rule for rule, _ in limits}
    assert rules >= {
        "DAILY_LOSS", "DRAWDOWN", "LOSS_STREAK", "ENTRIES_PER_SYMBOL_DAY", "ENTRIES_PER_SYMBOL_HOUR", "VOLATILITY",
        "GROSS_NOTIONAL", "SYMBOL_NOTIONAL", "LIQUIDATION_DISTANCE",
    }  # fmt: skip
    liquidation = limits["LIQUIDATION_DISTANCE", "of mark in BTC"]
    assert not liquidation.used_pct or Decimal(liquidation.used_pct) < 100


def test_the_day_the_portfolio_and_the_halts_are_told() -> None:
    report = _report()
    assert (report.day.entries, report.day.loss_streak) == (2, 0)
    assert report.portfolio.gross_notional_usd > 0
    assert [halt.kind for halt in report.halts] == ["operator"]
    assert "HALTED" in report.waiting["BTC"]


def test_a_limit_without_a_live_input_is_told_as_inactive() -> None:
    async def act(stage: Stage) -> RiskReport:
        await stage.bar(2)
        return stage.commands.risk()

    report = play({"ETH": calm(3_000)}, {"alpha": {}}, act)
    assert any("volatility" in text for text in report.inactive)
    volatility = [row for row in report.limits if row.rule == "VOLATILITY"]
    assert [(row.value, row.used_pct, row.passed) for row in volatility] == [("unknown", "", False)] * 2


def test_the_verb_prints_lines_for_a_person_and_json_for_a_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = _report()
    with trader_at(tmp_path) as commands:
        monkeypatch.setattr(type(commands), "risk", lambda self: report, raising=False)
        code, out, _ = run_cli(capsys, "risk", "--data-dir", tmp_path)
        assert code == 0
        for text in ("breakeven", "ENTRIES_PER_DAY", "a person says stop", "stop entries", "BTC is not entered now"):
            assert text in out, text
        code, out, _ = run_cli(capsys, "risk", "--data-dir", tmp_path, "--json")
        shown = json.loads(out)
        assert (code, shown.pop("running")) == (0, True)
        assert msgspec.convert(shown, RiskReport) == report
    code, _, err = run_cli(capsys, "risk", "--data-dir", tmp_path)
    assert (code, "only a running one knows its risk" in err) == (3, True)
