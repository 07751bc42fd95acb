"""After a power cut every trace is there whose durability was promised, the chain is whole and the file sound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest
from tests.contract.traces.samples import executed, trace
from tests.contract.traces.test_bars import BARS, saw
from tests.unit.traces.power import Disk

from perpstrader.domain import Trace
from perpstrader.traces import files, schema
from perpstrader.traces.baseline import TraceStore as Plain
from perpstrader.traces.store import TraceStore

Opener = Callable[..., AbstractAsyncContextManager[Any]]
BUILDS: dict[str, Opener] = {"baseline": Plain.open, "optimized": TraceStore.open}


@pytest.mark.parametrize("build", sorted(BUILDS))
@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
def test_S60_no_promised_trace_is_lost_by_a_power_cut(
    build: str, synchronous: str, tmp_path: Path, prove: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_short = lost = 0
    for seed in range(100 if prove else 10):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        promised, acknowledged, there = asyncio.run(_round(build, synchronous, folder, seed, monkeypatch))
        assert not promised - there
        cut_short += bool(acknowledged)
        lost += len(acknowledged - there)
    assert cut_short
    if synchronous == "FULL":
        assert lost == 0


def test_the_disk_does_lose_what_was_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof above can fail: without any sync, acknowledged traces are lost, or the file is."""
    missing = 0
    for seed in range(5):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        try:
            promised, _, there = asyncio.run(_round("optimized", "OFF", folder, seed, monkeypatch))
        except files.TraceError:
            missing += 1
        else:
            missing += len(promised - there)
    assert missing


async def _round(
    build: str, synchronous: str, folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[set[str], set[str], set[str]]:
    """Ids whose survival is promised, all that were acknowledged, and those that are there after the cut."""
    rng = Random(f"{build} {synchronous} {seed}")
    name = f"cut-{build}-{synchronous}-{seed}"
    disk = Disk(name)
    promised: set[str] = set()
    acknowledged: set[str] = set()
    with monkeypatch.context() as patch:
        # a disk that is written in Python shares no memory between connections: one holds the file alone
        patch.setattr(files.apsw, "Connection", partial(apsw.Connection, vfs=name))
        patch.setattr(schema, "prepare_file", _exclusive(schema.prepare_file))
        async with BUILDS[build](folder / "traces.db", synchronous=synchronous) as store:
            for first in range(1, rng.randrange(10, 60), 4):
                batch = [_one(n, ordered=rng.random() < 0.1) for n in range(first, first + 4)]
                await asyncio.gather(*(store.store(one) for one in batch))
                acknowledged |= {one.id for one in batch}
                if synchronous != "NORMAL":
                    promised |= {one.id for one in batch}
                elif any(one.led_to_order for one in batch):
                    promised |= _before(acknowledged, batch, build)
            after = folder / "after"
            after.mkdir()
            disk.cut(after, rng)
    async with Plain.open(after / "traces.db") as store:
        finding = await store.verify()
        assert finding.ok, finding
        assert store._connection.pragma("integrity_check") == "ok"
        there = {one.id for one in await store.between(0, 2**60)}
        for one_id in sorted(promised):
            number = int(one_id[1:])
            again = await store.get(one_id)
            assert again in (_one(number, ordered=True), _one(number, ordered=False), None)
    return promised, acknowledged, there


def _one(number: int, *, ordered: bool) -> Trace:
    """Every decision saw the bars before it, which many share."""
    return saw(number, BARS[number : number + 30], executed if ordered else trace)


def _before(acknowledged: set[str], batch: list[Any], build: str) -> set[str]:
    """A fully synced commit carries all before it; the plain store commits each trace by itself, in order."""
    if build == "optimized":
        return set(acknowledged)
    last = max(one.id for one in batch if one.led_to_order)
    return {one for one in acknowledged if one <= last}


def _exclusive(prepare: Callable[..., None]) -> Callable[..., None]:
    def prepared(connection: apsw.Connection, *args: Any, **kwargs: Any) -> None:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        prepare(connection, *args, **kwargs)

    return prepared
