"""``doctor`` on a command line: rows, exit codes, and that it changes and tells nothing that it should not."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from tests.unit.cli.support import run_cli, trader_at

Capture = pytest.CaptureFixture[str]
NAMES = [
    "install", "settings", "network", "disk", "files", "state", "strategies", "alerts", "trader", "clock",
    "account", "key", "account mode", "funds", "limits", "symbols",
]  # fmt: skip


@pytest.fixture(autouse=True)
def any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERPSTRADER_CONSOLE__PORT", "0")


def rows(capsys: Capture, *line: str | Path) -> tuple[int, dict[str, dict[str, str]]]:
    code, out, err = run_cli(capsys, "doctor", "--json", *line)
    assert (out.count("\n"), err) == (1, "")
    answer = json.loads(out)
    assert answer["ok"] is (code == 0)
    return code, {row["check"]: row for row in answer["checks"]}


def test_a_fresh_install_is_ready_and_nothing_is_made(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "fresh"
    code, found = rows(capsys, "--data-dir", folder)
    assert (code, list(found)) == (0, NAMES)
    assert {row["grade"] for row in found.values()} <= {"ok", "skipped"}
    assert not folder.exists()
    code, out, _ = run_cli(capsys, "doctor", "--data-dir", folder)
    assert (code, out.splitlines()[-1], out.splitlines()[1].split("\t")[:2]) == (0, "ready", ["ok", "install"])


def test_settings_that_contradict_each_other_are_one_row_and_exit_code_1(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "p.toml"
    file.write_text("[risk]\nmax_leverag = 3\n")
    code, found = rows(capsys, "--config", file, "--data-dir", tmp_path)
    assert (code, list(found), found["settings"]["grade"]) == (1, ["settings"], "fail")
    assert "did you mean risk.max_leverage?" in found["settings"]["text"]


def test_a_venue_that_is_not_there_is_one_failure(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "0x" + "1234567890abcdef" * 4
    monkeypatch.setenv("PERPSTRADER_PRIVATE_KEY", key)
    monkeypatch.setenv("PERPSTRADER_VENUE__BASE_URL", "http://127.0.0.1:9")
    code, found = rows(capsys, "--data-dir", tmp_path)
    assert (code, [name for name, row in found.items() if row["grade"] == "fail"]) == (1, ["clock"])
    assert key[2:] not in json.dumps(found)


def test_S70_keys_that_others_can_read_fail_and_records_warn(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "traces.db").touch(0o644)
    (tmp_path / "traces.db").chmod(0o644)
    assert rows(capsys, "--data-dir", tmp_path)[1]["files"]["grade"] == "warn"
    (tmp_path / "token").write_text("t" * 43)
    (tmp_path / "token").chmod(0o644)
    code, found = rows(capsys, "--data-dir", tmp_path)
    assert (code, found["files"]["grade"], found["files"]["remedy"].startswith("chmod 600")) == (1, "fail", True)


def test_bad_places_and_bad_strategies_are_told(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    code, found = rows(capsys, "--data-dir", file / "below")
    assert (code, found["disk"]["grade"]) == (1, "fail")
    strategy = tmp_path / "mine.py"
    strategy.write_text("raise SystemExit('no')\n")
    monkeypatch.setenv("PERPSTRADER_TRADER__STRATEGIES", f"{strategy}:Mine")
    code, found = rows(capsys, "--data-dir", tmp_path)
    assert (code, found["strategies"]["grade"]) == (1, "fail")
    (tmp_path / "state.db").write_bytes(b"no database" * 100)
    assert rows(capsys, "--data-dir", tmp_path)[1]["state"]["grade"] == "fail"


def test_the_running_trader_and_a_port_in_use_are_told(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trader_at(tmp_path):
        _, found = rows(capsys, "--data-dir", tmp_path)
        assert found["trader"]["text"] == "it runs on paper with 1 position and may trade"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("PERPSTRADER_CONSOLE__PORT", str(taken.getsockname()[1]))
        code, found = rows(capsys, "--data-dir", tmp_path)
        assert (code, "--no-console" in found["trader"]["text"]) == (1, True)
