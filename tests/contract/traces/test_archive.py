"""Old months move to files and come back byte for byte; interrupted anywhere, nothing is lost."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from pyarrow import parquet
from tests.contract.traces.samples import executed, trace
from tests.contract.traces.test_bars import BARS, OPENERS, saw

from perpstrader.domain import Trace
from perpstrader.traces import TraceError, TraceRejectedError, cold
from perpstrader.traces.records import MIN_RETENTION_MS, Retention

DAY = MIN_RETENTION_MS
TABLES = ("trace", "payload", "daily", "overall", "meta", "cycle_note", "dead_letter")


@pytest.fixture(params=sorted(OPENERS), scope="module")
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """A build, and the file that it made of ``year``; the proofs work on copies."""
    path = tmp_path_factory.mktemp("year") / "traces.db"

    async def main() -> None:
        async with OPENERS[request.param](path) as store:
            await fill(store)

    asyncio.run(main())
    return str(request.param), path.read_bytes()


@pytest.fixture
def build(filled: tuple[str, bytes], tmp_path: Path) -> str:
    (tmp_path / "traces.db").write_bytes(filled[1])
    return filled[0]


def play(build: str, body: Callable[[Any], Awaitable[None]], path: Path) -> None:
    async def main() -> None:
        async with OPENERS[build](path) as store:
            await body(store)

    asyncio.run(main())


def at(number: int, month: int, day: int) -> Trace:
    """A decision of 2025, every fifth with an order; each saw the bars of its time."""
    moment = int(datetime(2025, month, day, 12, tzinfo=UTC).timestamp() * 1000) + number
    made = saw(number, BARS[number : number + 20], executed if number % 5 == 0 else trace)
    return msgspec.structs.replace(made, accepted_ms=moment)


def year() -> list[Trace]:
    """From January to May, 130 decisions a month."""
    return [at((month - 1) * 130 + n, month, 1 + n // 5) for month in range(1, 6) for n in range(130)]


async def fill(store: Any) -> None:
    for item in year():
        store.store(item) if hasattr(store, "_batches") else await store.store(item)
    await store.flush()
    await store.mark_analyzed(["t000003", "t000200"], "b1")
    later = msgspec.structs.replace(at(10, 1, 3), fills=())  # a revision in May of a decision of January
    await store.update(later)


def dump(path: Path, *tables: str) -> dict[str, list[tuple[Any, ...]]]:
    connection = apsw.Connection(str(path))
    try:
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
            for table in tables or TABLES
        }
    finally:
        connection.close()


def without_seals(content: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """What must come back as it was; where the chain begins and what was swept are not content."""
    kept = [row for row in content["meta"] if row[0] not in ("sealed", "thawed_ms", "bars_swept")]
    return {**content, "meta": kept}


def test_whole_months_move_to_files_and_come_back_byte_for_byte(build: str, tmp_path: Path) -> None:
    path, files = tmp_path / "traces.db", tmp_path / "traces" / "cold"
    before: dict[str, Any] = {}
    traces: list[Trace] = []

    async def put_away(store: Any) -> None:
        before.update(dump(path))
        traces.extend(await store.between(0, 2**60))
        kept = await store.retain(Retention(cold_ms=45 * DAY))
        assert kept.archived == ("2025-01", "2025-02", "2025-03")
        assert sorted(file.name for file in files.iterdir()) == [f"2025-0{n}.parquet" for n in (1, 2, 3)]
        assert {file.stat().st_mode & 0o077 for file in files.iterdir()} == {0}
        found = await store.verify()
        assert (found.ok, found.archived) == (True, kept.archived)
        page = await store.find(limit=1_000)
        assert page.archived == kept.archived
        assert len(page.rows) == 2 * 130 + 1  # the revised one of January stays
        stats = await store.stats()
        assert (stats.total, stats.archived) == (261, kept.archived)
        assert (await store.get("t000300")) is None
        assert await store.retain(Retention(cold_ms=45 * DAY)) == kept.__class__(freed_bytes=0)
        days = await store.outcomes(("symbol",))
        assert days[0].decisions == 650

    async def fetch(store: Any) -> None:
        with pytest.raises(TraceError, match="archived are: 2025-01, 2025-02, 2025-03"):
            await store.restore_month("2024-12")
        assert await store.restore_month("2025-03") == ["2025-03"]
        assert (await store.verify()).ok
        assert len((await store.find(limit=1_000)).rows) == 3 * 130 + 1
        assert await store.restore_month("2025-01") == ["2025-01", "2025-02"]
        found = await store.verify()
        assert (found.ok, found.archived, found.checked) == (True, (), 651)
        assert await store.between(0, 2**60) == traces
        assert (await store.get("t000300")) == at(300, 3, 9)
        assert list(files.iterdir()) == []

    play(build, put_away, path)
    other = next(name for name in OPENERS if name != build)
    play(other, fetch, path)
    assert without_seals(dump(path)) == without_seals(before)


def test_a_month_that_was_brought_back_stays_a_week_and_goes_again(build: str, tmp_path: Path) -> None:
    async def body(store: Any) -> None:
        await store.archive(45 * DAY)
        await store.restore_month("2025-03")
        kept = await store.retain(Retention(cold_ms=45 * DAY, trace_ms=40 * DAY))  # nor is it pruned for its age
        assert (kept.archived, kept.traces) == ((), 0)
        assert await store.archive(45 * DAY, thawed=True) == ["2025-03"]
        await store.restore_month("2025-03")
        await store.store(at(900, 6, 15))
        assert (await store.retain(Retention(cold_ms=45 * DAY))).archived == ("2025-03", "2025-04")
        assert (await store.verify()).ok

    play(build, body, tmp_path / "traces.db")


def test_the_file_reads_alone(build: str, tmp_path: Path) -> None:
    async def body(store: Any) -> None:
        await store.archive(45 * DAY)

    play(build, body, tmp_path / "traces.db")
    table = parquet.read_table(tmp_path / "traces" / "cold" / "2025-02.parquet").to_pylist()
    counts = {name: sum(row["table"] == name for row in table) for name in ("trace", "payload", "trace_bars", "candle")}
    assert counts == {"trace": 130, "payload": 130, "trace_bars": 130, "candle": 149}


@pytest.mark.parametrize("stop", range(1, 8))
def test_interrupted_anywhere_nothing_is_lost_and_the_next_call_goes_on(
    build: str, tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies before a transaction; on the way out, and on the way back."""
    path = tmp_path / "traces.db"
    before: dict[str, Any] = {}
    calls = 0

    class Killed(BaseException):
        pass

    def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
        def work(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == stop:
                raise Killed
            return real(*args, **kwargs)

        return work

    async def interrupted(store: Any) -> None:
        nonlocal calls
        before.update(dump(path))
        for name, work in (("take", lambda: store.archive(45 * DAY)), ("give_back", restore(store))):
            calls = 0
            with monkeypatch.context() as patch:
                patch.setattr(cold, name, deadly(getattr(cold, name)))
                try:
                    await work()
                except Killed:
                    found = await store.verify()
                    assert found.ok, found
                await work()
            assert (await store.verify()).ok

    def restore(store: Any) -> Callable[[], Awaitable[Any]]:
        async def back() -> None:
            async def archived() -> list[str]:
                return list((await store.find(limit=1)).archived)

            for month in (await archived())[:1]:
                await store.restore_month(month)

        return back

    play(build, interrupted, path)
    assert without_seals(dump(path)) == without_seals(before)


def test_what_changes_meanwhile_stays_and_begins_the_next_part(
    build: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "traces.db"
    real = cold.take

    def meddling(connection: apsw.Connection, **kwargs: Any) -> bool:
        if kwargs["first"] > 100:
            connection.execute("UPDATE trace SET batch = 'late' WHERE seq = ?", (kwargs["first"] + 1,))
        return real(connection, **kwargs)

    async def body(store: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(cold, "take", meddling)
            assert await store.archive(75 * DAY) == []
        assert (await store.find(limit=1)).archived == ("2025-01",)
        assert (await store.verify()).ok
        assert await store.archive(75 * DAY) == ["2025-01", "2025-02"]
        names = sorted(file.name for file in (tmp_path / "traces" / "cold").iterdir())
        assert names == ["2025-01-2.parquet", "2025-01.parquet", "2025-02.parquet"]
        assert (await store.verify()).ok
        assert await store.restore_month("2025-01") == ["2025-01", "2025-02"]
        assert (await store.verify()).checked == 651
        assert (await store.find(limit=1)).archived == ()

    play(build, body, path)


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_a_missing_or_changed_file_is_told_and_nothing_is_brought_back(build: str, tmp_path: Path, harm: str) -> None:
    file = tmp_path / "traces" / "cold" / "2025-02.parquet"

    async def body(store: Any) -> None:
        await store.archive(45 * DAY)
        if harm == "missing":
            file.unlink()
        else:
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
        found = await store.verify()
        assert not found.ok
        assert "2025-02" in found.problem
        assert harm in found.problem
        with pytest.raises(TraceError, match="missing or was changed"):
            await store.restore_month("2025-02")
        assert await store.find(limit=1)

    play(build, body, tmp_path / "traces.db")


def test_what_is_pruned_behind_archived_months_is_no_loss_and_they_stay_where_they_are(
    build: str, tmp_path: Path
) -> None:
    """What lies between an archived month and the record was removed on purpose, and can be gone on from no more."""
    files = tmp_path / "traces" / "cold"

    async def body(store: Any) -> None:
        assert await store.archive(75 * DAY) == ["2025-01", "2025-02"]
        april = int(datetime(2025, 4, 1, tzinfo=UTC).timestamp() * 1000)
        assert await store.prune(before_ms=april) == 130
        found = await store.verify()
        assert (found.ok, found.problem) == (True, "")
        assert await store.archive(20 * DAY, thawed=True) == ["2025-04"]
        assert (await store.verify()).ok
        assert await store.restore_month("2025-04") == ["2025-04"]
        for month in ("2025-01", "2025-02"):
            with pytest.raises(TraceError, match="2025-02 was pruned from the record"):
                await store.restore_month(month)
        assert sorted(file.name for file in files.iterdir()) == ["2025-01.parquet", "2025-02.parquet"]
        assert (await store.verify()).ok
        connection = apsw.Connection(str(tmp_path / "traces.db"))
        connection.execute("DELETE FROM meta WHERE key = 'pruned'")
        connection.close()
        assert "does not follow" in (await store.verify()).problem

    play(build, body, tmp_path / "traces.db")


@pytest.mark.parametrize("way", ["archived", "pruned"])
def test_S63_a_revision_of_a_decision_that_has_left_the_record_is_no_new_one(
    build: str, tmp_path: Path, way: str
) -> None:
    """Its position closed months later: the sums counted the decision, and its month can still be brought back."""
    late = msgspec.structs.replace(at(20, 1, 5), outcome_usd="3")

    async def body(store: Any) -> None:
        if way == "archived":
            await store.archive(75 * DAY)
        else:
            await store.prune(before_ms=int(datetime(2025, 3, 1, tzinfo=UTC).timestamp() * 1000))
        before = await store.outcomes(("symbol",))
        with pytest.raises(TraceRejectedError, match="archived or pruned"):
            await store.update(late)
        assert [letter.id for letter in await store.dead_letters()] == [late.id]
        assert await store.outcomes(("symbol",)) == before
        await store.update(at(901, 5, 29))  # one whose first record was lost on the way
        assert (await store.get("t000901")) is not None
        if way == "archived":
            assert await store.restore_month("2025-01") == ["2025-01", "2025-02"]
            await store.update(late)
            assert (await store.get(late.id)).outcome_usd == "3"
        assert (await store.verify()).ok

    play(build, body, tmp_path / "traces.db")


def test_a_file_that_does_not_read_back_is_thrown_away(
    build: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perpstrader.traces import cold_files

    async def body(store: Any) -> None:
        real = cold_files.ColdFile.group
        monkeypatch.setattr(
            cold_files.ColdFile, "group", lambda self, n: {k: rows[1:] for k, rows in real(self, n).items()}
        )
        with pytest.raises(TraceError, match="does not read back"):
            await store.archive(45 * DAY)
        monkeypatch.undo()
        assert list((tmp_path / "traces" / "cold").iterdir()) == []
        assert (await store.find(limit=1)).archived == ()
        assert (await store.verify()).checked == 651

    play(build, body, tmp_path / "traces.db")


def test_without_pyarrow_the_rest_is_done_and_the_sentence_says_how_to_get_it(
    build: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(store: Any) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(TraceError, match=r"perpstrader\[replay\]"):
            await store.retain(Retention(cold_ms=45 * DAY, payload_ms=100 * DAY))
        monkeypatch.undo()
        assert (await store.get("t000003")) is None  # its details were due, and went
        assert (await store.verify()).ok

    play(build, body, tmp_path / "traces.db")


def test_what_waits_to_be_shipped_stays(build: str, tmp_path: Path) -> None:
    async def body(store: Any) -> None:
        await store.begin_shipping("00" * 8)
        assert await store.archive(45 * DAY) == []
        await store.shipped(200, 0)
        assert await store.archive(45 * DAY) == ["2025-01"]
        assert (await store.verify()).ok
        assert (await store.unshipped(200, 10, 10**9)).entries[0].entry == 201

    play(build, body, tmp_path / "traces.db")


def test_other_work_goes_on_between_the_slices(build: str, tmp_path: Path) -> None:
    stored: list[str] = []

    async def body(store: Any) -> None:
        async def trade() -> None:
            for number in range(2_000, 2_200):
                item = at(number, 5, 28)
                await store.store(item)
                stored.append(item.id)
                await asyncio.sleep(0)

        moved, _ = await asyncio.gather(store.archive(45 * DAY), trade())
        assert moved == ["2025-01", "2025-02", "2025-03"]
        assert (await store.verify()).ok
        assert len(await store.between(0, 2**60)) == 261 + len(stored)

    play(build, body, tmp_path / "traces.db")


def test_a_store_in_memory_archives_nothing(build: str) -> None:
    async def body() -> None:
        async with OPENERS[build](None) as store:
            await store.store(at(1, 1, 1))
            await store.store(at(2, 5, 1))
            assert await store.archive(45 * DAY) == []

    asyncio.run(body())
