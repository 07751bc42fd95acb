"""The file: its pragmas, versions, indices; full disks, locks, damage; and the chain that names the first bad row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.contract.traces.samples import executed, trace

from perpstrader.domain import Trace
from perpstrader.traces import TraceError, TraceFileError, TraceRejectedError, chain, queries, rows, schema
from perpstrader.traces.baseline import TraceStore
from perpstrader.traces.codec import encode
from perpstrader.traces.files import transact

Body = Callable[[TraceStore], Awaitable[None]]


def run(path: Path | None, body: Body, **options: Any) -> None:
    async def main() -> None:
        async with TraceStore.open(path, **options) as store:
            await body(store)

    asyncio.run(main())


def fill(path: Path, *traces: Trace) -> None:
    async def body(store: TraceStore) -> None:
        for item in traces:
            await store.store(item)

    run(path, body)


def edit(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(("synchronous", "number"), [("NORMAL", 1), ("FULL", 2), ("OFF", 0)])
@pytest.mark.parametrize("read_only", [False, True])
def test_the_five_pragmas_read_back(tmp_path: Path, synchronous: str, number: int, read_only: bool) -> None:
    path = tmp_path / "traces.db"
    fill(path)

    async def body(store: TraceStore) -> None:
        read = {
            name: store._connection.pragma(name)
            for name in ("journal_mode", "synchronous", "cache_size", "temp_store", "mmap_size")
        }
        assert read == {
            "journal_mode": "wal",
            "synchronous": number,
            "cache_size": -65_536,
            "temp_store": 2,
            "mmap_size": 268_435_456,
        }

    run(path, body, synchronous=synchronous, read_only=read_only)


def test_the_sqlite_in_use_is_free_of_the_wal_reset_race() -> None:
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= (3, 51, 3)


def test_a_decision_that_led_to_an_order_is_committed_with_full_synchronisation(tmp_path: Path) -> None:
    async def body(store: TraceStore) -> None:
        seen: list[str] = []

        def log(cursor: apsw.Cursor, statement: str, values: object) -> bool:
            if statement.startswith(("BEGIN", "COMMIT", "PRAGMA")):
                seen.append(statement)
            return True

        store._connection.exec_trace = log
        await store.store(trace(1))
        assert seen == ["BEGIN IMMEDIATE", "COMMIT"]
        seen.clear()
        await store.store(executed(2))
        assert seen == ["PRAGMA synchronous = FULL", "BEGIN IMMEDIATE", "COMMIT", "PRAGMA synchronous = NORMAL"]

    run(tmp_path / "traces.db", body)


def test_opening_again_migrates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "traces.db"
    fill(path, trace(1))
    fill(path, trace(2))
    connection = apsw.Connection(str(path))
    assert connection.pragma("user_version") == schema.VERSION
    assert connection.execute("SELECT count(*) FROM trace").get == 2


def test_a_file_from_a_newer_program_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    fill(path, trace(1))
    edit(path, "PRAGMA user_version = 99")
    with pytest.raises(TraceFileError, match=r"version 99, this program knows up to"):
        fill(path, trace(2))
    edit(path, f"PRAGMA user_version = {schema.VERSION}")
    fill(path, trace(2))


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    edit(path, "CREATE TABLE intents (number INTEGER)")
    with pytest.raises(TraceFileError, match="something else"):
        fill(path)
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT group_concat(name) FROM sqlite_schema").get == "intents"


def test_what_is_no_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    path.write_text("this is not a database, whatever its name says" * 100)
    with pytest.raises(TraceFileError, match="move it aside"):
        fill(path)
    with pytest.raises(TraceFileError, match="cannot be opened"):
        run(tmp_path / "missing.db", lambda store: store.stats(), read_only=True)
    with pytest.raises(TraceFileError):
        fill(tmp_path)


def test_a_reader_beside_the_writer_sees_every_commit_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"

    async def main() -> None:
        async with TraceStore.open(path) as writer, TraceStore.open(path, read_only=True) as reader:
            for number in range(1, 5):
                await writer.store(trace(number))
                assert await reader.get(f"t{number:06}") == trace(number)
            with pytest.raises(TraceError):
                await reader.store(trace(9))
            assert reader.counters.dropped == 1
            assert (await writer.stats()).total == 4

    asyncio.run(main())


async def store_until_full(store: TraceStore) -> int:
    """How many were acknowledged before one was refused for want of space."""
    for number in range(1, 1_000):
        try:
            await store.store(trace(number))
        except TraceError as error:
            if "is full" not in str(error):
                raise
            return number - 1
    raise AssertionError("the disk never filled")


def test_S62_a_full_disk_drops_the_trace_says_so_and_recovers(tmp_path: Path) -> None:
    async def body(store: TraceStore) -> None:
        pages = store._connection.pragma("page_count")
        store._connection.execute(f"PRAGMA max_page_count = {pages + 6}")
        stored = await store_until_full(store)
        assert store.counters.dropped == 1
        with pytest.raises(TraceError, match="full"):
            await store.store(trace(1_000, symbol=None, regime="x" * 60_000))
        counters = store.counters
        assert (counters.stored, counters.dropped, counters.dead) == (stored, 2, 0)
        assert (await store.stats()).total == stored > 0
        store._connection.execute(f"PRAGMA max_page_count = {pages + 1_000}")
        await store.store(trace(2_000))
        assert (await store.verify()).ok

    run(tmp_path / "traces.db", body)


def test_S62_a_lock_of_another_process_costs_the_traces_of_that_time_only(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"

    async def body(store: TraceStore) -> None:
        await store.store(trace(1))
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TraceError, match="locked by another process"):
            await store.store(trace(2))
        assert await store.get("t000001") == trace(1)
        other.execute("ROLLBACK")
        await store.store(trace(3))
        assert store.counters.dropped == 1
        assert (await store.verify()).ok

    run(path, body, busy_ms=1)


def test_TS16_a_damaged_page_is_an_error_and_not_an_empty_answer(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    fill(path, *(trace(number) for number in range(1, 200)))
    data = bytearray(path.read_bytes())
    data[4096 * 3 :] = b"\xa5" * (len(data) - 4096 * 3)
    path.write_bytes(data)
    with pytest.raises(TraceFileError, match="damaged"):
        run(path, lambda store: store.recent())


TAMPERING: list[tuple[str, list[str], int, str | None]] = [
    (
        "a changed payload",
        ["UPDATE payload SET data = cast(replace(data, 'trend', 'brand') AS BLOB) WHERE entry = 4"],
        4,
        "t000004",
    ),
    ("a flipped digest", ["UPDATE payload SET digest = zeroblob(32) WHERE entry = 2"], 2, "t000002"),
    ("a removed payload", ["DELETE FROM payload WHERE entry = 5"], 5, None),
    ("the newest payload removed", ["DELETE FROM payload WHERE entry = 9"], 9, "t000009"),
    ("a removed summary", ["DELETE FROM trace WHERE seq = 3"], 3, None),
    ("a changed summary", ["UPDATE trace SET reason = 'HOLD' WHERE seq = 6"], 6, "t000006"),
    ("a renamed trace", ["UPDATE trace SET uid = 'other' WHERE seq = 7"], 7, "other"),
    (
        "two swapped payloads",
        [
            "CREATE TEMP TABLE kept AS SELECT * FROM payload WHERE entry IN (2, 3)",
            "UPDATE payload SET data = (SELECT data FROM kept WHERE entry = 5 - payload.entry) WHERE entry IN (2, 3)",
        ],
        2,
        "t000002",
    ),
]


@pytest.mark.parametrize(
    ("statements", "entry", "uid"), [row[1:] for row in TAMPERING], ids=[row[0] for row in TAMPERING]
)
def test_the_chain_names_the_first_bad_row(tmp_path: Path, statements: list[str], entry: int, uid: str | None) -> None:
    path = tmp_path / "traces.db"
    fill(path, *(trace(number) for number in range(1, 10)))

    async def look(store: TraceStore) -> None:
        finding = await store.verify()
        assert (finding.ok, finding.checked) == (False, entry - 1)
        assert (finding.bad_entry, finding.bad_id) == (entry, uid)
        assert finding.problem

    edit(path, *statements)
    run(path, look)


SEARCHES: list[tuple[dict[str, Any], str]] = [
    ({}, "trace_time"),
    ({"symbol": "BTC"}, "trace_symbol"),
    ({"symbol": "BTC", "since_ms": 1, "until_ms": 9}, "trace_symbol"),
    ({"strategy": "trend"}, "trace_strategy"),
    ({"reason": "DAILY_LOSS"}, "trace_reason"),
    ({"verdict": "approved"}, "trace_approved"),
    ({"executed": True}, "trace_executed"),
    ({"error": True}, "trace_error"),
    ({"since_ms": 1}, "trace_time"),
]


@pytest.mark.parametrize(("filters", "index"), SEARCHES, ids=lambda value: str(value))
def test_every_search_goes_by_an_index_in_its_order(filters: dict[str, Any], index: str) -> None:
    async def body(store: TraceStore) -> None:
        for cursor in (None, "5:5"):
            sql, values = queries.find_sql(filters, cursor)
            plan = [row[3] for row in store._connection.execute(f"EXPLAIN QUERY PLAN {sql}", (*values, 50))]
            assert len(plan) == 1, plan
            assert f"USING INDEX {index}" in plan[0], plan

    run(None, body)


def test_no_read_walks_the_payloads() -> None:
    async def body(store: TraceStore) -> None:
        statements: list[tuple[str, Any]] = []

        def log(cursor: apsw.Cursor, statement: str, values: Any) -> bool:
            statements.append((statement, values))
            return True

        await store.store(trace(1))
        store._connection.exec_trace = log
        await store.get("t000001")
        await store.recent()
        await store.recent(strategy="trend")
        await store.between(0, 1)
        await store.between(0, 1, "BTC")
        await store.unanalyzed()
        await store.near(trace(1).accepted_ms, "BTC")
        await store.near(0, "BTC")
        store._connection.exec_trace = None
        assert len(statements) > 10
        for statement, values in statements:
            for row in store._connection.execute(f"EXPLAIN QUERY PLAN {statement}", values):
                assert "SCAN payload" not in row[3], statement
                assert "SCAN cycle_note" not in row[3], statement
                assert "TEMP B-TREE" not in row[3], statement

    run(None, body)


def test_a_rejected_trace_leaves_no_trace_of_itself_in_the_chain(tmp_path: Path) -> None:
    async def body(store: TraceStore) -> None:
        await store.store(trace(1))
        with pytest.raises(TraceRejectedError):
            await store.store(trace(2, sequence=2**63))
        await store.store(trace(3))
        assert [row.seq for row in await store.summaries()] == [2, 1]
        finding = await store.verify()
        assert (finding.ok, finding.checked) == (True, 2)

    run(tmp_path / "traces.db", body)


def test_what_another_process_writes_during_a_verification_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "traces.db"
    fill(path, *(trace(number) for number in range(1, 6)))
    real, late = chain._problem, [trace(7), trace(6)]
    other = apsw.Connection(str(path))

    def write(item: Trace) -> None:
        transact(other, lambda: rows.insert_trace(other, encode(item), rows.Tail.read(other)))

    def meddling(connection: apsw.Connection, row: tuple[Any, ...], previous: bytes) -> str:
        if late:
            write(late.pop())
        return real(connection, row, previous)

    async def body(store: TraceStore) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(chain, "_problem", meddling)
            found = await store.verify()
        assert (found.ok, found.checked) == (True, 5)
        assert (await store.verify()).checked == 7

    run(path, body, read_only=True)
    other.close()
