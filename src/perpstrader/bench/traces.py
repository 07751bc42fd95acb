"""The trace store: what recording and reading decisions costs, beside the disk, the encoder and SQLite alone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from typing import Any, Final

import apsw
import msgspec

from perpstrader import traces
from perpstrader.bench import samples
from perpstrader.bench.harness import Arm, Case, Subject, builds
from perpstrader.bench.lab import Lab
from perpstrader.domain import Trace
from perpstrader.runtime import ThreadedExecutor
from perpstrader.traces import baseline
from perpstrader.traces.contract import TraceStore

COMPONENT: Final = "traces"
_BATCH: Final = 100
_USUAL: Final = 1_000
_READS: Final = 20
_SYNCS: Final = 50

_Question = Callable[[TraceStore], Any]
_Truth = Callable[[int], object]


def cases(lab: Lab) -> list[Case]:
    """The rows of this component."""
    sizes = (_BATCH, _USUAL) if lab.quick else (_BATCH, _USUAL, 10_000)
    reads: tuple[tuple[str, _Question, _Truth, int, float | None, str], ...] = (
        ("read-recent-100", lambda store: store.recent(_BATCH), _newest, _BATCH, 3.0, "us/trace"),
        ("by-id", _some_by_id, _oldest, _READS, None, "us/trace"),
        ("stats", _totals, lambda size: (size, {"BTC": size}, {"refused": size}), 1, None, "us/call"),
    )
    rows = [
        Case(
            COMPONENT, "write-100", "us/trace", _BATCH, partial(_writing, lab), claim=5.0,
            note="100 handed over one after the other, then waited for: each is on the disk (WAL, synchronous=FULL), "
            "through a thread as in the trader; nothing else is going on, which a trading loop is not",
        ),
        *(
            Case(
                COMPONENT, name if size == _USUAL else f"{name}-of-{size}", unit, operations,
                partial(_reading, lab, size, ask, truth), claim=claim if size == _USUAL else None, size=size,
                note=f"in a store of {size} traces that lies in the page cache; not what a cold disk costs",
            )
            for name, ask, truth, operations, claim, unit in reads
            for size in sizes
        ),
    ]  # fmt: skip
    return rows + _limits(lab)


def _limits(lab: Lab) -> list[Case]:
    return [
        Case(
            COMPONENT, "limit-fdatasync", "us/sync", _SYNCS, partial(_fdatasync, lab),
            note="write the JSON of one trace over a part of a file that is there, and fdatasync: one durable write",
        ),
        Case(
            COMPONENT, "limit-encode", "us/trace", _BATCH, _encoding,
            note="one trace as JSON by msgspec, without redaction and without proving that it reads back",
        ),
        Case(
            COMPONENT, "limit-bare-sqlite-insert", "us/trace", _BATCH, partial(_bare_inserts, lab, commits=_BATCH),
            note="the JSON into a table without an index, a commit each (WAL, FULL), on this thread",
        ),
        Case(
            COMPONENT, "limit-bare-sqlite-batch", "us/trace", _BATCH, partial(_bare_inserts, lab, commits=1),
            note="the same rows, all hundred in one commit",
        ),
    ]  # fmt: skip


def _builds() -> list[Any]:
    return builds(baseline.TraceStore, traces.TraceStore)


@asynccontextmanager
async def _writing(lab: Lab) -> AsyncIterator[Subject]:
    fixed = [samples.trace(number) for number in range(_BATCH)]
    async with AsyncExitStack() as stack:
        arms = [await _writer(lab, stack, kind, fixed) for kind in _builds()]
        newest_first = tuple(reversed(fixed))
        yield Subject.of(arms, (newest_first, _BATCH, True))


async def _writer(lab: Lab, stack: AsyncExitStack, kind: Any, fixed: list[Trace]) -> Arm:
    store = await _opened(lab, stack, kind)
    numbers = count(_BATCH)
    waiting: list[Trace] = []

    def prepare() -> None:
        waiting[:] = [samples.trace(next(numbers)) for _ in range(_BATCH)]

    async def answer() -> object:
        async with AsyncExitStack() as own:
            fresh = await _opened(lab, own, kind)
            await _store_all(fresh, fixed)
            checked = await fresh.verify()
            return tuple(await fresh.recent(2 * _BATCH)), (await fresh.stats()).total, checked.ok

    return Arm(run=lambda: _store_all(store, waiting), answer=answer, prepare=prepare)


async def _store_all(store: TraceStore, listed: list[Trace]) -> None:
    """All of them acknowledged; a store that gathers may do so."""
    for acknowledged in [store.store(trace) for trace in listed]:
        await acknowledged


async def _opened(lab: Lab, stack: AsyncExitStack, kind: Any) -> TraceStore:
    executor = ThreadedExecutor("bench-traces")
    stack.callback(executor.close)
    path = lab.new_folder() / "traces.db"
    store: TraceStore = await stack.enter_async_context(kind.open(path, executor=executor, synchronous="FULL"))
    return store


@asynccontextmanager
async def _reading(lab: Lab, size: int, ask: _Question, truth: _Truth) -> AsyncIterator[Subject]:
    path = lab.new_folder() / "traces.db"
    async with baseline.TraceStore.open(path, synchronous="OFF") as store:
        for number in range(size):
            await store.store(samples.trace(number))
    async with AsyncExitStack() as stack:
        arms = []
        for kind in _builds():
            executor = ThreadedExecutor("bench-traces")
            stack.callback(executor.close)
            store = await stack.enter_async_context(kind.open(path, executor=executor, synchronous="FULL"))
            arms.append(Arm(run=partial(ask, store), answer=partial(ask, store)))
        yield Subject.of(arms, truth(size))


async def _some_by_id(store: TraceStore) -> list[Trace | None]:
    return [await store.get(samples.trace_id(number)) for number in range(_READS)]


async def _totals(store: TraceStore) -> tuple[int, dict[str, int], dict[str, int]]:
    totals = await store.stats()
    return totals.total, totals.by_symbol, totals.by_verdict


def _newest(size: int) -> list[Trace]:
    return [samples.trace(size - 1 - number) for number in range(_BATCH)]


def _oldest(size: int) -> list[Trace]:
    return [samples.trace(number) for number in range(_READS)]


@asynccontextmanager
async def _fdatasync(lab: Lab) -> AsyncIterator[Subject]:
    data = msgspec.json.encode(samples.trace(0))
    path = lab.new_folder() / "file"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def run() -> None:
        for place in range(_SYNCS):
            os.pwrite(file, data, place * len(data))
            os.fdatasync(file)

    def answer() -> bool:
        os.pwrite(file, bytes(_SYNCS * len(data)), 0)
        run()
        return path.read_bytes() == data * _SYNCS

    try:
        yield Subject(Arm(run=run, answer=answer), expected=True)
    finally:
        os.close(file)


@asynccontextmanager
async def _encoding() -> AsyncIterator[Subject]:
    listed = [samples.trace(number) for number in range(_BATCH)]
    encode = msgspec.json.Encoder().encode

    def run() -> list[bytes]:
        return [encode(trace) for trace in listed]

    def answer() -> bool:
        return [msgspec.json.decode(data, type=Trace) for data in run()] == listed

    yield Subject(Arm(run=run, answer=answer), expected=True)


@asynccontextmanager
async def _bare_inserts(lab: Lab, *, commits: int) -> AsyncIterator[Subject]:
    listed = [(msgspec.json.encode(samples.trace(number)),) for number in range(_BATCH)]
    connection = apsw.Connection(str(lab.new_folder() / "bare.db"))
    connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE bare (number INTEGER PRIMARY KEY, data BLOB NOT NULL)")
    size = _BATCH // commits

    def run() -> None:
        for first in range(0, _BATCH, size):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO bare (data) VALUES (?)", listed[first : first + size])
            connection.execute("COMMIT")

    def answer() -> bool:
        connection.execute("DELETE FROM bare")
        run()
        return list(connection.execute("SELECT data FROM bare ORDER BY number")) == listed

    try:
        yield Subject(Arm(run=run, answer=answer), expected=True)
    finally:
        connection.close()
