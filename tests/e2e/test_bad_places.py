"""Bad places: a full disk, a file for a directory, damaged and newer files, leftovers. One clear sentence each."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from tests.e2e.processes import FAST, one_sentence, program, started, wait_until


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that a trader has used."""
    folder = tmp_path_factory.mktemp("used") / "data"
    done = program("run", "--duration", "1s", *FAST, "--json", "--no-console", "--data-dir", folder)
    assert done.returncode == 0, done.stderr
    return folder


def _garbage(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(b"this is no database, whatever its name says" * 200)


def _empty(folder: Path) -> None:
    (folder / "state.db").write_bytes(b"")


def _torn(folder: Path) -> None:
    """Pages in the middle are gone, the header is whole."""
    with (folder / "state.db").open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4 * 4096)


def _newer(name: str) -> Callable[[Path], object]:
    def raise_version(folder: Path) -> None:
        connection = sqlite3.connect(folder / name)
        connection.execute("PRAGMA user_version = 99")
        connection.close()

    return raise_version


BAD_FILES: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "state.db is garbage": (_garbage("state.db"), 4, "halted, nothing is traded: the state file"),
    "state.db is empty": (_empty, 4, "is empty, so what it knew is lost; restore a backup"),
    "state.db is torn": (_torn, 4, "is damaged ("),
    "state.db is newer": (_newer("state.db"), 4, "the state file has schema version 99, this program knows"),
    "traces.db is newer": (_newer("traces.db"), 1, "has trace schema version 99, this program knows up to"),
    "paper.db is newer": (_newer("exchange/paper.db"), 4, "was written by a newer version of this program"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_S40_S74_a_file_that_cannot_be_used_stops_the_start_with_one_sentence(
    case: str, used: Path, tmp_path: Path
) -> None:
    spoil, code, said = BAD_FILES[case]
    folder = tmp_path / "data"
    shutil.copytree(used, folder)
    spoil(folder)
    done = program("run", "--duration", "1s", *FAST, "--json", "--no-console", "--data-dir", folder)
    assert said in one_sentence(done)
    assert done.returncode == code


def test_S62_a_damaged_record_of_decisions_is_set_aside_and_keeps_nobody_from_trading(
    used: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(used, folder)
    _garbage("traces.db")(folder)
    done = program("run", "--duration", "2s", *FAST, "--no-console", "--data-dir", folder)
    assert (done.returncode, done.stderr) == (0, "")
    (aside,) = folder.glob("traces.db.damaged-*")
    assert f"the record of decisions was damaged; it is {aside.name} now, and a new one is written" in done.stdout
    assert aside.read_bytes().startswith(b"this is no database")
    assert json.loads(program("traces", "list", "--json", "--data-dir", folder).stdout)["traces"]


def test_S62_a_record_with_a_damaged_page_in_the_way_is_set_aside_too(used: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(used, folder)
    connection = apsw.Connection(str(folder / "traces.db"))
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'trace_uid'").get
    size = connection.pragma("page_size")
    connection.close()
    with (folder / "traces.db").open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    done = program("run", "--duration", "2s", *FAST, "--no-console", "--data-dir", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(folder.glob("traces.db.damaged-*"))) == 1
    assert json.loads(program("traces", "verify", "--json", "--data-dir", folder).stdout)["ok"]


def test_S73_what_a_run_leaves_is_its_owners_alone(used: Path) -> None:
    for name in ("state.db", "traces.db", "paper-key", "lock"):
        assert (used / name).stat().st_mode & 0o077 == 0, name


def test_a_start_on_a_full_disk_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    env = {"PERPSTRADER_DATA__MIN_FREE_BYTES": str(2**50)}  # more than any disk has
    done = program("run", "--duration", "1s", *FAST, "--no-console", "--data-dir", tmp_path, **env)
    said = one_sentence(done)
    assert "MiB left, data.min_free_bytes asks for 1073741824 MiB" in said
    assert "nothing was opened, nothing is traded" in said
    assert done.returncode == 4
    assert not (tmp_path / "state.db").exists()


def test_a_data_directory_that_is_a_file_or_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        done = program("run", "--duration", "1s", "--data-dir", folder)
        said = f"{tmp_path / 'file'} is a file where the data directory {folder} wants a directory"
        assert said in one_sentence(done)
        assert done.returncode == 2
    if os.geteuid() == 0:
        closed = Path("/proc/perpstrader")  # where even root may make no directory
    else:
        (tmp_path / "closed").mkdir(mode=0o500)
        closed = tmp_path / "closed"
    done = program("run", "--duration", "1s", "--data-dir", closed)
    assert f"the data directory {closed} cannot be" in one_sentence(done)
    assert done.returncode == 4


def test_S40_a_data_directory_that_vanishes_halts_entries_and_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with started("run", *FAST, "--data-dir", folder) as trader:
        wait_until(lambda: (folder / "run.json").exists(), trader)
        assert trader.stdout is not None
        folder.rename(tmp_path / "elsewhere")
        told = next(line for line in trader.stdout if "was moved or deleted while the trader runs" in line)
        assert str(folder / "state.db") in told
        trader.kill()


def test_what_a_killed_trader_left_misleads_nobody(used: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(used, folder)
    with started("run", *FAST, "--data-dir", folder) as trader:
        wait_until(lambda: (folder / "run.json").exists(), trader)
        trader.kill()
        trader.wait()
    assert (folder / "run.json").exists()
    status = program("status", "--json", "--data-dir", folder)
    assert (status.returncode, json.loads(status.stdout)["running"]) == (0, False)
    assert program("halt", "--reason", "no trader runs", "--data-dir", folder).returncode == 0
    (folder / "run.json").write_text("half of a fi")
    unmetered = {"PERPSTRADER_PAPER__ENFORCE_LIMITS": "false"}  # or a third start in a minute would wait, and say so
    again = program("run", "--duration", "1s", *FAST, "--json", "--data-dir", folder, **unmetered)
    assert (again.returncode, again.stderr) == (0, "")


def test_a_port_in_use_names_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = program("run", "--duration", "1s", "--data-dir", tmp_path, PERPSTRADER_CONSOLE__PORT=str(port))
    said = one_sentence(done)
    assert f"port {port} on 127.0.0.1 is in use by another program" in said
    assert "--no-console" in said
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (
            {
                "PERPSTRADER_RISK__DAILY_LOSS_ENTRY_STOP_FRACTION": "0.2",
                "PERPSTRADER_RISK__MAX_DAILY_LOSS_FRACTION": "0.1",
            },
            "risk.daily_loss_entry_stop_fraction",
        ),
        ({"PERPSTRADER_VENUE__LEVERAGE": "20"}, "venue.leverage"),
        ({"PERPSTRADER_VENUE__NETWORK": "mainnet"}, "i_accept_real_money"),
    ],
)
def test_S74_settings_that_contradict_each_other_are_named(env: dict[str, str], said: str, tmp_path: Path) -> None:
    done = program("run", "--duration", "1s", "--data-dir", tmp_path, **env)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (2, "")
