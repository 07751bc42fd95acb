"""A backup is made beside a running trader, whole or not at all; restored, it reconciles, and repeats no order."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest
from tests.e2e.killing import Disk, Life, Round, exchange
from tests.e2e.processes import FAST, WAIT_S, one_sentence, program, started, wait_until
from tests.e2e.test_stopping import traded

from perpstrader.domain.cloids import read_cloid

KEY = "0x" + "1f" * 32


def test_S11_S54_a_backup_of_a_running_trader_is_restored_elsewhere_and_goes_on_without_an_order_twice(
    tmp_path: Path,
) -> None:
    one, two, saved = tmp_path / "one", tmp_path / "two", tmp_path / "saved.tar"
    one.mkdir()
    with exchange(tmp_path / "exchange") as venue:
        life, account = traded(one, venue, venue.port)
        made = program("backup", saved, "--json", "--data-dir", one)
        assert made.returncode == 0, made.stderr
        manifest = json.loads(made.stdout)
        assert (manifest["account"], manifest["network"]) == (account, "paper")
        venue.look(account)
        fills = len(venue.fills)
        wait_until(lambda: (venue.look(account), len(venue.fills) > fills)[1], life.process)  # it trades on
        life.kill()
        restored = program("restore", saved, "--data-dir", two)
        assert (restored.returncode, "entries are halted" in restored.stdout) == (0, True), restored.stderr
        epochs = [row["epoch"] for row in Disk.of_dead(two).rows["epochs"]]
        assert len(set(epochs)) == 2
        assert Disk.of_dead(one).rows["epochs"][-1]["epoch"] == epochs[0]

        before = Disk.of_dead(two)
        again = Life(two, venue.port)
        again.until_ready()
        wait_until(lambda: not venue.unprotected(account), again.process, look_s=0.02)
        look = Round(two, venue, account)
        now, _, _ = look.read(again)
        look.compare_fills(now)
        assert now.halts() == before.halts()
        oids = set(venue.cloids)
        ask = again.control().post
        token = ask("/api/prepare", {"action": "resume", "arguments": {"reason": "looked"}})["token"]
        assert ask("/api/resume", {"reason": "looked", "token": token})["done"]
        fills = len(venue.fills)
        wait_until(lambda: (venue.look(account), len(venue.fills) > fills)[1], again.process)
        new = [read_cloid(cloid) for oid, cloid in venue.cloids.items() if oid not in oids]
        assert {parts.epoch for parts in new if parts is not None} == {int(epochs[1])}
        assert all(len(oids) == 1 for oids in venue.oids.values())
        again.kill()


def test_a_backup_with_the_exchange_in_the_process_holds_its_accounts_too(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with started("run", *FAST, "--data-dir", one) as trader:
        wait_until(lambda: (one / "run.json").exists(), trader)
        made = program("backup", tmp_path / "saved", "--data-dir", one)
        assert made.returncode == 0, made.stderr
        assert "exchange/paper.db" in made.stdout
        trader.send_signal(signal.SIGTERM)
        trader.communicate(timeout=WAIT_S)
    assert program("restore", tmp_path / "saved", "--data-dir", two).returncode == 0
    done = program("run", "--duration", "2s", *FAST, "--json", "--data-dir", two)
    assert (done.returncode, json.loads(done.stdout)["clean_exit"]) == (0, True), done.stderr


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of a stopped trader, with a key in the environment that must not be in it."""
    folder = tmp_path_factory.mktemp("saved")
    env = {"PERPSTRADER_PRIVATE_KEY": KEY, "PERPSTRADER_ALERTS__URLS": "json://host/t0ken"}
    run = program("run", "--duration", "1s", *FAST, "--json", "--no-console", "--data-dir", folder / "data", **env)
    assert run.returncode == 0, run.stderr
    assert program("backup", folder / "backup.tar", "--data-dir", folder / "data", **env).returncode == 0
    assert program("backup", folder / "backup", "--data-dir", folder / "data", **env).returncode == 0
    return folder


def test_S73_a_backup_holds_no_secret_and_only_its_owner_reads_it(saved: Path) -> None:
    files = [path for path in (saved / "backup").rglob("*") if path.is_file()] + [saved / "backup.tar"]
    assert {path.name for path in files} >= {"state.db", "traces.db", "settings.json", "backup.json"}
    for path in files:
        data = path.read_bytes()
        assert KEY[2:].encode() not in data
        assert b"t0ken" not in data
        assert path.stat().st_mode & 0o077 == 0
    assert json.loads((saved / "backup" / "settings.json").read_text())["venue"]["private_key"] == "set"


@pytest.mark.parametrize(
    ("name", "env", "code", "said"),
    [
        ("other account", {"PERPSTRADER_PRIVATE_KEY": "0x" + "2e" * 32}, 4, "use that account's settings"),
        (
            "other network",
            {"PERPSTRADER_VENUE__NETWORK": "testnet", "PERPSTRADER_PRIVATE_KEY": KEY,
             "PERPSTRADER_ACCOUNT_ADDRESS": "0x" + "1" * 40},
            4, "the backup is of paper, the settings say testnet",
        ),
    ],
)  # fmt: skip
def test_a_restore_for_another_account_or_network_is_refused(
    name: str, env: dict[str, str], code: int, said: str, saved: Path, tmp_path: Path
) -> None:
    done = program("restore", saved / "backup", "--data-dir", tmp_path / "new", **env)
    assert said in one_sentence(done), name
    assert done.returncode == code
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob("*.restoring"))


def test_a_restore_over_a_store_and_a_backup_over_a_backup_are_refused(saved: Path) -> None:
    done = program("restore", saved / "backup", "--data-dir", saved / "data", PERPSTRADER_PRIVATE_KEY=KEY)
    assert (done.returncode, "holds a state.db already" in one_sentence(done)) == (2, True)
    done = program("backup", saved / "backup", "--data-dir", saved / "data")
    assert (done.returncode, "exists already" in one_sentence(done)) == (2, True)


def test_a_damaged_backup_restores_nothing(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved / "backup", tmp_path / "damaged")
    with (tmp_path / "damaged" / "state.db").open("r+b") as file:
        file.seek(5_000)
        file.write(b"!")
    cut = tmp_path / "cut.tar"
    cut.write_bytes((saved / "backup.tar").read_bytes()[:-60_000])
    for backup in (tmp_path / "damaged", cut):
        done = program("restore", backup, "--data-dir", tmp_path / "new", PERPSTRADER_PRIVATE_KEY=KEY)
        assert done.returncode == 4, done.stderr
        assert "state.db is not what was backed up" in done.stderr or "cut.tar is" in done.stderr
        assert not (tmp_path / "new").exists()


def test_a_backup_of_a_newer_program_restores_nothing(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved / "backup", tmp_path / "newer")
    state, manifest = tmp_path / "newer" / "state.db", tmp_path / "newer" / "backup.json"
    connection = sqlite3.connect(state)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    told = json.loads(manifest.read_text())
    told["files"][0]["sha256"] = hashlib.sha256(state.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(told))
    done = program("restore", tmp_path / "newer", "--data-dir", tmp_path / "new", PERPSTRADER_PRIVATE_KEY=KEY)
    assert (done.returncode, "schema version 99" in one_sentence(done)) == (4, True)
    assert not (tmp_path / "new").exists()


def test_a_backup_that_cannot_be_written_leaves_nothing(saved: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        target, said = Path("/proc/backup"), "/proc has 0 MB left"  # the one place where even root may not write
    else:
        tmp_path.chmod(0o500)
        target, said = tmp_path / "backup", "was not made"
    done = program("backup", target, "--data-dir", saved / "data")
    assert (done.returncode, said in one_sentence(done)) == (4, True)
    assert not target.exists()
