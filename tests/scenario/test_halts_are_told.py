"""Every halt is recorded with its beginning and its end, whoever tripped it, and the report of a run tells of it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from tests.scenario.kit import MIDNIGHT_MS, Stage, go, play
from tests.scenario.market import Bar, calm
from tests.unit.cli.support import run_cli

from perpstrader.domain import Side, TraceKind
from perpstrader.report.halts import trading_ended
from perpstrader.risk.keeper import RiskKeeper
from perpstrader.settings import load
from perpstrader.simulate.replay import replay
from perpstrader.simulate.watch import Watch

LONG = {"alpha": {("BTC", 1): go(Side.LONG, 58_800)}}
TIGHT = {"risk.daily_loss_entry_stop_fraction": "0.002", "risk.max_daily_loss_fraction": "0.5"}


async def _recorded(stage: Stage) -> list[str]:
    """What the record says of halts, oldest first."""
    await stage.trader.recorder.drain()
    store = stage.trader.recorder._store
    rows = await store.find(kind=TraceKind.HALT, limit=50)
    found = []
    for row in reversed(rows.rows):
        trace = await store.get(row.id)
        assert trace is not None
        found += [step.text for step in trace.steps]
    return found


def _tripped_and_over() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(7)
        assert stage.halts() == ["daily_loss"]
        texts = await _recorded(stage)
        assert len(texts) == 1
        assert texts[0].startswith("daily_loss: lost ")
        assert "entries are halted until 2023-11-16 00:00:00 UTC" in texts[0]
        await stage.signal("BTC", Side.LONG)
        watch = stage.world.watch
        assert [(s.kind, s.until_ms, s.refused) for s in watch.halts] == [("daily_loss", None, 1)]
        await stage.seconds(400)  # the day is over
        assert stage.halts() == []
        texts = await _recorded(stage)
        assert len(texts) == 2
        assert texts[1].startswith("daily_loss is over after ")
        assert "its time is over" in texts[1]
        assert watch.halts[0].until_ms == MIDNIGHT_MS + 86_400_000

    falling = [*calm(60_000, 3), *(Bar(path=(str(60_000 * Decimal(part)),)) for part in ("0.965", "0.965"))]
    play({"BTC": falling}, LONG, act, start_ms=MIDNIGHT_MS + 86_400_000 - 120_000, overrides=TIGHT)


def test_S41_a_halt_that_a_limit_tripped_is_recorded_and_so_is_its_end() -> None:
    _tripped_and_over()


@pytest.mark.parametrize("name", ["_tell_over", "_begin"])
def test_S41_the_proof_fails_where_the_keeper_tells_nobody(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    mutants = {"_tell_over": lambda self, over, actor, reason: None, "_begin": RiskKeeper._enforce}
    monkeypatch.setattr(RiskKeeper, name, mutants[name])
    with pytest.raises(AssertionError):
        _tripped_and_over()


def test_S40_an_operators_halt_is_recorded_once_and_its_release_with_the_reason() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        await stage.commands.halt("a person says stop", actor="tester")
        await stage.seconds(60)
        token = stage.commands.prepare("resume", {}).token
        await stage.commands.resume("a person looked", actor="tester", token=token)
        await stage.seconds(1)
        assert await _recorded(stage) == [
            "operator: a person says stop; entries are halted until it is released",
            "operator is over after 60 s: a person looked (it was: a person says stop)",
        ]
        [halt] = stage.world.watch.halts
        assert halt.ended_by == "tester: a person looked"

    play({"BTC": calm(60_000)}, {}, act)


def test_S41_the_drawdown_of_the_report_is_the_one_that_the_trader_halted_at() -> None:
    """At bar closes the dip is gone; the limit sees it at the mark, and so does the report."""

    async def act(stage: Stage) -> None:
        await stage.bar(9)
        assert stage.halts() == ["drawdown"]
        watch: Watch = stage.world.watch
        peak = max(equity for _, equity in watch.curve)
        at_closes = max(float((peak - equity) / peak) for _, equity in watch.curve)
        assert watch.worst.fraction > 0.001
        assert watch.worst.fraction >= at_closes

    dip = Bar(path=("59000", "60000"))
    limits = {"risk.max_drawdown_fraction": "0.001", "risk.drawdown_halve_fraction": "0.0008",
              "risk.daily_loss_entry_stop_fraction": "0.4", "risk.max_daily_loss_fraction": "0.5"}  # fmt: skip
    play({"BTC": [*calm(60_000, 5), dip, *calm(60_000, 3)]}, LONG, act, overrides=limits)


def _recording(folder: Path) -> Path:
    """Six days of one coin that climbs and falls by turns, faster than its stops are near."""
    path = folder / "recorded"
    path.mkdir()
    rows, price = ["timestamp,open,high,low,close,volume"], 60_000.0
    for hour in range(144):
        before, price = price, price * (1.004 if hour // 24 % 2 else 0.996)
        high, low = max(before, price) + 15, min(before, price) - 15
        rows.append(f"{MIDNIGHT_MS + hour * 3_600_000},{before:.1f},{high:.1f},{low:.1f},{price:.1f},2000")
    (path / "BTC-1h.csv").write_text("\n".join(rows) + "\n")
    return path


def test_S41_a_replays_report_and_its_record_tell_of_the_halts_that_limits_tripped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load(None, {}, {"data.dir": tmp_path, "risk.max_drawdown_fraction": "0.001",
                               "risk.drawdown_halve_fraction": "0.0005"})  # fmt: skip
    report = replay(settings, _recording(tmp_path), interval="1h").report
    ended = trading_ended(report.halts)
    assert ended is not None
    assert ended.kind == "drawdown"
    assert report.equity_stats.max_drawdown_fraction > 0.001
    assert report.summary()["trading_ended_ms"] == ended.since_ms
    code, out, _ = run_cli(
        capsys, "traces", "list", "--data-dir", tmp_path, "--replay", "latest", "--kind", "halt", "--json"
    )
    assert code == 0
    rows = json.loads(out)["traces"]
    begun = [row for row in rows if row["accepted_ms"] == ended.since_ms]
    assert begun
    assert len(rows) >= len(report.halts)
