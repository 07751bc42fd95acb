"""``perpstrader recover`` as a person and as a program meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.support import run_cli, trader_at

Capture = pytest.CaptureFixture[str]


def test_without_a_symbol_it_prints_what_recovery_finds_and_did(capsys: Capture, tmp_path: Path) -> None:
    with trader_at(tmp_path):
        code, out, _ = run_cli(capsys, "recover", "--data-dir", tmp_path)
        assert code == 0
        assert "STALE\tlow\twait\topen for 25.0 h" in out
        assert "attempts: BTC 1 of 3" in out
        code, out, _ = run_cli(capsys, "recover", "--json", "--data-dir", tmp_path)
    answer = json.loads(out)
    assert code == 0
    assert answer["running"] is True
    assert answer["issues"][0]["kind"] == "STALE"


def test_a_position_is_taken_out_with_a_reason_and_the_exit_code_says_whether_it_is_done(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "ann")
    with trader_at(tmp_path) as commands:
        assert run_cli(capsys, "recover", "BTC", "close", "--reason", "enough", "--data-dir", tmp_path)[0] == 0
        assert run_cli(capsys, "recover", "BTC", "reduce", "--reason", "enough", "--data-dir", tmp_path)[0] == 1
    assert commands.calls == [
        ("recover", "BTC", "close", "enough", "terminal:ann"), ("recover", "BTC", "reduce", "enough", "terminal:ann")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words", [("BTC",), ("BTC", "hedge", "--reason", "x"), ("BTC", "close"), ("BTC", "close", "--reason", " ")]
)
def test_PR19_what_is_wrong_in_the_command_line_is_wrong_usage(
    words: tuple[str, ...], capsys: Capture, tmp_path: Path
) -> None:
    code, _, err = run_cli(capsys, "recover", *words, "--data-dir", tmp_path)
    assert code == 2
    assert "recover" in err


def test_without_a_running_trader_it_says_so(capsys: Capture, tmp_path: Path) -> None:
    code, _, err = run_cli(capsys, "recover", "--data-dir", tmp_path)
    assert code == 3
    assert "no trader runs" in err
