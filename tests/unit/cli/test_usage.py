"""Wrong usage is told by exit code 2 and a sentence, whoever finds it; nothing was done then."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.support import run_cli, trader_at

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "line",
    [
        ("run", "--bar", "1ms", "--duration", "1s"),
        ("run", "--bar", "soon"),
        ("run", "--strategy", "nope", "--duration", "1s"),
        ("run", "--feed", "/recorded", "--duration", "1s"),
        ("run", "--duration", "-3s"),
        ("run", "--venue", "moon"),
        ("replay", "/nowhere"),
        ("traces", "list", "--verdict", "maybe"),
        ("traces", "list", "--kind", "rumour"),
        ("signal", "BTC", "long", "--stop", "abc"),
        ("signal", "BTC", "long", "--size", "-1"),
        ("signal", "BTC", "long", "--confidence", "7"),
        ("close", "BTC"),
        ("flatten", "--yes"),
    ],
)
def test_what_cannot_be_meant_exits_with_2(line: tuple[str, ...], tmp_path: Path, capsys: Capture) -> None:
    code, out, err = run_cli(capsys, *line, "--data-dir", tmp_path)
    assert (code, out) == (2, "")
    assert err
    assert "Traceback" not in err


def test_an_interval_that_there_is_not_exits_with_2(tmp_path: Path, capsys: Capture) -> None:
    code, _, err = run_cli(capsys, "replay", tmp_path, "--interval", "7m", "--data-dir", tmp_path)
    assert (code, "interval '7m' is not known; allowed are" in err) == (2, True)


def test_an_unknown_name_in_the_environment_gets_a_near_one_or_none_but_never_a_far_one(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERPSTRADER_NOPE", "1")
    code, _, err = run_cli(capsys, "config", "check", "--data-dir", tmp_path)
    assert (code, "`perpstrader config show` lists the known ones" in err, "PRIVATE_KEY" in err) == (2, True, False)
    monkeypatch.delenv("PERPSTRADER_NOPE")
    monkeypatch.setenv("PERPSTRADER_RISK__MAX_LEVERAG", "1")
    _, _, err = run_cli(capsys, "config", "check", "--data-dir", tmp_path)
    assert "did you mean PERPSTRADER_RISK__MAX_LEVERAGE?" in err


def test_one_position_is_closed_by_its_symbol_and_a_reason(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "ann")
    assert run_cli(capsys, "close", "BTC", "--reason", "enough", "--data-dir", tmp_path)[0] == 3
    with trader_at(tmp_path) as commands:
        code, out, _ = run_cli(capsys, "close", "BTC", "--reason", "enough", "--data-dir", tmp_path)
    assert (code, out.splitlines()[0]) == (0, "closed")
    assert commands.calls == [("close", "BTC", "enough", "terminal:ann")]
