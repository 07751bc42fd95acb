"""The verbs that move the record: to another version, months to files and back."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import os
from pathlib import Path

import pytest
from tests.contract.traces.samples import executed, trace
from tests.contract.traces.test_archive import at
from tests.contract.traces.test_bars import BARS, saw
from tests.unit.cli.support import run_cli

from perpstrader.traces import TraceStore, schema

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A record of three months."""

    async def main() -> None:
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for number, month in ((1, 1), (2, 1), (5, 2), (9, 5)):
                await store.store(at(number, month, 3))

    asyncio.run(main())
    return tmp_path


def test_months_go_to_files_are_told_and_come_back(folder: Path, capsys: Capture) -> None:
    place = ("--data-dir", folder)
    assert run_cli(capsys, "traces", "archive", *place)[0] == 2  # neither the option nor the setting says how old
    code, out, _ = run_cli(capsys, "traces", "archive", "--days", 40, *place)
    assert (code, "2025-01, 2025-02: moved to" in out) == (0, True)
    assert len(list((folder / "traces" / "cold").iterdir())) == 2
    code, out, _ = run_cli(capsys, "traces", "archive", "--days", 40, *place)
    assert (code, "no whole month ended 40 days or more" in out) == (0, True)
    assert "2 months archived (2025-01 to 2025-02)" in run_cli(capsys, "traces", "list", *place)[1]
    assert json.loads(run_cli(capsys, "traces", "list", "--json", *place)[1])["archived"] == ["2025-01", "2025-02"]
    assert "2 months archived" in run_cli(capsys, "traces", "verify", *place)[1]
    assert run_cli(capsys, "traces", "restore", "2024-12", *place)[0] == 1
    code, out, _ = run_cli(capsys, "traces", "restore", "2025-01", "--json", *place)
    assert (code, json.loads(out)["restored"]) == (0, ["2025-01", "2025-02"])
    told = json.loads(run_cli(capsys, "traces", "list", "--json", *place)[1])
    assert (len(told["traces"]), told["archived"]) == (4, [])


def test_a_record_goes_down_for_an_older_program_and_up_again(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ("--data-dir", folder)
    code, out, _ = run_cli(capsys, "traces", "migrate", "--to", 4, *place)
    assert (code, f"has version 4 now, it had {schema.VERSION}" in out) == (0, True)
    assert (folder / f"traces.db.v{schema.VERSION}-1.backup").exists()
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, _, err = run_cli(capsys, "traces", "migrate", "--to", 1, *place)
    assert (code, "cannot keep" in err) == (2, True)
    code, out, _ = run_cli(capsys, "traces", "migrate", "--to", 1, "--yes", "--json", *place)
    assert (code, json.loads(out)["after"]) == (0, 1)
    assert run_cli(capsys, "traces", "migrate", "--to", 99, *place)[0] == 1
    assert "has version" in run_cli(capsys, "traces", "migrate", *place)[1]
    assert "already" in run_cli(capsys, "traces", "migrate", *place)[1]
    assert run_cli(capsys, "traces", "verify", *place)[0] == 0


def test_no_record_is_migrated_under_a_running_trader(folder: Path, capsys: Capture) -> None:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        code, _, err = run_cli(capsys, "traces", "migrate", "--to", 4, "--data-dir", folder)
    finally:
        os.close(fd)
    assert (code, "stop it first" in err) == (1, True)


def test_show_and_export_tell_the_bars_that_a_decision_saw(tmp_path: Path, capsys: Capture) -> None:
    seen = saw(1, BARS[:30])

    async def main() -> None:
        async with TraceStore.open(tmp_path / "traces.db") as store:
            await store.store(seen)
            await store.store(executed(2))
            await store.store(trace(3))

    asyncio.run(main())
    place = ("--data-dir", tmp_path)
    told = json.loads(run_cli(capsys, "traces", "show", seen.id, "--json", *place)[1])
    assert [bar["open_ms"] for bar in told["view"]["history"]] == [bar.open_ms for bar in BARS[:30]]
    assert run_cli(capsys, "traces", "export", "--jsonl", tmp_path / "out.jsonl", *place)[0] == 0
    line = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert (len(line["view"]["history"]), line["view"]["stored"]) == (30, None)
