"""What goes wrong around a store, for both builds: poison, doubles, locks, full disks, damaged pages, clocks set back.

A plain store tells its caller of a disk that is full, or locked; the batching one tries again until it is not. Neither
loses what it acknowledged, and both go on by themselves.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import apsw
import msgspec
import pytest
from tests.contract.traces.samples import executed, trace
from tests.contract.traces.test_bars import BARS, OPENERS, saw

from perpstrader.domain import Step, Trace
from perpstrader.runtime import Clock, SystemClock, ThreadedExecutor
from perpstrader.traces import TraceError, TraceRejectedError
from perpstrader.traces.batches import BatchLimits
from perpstrader.traces.store import TraceStore

BATCHING = "optimized"


@pytest.fixture(params=sorted(OPENERS))
def build(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def play(build: str, path: Path | None, body: Callable[[Any], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with OPENERS[build](path, **options) as store:
            await body(store)

    asyncio.run(main())


async def results(store: Any, traces: list[Trace]) -> list[BaseException | None]:
    """What each receipt says; all are handed in before any is awaited."""
    receipts = [store.store(item) for item in traces]
    return list(await asyncio.gather(*receipts, return_exceptions=True))


async def adds_up(store: Any) -> None:
    counters = store.counters
    assert counters.accepted == counters.stored + counters.pending + counters.dead + counters.dropped


# --- poison ---


def spoil(path: Path, uid: str) -> None:
    """From now on the file takes no payload of one decision: the fault shows after its summary is written."""
    connection = apsw.Connection(str(path))
    connection.execute(
        "CREATE TRIGGER poison BEFORE INSERT ON payload WHEN"
        f" (SELECT uid FROM trace WHERE seq = new.seq) = '{uid}' BEGIN SELECT RAISE(ABORT, 'poisoned'); END"
    )
    connection.close()


def test_S61_one_that_cannot_be_inserted_costs_one_dead_letter_and_its_neighbours_are_there(
    build: str, tmp_path: Path
) -> None:
    path = tmp_path / "traces.db"
    play(build, path, lambda store: store.flush())
    spoil(path, "t000004")

    async def body(store: Any) -> None:
        traces = [saw(number, BARS[number : number + 10]) for number in range(1, 8)]
        told = await results(store, traces)
        assert [error is None for error in told] == [number != 4 for number in range(1, 8)]
        assert isinstance(told[3], TraceRejectedError)
        assert "poisoned" in str(told[3])
        [letter] = await store.dead_letters()
        assert (letter.id, "poisoned" in letter.reason) == ("t000004", True)
        assert await store.between(0, 2**60) == [item for item in traces if item.id != "t000004"]
        assert (store.counters.stored, store.counters.dead, store.counters.dropped) == (6, 1, 0)
        assert (await store.verify()).ok
        await adds_up(store)

    play(build, path, body)


@pytest.mark.parametrize(
    "poison",
    [{"symbol": None}, {"sequence": 2**70}, {"indicators": {"x": object()}}, {"steps": "none"}],
    ids=lambda bad: next(iter(bad)),
)
def test_S61_one_that_cannot_be_encoded_costs_one_dead_letter_and_its_neighbours_are_there(
    build: str, poison: dict[str, Any]
) -> None:
    async def body(store: Any) -> None:
        traces = [trace(1), trace(2, **poison), executed(3), trace(4)]
        told = await results(store, traces)
        assert [error is None for error in told] == [True, False, True, True]
        assert isinstance(told[1], TraceRejectedError)
        assert [letter.id for letter in await store.dead_letters()] == ["t000002"]
        assert await store.between(0, 2**60) == [traces[0], traces[2], traces[3]]
        assert (await store.verify()).ok
        await adds_up(store)

    play(build, None, body)


def test_S61_TS21_doubles_in_one_batch_are_done_once_and_other_content_costs_one_dead_letter(build: str) -> None:
    async def body(store: Any) -> None:
        other = trace(2, regime="range")
        told = await results(store, [trace(1), trace(2), trace(2), other, trace(3), trace(1)])
        assert [error is None for error in told] == [True, True, True, False, True, True]
        assert isinstance(told[3], TraceRejectedError)
        assert await store.between(0, 2**60) == [trace(1), trace(2), trace(3)]
        assert (store.counters.stored, store.counters.duplicates, store.counters.dead) == (5, 2, 1)
        assert (await store.verify()).checked == 3
        await adds_up(store)

    play(build, None, body)


# --- a lock ---

HOLDER = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(30_000)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
print("let go", flush=True)
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the file's lock until it reads a line."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other


def hearing(store: Any, heard: list[str]) -> asyncio.Event:
    """Is set when the store says that it is in trouble."""
    event = asyncio.Event()

    def tell(text: str) -> None:
        heard.append(text)
        event.set()

    store.on_trouble = tell
    return event


def test_S62_a_lock_of_another_process_loses_nothing_that_was_acknowledged_and_recording_goes_on(
    build: str, tmp_path: Path
) -> None:
    path = tmp_path / "traces.db"
    heard: list[str] = []

    async def body(store: Any) -> None:
        trouble = hearing(store, heard)
        await store.store(trace(1))
        with held(path) as other:
            assert other.stdin is not None
            assert other.stdout is not None
            waiting = asyncio.gather(*(store.store(trace(n)) for n in range(2, 30)), return_exceptions=True)
            if build == BATCHING:
                await trouble.wait()
                assert "locked by another process" in heard[0]
                assert store.counters.pending == 28
            else:
                told = await waiting
                assert all("locked by another process" in str(error) for error in told)
            assert await store.get("t000001") == trace(1)  # who reads waits for nobody
            other.stdin.write("go\n")
            other.stdin.flush()
            assert other.stdout.readline() == "let go\n"
        told = await waiting
        lost = sum(error is not None for error in told)
        assert (lost, store.counters.dropped) == ((0, 0) if build == BATCHING else (28, 28))
        assert all(error is None for error in await results(store, [trace(n) for n in range(2, 40)]))
        assert len(await store.between(0, 2**60)) == 39
        assert (await store.verify()).ok
        assert len(heard) == (build == BATCHING)
        await adds_up(store)

    threads = {"executor": ThreadedExecutor("traces")}
    if build == BATCHING:
        threads["reader"] = ThreadedExecutor("reads")
    play(build, path, body, busy_ms=20, **threads)


# --- a full disk ---


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def large(number: int) -> Trace:
    """Twenty kilobytes that no packing makes smaller."""
    return trace(number, steps=(Step(time_ms=number, text=Random(number).randbytes(10_000).hex()),))


async def until_full(store: Any, trouble: asyncio.Event) -> tuple[list[Trace], list[Any]]:
    """Decisions handed in until the disk has no room, and the receipts of those that wait then."""
    stored: list[Trace] = []
    for number in range(1, 400):
        item = large(number)
        receipt = asyncio.ensure_future(_settled(store.store(item)))
        in_trouble = asyncio.ensure_future(trouble.wait())
        await asyncio.wait({receipt, in_trouble}, return_when=asyncio.FIRST_COMPLETED)
        in_trouble.cancel()
        if not receipt.done():
            return stored, [receipt]
        error = receipt.result()
        if error is not None:
            assert "is full" in str(error)
            return stored, []
        stored.append(item)
    raise AssertionError("a disk of 6 MB never ran full")


async def _settled(receipt: Awaitable[None]) -> Exception | None:
    try:
        await receipt
    except Exception as error:
        return error
    return None


def test_S62_a_full_disk_loses_nothing_that_was_acknowledged_and_recording_goes_on_with_room(
    build: str, small_disk: Path
) -> None:
    path, ballast = small_disk / "traces.db", small_disk / "ballast"
    ballast.write_bytes(bytes(400_000))

    async def body(store: Any) -> None:
        stored, waiting = await until_full(store, hearing(store, []))
        assert len(stored) > 20
        assert bool(waiting) == (build == BATCHING)
        assert await store.get(stored[0].id) == stored[0]
        ballast.unlink()
        assert [error for error in await asyncio.gather(*waiting) if error is not None] == []
        more = trace(900)
        await store.store(more)
        wanted = [*stored, large(len(stored) + 1), more] if waiting else [*stored, more]
        assert await store.between(0, 2**60) == wanted
        assert (await store.verify()).ok
        assert store.counters.dropped == (build != BATCHING)
        await adds_up(store)

    threads = {"executor": ThreadedExecutor("traces")}
    if build == BATCHING:
        threads["reader"] = ThreadedExecutor("reads")
    play(build, path, body, **threads)

    async def after(store: Any) -> None:
        assert (await store.verify()).ok
        assert await store.get("t000900") == trace(900)

    play(build, path, after)


def test_S62_a_limit_of_the_file_size_is_a_full_disk_too(build: str, tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow beyond 2 MB."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.traces.full_target", build, str(tmp_path / "traces.db")],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stored, dropped = map(int, done.stdout.split())
    assert stored > 5
    assert dropped > 0

    async def body(store: Any) -> None:
        assert len(await store.between(0, 2**60)) == stored
        assert (await store.verify()).ok

    play(build, tmp_path / "traces.db", body)


# --- damage ---


def test_TS16_whatever_page_is_damaged_nothing_hides_and_nothing_false_is_told(
    build: str, tmp_path: Path, prove: bool
) -> None:
    path = tmp_path / "traces.db"
    traces = [saw(n, BARS[n : n + 30], executed if n % 9 == 0 else trace) for n in range(1, 200)]

    async def write(store: Any) -> None:
        await asyncio.gather(*(store.store(item) for item in traces))

    play(build, path, write)
    sound, wanted = path.read_bytes(), {item.id: item for item in traces}
    page = int.from_bytes(sound[16:18], "big")
    chance = Random(3)
    numbers = range(1, len(sound) // page)
    found = {"told at opening": 0, "told by verify": 0, "nothing was in it": 0}

    async def read(store: Any) -> str:
        try:
            for item in await store.between(0, 2**60):
                assert item == wanted[item.id], "a damaged record was passed off as a sound one"
        except TraceError:
            pass
        try:
            finding = await store.verify()
        except TraceError:
            return "told by verify"
        if not finding.ok:
            return "told by verify"
        assert await store.between(0, 2**60) == traces
        return "nothing was in it"

    for number in chance.sample(numbers, len(numbers) if prove else min(25, len(numbers))):
        harmed = bytearray(sound)
        harmed[number * page + 8 : (number + 1) * page] = chance.randbytes(page - 8)
        path.write_bytes(harmed)
        outcome: list[str] = []

        async def look(store: Any, outcome: list[str] = outcome) -> None:
            outcome.append(await read(store))

        try:
            play(build, path, look)
        except TraceError:
            outcome = outcome or ["told at opening"]
        found[outcome[0]] += 1
        for log in tmp_path.glob("traces.db-*"):
            log.unlink()
    assert found["told by verify"] + found["told at opening"] > 3 * found["nothing was in it"]


def test_S62_writing_into_a_damaged_file_tells_each_caller_and_harms_nobody(build: str, tmp_path: Path) -> None:
    path = tmp_path / "traces.db"

    async def write(store: Any) -> None:
        await asyncio.gather(*(store.store(trace(number)) for number in range(1, 100)))

    play(build, path, write)
    connection = apsw.Connection(str(path))
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'trace_uid'").get
    size = connection.pragma("page_size")
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)

    async def body(store: Any) -> None:
        for number in range(200, 205):
            with pytest.raises(TraceError, match=r"is damaged.*move it aside"):
                await store.store(trace(number))
        assert (store.counters.dropped, store.counters.stored) == (5, 0)
        assert len(await store.summaries(200)) == 99  # what does not go by that index is still read
        await adds_up(store)

    play(build, path, body)


# --- clocks ---


def test_S63_TS10_decisions_of_a_clock_that_was_set_back_are_kept_as_they_were_decided(build: str) -> None:
    async def body(store: Any) -> None:
        traces = [trace(number) for number in (50, 51, 20, 21, 52)]
        for item in traces:
            await store.store(item)
        in_time = sorted(traces, key=lambda item: item.accepted_ms)
        assert await store.between(0, 2**60) == in_time
        assert await store.recent(10) == in_time[::-1]
        assert [row.id for row in await store.summaries(10)] == [item.id for item in in_time[::-1]]
        assert [row.id for row in await store.after(0)] == [item.id for item in traces]
        assert (await store.verify()).ok

    play(build, None, body)


class Leaping(SystemClock):
    """Its wall clock leaps by hours, both ways, each time it is asked."""

    def __init__(self) -> None:
        self._turn = 0

    def now_ms(self) -> int:
        """An hour on, or two back."""
        self._turn += 1
        return super().now_ms() + (3_600_000 if self._turn % 2 else -7_200_000)


def test_S62_a_clock_that_leaps_neither_shortens_nor_lengthens_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Clock = Leaping()
    tries = 0

    async def main() -> None:
        nonlocal tries
        limits = BatchLimits(patience_ms=400)
        async with TraceStore.open(None, clock=clock, batches=limits) as store:

            def spoiled(work: object) -> Any:
                nonlocal tries
                tries += 1
                raise apsw.FullError("injected")

            monkeypatch.setattr(store._batches, "_together", spoiled)
            with pytest.raises(TraceError, match="is full"):
                async with asyncio.timeout(20):
                    await store.store(trace(1))
            monkeypatch.undo()
            await store.store(msgspec.structs.replace(trace(1), id="t2"))

    asyncio.run(main())
    assert tries >= 3
