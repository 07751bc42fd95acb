"""Schema versions: up, down and up again keep every decision, after a copy; a newer file is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from tests.contract.traces.samples import executed, trace
from tests.contract.traces.test_bars import BARS, OPENERS, saw

from perpstrader.domain import Trace
from perpstrader.traces import TraceError, TraceFileError, schema
from perpstrader.traces.migrations import LOSES, migrate, version_of
from perpstrader.traces.records import CycleNote, NoteCode
from perpstrader.traces.store import TraceStore

BUILDS = sorted(OPENERS)
TRACES = [saw(1, BARS[:40]), executed(2), saw(3, BARS[5:60], executed), trace(4, errors=("broken",), completed=False)]


def fill(path: Path, build: str = "optimized", traces: list[Trace] = TRACES) -> None:
    async def main() -> None:
        async with OPENERS[build](path) as store:
            for item in traces:
                await store.store(item)
            await store.mark_analyzed([traces[0].id], "batch-1")
            await store.store_notes([CycleNote("BTC", "5m", BARS[0].close_ms, NoteCode.NO_SIGNAL, "quiet")])

    asyncio.run(main())


def everything(path: Path, build: str = "optimized") -> tuple[Any, ...]:
    """All that a reader sees; the file must be sound."""

    async def main() -> tuple[Any, ...]:
        async with OPENERS[build](path) as store:
            finding = await store.verify()
            assert finding.ok, finding
            stats = msgspec.structs.replace(await store.stats(), counters=None)
            return await store.between(0, 2**60), await store.summaries(50), stats, await store.outcomes(("symbol",))

    return asyncio.run(main())


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_down_and_up_again_keeps_every_decision(build: str, version: int, tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    fill(path, build)
    before = everything(path, build)
    done = migrate(path, version)
    assert (done.before, done.after, version_of(path)) == (schema.VERSION, version, version)
    assert everything(path, build) == before
    assert version_of(path) == schema.VERSION
    assert done.copy is not None
    assert everything(Path(done.copy), build) == before


def test_each_step_down_leaves_the_tables_of_that_version(tmp_path: Path) -> None:
    path, fresh = tmp_path / "traces.db", apsw.Connection(":memory:")
    fill(path)
    shapes = []
    for statements in schema.MIGRATIONS:
        for statement in statements:
            fresh.execute(statement)
        shapes.append(names(fresh))
    for version in range(schema.VERSION, 0, -1):
        migrate(path, version)
        there = apsw.Connection(str(path))
        assert names(there) == shapes[version - 1]
        there.close()
    for version in range(1, schema.VERSION + 1):
        migrate(path, version)
        there = apsw.Connection(str(path))
        assert names(there) == shapes[version - 1]
        there.close()
    assert everything(path)[0] == TRACES


def names(connection: apsw.Connection) -> dict[str, set[str]]:
    """Tables with their columns, and what else there is."""
    rows = connection.execute("SELECT type, name FROM sqlite_schema").fetchall()
    columns = {n: {row[1] for row in connection.execute(f"PRAGMA table_info({n})")} for t, n in rows if t == "table"}
    return {**columns, "others": {f"{t} {n}" for t, n in rows if t != "table"}}


def test_an_old_program_reads_a_file_that_was_brought_down(tmp_path: Path) -> None:
    """Version 1 knew plain payloads and no bars apart: everything is in the JSON of the decision."""
    path = tmp_path / "traces.db"
    fill(path)
    assert migrate(path, 1).loses == (LOSES[4], LOSES[3], LOSES[2])
    connection = apsw.Connection(str(path))
    rows = connection.execute("SELECT codec, data FROM payload ORDER BY entry").fetchall()
    connection.close()
    assert {codec for codec, _ in rows} == {0}
    read = [msgspec.json.decode(data, type=Trace) for _, data in rows]
    assert [len(item.view.history) for item in read if item.view is not None] == [40, 55]


def test_updates_after_the_way_down_and_up_are_of_the_same_decision(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    fill(path)
    migrate(path, 4)

    async def main() -> None:
        async with TraceStore.open(path) as store:
            for item in TRACES:
                await store.store(item)
            assert store.counters.duplicates == len(TRACES)
            await store.update(msgspec.structs.replace(TRACES[2], fills=()))
            assert (await store.verify()).ok

    asyncio.run(main())


def test_opening_a_file_whose_content_the_way_up_changes_keeps_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    fill(path)
    migrate(path, 2)
    copies = set(tmp_path.glob("*.backup"))
    assert everything(path)[0] == TRACES
    [kept] = set(tmp_path.glob("*.backup")) - copies
    assert version_of(kept) == 2
    assert kept.stat().st_mode & 0o077 == 0
    migrate(path, 4)
    copies = set(tmp_path.glob("*.backup"))
    assert everything(path)[0] == TRACES  # the steps from 4 on only add
    assert set(tmp_path.glob("*.backup")) == copies


def test_without_room_for_the_copy_nothing_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "traces.db"
    fill(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("perpstrader.traces.copies.os.replace", full)
    with pytest.raises(TraceFileError, match=r"No space left.*nothing was changed"):
        migrate(path, 3)
    assert version_of(path) == schema.VERSION
    assert [each.name for each in tmp_path.glob("*backup*")] == []


def test_a_step_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "traces.db"
    fill(path)
    broken = (*schema.DOWN[:2], (*schema.DOWN[2], "DROP TABLE nothing"), *schema.DOWN[3:])
    monkeypatch.setattr(schema, "DOWN", broken)
    with pytest.raises(TraceError):
        migrate(path, 1)
    assert version_of(path) == schema.VERSION
    assert everything(path)[0] == TRACES


def test_a_newer_file_is_refused_with_the_verb_that_helps(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    fill(path)
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    sentence = f"knows up to {schema.VERSION}; .*`perpstrader traces migrate --to {schema.VERSION}`"
    with pytest.raises(TraceFileError, match=sentence):
        fill(path)
    with pytest.raises(TraceFileError, match="knows up to"):
        migrate(path, 1)
    with pytest.raises(TraceError, match="it knows 1 to"):
        migrate(path, 0)


def test_pruned_and_dropped_decisions_go_down_and_up_too(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    fill(path)
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE payload SET codec = 255, data = x'' WHERE entry = 2")
    connection.close()
    before = everything(path)
    migrate(path, 1)
    assert everything(path) == before
