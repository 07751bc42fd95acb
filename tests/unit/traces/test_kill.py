"""Killed at any instant, the store keeps what it acknowledged."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.contract.traces.samples import executed, trace

from perpstrader.traces.baseline import TraceStore

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("build", ["baseline", "optimized"])
def test_S60_no_acknowledged_trace_is_lost_by_kill_9(build: str, tmp_path: Path, prove: bool) -> None:
    path = tmp_path / "traces.db"
    chance = random.Random(60)
    acknowledged: list[int] = []
    for _ in range(200 if prove else 20):
        first = acknowledged[-1] + 2 if acknowledged else 1
        acknowledged += store_until_killed(build, path, first, chance.randrange(1, 60), chance.random() * 0.004)
    asyncio.run(everything_is_there(path, acknowledged))


def store_until_killed(build: str, path: Path, first: int, count: int, linger_s: float) -> list[int]:
    """The numbers that a process acknowledged before it was killed, some microseconds after its ``count``-th answer."""
    command = [sys.executable, "-m", "tests.unit.traces.kill_target", build, str(path), str(first)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        answers = [child.stdout.readline() for _ in range(count)]
        try:
            child.wait(timeout=linger_s)
        except subprocess.TimeoutExpired:
            child.kill()
        answers += child.stdout.read().splitlines(keepends=True)
    return [int(answer) for answer in answers if answer.endswith("\n")]


async def everything_is_there(path: Path, acknowledged: list[int]) -> None:
    """Each acknowledged trace in its newest revision, no doubles, a whole chain, a sound file."""
    async with TraceStore.open(path) as store:
        for number in acknowledged:
            assert await store.get(f"t{number:06}") == (trace(number) if number % 3 else executed(number))
        finding = await store.verify()
        assert finding.ok, finding
        for number in acknowledged[-20:]:
            await store.store(trace(number) if number % 3 else executed(number))
        assert store.counters.duplicates == len(acknowledged[-20:])
        assert store._connection.pragma("integrity_check") == "ok"
