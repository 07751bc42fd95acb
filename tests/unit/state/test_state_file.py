"""The file: created whole, reopened as it was, refused in one sentence when it is not ours to use."""

from __future__ import annotations

import asyncio
import shutil
import stat
from pathlib import Path

import apsw
import pytest
from tests.unit.state.state_samples import ACCOUNT, epochs, halt, intent, opened, order, run

from perpstrader.domain import StateError
from perpstrader.runtime.executor import ThreadedExecutor
from perpstrader.state import StateStore, Transaction, database
from perpstrader.state.migrations import MIGRATIONS


async def _filled(path: Path) -> int:
    async with await opened(path) as store:

        def write(tx: Transaction) -> None:
            one = intent(tx.intents.next_number())
            tx.intents.add(one)
            tx.intents.put_order(order(one))
            tx.halts.activate(halt())

        await store.transact(write)
        return store.epoch


async def _refusal(path: Path, **changes: str) -> str:
    with pytest.raises(StateError) as caught:
        await opened(path, **changes)
    return str(caught.value)


def test_a_store_remembers_across_restarts_under_the_same_epoch(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.db"
    epoch = run(_filled(path))

    async def again() -> tuple[int, int, int]:
        async with await opened(path, new_epoch=epochs(99)) as store:
            live, halts = await store.read(lambda tx: (tx.intents.live_orders(), tx.halts.active()))
            return store.epoch, len(live), len(halts)

    assert run(again()) == (epoch, 1, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [left.name for left in path.parent.iterdir()] == ["state.db"]


def test_commits_are_synced_when_durable_and_only_then(tmp_path: Path) -> None:
    async def level(name: str, durable: bool) -> object:
        async with await opened(tmp_path / name, durable=durable) as store:
            return store._connection.execute("PRAGMA synchronous").get, store._connection.execute(
                "PRAGMA journal_mode"
            ).get

    assert run(level("a.db", True)) == (2, "wal")
    assert run(level("b.db", False)) == (0, "wal")


def test_a_file_from_a_newer_program_is_refused_naming_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    run(_filled(path))
    with apsw.Connection(str(path)) as connection:
        connection.execute("PRAGMA user_version = 41")
    connection.close()
    sentence = run(_refusal(path))
    assert "schema version 41" in sentence
    assert f"knows {len(MIGRATIONS)}" in sentence


def test_another_account_or_network_is_refused_naming_both(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    run(_filled(path))
    sentence = run(_refusal(path, account="0xBB"))
    assert ACCOUNT in sentence
    assert "0xbb" in sentence
    assert "mainnet" in run(_refusal(path, network="mainnet"))

    async def shouted() -> None:
        await (await opened(path, account=ACCOUNT.upper())).close()

    run(shouted())


@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.9])
def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path, where: float) -> None:
    path = tmp_path / "state.db"
    run(_filled(path))
    content = bytearray(path.read_bytes())
    start = int(len(content) * where) // 4096 * 4096
    content[start : start + 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    sentence = run(_refusal(path))
    assert "damaged" in sentence
    assert "restore a backup" in sentence


def test_a_cut_or_emptied_file_is_refused_and_not_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    run(_filled(path))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in run(_refusal(path))
    path.write_bytes(b"")
    assert "empty" in run(_refusal(path))
    assert path.read_bytes() == b""


def test_a_file_that_is_no_database_or_another_programs_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_text("hello " * 1_000)
    assert "damaged" in run(_refusal(path))
    path.unlink()
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    assert "another program" in run(_refusal(path))


def test_a_log_without_its_file_is_evidence_and_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    log = Path(f"{path}-wal")
    log.write_bytes(b"frames")
    assert "state.db-wal" in run(_refusal(path))
    assert log.read_bytes() == b"frames"
    assert not path.exists()


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "check the directory" in run(_refusal(tmp_path / "file" / "state.db"))
    assert "check the directory" in run(_refusal(tmp_path))


def test_a_creation_that_was_cut_short_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    (tmp_path / "state.db.partial").write_bytes(b"half")
    run(_filled(path))
    assert [left.name for left in tmp_path.iterdir()] == ["state.db"]


def test_a_file_held_by_another_is_named_as_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.db"
    run(_filled(path))
    monkeypatch.setattr(database, "_BUSY_MS", 1)
    other = apsw.Connection(str(path))
    other.execute("BEGIN EXCLUSIVE")
    assert "held by another process" in run(_refusal(path))
    other.close()


def test_migrations_run_in_order_once_and_go_on_where_they_stopped() -> None:
    connection = apsw.Connection(":memory:")
    first, second = "CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES (1, 2)"
    assert database.migrate(connection, [first]) == 1
    with pytest.raises(apsw.SQLError):
        database.migrate(connection, [first, "ALTER TABLE a ADD COLUMN y; INSERT INTO nowhere VALUES (1)"])
    assert database.schema_version(connection) == 1
    assert [row[1] for row in connection.execute("PRAGMA table_info(a)")] == ["x"]
    assert database.migrate(connection, [first, second]) == 1
    assert database.migrate(connection, [first, second]) == 0
    assert connection.execute("SELECT * FROM a").fetchall() == [(1, 2)]


def test_S11_a_restored_backup_takes_a_new_epoch_and_says_so_until_acknowledged(tmp_path: Path) -> None:
    path, copy = tmp_path / "state.db", tmp_path / "copy.db"

    async def scene() -> None:
        async with await opened(path) as store:
            await store.transact(lambda tx: tx.halts.activate(halt()))
            await store.backup(copy)
            with pytest.raises(StateError, match="exists already"):
                await store.backup(copy)
            assert not await store.read(lambda tx: tx.meta.is_restored())
        async with await opened(path, new_epoch=epochs(50)) as store:
            assert store.epoch == 7
        shutil.copyfile(copy, path)
        async with await opened(path, new_epoch=epochs(50)) as store:
            assert store.epoch == 50
            assert await store.read(lambda tx: tx.meta.epochs()) == (7, 50)
            assert await store.read(lambda tx: len(tx.halts.active())) == 1
        async with await opened(path, new_epoch=epochs(90)) as store:
            assert store.epoch == 50
            assert await store.read(lambda tx: tx.meta.is_restored())
            await store.transact(lambda tx: tx.meta.acknowledge_restore())
        async with await opened(path, new_epoch=epochs(90)) as store:
            assert not await store.read(lambda tx: tx.meta.is_restored())

    run(scene())
    assert sorted(left.name for left in tmp_path.iterdir()) == ["copy.db", "state.db"]


def test_S11_a_plain_copy_never_speaks_under_the_epoch_of_its_original(tmp_path: Path) -> None:
    run(_filled(tmp_path / "state.db"))
    shutil.copyfile(tmp_path / "state.db", tmp_path / "clone.db")

    async def epoch_of(name: str) -> int:
        async with await opened(tmp_path / name, new_epoch=epochs(50)) as store:
            return store.epoch

    assert run(epoch_of("clone.db")) == 50
    assert run(epoch_of("clone.db")) == 50
    assert run(epoch_of("state.db")) == 7


def test_S11_an_epoch_is_never_used_twice(tmp_path: Path) -> None:
    async def scene() -> None:
        async with await opened(tmp_path / "state.db", new_epoch=iter([7, 8, 7, 0]).__next__) as store:
            assert await store.renew_epoch() == 8 == store.epoch
            with pytest.raises(StateError, match="used before"):
                await store.renew_epoch()
            with pytest.raises(StateError, match="out of range"):
                await store.renew_epoch()
            assert store.epoch == 8

    run(scene())


def test_S64_the_write_ahead_log_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    sizes: list[int] = []

    def measure() -> None:
        sizes.append(Path(f"{path}-wal").stat().st_size)

    async def scene() -> None:
        async with await opened(path, durable=False) as store:
            for number in range(3_000):
                await store.transact(lambda tx, n=number: tx.meta.put_text(f"key{n % 50}", f"{n:06d}" * 400))
                measure()
            await store.checkpoint()
            measure()

    run(scene())
    assert 0 < max(sizes) <= database._WAL_BYTES
    assert sizes[-1] == 0


def test_a_transaction_is_whole_or_not_at_all() -> None:
    async def scene() -> None:
        async with await opened() as store:

            def half(tx: Transaction) -> None:
                tx.intents.add(intent(tx.intents.next_number()))
                raise ValueError("in the middle")

            with pytest.raises(ValueError, match="in the middle"):
                await store.transact(half)
            assert await store.read(lambda tx: tx.intents.get(1)) is None
            assert await store.transact(lambda tx: tx.intents.next_number()) == 1

    run(scene())


def test_a_read_cannot_change_anything() -> None:
    async def scene() -> None:
        async with await opened() as store:
            with pytest.raises(StateError, match="use transact"):
                await store.read(lambda tx: tx.signals.first_seen("trend", "1", 5))
            assert await store.transact(lambda tx: tx.signals.first_seen("trend", "1", 5))

    run(scene())


def test_a_full_disk_is_one_sentence_and_loses_nothing_committed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with await opened(tmp_path / "state.db", durable=False) as store:
            await store.transact(lambda tx: tx.meta.put_text("kept", "yes"))
            pages = store._connection.execute("PRAGMA page_count").get
            store._connection.execute(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(StateError, match="the disk is full"):
                await store.transact(lambda tx: tx.meta.put_text("big", "x" * 1_000_000))
            assert await store.read(lambda tx: (tx.meta.get_text("kept"), tx.meta.get_text("big"))) == ("yes", None)
            await store.transact(lambda tx: tx.meta.put_text("small", "fits"))

    run(scene())


def test_a_closed_store_says_so_and_closing_twice_is_harmless() -> None:
    async def scene() -> None:
        store = await opened()
        await store.close()
        await store.close()
        with pytest.raises(StateError, match="is closed"):
            await store.read(lambda tx: tx.meta.epoch())
        with pytest.raises(StateError, match="is closed"):
            await store.backup(Path("nowhere.db"))

    run(scene())


def test_many_callers_on_the_worker_thread_get_distinct_numbers(tmp_path: Path) -> None:
    executor = ThreadedExecutor("state")

    async def scene() -> list[int]:
        store: StateStore = await opened(tmp_path / "state.db", executor=executor)
        async with store, asyncio.TaskGroup() as group:
            tasks = [group.create_task(store.transact(lambda tx: tx.intents.next_number())) for _ in range(50)]
        return [task.result() for task in tasks]

    try:
        assert sorted(run(scene())) == list(range(1, 51))
    finally:
        executor.close()
