"""The shipper under virtual time, against a server that can be away for a day, forget, or die at the wrong moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import apsw
import msgspec
import pytest
from tests.contract.traces.samples import START_MS, executed, trace

from perpstrader.domain import Trace
from perpstrader.runtime.loop import VirtualClock, run_virtual
from perpstrader.traces import CycleNote, NoteCode
from perpstrader.traces.bars import assembled
from perpstrader.traces.baseline import TraceStore as BaselineStore
from perpstrader.traces.codec import DROPPED, decode
from perpstrader.traces.outbox import Entry, Origin, Parcel
from perpstrader.traces.postgres import BotName, Delivery, ServerAwayError, Shipper, ShipperLimits
from perpstrader.traces.records import MIN_RETENTION_MS, Retention
from perpstrader.traces.store import TraceStore

BOT = BotName(account="0xabc", network="paper", epoch=7)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
Opener = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture(params=["baseline", "optimized"])
def opener(request: pytest.FixtureRequest) -> Opener:
    return BaselineStore.open if request.param == "baseline" else TraceStore.open


class StandIn:
    """A server in memory; it is away in ``outages``, and breaks off after the commits that ``breaks`` names."""

    def __init__(self, clock: VirtualClock, outages: tuple[tuple[int, int], ...] = ()) -> None:
        self._clock = clock
        self._outages = outages
        self.entries: dict[int, Entry] = {}
        self.arrived: list[int] = []
        self.marks: dict[int, str] = {}
        self.notes: dict[tuple[str, int, str], CycleNote] = {}
        self.gaps: list[tuple[int, int]] = []
        self.bars: dict[tuple[int, int], Any] = {}
        self.dictionaries: dict[int, bytes] = {}
        self.tries = 0
        self.takes = 0
        self.breaks: set[int] = set()
        self.closed = 0

    def _reach(self) -> None:
        self.tries += 1
        now = self._clock.now_ms()
        if any(start <= now < end for start, end in self._outages):
            raise ServerAwayError("the stand-in is away")

    async def connect(self, bot: BotName, origin: Origin, now_ms: int) -> int:
        self._reach()
        return max(self.entries, default=0)

    async def digest(self, entry: int) -> bytes | None:
        self._reach()
        return self.entries[entry].digest if entry in self.entries else None

    async def learn(self, dictionaries: Mapping[int, bytes]) -> None:
        self._reach()
        self.dictionaries.update(dictionaries)

    async def take(self, parcel: Parcel, now_ms: int) -> Delivery:
        self._reach()
        self.takes += 1
        if parcel.missing is not None:
            self.gaps.append(parcel.missing)
        for entry in parcel.entries:
            if entry.entry not in self.entries:
                self.arrived.append(entry.entry)
            self.entries[entry.entry] = entry
            if entry.analyzed:
                self.marks.setdefault(entry.seq, entry.batch)
        self.bars.update({(row[2], row[3]): row[2:] for row in parcel.bars})
        for mark in parcel.marks:
            self.marks.setdefault(mark.seq, mark.batch)
        for note in parcel.notes:
            self.notes[note.symbol, note.bar_close_ms, note.strategy] = note
        if self.takes in self.breaks:
            raise ServerAwayError("the connection broke after the commit")
        return Delivery(stored=len(parcel.entries))

    async def close(self) -> None:
        self.closed += 1

    def newest(self) -> dict[str, Trace]:
        """Each decision in its newest revision; they are about one symbol."""
        rows = sorted(self.entries.values(), key=lambda row: row.entry)
        kept = [row for row in rows if row.codec != DROPPED]
        return {
            row.summary.uid: assembled(decode(row.codec, row.raw_len, row.data), row.bars or "", self.bars)
            for row in kept
        }


def shipper_of(store: Any, server: StandIn, clock: VirtualClock, **limits: int) -> Shipper:
    return Shipper(store, server, BOT, clock, Random(3), ShipperLimits(**limits))


def virtually(main: Callable[[VirtualClock], Awaitable[None]]) -> None:
    async def body(clock: VirtualClock) -> None:
        await main(clock)

    run_virtual(body, start_ms=START_MS)


async def while_shipping(shipper: Shipper, work: Awaitable[None]) -> None:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(shipper.run(lambda: None))
        await work
        running.cancel()


def test_a_day_without_the_server_loses_nothing_keeps_the_order_and_is_caught_up(
    opener: Opener, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async def main(clock: VirtualClock) -> None:
        away = (START_MS + HOUR_MS, START_MS + 25 * HOUR_MS)
        server = StandIn(clock, (away,))
        told: list[str] = []
        async with opener(tmp_path / "traces.db") as store:
            shipper = shipper_of(store, server, clock, batch_rows=50)
            shipper.on_away = shipper.on_back = told.append

            async def decide() -> None:
                for number in range(1, 27 * 12 + 1):  # every five minutes, one in ten with a later life
                    await clock.sleep(300)
                    await store.store(trace(number))
                    if number % 10 == 0:
                        await store.update(msgspec.structs.replace(trace(number), outcome_usd="1.5", outcome_ms=1))
                    if number == 20 * 12:
                        assert shipper.state.away_ms == pytest.approx(away[0], abs=2_000)
                        assert shipper.state.waiting > 200
                await clock.sleep(120)

            await while_shipping(shipper, decide())
            found = await store.between(0, 2**60)
            total = 27 * 12 + 27 * 12 // 10
            assert [item.id for item in found] == list(server.newest())
            assert {item.id: item for item in found} == server.newest()
            assert server.arrived == sorted(server.arrived) == list(range(1, total + 1))
            assert (shipper.state.waiting, shipper.state.lost, shipper.state.away_ms) == (0, 0, None)
            assert len(told) == 2, "an outage is told of once, and its end once"
            assert "back" in told[0]
            assert "again after" in told[1]
            # a server is not asked more often than the longest pause allows, and not all too seldom
            asked = shipper.state.failures
            record_property("tries_of_a_day", asked)
            assert 24 * 60 <= asked <= 24 * 60 * 4

    virtually(main)


def test_the_pauses_double_up_to_their_bound_and_a_random_part_is_waited_for(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        server = StandIn(clock, ((0, 2**60),))
        async with TraceStore.open(tmp_path / "traces.db") as store:
            shipper = shipper_of(store, server, clock, retry_base_ms=1_000, retry_max_ms=16_000)
            pauses = [await shipper.step() for _ in range(400)]
            for number, bound in enumerate((1, 2, 4, 8, 16, 16)):
                assert 0 <= pauses[number] <= bound
            late = pauses[10:]
            assert 7 <= sum(late) / len(late) <= 9
            assert min(late) < 1
            assert max(late) > 15

    virtually(main)


def test_a_crash_between_the_servers_commit_and_ours_sends_nothing_twice(opener: Opener, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        server = StandIn(clock)
        server.breaks = {1, 2, 5}
        async with opener(tmp_path / "traces.db") as store:
            for number in range(1, 100):
                await store.store(trace(number))
            shipper = shipper_of(store, server, clock, batch_rows=20)
            while shipper.state.waiting or not shipper.state.shipped:
                await clock.sleep(await shipper.step())
            assert server.arrived == list(range(1, 100))
            assert server.takes == 5, "what the server has is not sent again"
        async with opener(tmp_path / "traces.db") as store:  # the whole process died and starts again
            again = shipper_of(store, server, clock)
            await again.step()
            assert server.takes == 5

    virtually(main)


def test_each_entry_is_shipped_as_it_was_then(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        server = StandIn(clock)
        async with TraceStore.open(tmp_path / "traces.db") as store:
            whole = executed(1)
            first = msgspec.structs.replace(whole, orders=(), fills=(), steps=(), led_to_order=False, episode="")
            await store.store(first)
            await store.store(trace(2))
            await store.update(whole)
            await shipper_of(store, server, clock).step()
            summaries = [server.entries[number].summary for number in (1, 2, 3)]
            assert [row.executed for row in summaries] == [0, 0, 1]
            assert [row.uid for row in summaries] == [whole.id, "t000002", whole.id]

    virtually(main)


def test_later_changes_are_shipped_too(opener: Opener, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        server = StandIn(clock)
        async with opener(tmp_path / "traces.db") as store:
            before = CycleNote("ETH", "5m", START_MS - 1, NoteCode.WARM_UP, "before shipping", "trend")
            await store.store_notes([before])
            shipper = shipper_of(store, server, clock)
            await store.store(executed(1))
            await store.store(trace(2))
            await shipper.step()
            await store.attach_outcome(executed(1).id, Decimal("-3.5"), START_MS)
            await store.mark_analyzed(["t000002"], "batch-9")
            note = CycleNote("BTC", "5m", START_MS + 1, NoteCode.NO_SIGNAL, "nothing", "trend")
            await store.store_notes([note])
            await shipper.step()
            assert server.newest()[executed(1).id].outcome_usd == "-3.5"
            assert server.marks == {2: "batch-9"}
            assert list(server.notes.values()) == [before, note]
            await shipper.step()
            assert server.takes == 2, "what was shipped does not wait any more"

    virtually(main)


def test_a_server_that_went_back_in_time_gets_what_it_lost(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        server = StandIn(clock)
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for number in range(1, 31):
                await store.store(trace(number))
            await shipper_of(store, server, clock).step()
            for number in range(11, 31):  # it was restored from a backup
                del server.entries[number]
            server.arrived = server.arrived[:10]
            await shipper_of(store, server, clock).step()
            assert server.arrived == list(range(1, 31))

    virtually(main)


def aged(number: int, day: int) -> Trace:
    return trace(number, accepted_ms=START_MS + day * MIN_RETENTION_MS + number)


def test_S64_age_prunes_nothing_that_waits_but_the_bound_of_size_does_and_says_so(
    opener: Opener, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        server = StandIn(clock, ((START_MS + 10_000, START_MS + 90_000),))
        async with opener(tmp_path / "traces.db") as store:
            for day in range(10):
                for number in range(60):
                    await store.store(aged(day * 60 + number + 1, day))
            shipper = shipper_of(store, server, clock, batch_rows=100)
            await shipper.step()
            await clock.sleep(20)
            await shipper.step()
            old = Retention(trace_ms=2 * MIN_RETENTION_MS, payload_ms=MIN_RETENTION_MS)
            kept = await store.retain(old)
            assert kept.traces == 100, "what is shipped may go, what waits stays"
            assert await store.get("t000101") is not None
            assert await store.prune(before_ms=START_MS + 8 * MIN_RETENTION_MS) == 0
            kept = await store.retain(Retention(max_rows=300))
            assert kept.traces >= 200
            await shipper.step()
            lost = shipper.state.lost
            assert lost == 600 - 100 - (await store.stats()).total
            assert lost > 0
            await clock.sleep(100)
            await shipper.step()
            assert server.gaps == [(101, 100 + lost)]
            while shipper.state.waiting:
                await shipper.step()
            assert server.arrived[-1] == 600
            assert (await store.verify()).ok

    virtually(main)


def test_turning_shipping_off_holds_nothing_back(opener: Opener, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        path = tmp_path / "traces.db"
        async with opener(path) as store:
            for day in range(5):
                await store.store(aged(day + 1, day))
            await shipper_of(store, StandIn(clock), clock, batch_rows=1).step()
            assert await store.prune(before_ms=START_MS + 3 * MIN_RETENTION_MS) == 1
            await store.end_shipping()
            await store.end_shipping()
            assert await store.prune(before_ms=START_MS + 3 * MIN_RETENTION_MS) == 2
            await store.mark_analyzed(["t000005"], "b")
        tables = apsw.Connection(str(path)).execute("SELECT name FROM sqlite_schema WHERE name LIKE 'ship%'")
        assert tables.fetchall() == []

    virtually(main)


def test_the_end_of_a_run_ships_the_rest_and_releases_the_server(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        server = StandIn(clock)
        async with TraceStore.open(tmp_path / "traces.db") as store:
            shipper = shipper_of(store, server, clock, batch_rows=10)

            async def decide() -> None:
                await clock.sleep(1)

            await while_shipping(shipper, decide())
            for number in range(1, 36):
                await store.store(trace(number))
            closed = server.closed
            await shipper.finish()
            assert len(server.arrived) == 35
            assert server.closed > closed

    virtually(main)
