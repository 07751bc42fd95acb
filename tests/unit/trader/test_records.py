"""The store of a run is the one that the settings ask for; rolling back is one word and keeps every trace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.contract.traces.samples import trace
from tests.scenario.kit import Stage
from tests.scenario.kit import play as play_market
from tests.scenario.market import calm

from perpstrader.runtime import InlineExecutor
from perpstrader.runtime.loop import VirtualClock, run_virtual
from perpstrader.settings import load
from perpstrader.traces.baseline import TraceStore as Plain
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.records import Retained, Retention
from perpstrader.traces.store import TraceStore as Batching
from perpstrader.trader.records import open_traces, retention_of

Body = Callable[[TraceStore, VirtualClock], Awaitable[None]]


def play(env: dict[str, str], body: Body, path: Path | None = None) -> None:
    async def main(clock: VirtualClock) -> None:
        async with open_traces(load(None, env, {}), path, clock, executor=InlineExecutor()) as store:
            await body(store, clock)

    run_virtual(main)


def test_TRACE_BATCH_SIZE_is_how_many_wait_for_each_other() -> None:
    async def body(store: TraceStore, clock: VirtualClock) -> None:
        store.store(trace(1))
        await clock.sleep(0.001)
        assert store.counters.stored == 0
        store.store(trace(2))
        await clock.sleep(0.001)
        assert store.counters.stored == 2

    play({"TRACE_BATCH_SIZE": "2"}, body)


def test_TRACE_BATCH_FLUSH_MS_is_how_long_they_wait() -> None:
    async def body(store: TraceStore, clock: VirtualClock) -> None:
        store.store(trace(1))
        await clock.sleep(0.2)
        assert store.counters.stored == 0
        await clock.sleep(0.1)
        assert store.counters.stored == 1

    play({"TRACE_BATCH_FLUSH_MS": "250"}, body)


def test_TRACE_CACHE_SIZE_is_how_many_are_kept_decoded() -> None:
    async def body(store: TraceStore, clock: VirtualClock) -> None:
        assert isinstance(store, Batching)
        for number in (1, 2, 3):
            await store.store(trace(number))
        assert store.cache_counters.entries == 2

    play({"TRACE_CACHE_SIZE": "2"}, body)


@pytest.mark.parametrize(("word", "number"), [("NORMAL", 1), ("FULL", 2)])
def test_TRACE_SYNCHRONOUS_is_how_routine_traces_are_synced(word: str, number: int, tmp_path: Path) -> None:
    async def body(store: TraceStore, clock: VirtualClock) -> None:
        assert isinstance(store, Batching)
        assert store._writer.pragma("synchronous") == number

    play({"TRACE_SYNCHRONOUS": word}, body, tmp_path / "traces.db")


def test_the_bounds_of_what_waits_are_settings_too() -> None:
    async def body(store: TraceStore, clock: VirtualClock) -> None:
        for number in range(1, 30):
            store.store(trace(number))
        assert store.counters.pending == 10
        assert store.counters.dropped == 19

    play({"PERPSTRADER_TRACES__MAX_PENDING": "10"}, body)


def test_how_long_and_how_large_the_record_is_are_settings() -> None:
    days = {"PAYLOAD_DAYS": "2", "ORDER_PAYLOAD_DAYS": "3", "KEEP_DAYS": "4"}
    env, day = {**days, "MAX_ROWS": "5000", "MAX_BYTES": "20000000", "COLD_DAYS": "40"}, 86_400_000
    found = retention_of(load(None, {f"PERPSTRADER_TRACES__{name}": value for name, value in env.items()}, {}))
    assert found == Retention(
        payload_ms=2 * day, kept_payload_ms=3 * day, trace_ms=4 * day, max_rows=5_000, max_bytes=20_000_000,
        cold_ms=40 * day,
    )  # fmt: skip


def test_S64_a_running_trader_keeps_its_record_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Retention] = []

    async def retain(self: Batching, policy: Retention) -> Retained:
        asked.append(policy)
        return Retained()

    monkeypatch.setattr(Batching, "retain", retain)

    async def act(stage: Stage) -> None:
        stage.trader.recorder.retention = Retention(max_rows=10)
        await stage.seconds(300)
        assert len(asked) == 1, "soon, and then once an hour"

    play_market({"BTC": calm(60_000)}, {"alpha": {}}, act)


def test_rolling_back_and_forth_is_one_setting_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"

    def writer(number: int, build: type) -> Body:
        async def body(store: TraceStore, clock: VirtualClock) -> None:
            assert isinstance(store, build)
            await store.store(trace(number))
            assert [row.sequence for row in await store.summaries()] == list(range(number, 0, -1))
            assert await store.between(0, 2**60) == [trace(n) for n in range(1, number + 1)]
            assert (await store.verify()).ok

        return body

    for number, (word, build) in enumerate(
        [("optimized", Batching), ("baseline", Plain), ("optimized", Batching), ("baseline", Plain)], start=1
    ):
        play({"PERPSTRADER_ROLLOUT__TRACES": word}, writer(number, build), path)


def test_what_is_read_and_what_is_written_go_by_different_threads_in_real_time(tmp_path: Path) -> None:
    from perpstrader.runtime import SystemClock, ThreadedExecutor

    async def main() -> None:
        write, read = ThreadedExecutor("w"), ThreadedExecutor("r")
        settings = load(None, {}, {})
        async with open_traces(settings, tmp_path / "t.db", SystemClock(), executor=write, reader=read) as store:
            for number in range(1, 50):
                receipt = store.store(trace(number))
                if number % 7 == 0:
                    await receipt
                    assert await store.get(trace(number).id) == trace(number)
                    assert len(await store.between(0, 2**60)) == number
        write.close()
        read.close()

    asyncio.run(main())
