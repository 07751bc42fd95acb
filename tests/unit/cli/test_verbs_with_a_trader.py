"""Verbs that talk to a running trader: what they send, what they print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.support import run_cli, trader_at
from tests.unit.console.support import HALT, status

from perpstrader.domain import PerpsTraderError

Capture = pytest.CaptureFixture[str]


def test_looking_verbs_print_lines_for_a_pipe_and_json_for_a_program(tmp_path: Path, capsys: Capture) -> None:
    with trader_at(tmp_path) as commands:
        commands.now = status(halts=(HALT,), may_trade=False)
        code, out, _ = run_cli(capsys, "status", "--data-dir", tmp_path)
        assert code == 0
        assert "equity 1000 USD" in out
        assert "HALTED since" in out
        assert "SPREAD_TOO_WIDE: 7.2 bps, limit 5 bps" in out
        code, out, _ = run_cli(capsys, "status", "--data-dir", tmp_path, "--json")
        shown = json.loads(out)
        assert (code, shown["running"], shown["equity_usd"]) == (0, True, "1000")

        code, out, _ = run_cli(capsys, "positions", "--data-dir", tmp_path)
        assert (code, out.splitlines()[1].split("\t")[:3]) == (0, ["BTC", "long", "0.01"])
        assert "40.59" in out
        _, out, _ = run_cli(capsys, "positions", "--data-dir", tmp_path, "--json")
        assert json.loads(out)["positions"][0]["stop_price"] == "98000"

        code, out, _ = run_cli(capsys, "orders", "--data-dir", tmp_path)
        assert (code, out.splitlines()[1].split("\t")[:3]) == (0, ["BTC", "stop", "sell"])
        _, out, _ = run_cli(capsys, "orders", "--data-dir", tmp_path, "--json")
        assert json.loads(out)["orders"][0]["oid"] == 7


def test_perf_prints_each_stage_with_its_failures_and_percentiles(tmp_path: Path, capsys: Capture) -> None:
    with trader_at(tmp_path):
        code, out, _ = run_cli(capsys, "perf", "--data-dir", tmp_path)
        rows = {line.split("\t")[0]: line.split("\t")[1:] for line in out.splitlines()}
        assert (code, rows["submit"][:3]) == (0, ["1", "0", "120.000"])
        assert rows["bars"] == ["9"]
        code, out, _ = run_cli(capsys, "perf", "--data-dir", tmp_path, "--json")
        shown = json.loads(out)
        assert (code, shown["running"], shown["snapshot"]["counters"]) == (0, True, {"bars": 9})
    code, _, err = run_cli(capsys, "perf", "--data-dir", tmp_path)
    assert (code, "only a running one measures" in err) == (3, True)


def test_commands_are_sent_with_who_and_why(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ann")
    with trader_at(tmp_path) as commands:
        assert run_cli(capsys, "halt", "--reason", "lunch", "--data-dir", tmp_path)[0] == 0
        code, out, _ = run_cli(capsys, "signal", "BTC", "long", "--size", "0.01", "--data-dir", tmp_path)
        assert (code, "traces explain t-1" in out) == (0, True)
        code, out, _ = run_cli(capsys, "flatten", "--reason", "storm", "--yes", "--data-dir", tmp_path, "--json")
        assert (code, json.loads(out)["text"]) == (0, "all positions are closed")
        assert commands.calls == [
            ("halt", "lunch", "terminal:ann", ""), ("signal", "BTC", "long", "0.01", "terminal:ann"),
            ("prepare", "flatten"), ("flatten", "storm", "terminal:ann", "t0k3n"),
        ]  # fmt: skip


def test_what_is_done_only_in_part_exits_with_1(tmp_path: Path, capsys: Capture) -> None:
    with trader_at(tmp_path):
        code, out, _ = run_cli(capsys, "resume", "--reason", "calm", "--yes", "--data-dir", tmp_path)
        assert (code, out) == (1, "released operator; still halted (daily_loss): -50\n")


def test_S71_flatten_and_resume_do_nothing_without_a_confirmation(tmp_path: Path, capsys: Capture) -> None:
    with trader_at(tmp_path) as commands:
        for verb in ("flatten", "resume"):
            code, _, err = run_cli(capsys, verb, "--reason", "x", "--data-dir", tmp_path)
            assert code == 2
            assert "closes 1 position: add --yes to do it unasked; nothing was done" in err
        assert [call[0] for call in commands.calls] == ["prepare", "prepare"]


@pytest.mark.parametrize("verb", ["halt", "resume", "flatten"])
def test_commands_that_are_recorded_want_a_reason(verb: str, tmp_path: Path, capsys: Capture) -> None:
    code, _, err = run_cli(capsys, verb, "--data-dir", tmp_path)
    assert code == 2
    assert f"{verb} needs a reason" in err


def test_a_trader_that_cannot_answer_is_told_in_one_sentence(tmp_path: Path, capsys: Capture) -> None:
    with trader_at(tmp_path) as commands:
        commands.fail_with = PerpsTraderError("the books are closed")
        assert run_cli(capsys, "status", "--data-dir", tmp_path)[::2] == (
            1, "perpstrader: the trader says: the books are closed\n",
        )  # fmt: skip
        (tmp_path / "token").write_text("w" * 43)
        code, _, err = run_cli(capsys, "status", "--data-dir", tmp_path)
        assert (code, "token" in err) == (3, True)
        run = json.loads((tmp_path / "run.json").read_text())
        (tmp_path / "run.json").write_text(json.dumps(run | {"url": "http://127.0.0.1:9"}))
        code, _, err = run_cli(capsys, "status", "--data-dir", tmp_path)
        assert (code, "cannot be reached" in err, err.count("\n")) == (3, True, 1)
        (tmp_path / "run.json").unlink()
        code, _, err = run_cli(capsys, "status", "--data-dir", tmp_path)
        assert (code, "there is no run.json" in err) == (3, True)
