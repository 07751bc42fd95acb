"""The frame: help, unknown verbs, settings, exit codes, and that no error is a stack trace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.support import run_cli

from perpstrader.cli import logs, program
from perpstrader.cli.exits import CliError, ExitCode, code_of
from perpstrader.cli.options import seconds
from perpstrader.domain import AccountLockedError, PerpsTraderError, StateError, UnsafeError, VenueError
from perpstrader.runtime import TransportError
from perpstrader.settings import SettingsError

Capture = pytest.CaptureFixture[str]


def test_help_names_every_verb_and_the_exit_codes_without_loading_what_verbs_need(capsys: Capture) -> None:
    code, out, _ = run_cli(capsys, "--help")
    assert code == 0
    assert all(f" {verb} " in out for verb in program.VERBS)
    assert "4 not safe to go on" in " ".join(out.split())
    lines = (
        "import sys; from perpstrader.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'litestar', 'pydantic', 'apsw', 'structlog', 'msgspec', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("verb", program.VERBS)
def test_every_verb_has_a_help_of_its_own(verb: str, capsys: Capture) -> None:
    code, out, _ = run_cli(capsys, verb, "--help")
    assert code == 0
    assert f"perpstrader {verb}" in out


def test_wrong_usage_exits_with_2_and_a_near_verb_is_named(capsys: Capture) -> None:
    code, _, err = run_cli(capsys, "statsu")
    assert (code, "Did you mean 'status'?" in " ".join(err.split())) == (2, True)
    assert run_cli(capsys, "signal", "BTC", "up")[0] == 2
    assert run_cli(capsys, "run", "--duration", "soon")[0] == 2


def test_a_wrong_setting_exits_with_2_and_the_sentence(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERPSTRADER_DATA_DIR", str(tmp_path))
    file = tmp_path / "p.toml"
    file.write_text("[risk]\nmax_leverag = 3\n")
    for line in (("config", "check"), ("config", "show"), ("run", "--duration", "1s"), ("replay", tmp_path)):
        code, out, err = run_cli(capsys, *line, "--config", file)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "did you mean risk.max_leverage?" in err


def test_config_show_tells_value_origin_and_meaning_and_no_secret(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "0x" + "1234567890abcdef" * 4
    monkeypatch.setenv("PERPSTRADER_PRIVATE_KEY", secret)
    monkeypatch.setenv("MAX_LEVERAGE", "2")
    code, out, _ = run_cli(capsys, "config", "show", "--data-dir", tmp_path, "--json")
    shown = json.loads(out)
    assert (code, shown["risk.max_leverage"]["origin"]) == (0, "env MAX_LEVERAGE")
    assert shown["venue.private_key"]["value"] == "set"
    _, plain, _ = run_cli(capsys, "config", "show", "--data-dir", tmp_path)
    assert secret[2:] not in out + plain
    assert "risk.max_leverage\t2 x\tenv MAX_LEVERAGE" in plain
    assert run_cli(capsys, "config", "check", "--data-dir", tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CliError("x", ExitCode.UNREACHABLE), 3), (SettingsError(["x"]), 2), (TransportError("x", sent=False), 3),
        (VenueError("x"), 3), (AccountLockedError("x"), 4), (StateError("x"), 4), (UnsafeError("x"), 4),
        (PerpsTraderError("x"), 1),
    ],
)  # fmt: skip
def test_each_kind_of_error_has_its_exit_code(error: PerpsTraderError, code: int) -> None:
    assert code_of(error) == code


def broken(error: BaseException) -> object:
    def load(verb: str) -> object:
        raise error

    return load


def test_S74_an_error_nobody_foresaw_is_one_sentence_and_its_stack_is_in_the_log(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "1234567890abcdef" * 4
    monkeypatch.setattr(program, "load", broken(ZeroDivisionError(f"private_key={secret}")))
    log = logs.configure(tmp_path)
    code, out, err = run_cli(capsys, "status")
    assert (code, out) == (1, "")
    assert err == f"perpstrader: something nobody foresaw (ZeroDivisionError) ended this; the details are in {log}\n"
    written = log.read_text()
    assert "Traceback" in json.loads(written.splitlines()[-1])["exception"]
    assert secret not in written
    assert log.stat().st_mode & 0o777 == 0o600


def test_an_error_of_ours_in_a_group_of_errors_is_told_as_itself(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = BaseExceptionGroup("tasks", [ExceptionGroup("inner", [UnsafeError("the account is in doubt")])])
    monkeypatch.setattr(program, "load", broken(group))
    assert run_cli(capsys, "status") == (4, "", "perpstrader: the account is in doubt\n")


def test_durations_are_read_as_people_write_them() -> None:
    assert [seconds(text) for text in ("20s", "250ms", "5m", "1h", "7")] == [20.0, 0.25, 300.0, 3600.0, 7.0]
