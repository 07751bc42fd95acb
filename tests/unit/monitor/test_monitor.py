"""The monitor: what it measures, what it keeps, and that reading it changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from perpstrader.monitor import MeasuredTransport, PerformanceMonitor, Stages
from perpstrader.monitor.monitor import MAX_ACTIVE, MAX_NAMES, OTHER, RECENT
from perpstrader.runtime import Answer, TransportError

MS = 1_000_000


class HandClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.ns = 5 * MS

    def now_ms(self) -> int:
        return self.ns // MS

    def monotonic_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def monitor(clock: HandClock) -> PerformanceMonitor:
    return PerformanceMonitor(clock)


def figures(monitor: PerformanceMonitor, name: str) -> Any:
    [found] = [row for row in monitor.snapshot().timers if row.name == name]
    return found


def everything(monitor: PerformanceMonitor) -> tuple[object, ...]:
    return monitor.report(), monitor.summary(), monitor.by_name("a")


# --- measuring ---


def test_a_with_block_is_measured_in_plain_and_in_asynchronous_code(
    clock: HandClock, monitor: PerformanceMonitor
) -> None:
    with monitor.measure("a"):
        clock.ns += 3 * MS

    async def work() -> None:
        with monitor.measure("a"):
            await clock.sleep(0.005)

    asyncio.run(work())
    assert (figures(monitor, "a").count, figures(monitor, "a").min_ms, figures(monitor, "a").max_ms) == (2, 3.0, 5.0)


def test_two_that_overlap_under_one_name_are_each_measured_whole(clock: HandClock, monitor: PerformanceMonitor) -> None:
    timer = monitor.timer("a")
    with timer.measure():
        clock.ns += MS
        with timer.measure():
            clock.ns += 2 * MS
    assert [measure.duration_ns for measure in monitor.by_name("a")] == [2 * MS, 3 * MS]


def test_decorated_functions_keep_their_answers_names_and_errors(clock: HandClock, monitor: PerformanceMonitor) -> None:
    @monitor.timed("plain")
    def twice(value: int) -> int:
        clock.ns += MS
        return 2 * value

    @monitor.timed("awaited")
    async def fail(text: str) -> None:
        await clock.sleep(0.002)
        raise ValueError(text)

    assert (twice(4), twice.__name__) == (8, "twice")
    with pytest.raises(ValueError, match="no"):
        asyncio.run(fail("no"))
    assert figures(monitor, "plain").mean_ms == 1.0
    assert (figures(monitor, "awaited").failed, figures(monitor, "awaited").max_ms) == (1, 2.0)


def test_an_awaitable_is_measured_while_it_is_waited_for(clock: HandClock, monitor: PerformanceMonitor) -> None:
    async def answer() -> int:
        await clock.sleep(0.004)
        return 42

    assert asyncio.run(monitor.measure_async("a", answer())) == 42
    assert figures(monitor, "a").max_ms == 4.0


def test_what_begins_here_and_ends_there_is_measured_with_its_metadata(
    clock: HandClock, monitor: PerformanceMonitor
) -> None:
    first = monitor.start("a", {"symbol": "BTC"})
    monitor.start("a")
    clock.ns += 7 * MS
    over = monitor.end(first)
    assert over is not None
    assert (over.duration_ns, over.metadata) == (7 * MS, (("symbol", "BTC"),))
    assert monitor.end(first) is None
    assert [active.id for active in monitor.report().active] == [first + 1]
    assert figures(monitor, "a").count == 1


# --- PM-01 to PM-07 ---


def test_PM01_reading_changes_nothing(clock: HandClock, monitor: PerformanceMonitor) -> None:
    monitor.timer("a").record(MS)
    monitor.counter("hits").add(3)
    monitor.gauge("open").set(2)
    monitor.start("a")
    before = everything(monitor)
    for _ in range(20):
        everything(monitor)
        monitor.by_name("never heard of")
    assert everything(monitor) == before


def test_PM02_failures_are_calls_that_are_told_apart(monitor: PerformanceMonitor) -> None:
    for ok in (True, True, True, False):
        monitor.timer("a").record(MS, ok=ok)
    with pytest.raises(KeyError), monitor.measure("b"):
        raise KeyError
    assert (figures(monitor, "a").count, figures(monitor, "a").failed_fraction) == (4, 0.25)
    assert figures(monitor, "b").failed == 1
    assert [measure.ok for measure in monitor.by_name("a")] == [True, True, True, False]


def test_PM03_starts_without_an_end_are_bounded_and_counted(monitor: PerformanceMonitor) -> None:
    ids = [monitor.start("leak") for _ in range(MAX_ACTIVE + 50)]
    snapshot = monitor.snapshot()
    assert (snapshot.active, snapshot.aged_out) == (MAX_ACTIVE, 50)
    assert monitor.end(ids[0]) is None
    assert monitor.end(ids[-1]) is not None


def test_PM04_two_modes_show_in_the_percentiles_that_a_mean_would_hide(monitor: PerformanceMonitor) -> None:
    timer = monitor.timer("a")
    for ms in [55] * 94 + [44_700] * 6:
        timer.record(ms * MS)
    row = figures(monitor, "a")
    assert row.p50_ms == pytest.approx(55, rel=0.016)
    assert row.p95_ms == pytest.approx(44_700, rel=0.016)
    assert row.max_ms == 44_700


def test_PM05_the_mean_is_over_all_and_the_recent_mean_over_the_last_hundred(
    clock: HandClock, monitor: PerformanceMonitor
) -> None:
    for ms in [10] * RECENT + [20] * RECENT:
        monitor.timer("a").record(ms * MS)
    clock.ns += 60_000 * MS
    assert (figures(monitor, "a").mean_ms, figures(monitor, "a").recent_mean_ms) == (15.0, 20.0)
    assert monitor.snapshot().span_ms == 60_000


def test_PM06_what_took_no_time_was_still_called(monitor: PerformanceMonitor) -> None:
    for _ in range(5):
        with monitor.measure("a"):
            pass
    assert (figures(monitor, "a").count, figures(monitor, "a").max_ms) == (5, 0.0)


def test_PM07_answers_are_copies_and_metadata_is_cut_to_size(monitor: PerformanceMonitor) -> None:
    metadata: dict[str, object] = {f"k{n}": "x" * 10_000 for n in range(100)}
    monitor.end(monitor.start("a", metadata))
    kept: Any = monitor.by_name("a")[0]
    assert (len(kept.metadata), max(len(value) for _, value in kept.metadata)) == (8, 64)
    monitor.counter("hits").add()
    monitor.snapshot().counters["hits"] = 99
    assert monitor.snapshot().counters == {"hits": 1}
    with pytest.raises(AttributeError):
        kept.ok = False


# --- bounds, counts, clearing ---


@pytest.mark.parametrize("handle", [PerformanceMonitor.timer, PerformanceMonitor.counter, PerformanceMonitor.gauge])
def test_names_beyond_the_bound_share_one(
    monitor: PerformanceMonitor, handle: Callable[[PerformanceMonitor, str], object]
) -> None:
    known = handle(monitor, "n0")
    many = {id(handle(monitor, f"n{n}")) for n in range(5 * MAX_NAMES)}
    assert len(many) == MAX_NAMES + 1
    assert handle(monitor, "n0") is known
    assert handle(monitor, "one more") is handle(monitor, OTHER)


def test_the_newest_hundred_are_kept_under_a_name(monitor: PerformanceMonitor) -> None:
    for ns in range(3 * RECENT):
        monitor.timer("a").record(ns)
    assert [measure.duration_ns for measure in monitor.by_name("a", 2)] == [298, 299]
    assert len(monitor.by_name("a", 10_000)) == RECENT
    assert monitor.by_name("a", 0) == ()


def test_counts_and_levels_are_shown_whether_pushed_or_kept_elsewhere(monitor: PerformanceMonitor) -> None:
    kept = {"misses": 1}
    monitor.counter("hits").add(9)
    monitor.watch_count("misses", lambda: kept["misses"])
    monitor.watch_level("open", lambda: 2.5)
    kept["misses"] = 4
    snapshot = monitor.snapshot()
    assert (snapshot.counters, snapshot.gauges) == ({"hits": 9, "misses": 4}, {"open": 2.5})
    assert {"hits 9", "misses 4", "open 2.5"} <= set(monitor.summary().splitlines())


def test_cleared_it_counts_from_zero_and_handles_stay_good(clock: HandClock, monitor: PerformanceMonitor) -> None:
    timer, hits = monitor.timer("a"), monitor.counter("hits")
    timer.record(MS)
    hits.add()
    monitor.start("a")
    clock.ns += MS
    monitor.clear()
    assert (figures(monitor, "a").count, monitor.snapshot().active, monitor.snapshot().span_ms) == (0, 0, 0)
    timer.record(2 * MS)
    hits.add()
    assert (figures(monitor, "a").max_ms, monitor.snapshot().counters) == (2.0, {"hits": 1})


def test_the_summary_has_a_line_for_each_name(monitor: PerformanceMonitor) -> None:
    monitor.timer("submit").record(120 * MS)
    [line] = [line for line in monitor.summary().splitlines() if line.startswith("submit")]
    assert line.split()[:3] == ["submit", "1", "0"]
    assert "120.000" in line


# --- the measured transport ---


class Wire:
    """Answers with a status, or not at all; each post takes 10 ms."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.status = 200
        self.broken = False

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        await self.clock.sleep(0.01)
        if self.broken:
            raise TransportError("gone", sent=True)
        return Answer(self.status, body)

    async def open_socket(self, on_frame: object, on_close: object) -> Any:
        return on_frame, on_close

    async def close(self) -> None:
        self.broken = True


def test_requests_are_timed_by_kind_and_pass_as_they_are(clock: HandClock, monitor: PerformanceMonitor) -> None:
    wire = Wire(clock)
    transport: Any = MeasuredTransport(wire, Stages.of(monitor))

    async def act() -> None:
        assert await transport.post("/info", b"1", timeout_s=1) == Answer(200, b"1")
        wire.status = 502
        assert (await transport.post("/exchange", b"2", timeout_s=1)).status == 502
        assert (await transport.post("/elsewhere", b"3", timeout_s=1)).status == 502
        assert await transport.open_socket(print, repr) == (print, repr)
        await transport.close()
        with pytest.raises(TransportError):
            await transport.post("/info", b"4", timeout_s=1)

    asyncio.run(act())
    assert (figures(monitor, "info_request").count, figures(monitor, "info_request").failed) == (2, 1)
    assert (figures(monitor, "exchange_request").count, figures(monitor, "exchange_request").failed) == (1, 1)
    assert figures(monitor, "info_request").max_ms == 10.0
