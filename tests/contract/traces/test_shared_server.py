"""Shipping to a real server: outages, several bots, what is sent twice, refused, moved, pruned or tampered with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import msgspec
import pytest
from tests.contract.traces.samples import START_MS, executed, trace
from tests.contract.traces.shared import BOT, run, ship, shipper_of
from tests.shared_server import SharedServer, name_of, shared_server

from perpstrader.domain import Trace
from perpstrader.runtime import SystemClock, ThreadedExecutor
from perpstrader.traces import CycleNote, NoteCode, TraceError, TraceFileError
from perpstrader.traces.outbox import Mark, Origin, Parcel
from perpstrader.traces.postgres import Address, BotName, ServerAwayError, schema
from perpstrader.traces.postgres.link import connect
from perpstrader.traces.postgres.schema import Month, months_for
from perpstrader.traces.postgres.server import PostgresServer
from perpstrader.traces.postgres.store import SharedStore
from perpstrader.traces.store import TraceStore

OTHER = BotName(account="0xdef", network="paper", epoch=8)
ORIGIN = Origin("00ff", "", 0)
NOW_MS = int(datetime(2025, 5, 20, tzinfo=UTC).timestamp()) * 1000
DAY_MS = 86_400_000


def too_long_for_an_index() -> str:
    """A text that no index of PostgreSQL can hold, packed or not."""
    rng = Random(1)
    return "".join(chr(rng.randrange(33, 0x2FFF)) for _ in range(9_000))


async def parcel_of(store: TraceStore, after: int = 0, limit: int = 500) -> Parcel:
    return await store.unshipped(after, limit, 2**30)


def test_S60_an_outage_of_a_real_server_loses_nothing_keeps_the_order_and_is_caught_up(
    tmp_path: Path, prove: bool, record_property: Callable[[str, object], None]
) -> None:
    away_s = 60.0 if prove else 3.0

    async def main(server: SharedServer) -> None:
        url = server.new_database()
        writer, reader = ThreadedExecutor("traces"), ThreadedExecutor("traces-read")
        told: list[str] = []
        async with TraceStore.open(tmp_path / "traces.db", executor=writer, reader=reader) as store:
            shipper = shipper_of(store, url, batch_rows=40, timeout_s=5)
            shipper.on_away = shipper.on_back = told.append
            slowest = 0.0
            number = 0

            async def decide(seconds: float) -> None:
                nonlocal number, slowest
                ends = time.monotonic() + seconds
                while time.monotonic() < ends:
                    number += 1
                    began = time.monotonic()
                    await store.store(trace(number))
                    slowest = max(slowest, time.monotonic() - began)
                    if number % 7 == 0:
                        await store.update(msgspec.structs.replace(trace(number), outcome_usd="1", outcome_ms=1))
                    await asyncio.sleep(0.01)

            async with asyncio.TaskGroup() as group:
                running = group.create_task(shipper.run(lambda: None))
                await decide(1.0)
                shipped_before = shipper.state.shipped
                await asyncio.to_thread(server.stop)
                await decide(away_s)
                assert shipper.state.away_ms is not None
                waited = shipper.state.waiting
                await asyncio.to_thread(server.start)
                began = time.monotonic()
                await decide(1.0)
                while shipper.state.away_ms is not None or shipper.state.waiting:
                    assert time.monotonic() - began < 60
                    await asyncio.sleep(0.05)
                caught_up_s = time.monotonic() - began
                await asyncio.sleep(0.5)
                running.cancel()
            assert shipped_before > 0
            assert waited > 0
            assert "very-secret" not in "".join(told)
            async with SharedStore.open(url) as shared:
                assert await shared.between(0, 2**60) == await store.between(0, 2**60)
                assert [row.id for row in await shared.after(0, 10_000)] == [f"t{n:06}" for n in range(1, number + 1)]
                assert (await shared.verify()) == (await store.verify())
        writer.close()
        reader.close()
        record_property("away_s", away_s)
        record_property("waited_entries", waited)
        record_property("caught_up_within_s", round(caught_up_s, 1))
        record_property("slowest_ack_ms", round(slowest * 1000))

    with shared_server() as server:
        run(main(server))


def test_two_bots_ship_into_one_database_at_once(postgres: SharedServer, tmp_path: Path) -> None:
    async def main() -> None:
        url = postgres.new_database()
        async with TraceStore.open(tmp_path / "one.db") as one, TraceStore.open(tmp_path / "two.db") as two:
            for number in range(1, 121):
                await one.store(trace(number))
                await two.store(trace(number + 1_000 * (number > 5), symbol="ETH"))
            await asyncio.gather(ship(one, url, BOT, batch_rows=7), ship(two, url, OTHER, batch_rows=11))
            async with SharedStore.open(url) as shared:
                assert (await shared.stats()).by_symbol == {"BTC": 120, "ETH": 120}
                assert (await shared.verify()).checked == 240
                assert sorted(bot.account for bot in await shared.bots()) == ["0xabc", "0xdef"]
                numbers = [row.seq for row in await shared.after(0, 500)]
                assert numbers == sorted(set(numbers))
                assert len(numbers) == 240
                with pytest.raises(TraceError, match="several accounts"):
                    await shared.get("t000003")
                with pytest.raises(TraceError, match="several accounts"):
                    await shared.mark_analyzed(["t000003"], "b")
            async with SharedStore.open(url, bot="0xDEF") as mine:
                assert await mine.get("t000003") == trace(3, symbol="ETH")
                assert (await mine.mark_analyzed(["t000003", "ghost"], "b")) == (1, ("ghost",))
                assert (await mine.stats()).total == 120
                assert [item.symbol for item in await mine.recent(3)] == ["ETH"] * 3
            async with SharedStore.open(url, bot="0xabc") as other:
                assert (await other.stats()).unanalyzed == 120
            with pytest.raises(TraceError, match=r"has no bot '0x123'; there are: 0x[ad]"):
                async with SharedStore.open(url, bot="0x123"):
                    pass

    run(main())


def test_whoever_follows_arrivals_misses_none_while_bots_ship_at_once(postgres: SharedServer, tmp_path: Path) -> None:
    async def main() -> None:
        url = postgres.new_database()
        async with TraceStore.open(tmp_path / "0.db") as store:
            await store.store(trace(1))
            await ship(store, url)
        seen: list[int] = []
        total = 1 + 3 * 60

        async def bot(index: int) -> None:
            async with TraceStore.open(tmp_path / f"{index}.db") as store:
                for number in range(60):
                    await store.store(trace(index * 1_000 + number))
                await ship(store, url, BotName(account=f"0x{index}", network="paper", epoch=index), batch_rows=3)

        async def follow() -> None:
            async with SharedStore.open(url) as shared:
                while len(seen) < total:
                    seen.extend(row.seq for row in await shared.after(seen[-1] if seen else 0, 5))
                    await asyncio.sleep(0)

        async with asyncio.timeout(60):
            await asyncio.gather(follow(), *(bot(index) for index in (1, 2, 3)))
        assert len(set(seen)) == total

    run(main())


def test_a_parcel_that_is_sent_twice_changes_nothing(postgres: SharedServer, tmp_path: Path) -> None:
    async def main() -> None:
        url = postgres.new_database()
        tables = "trace", "payload", "cycle_note", "dead_letter", "gap"
        async with TraceStore.open(tmp_path / "traces.db") as store:
            await store.begin_shipping("00ff")
            await store.store_notes([CycleNote("BTC", "5m", START_MS, NoteCode.NO_SIGNAL, "n", "trend")])
            for number in range(1, 6):
                await store.store(trace(number))
            await store.update(msgspec.structs.replace(trace(2), outcome_usd="1", outcome_ms=1))
            await store.mark_analyzed(["t000003"], "b")
            server = PostgresServer(Address(url))
            assert await server.connect(BOT, ORIGIN, NOW_MS) == 0
            parcel = await parcel_of(store)
            await server.learn(await store.dictionaries())
            dump = []
            for _ in range(2):
                assert (await server.take(parcel, NOW_MS)).stored == 6
                dump.append([postgres.psql(name_of(url), f"SELECT * FROM perpstrader.{name} ORDER BY 1, 2, 3")
                             for name in tables])  # fmt: skip
            assert dump[0] == dump[1]
            older = await parcel_of(store, 0, 2)
            await server.take(older, NOW_MS)
            assert await server.connect(BOT, ORIGIN, NOW_MS) == 6, "the mark of what is there never goes back"
            await server.close()
            async with SharedStore.open(url) as shared:
                assert await shared.between(0, 2**60) == await store.between(0, 2**60)

    run(main())


def test_S61_a_row_that_the_server_refuses_lies_in_its_dead_letter_and_stops_nothing(
    postgres: SharedServer, tmp_path: Path
) -> None:
    noise = too_long_for_an_index()

    async def main() -> None:
        url = postgres.new_database()
        told: list[str] = []
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for number in range(1, 60):
                await store.store(trace(number, **({"strategy": noise} if number in (20, 21, 40) else {})))
            shipper = shipper_of(store, url)
            shipper.on_dead = told.append
            await shipper.step()
            assert shipper.state.error == ""
            assert (shipper.state.shipped, shipper.state.dead, shipper.state.waiting) == (56, 3, 0)
            assert "index row" in told[0]
            await store.store(trace(100))
            await ship(store, url)
            async with SharedStore.open(url) as shared:
                letters = await shared.dead_letters()
                assert [letter.id for letter in letters] == ["t000040", "t000021", "t000020"]
                assert all("index row" in letter.reason for letter in letters)
                assert noise[:50].encode() in letters[0].data
                assert (await shared.stats()).total == 57
                assert [row.sequence for row in await shared.after(0)] == [
                    *range(1, 20), *range(22, 40), *range(41, 60), 100,
                ]  # fmt: skip
                finding = await shared.verify()
                assert finding.ok, finding.problem

    run(main())


def test_two_consumers_of_the_claim_queue_never_get_the_same(postgres: SharedServer, tmp_path: Path) -> None:
    async def main() -> None:
        url = postgres.new_database()
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for number in range(1, 201):
                await store.store(trace(number))
            await ship(store, url)
        taken: dict[str, list[str]] = {"a": [], "b": [], "c": []}

        async def consume(name: str) -> None:
            async with SharedStore.open(url) as shared:
                while claimed := await shared.claim(9, by=name, now_ms=1_000, lease_ms=500):
                    ids = [item.id for item in claimed]
                    taken[name] += ids
                    await asyncio.sleep(0)
                    assert (await shared.mark_analyzed(ids, name)).changed == len(ids)

        await asyncio.gather(*(consume(name) for name in taken))
        every = [item for ids in taken.values() for item in ids]
        assert len(every) == len(set(every)) == 200
        assert all(ids == sorted(ids) for ids in taken.values())

    run(main())


def test_a_lease_ends_and_is_the_holders_again(postgres: SharedServer, tmp_path: Path) -> None:
    async def main() -> None:
        url = postgres.new_database()
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for number in range(1, 8):
                await store.store(trace(number))
            await ship(store, url)
            lease = {"now_ms": 1_000, "lease_ms": 500}
            async with SharedStore.open(url) as shared:
                assert [item.sequence for item in await shared.claim(3, by="a", **lease)] == [1, 2, 3]
                assert [item.sequence for item in await shared.claim(3, by="b", **lease)] == [4, 5, 6]
                assert [item.sequence for item in await shared.claim(9, by="a", **lease)] == [1, 2, 3, 7]
                await shared.mark_analyzed(["t000001"], "one")
                assert await shared.claim(9, by="c", now_ms=1_499, lease_ms=500) == []
                assert [item.sequence for item in await shared.claim(2, by="c", now_ms=1_500, lease_ms=500)] == [2, 3]
                assert [row.batch for row in await shared.summaries()][-1] == "one"
            # a later revision from the bot leaves the mark of the team alone
            await store.update(msgspec.structs.replace(trace(1), outcome_usd="1", outcome_ms=1))
            await ship(store, url)
            async with SharedStore.open(url) as shared:
                (first,) = [row for row in await shared.summaries() if row.id == "t000001"]
                assert (first.analyzed, first.batch, first.outcome_usd) == (True, "one", "1")

    run(main())


def at(year: int, month: int, day: int, hour: int = 12) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp()) * 1000


def test_decisions_lie_in_their_month_and_the_next_ones_are_there_ahead(postgres: SharedServer, tmp_path: Path) -> None:
    times = [at(2025, 4, 30, 23) + 3_599_999, at(2025, 5, 1, 0), at(2025, 5, 31), at(2025, 6, 1, 0), at(1999, 1, 1), 5]

    async def main() -> None:
        url = postgres.new_database()
        async with TraceStore.open(tmp_path / "traces.db") as store:
            await store.begin_shipping("00ff")
            for number, time_ms in enumerate(times, 1):
                await store.store(trace(number, accepted_ms=time_ms))
            server = PostgresServer(Address(url))
            await server.connect(BOT, ORIGIN, NOW_MS)
            await server.learn(await store.dictionaries())
            await server.take(await parcel_of(store), NOW_MS)
            counted = {
                line.split("|")[0]: int(line.split("|")[1])
                for line in postgres.psql(
                    name_of(url), "SELECT tableoid::regclass, count(*) FROM perpstrader.trace GROUP BY 1 ORDER BY 1"
                ).splitlines()
            }
            assert counted == {
                "perpstrader.trace_other": 2, "perpstrader.trace_p2025_04": 1, "perpstrader.trace_p2025_05": 2,
                "perpstrader.trace_p2025_06": 1,
            }  # fmt: skip
            assert postgres.psql(name_of(url), "SELECT to_regclass('perpstrader.payload_p2025_07') IS NOT NULL") == "t"
            # a bot whose clock is ahead: its month is made when it comes, and what waited for it moves there
            future = at(2025, 12, 24)
            await store.store(trace(50, accepted_ms=future))
            await server.take(await parcel_of(store, 6), NOW_MS)
            await server.connect(BOT, ORIGIN, future)
            held = postgres.psql(name_of(url), "SELECT uid FROM perpstrader.trace_p2025_12")
            assert held == "t000050"
            await server.close()
            async with SharedStore.open(url) as shared:
                assert await shared.between(0, 2**60) == await store.between(0, 2**60)
                assert (await shared.verify()).ok

    run(main())


def test_months_begin_and_end_at_utc_midnight_and_impossible_times_make_none() -> None:
    december = Month.of(at(2025, 12, 31, 23))
    assert december.later(1) == Month(2026, 1)
    assert december.later(-12) == Month(2024, 12)
    assert Month.of(december.later(1).start_ms - 1) == december
    made = months_for([-5, 2**62, 0, at(2025, 3, 3), at(2031, 1, 1)], at(2025, 5, 20))
    assert made == [(2025, 3), (2025, 5), (2025, 6), (2025, 7)]


def test_migrations_by_many_at_once_are_done_once(postgres: SharedServer) -> None:
    async def main() -> None:
        url = postgres.new_database()
        servers = [PostgresServer(Address(url)) for _ in range(6)]
        names = [BotName(account=f"0x{index}", network="paper", epoch=index) for index in range(6)]
        await asyncio.gather(
            *(server.connect(name, ORIGIN, NOW_MS) for server, name in zip(servers, names, strict=True))
        )
        for server in servers:
            await server.close()
        assert postgres.psql(name_of(url), "SELECT count(*) FROM perpstrader.bot") == "6"
        assert postgres.psql(name_of(url), "SELECT value FROM perpstrader.meta") == str(schema.VERSION)

    run(main())


def test_a_schema_from_a_newer_program_is_refused_and_left_alone(postgres: SharedServer) -> None:
    async def main() -> None:
        url = postgres.new_database()
        server = PostgresServer(Address(url))
        await server.connect(BOT, ORIGIN, NOW_MS)
        postgres.psql(name_of(url), f"UPDATE perpstrader.meta SET value = '{schema.VERSION + 1}'")
        with pytest.raises(TraceFileError, match="use the newer program"):
            await server.connect(BOT, ORIGIN, NOW_MS)
        with pytest.raises(TraceFileError, match="use the newer program"):
            async with SharedStore.open(url):
                pass
        await server.close()

    run(main())


def test_a_database_without_a_record_says_how_it_comes_to_one(postgres: SharedServer) -> None:
    async def main() -> None:
        with pytest.raises(TraceFileError, match=r"traces\.postgres_url names it makes it"):
            async with SharedStore.open(postgres.new_database()):
                pass

    run(main())


def test_S72_no_error_shows_the_password(postgres: SharedServer) -> None:
    url = postgres.new_database()
    nowhere = url.replace(f":{postgres.port}/", ":1/")
    bad = [
        nowhere, url.replace("postgres:very", "nobody:very"), url + "_missing", url.replace(str(postgres.port), "port"),
        url + "?sslmode=very-secret", "postgresql://u:very-secret@[::1/x", url + "?password=very-secret&port=x",
    ]  # fmt: skip

    async def main() -> None:
        for address in bad:
            with pytest.raises(TraceError) as caught:
                async with SharedStore.open(address, timeout_s=5):
                    pass
            assert "very-secret" not in str(caught.value)
            assert caught.value.__cause__ is None
        assert "very-secret" not in f"{Address(url)} {Address(url)!r}"
        with pytest.raises(ServerAwayError, match="cannot be reached"):
            await PostgresServer(Address(nowhere), timeout_s=5).connect(BOT, ORIGIN, NOW_MS)

    run(main())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE perpstrader.payload SET data = data || 'x'::bytea WHERE entry = 7", "of bot 1:"),
        ("UPDATE perpstrader.payload SET codec = 0, data = '{}' WHERE entry = 7", "of bot 1:"),
        ("DELETE FROM perpstrader.payload WHERE entry = 7", "entry 7 is missing"),
        ("DELETE FROM perpstrader.payload WHERE entry >= 29", "entry 29 is missing"),
        ("UPDATE perpstrader.trace SET reason = 'NICER' WHERE seq = 7", "its summary differs from its content"),
        ("DELETE FROM perpstrader.trace WHERE seq = 7", "its summary is missing"),
        ("UPDATE perpstrader.payload SET previous = digest WHERE entry = 7", "does not follow"),
    ],
)
def test_verify_names_the_first_row_that_is_not_as_it_was_shipped(
    postgres: SharedServer, tmp_path: Path, change: str, problem: str
) -> None:
    async def main() -> None:
        url = postgres.new_database()
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for number in range(1, 31):
                await store.store(trace(number))
            await ship(store, url)
        postgres.psql(name_of(url), change)
        async with SharedStore.open(url) as shared:
            finding = await shared.verify()
            assert not finding.ok
            assert problem in finding.problem
            assert finding.bad_entry in (7, 29)

    run(main())


def test_whole_months_are_pruned_and_what_stays_still_verifies(postgres: SharedServer, tmp_path: Path) -> None:
    async def main() -> None:
        url = postgres.new_database()
        months = [at(2025, month, day) for month in (1, 2, 3, 4) for day in range(1, 11)]
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for number, time_ms in enumerate(months, 1):
                await store.store(trace(number, accepted_ms=time_ms))
            await store.update(msgspec.structs.replace(trace(3, accepted_ms=months[2]), outcome_usd="1", outcome_ms=1))
            await ship(store, url)
            async with SharedStore.open(url) as shared:
                with pytest.raises(TraceError, match="less than a day"):
                    await shared.prune(before_ms=2**60)
                assert await shared.prune(before_ms=at(2025, 3, 5)) == 20
                assert await shared.prune(before_ms=at(2025, 3, 5)) == 0
                assert (await shared.stats()).total == 20
                finding = await shared.verify()
                assert finding.ok, finding.problem
                assert finding.checked == 20
            await store.update(msgspec.structs.replace(trace(4, accepted_ms=months[3]), outcome_usd="1", outcome_ms=1))
            await store.store(trace(60, accepted_ms=months[-1] + 1))
            await ship(store, url)
            async with SharedStore.open(url) as shared:
                assert (await shared.verify()).ok
                assert (await shared.get("t000004")) is not None, "what lives on comes back as a whole"

    run(main())


def test_a_restored_bot_goes_on_where_it_was_and_is_one_lineage_with_the_old_one(
    postgres: SharedServer, tmp_path: Path
) -> None:
    def aged(number: int) -> Trace:
        return executed(number)

    async def main() -> None:
        url = postgres.new_database()
        restored = BotName(account=BOT.account, network="paper", epoch=99)
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for number in range(1, 11):
                await store.store(aged(number))
            await ship(store, url)
            await store.update(msgspec.structs.replace(aged(4), outcome_usd="7", outcome_ms=1))
            await store.store(aged(11))
            await ship(store, url, restored)
        async with SharedStore.open(url) as shared:
            assert [bot.entry for bot in await shared.bots()] == [10, 12]
            later = await shared.get(aged(4).id)
            assert later is not None
            assert later.outcome_usd == "7"
            assert (await shared.verify()).ok
            assert (await shared.mark_analyzed([aged(4).id], "b")).changed == 2

    run(main())


def test_a_copied_or_put_back_file_is_another_bot_and_loses_nothing(postgres: SharedServer, tmp_path: Path) -> None:
    async def main() -> None:
        url = postgres.new_database()
        first, copy, older = tmp_path / "first.db", tmp_path / "copy.db", tmp_path / "older.db"
        async with TraceStore.open(first) as store:
            for number in range(1, 6):
                await store.store(trace(number))
            await ship(store, url)
        for other in (copy, older):
            other.write_bytes(first.read_bytes())
        for path, numbers in ((first, (6, 7)), (copy, (16, 17, 18)), (older, (26,)), (first, (8,)), (copy, (19,))):
            async with TraceStore.open(path) as store:
                for number in numbers:
                    await store.store(trace(number))
                await ship(store, url)
        async with SharedStore.open(url) as shared:
            assert sorted(row.sequence for row in await shared.after(0)) == [*range(1, 9), *range(16, 20), 26]
            assert sorted(bot.entry for bot in await shared.bots()) == [6, 8, 9]
            finding = await shared.verify()
            assert finding.ok, finding.problem

    run(main())


def test_what_is_no_data_fault_is_tried_again_and_not_buried(postgres: SharedServer, tmp_path: Path) -> None:
    """A server that a standby took over from, or whose rights were taken away, refuses nothing for ever."""

    async def main() -> None:
        url = postgres.new_database()
        name = name_of(url)
        async with TraceStore.open(tmp_path / "traces.db") as store:
            await store.store(trace(1))
            await ship(store, url)
            await store.store(trace(2))
            postgres.psql("postgres", f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            shipper = shipper_of(store, url)
            await shipper.step()
            assert shipper.state.away_ms is not None
            assert "read-only" in shipper.state.error
            postgres.psql(
                "postgres", f"SET default_transaction_read_only = off; ALTER DATABASE {name} RESET ALL"
            )
            await shipper.step()
            assert (shipper.state.away_ms, shipper.state.shipped, shipper.state.dead) == (None, 1, 0)
            await shipper.finish()

    run(main())


def test_marks_and_notes_that_are_refused_cost_themselves_alone(postgres: SharedServer, tmp_path: Path) -> None:
    noise = too_long_for_an_index()

    async def main() -> None:
        url = postgres.new_database()
        notes = [
            CycleNote("BTC", "5m", START_MS + number, NoteCode.NO_SIGNAL, "n", noise if number == 4 else "trend")
            for number in range(9)
        ]
        async with TraceStore.open(tmp_path / "traces.db") as store:
            await store.store(trace(1))
            server = PostgresServer(Address(url))
            await server.connect(BOT, ORIGIN, NOW_MS)
            await store.begin_shipping("00ff")
            parcel = await parcel_of(store)
            await server.learn(await store.dictionaries())
            marks = (Mark(1, trace(1).accepted_ms, "b"),)
            whole = msgspec.structs.replace(parcel, notes=tuple(notes), marks=marks)
            delivery = await server.take(whole, NOW_MS)
            assert (delivery.stored, delivery.dead) == (1, 1)
            await server.close()
        async with SharedStore.open(url) as shared:
            totals = await shared.stats()
            assert (totals.notes, totals.unanalyzed, totals.total) == (8, 0, 1)

    run(main())


def test_queries_use_indices_and_read_no_month_that_they_need_not(postgres: SharedServer, tmp_path: Path) -> None:
    async def main() -> None:
        url = postgres.new_database()
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for number in range(1, 301):
                await store.store(trace(number, accepted_ms=at(2025, 1 + number % 4, 1 + number % 27) + number))
            await ship(store, url)
        link: Any = await connect(Address(url), timeout_s=20)
        await link.execute("ANALYZE perpstrader.trace")
        await link.execute("SET enable_seqscan = off")
        plans = {
            "trace_p2025_02": "SELECT * FROM perpstrader.trace WHERE symbol = 'BTC' AND accepted_ms BETWEEN "
            f"{at(2025, 2, 2)} AND {at(2025, 2, 9)} ORDER BY accepted_ms DESC LIMIT 5",
        }
        for month, sql in plans.items():
            plan = "\n".join(row[0] for row in await link.fetch("EXPLAIN " + sql))
            assert month in plan
            assert "p2025_03" not in plan
            assert "Seq Scan" not in plan
        await link.close()

    run(main())


def test_readers_need_no_right_to_write_and_analysts_only_that_to_mark(postgres: SharedServer, tmp_path: Path) -> None:
    async def main() -> None:
        url = postgres.new_database()
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for number in range(1, 4):
                await store.store(trace(number))
            await ship(store, url)
        postgres.psql(name_of(url), "DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN;"
                      " GRANT USAGE ON SCHEMA perpstrader TO reader;"
                      " GRANT SELECT ON ALL TABLES IN SCHEMA perpstrader TO reader")  # fmt: skip
        theirs = f"postgresql://reader@{url.rsplit('@', 1)[1]}"
        async with SharedStore.open(theirs) as shared:
            assert len(await shared.recent()) == 3
            assert (await shared.verify()).ok
            with pytest.raises(TraceError, match="permission denied"):
                await shared.claim(2, by="a", now_ms=1, lease_ms=1)
            postgres.psql(name_of(url), "GRANT UPDATE ON perpstrader.trace TO reader")
            assert len(await shared.claim(2, by="a", now_ms=1, lease_ms=1)) == 2
            assert (await shared.mark_analyzed(["t000001"], "b")).changed == 1

    run(main())


def test_a_clock_that_is_handed_in_is_the_only_one(postgres: SharedServer, tmp_path: Path) -> None:
    """The times of a bot are its clock's, so that they agree with its decisions."""

    async def main() -> None:
        url = postgres.new_database()
        before = SystemClock().now_ms()
        async with TraceStore.open(tmp_path / "traces.db") as store:
            await store.store(trace(1))
            await ship(store, url)
        async with SharedStore.open(url) as shared:
            (bot,) = await shared.bots()
            assert before <= bot.first_ms <= bot.seen_ms <= SystemClock().now_ms()
            assert bot.name.startswith("0xabc:paper:0000000000000007:")
        assert asyncpg.__version__

    run(main())
