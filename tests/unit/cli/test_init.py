"""The settings file to begin with: valid, harmless, true to the defaults, and never written over another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.cli.support import run_cli

from perpstrader.settings import load
from perpstrader.settings.template import FIRST, template

Capture = pytest.CaptureFixture[str]
LINE = re.compile(r"^# (\w+) = (.*?)(   # not set)?$", re.MULTILINE)


def test_the_file_is_written_private_changes_nothing_and_is_never_overwritten(tmp_path: Path, capsys: Capture) -> None:
    code, out, _ = run_cli(capsys, "init", tmp_path / "new")
    path = tmp_path / "new" / "perpstrader.toml"
    assert (code, str(path) in out, path.stat().st_mode & 0o777) == (0, True, 0o600)
    assert load(path, {"HOME": str(tmp_path)}).values() == load(None, {"HOME": str(tmp_path)}).values()
    path.write_text("[venue]\n")
    code, _, err = run_cli(capsys, "init", tmp_path / "new")
    assert (code, "is there already; nothing was changed" in err, path.read_text()) == (1, True, "[venue]\n")
    code, _, err = run_cli(capsys, "init", path / "beneath")
    assert (code, err.count("\n"), "Traceback" in err) == (1, 1, False)


def test_every_default_that_it_shows_is_the_default_and_can_be_uncommented(tmp_path: Path) -> None:
    text = template()
    assert len(LINE.findall(text)) == len(FIRST)
    path = tmp_path / "all.toml"
    path.write_text(LINE.sub(lambda found: found[0] if found[3] else f"{found[1]} = {found[2]}", text))
    made, defaults = load(path, {"HOME": str(tmp_path)}), load(None, {"HOME": str(tmp_path)})
    assert made.values() == defaults.values()
    assert made.origin("risk.max_leverage").source == "file"


def test_what_is_not_set_can_be_uncommented_too(tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    shown = template().replace("0x…", "0x" + "1" * 40)
    path.write_text(LINE.sub(lambda found: f"{found[1]} = {found[2]}" if "agent.key" not in found[0] else "", shown))
    path.chmod(0o600)
    assert load(path, {"HOME": str(tmp_path)}).trader.bar_ms == 60_000
