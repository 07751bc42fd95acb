"""The running program ships its decisions to a real server, through an outage, and never says the password."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from tests.e2e.killing import BUSY
from tests.e2e.processes import FAST, program, started, wait_until
from tests.shared_server import name_of, shared_server

from perpstrader.traces import TraceStore
from perpstrader.traces.postgres.store import SharedStore


async def same(path: Path, url: str) -> int:
    """How many decisions both records hold; fails where they differ."""
    async with TraceStore.open(path, read_only=True) as local, SharedStore.open(url) as shared:
        ours, theirs = await local.between(0, 2**60), await shared.between(0, 2**60)
        assert [item.id for item in theirs] == [item.id for item in ours]
        assert theirs == ours
        finding = await shared.verify()
        assert finding.ok, finding.problem
        return len(ours)


def test_a_run_ships_through_an_outage_and_is_explained_from_the_shared_record(tmp_path: Path) -> None:
    with shared_server() as server:
        url = server.new_database()
        given = {"TRACE_POSTGRES_URL": url, "PERPSTRADER_TRADER__STRATEGIES": BUSY}
        run = ("run", "--duration", "15s", *FAST, "--data-dir", tmp_path, "--json")

        def shipped() -> bool:
            there = server.psql(name_of(url), "SELECT to_regclass('perpstrader.trace') IS NOT NULL") == "t"
            return there and server.psql(name_of(url), "SELECT count(*) > 3 FROM perpstrader.trace") == "t"

        with started(*run, **given) as process:
            wait_until(shipped, process)
            server.stop()
            time.sleep(4)
            server.start()
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
        summary = json.loads(out)
        assert summary["clean_exit"]
        assert "very-secret" not in out + err
        assert asyncio.run(same(tmp_path / "traces.db", url)) > 5
        listed = json.loads(program("traces", "list", "--store", "shared", "--json", **given).stdout)["traces"]
        told = program("traces", "explain", listed[0]["id"], "--store", url)
        assert told.returncode == 0, told.stderr
        for file in tmp_path.rglob("*"):
            assert not file.is_file() or b"very-secret" not in file.read_bytes(), file
