"""Killed with signal 9 at any moment, the store has everything that it answered for, and nothing by halves."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.unit.state.state_samples import opened, run

ROOT = Path(__file__).resolve().parents[3]


def _told_before_death(path: Path, first: int, wanted: int, *mode: str) -> list[str]:
    """Start a writer, kill it once it told ``wanted`` changes, and return all that it told."""
    command = [sys.executable, "-m", "tests.unit.state.crash_writer", str(path), str(first), *mode]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment, text=True) as writer:
        assert writer.stdout is not None
        told: list[str] = []
        for line in writer.stdout:
            told.append(line.strip())
            if len(told) >= wanted:
                writer.kill()
    return told


async def _lost(path: Path, told: list[str]) -> list[str]:
    """What was told and is not in the store; also checks that nothing is there by halves."""
    async with await opened(path) as store:
        orders = await store.read(lambda tx: tx.intents.recent_orders(10**6))
        halts = await store.read(lambda tx: tx.halts.history(10**6))
        fills = await store.read(lambda tx: tx.ledger.fills_since(0))
        totals = await store.read(lambda tx: tx.ledger.totals())
        intents = store._connection.execute("SELECT count(*) FROM intents").get
    assert intents == len(orders), "an intent is stored without its order"
    assert totals.fills == len(fills), "a fill is stored without its total"
    present = {f"intent {one.intent.number}" for one in orders} | {f"fill {one.tid}" for one in fills}
    present |= {f"halt {one.halt.since_ms}" for one in halts}
    present |= {f"release {one.released_ms}" for one in halts if one.released_ms is not None}
    return [line for line in told if line not in present]


def test_S40_S10_no_answered_change_is_lost_to_a_kill(
    tmp_path: Path, prove: bool, record_property: Callable[[str, object], None]
) -> None:
    path, chance, told = tmp_path / "state.db", random.Random(20), list[str]()
    kills = 200 if prove else 10
    for kill in range(kills):
        told += _told_before_death(path, (kill + 1) * 40_000, chance.randint(1, 60))
        assert run(_lost(path, told)) == []
    assert len(told) >= kills
    record_property("kills", kills)
    record_property("answered_changes", len(told))


def test_S40_S10_the_kill_test_notices_an_answer_before_the_commit(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    told = _told_before_death(path, 0, 100, "early")
    assert told == ["intent 1"]
    assert run(_lost(path, told)) == ["intent 1"]
