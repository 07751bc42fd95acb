"""What recording costs: batches of 100 in three sizes and three modes, one call, one acknowledgement."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from time import perf_counter_ns
from typing import Any, Final

from perpstrader.bench.harness import Arm, Case, Subject
from perpstrader.bench.lab import Lab
from perpstrader.bench.statistics import quantile
from perpstrader.bench.traces_kit import BATCH, build_names, fresh, opened, store_all, trace
from perpstrader.domain import Trace
from perpstrader.traces import baseline, chain, rows
from perpstrader.traces.bars import Memo, Shelf
from perpstrader.traces.codec import encode
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.files import Synchronous, connect, transact
from perpstrader.traces.packing import Packer, shipped
from perpstrader.traces.store import PAGE_BYTES
from perpstrader.traces.store import TraceStore as BatchingStore

COMPONENT: Final = "traces"
_SIZES: Final = ("2k", "8k", "30k")
_CALLS: Final = 200
_SUSTAINED: Final = (
    "handed over in hundreds, the next hundred while the one before is written, then waited for: each is on the disk; "
    "nothing else is going on, which a trading loop is not"
)


def cases(lab: Lab) -> list[Case]:
    """The rows of writing."""
    few = ("8k",) if lab.quick else _SIZES
    batches = 1 if lab.quick else 4
    each = BATCH * batches
    made = [
        Case(
            COMPONENT, f"write-100-{size}", "us/trace", each, partial(_writing, lab, size, batches),
            note=f"both builds WAL and synchronous=FULL; {_SUSTAINED}",
        )
        for size in _SIZES
    ]  # fmt: skip
    made.append(
        Case(
            COMPONENT, "write-100", "us/trace", 1, partial(_writing_all, lab, batches), claim=5.0, counted=True,
            note=f"the geometric mean over traces of {', '.join(_SIZES)}, measured together; {_SUSTAINED}",
        )
    )  # fmt: skip
    for size in few:
        made += [
            Case(
                COMPONENT, f"write-100-{size}-normal", "us/trace", each,
                partial(_writing, lab, size, batches, synchronous="NORMAL"),
                note=f"both builds WAL and synchronous=NORMAL: a power cut takes the last ones; {_SUSTAINED}",
            ),
            Case(
                COMPONENT, f"write-100-{size}-rollback", "us/trace", each,
                partial(_writing, lab, size, batches, rollback=True),
                note="the plain build with a rollback journal and FULL, which is SQLite's own default, the mode "
                f"before any optimization; the other one WAL and FULL; {_SUSTAINED}",
            ),
            Case(
                COMPONENT, f"write-100-{size}-serial", "us/trace", each, partial(_against_serial, lab, size, batches),
                claim=0.7, compares_builds=False,
                note="baseline: the encoder, then the database, on one thread, a commit a hundred, without a store "
                "around them; a store on one processor cannot be much above 1",
            ),
        ]  # fmt: skip
    return made + _calls(lab)


def _calls(lab: Lab) -> list[Case]:
    goal = "baseline is the store's own redaction and codec alone: the goal is at most 15 us more"
    return [
        Case(
            COMPONENT, f"store-call{ending}", "us/call", 1, partial(_store_calls, lab, part), counted=True,
            compares_builds=False,
            note=f"what `store` keeps the loop for, {word} of {_CALLS} calls with 8 KB; {goal}",
        )
        for ending, part, word in (("", 0.5, "the median"), ("-p99", 0.99, "the 99th percentile"))
    ] + [
        Case(
            COMPONENT, f"ack{ending}", "us/trace", 1, partial(_acks, lab, part), counted=True,
            note=f"one trace of 8 KB, waited for before the next, {word} of {BATCH}: nothing gathers, so the disk's "
            "own sync and a change of threads are all there is; see limit-fdatasync",
        )
        for ending, part, word in (("", 0.5, "the median"), ("-p99", 0.99, "the 99th percentile"))
    ]  # fmt: skip


# --- batches ---


@asynccontextmanager
async def _writing(
    lab: Lab, size: str, batches: int, *, synchronous: Synchronous = "FULL", rollback: bool = False
) -> AsyncIterator[Subject]:
    async with AsyncExitStack() as stack:
        arms = [
            await _writer(lab, stack, build, size, batches, synchronous, rollback=rollback and build == "baseline")
            for build in build_names()
        ]
        yield Subject.of(arms, _right(size))


async def _writer(
    lab: Lab, stack: AsyncExitStack, build: str, size: str, batches: int, synchronous: Synchronous, *, rollback: bool
) -> Arm:
    store = await opened(lab.new_folder(), stack, build, synchronous)
    if rollback:
        await _use_rollback_journal(store)
    numbers = count(BATCH)
    waiting: list[Trace] = []

    async def prepare() -> None:
        await store.flush()
        waiting[:] = [trace(next(numbers), size) for _ in range(batches * BATCH)]

    return Arm(run=lambda: store_all(store, waiting), answer=partial(_answer, lab, build, size), prepare=prepare)


async def _use_rollback_journal(store: TraceStore) -> None:
    assert isinstance(store, baseline.TraceStore)
    connection = store._connection
    await store._run(lambda: connection.execute("PRAGMA journal_mode = DELETE").fetchall())


async def _answer(lab: Lab, build: str, size: str) -> object:
    """What a new store holds after the fixed hundred."""
    async with fresh(lab, build, "OFF") as store:
        await store_all(store, [trace(number, size) for number in range(BATCH)])
        checked = await store.verify()
        return tuple(await store.recent(2 * BATCH)), (await store.stats()).total, checked.ok


def _right(size: str) -> object:
    return tuple(trace(number, size) for number in reversed(range(BATCH))), BATCH, True


@asynccontextmanager
async def _writing_all(lab: Lab, batches: int) -> AsyncIterator[Subject]:
    """Each arm writes all sizes one after the other and gives the geometric mean of what a trace took."""
    async with AsyncExitStack() as stack:
        arms = []
        for build in build_names():
            parts = [await _writer(lab, stack, build, size, batches, "FULL", rollback=False) for size in _SIZES]
            arms.append(_mean_of(parts, batches * BATCH))
        yield Subject.of(arms, [_right(size) for size in _SIZES])


def _mean_of(parts: Sequence[Arm], operations: int) -> Arm:
    async def prepare() -> None:
        for part in parts:
            assert part.prepare is not None
            await part.prepare()

    async def run() -> float:
        logs = []
        for part in parts:
            started = perf_counter_ns()
            await part.run()
            logs.append(math.log((perf_counter_ns() - started) / 1_000 / operations))
        return math.exp(sum(logs) / len(logs))

    async def answer() -> object:
        return [await part.answer() for part in parts]

    return Arm(run=run, answer=answer, prepare=prepare)


@asynccontextmanager
async def _against_serial(lab: Lab, size: str, batches: int) -> AsyncIterator[Subject]:
    async with AsyncExitStack() as stack:
        store = await _writer(lab, stack, "optimized", size, batches, "FULL", rollback=False)
        connection = connect(
            str(lab.new_folder() / "serial.db"), "FULL", read_only=False, busy_ms=1_000, page_size=PAGE_BYTES
        )
        stack.callback(connection.close)
        packer, memo, shelf = Packer(shipped()), Memo(), Shelf()
        numbers, waiting = count(BATCH), list[Trace]()

        def prepare() -> None:
            waiting[:] = [trace(next(numbers), size) for _ in range(batches * BATCH)]

        def write(listed: Sequence[Trace]) -> None:
            encoded = [encode(one, memo) for one in listed]

            def insert() -> None:
                tail = rows.Tail.read(connection)
                shelf.begin(connection)
                for one in encoded:
                    rows.insert_trace(connection, one, tail, packer.pack, shelf)

            transact(connection, insert)

        def run() -> None:
            for first in range(0, len(waiting), BATCH):
                write(waiting[first : first + BATCH])

        async def answer() -> object:
            assert chain.verify(connection).ok
            return await store.answer()

        yield Subject(Arm(run=run, answer=answer, prepare=prepare), store, _right(size))


# --- one trace ---


@asynccontextmanager
async def _store_calls(lab: Lab, part: float) -> AsyncIterator[Subject]:
    async with fresh(lab, "optimized") as store:
        assert isinstance(store, BatchingStore)
        numbers, waiting, memo = count(BATCH), list[Trace](), Memo()

        async def prepare() -> None:
            await store.flush()
            waiting[:] = [trace(next(numbers)) for _ in range(_CALLS)]

        def run(call: Callable[[Trace], Any]) -> float:
            took = []
            for one in waiting:
                started = perf_counter_ns()
                call(one)
                took.append((perf_counter_ns() - started) / 1_000)
            return quantile(sorted(took), part)

        def answer() -> object:
            return [encode(trace(number), memo).whole for number in range(BATCH)]

        async def stored() -> object:
            await store_all(store, [trace(number) for number in range(BATCH)])
            return [await store.get(trace(number).id) for number in range(BATCH)]

        # urgent, as all but later revisions are: it is awaiting the receipt that makes it so
        call = Arm(run=lambda: run(store.store), answer=stored, prepare=prepare)
        yield Subject(Arm(run=lambda: run(lambda one: encode(one, memo)), answer=answer, prepare=prepare), call)


@asynccontextmanager
async def _acks(lab: Lab, part: float) -> AsyncIterator[Subject]:
    async with AsyncExitStack() as stack:
        yield Subject.of([await _acknowledged(lab, stack, build, part) for build in build_names()], _right("8k"))


async def _acknowledged(lab: Lab, stack: AsyncExitStack, build: str, part: float) -> Arm:
    store = await opened(lab.new_folder(), stack, build)
    numbers, waiting = count(BATCH), list[Trace]()

    def prepare() -> None:
        waiting[:] = [trace(next(numbers)) for _ in range(BATCH)]

    async def run() -> float:
        took = []
        for one in waiting:
            started = perf_counter_ns()
            await store.store(one)
            took.append((perf_counter_ns() - started) / 1_000)
        return quantile(sorted(took), part)

    return Arm(run=run, answer=partial(_answer, lab, build, "8k"), prepare=prepare)
