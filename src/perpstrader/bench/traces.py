"""The trace store: what recording and reading decisions costs, beside the disk, the encoder and SQLite alone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from perpstrader import traces
from perpstrader.bench import samples
from perpstrader.bench.harness import Arm, Case, Subject, builds
from perpstrader.bench.lab import Lab
from perpstrader.domain import Trace
from perpstrader.runtime import SystemClock, ThreadedExecutor
from perpstrader.settings import load
from perpstrader.traces import baseline
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.files import Synchronous
from perpstrader.trader.records import open_traces

COMPONENT: Final = "traces"
_BATCH: Final = 100
_USUAL: Final = 1_000
_READS: Final = 20
_SYNCS: Final = 50

_Work = Callable[[], Any]
_Question = Callable[[TraceStore, int], _Work]


def cases(lab: Lab) -> list[Case]:
    """The rows of this component."""
    sizes = (_BATCH, _USUAL) if lab.quick else (_BATCH, _USUAL, 10_000)
    newest = _Truth(lambda store: store.recent(_BATCH), _newest)
    by_id = _Truth(lambda store: _get(store, range(_READS)), _oldest)
    totals = _Truth(_totals, lambda size: (size, {"BTC": size}, {"refused": size}))
    reads: tuple[tuple[str, _Question, _Truth, int, str, str], ...] = (
        ("read-recent-100", lambda store, size: lambda: store.recent(_BATCH), newest, _BATCH, "us/trace", ""),
        ("by-id", _warm_ids, by_id, _READS, "us/trace", "the same ids again and again, the best case of a cache; "),
        ("by-id-cold", _cold_ids, by_id, _READS, "us/trace", "other ids each time, all in turn; "),
        ("stats", lambda store, size: store.stats, totals, 1, "us/call", ""),
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
                partial(_reading, lab, size, ask, truth), size=size,
                claim=3.0 if (name, size) == ("read-recent-100", _USUAL) else None,
                note=f"{more}in a store of {size} traces that lies in the page cache; not what a cold disk costs",
            )
            for name, ask, truth, operations, unit, more in reads
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


def _names() -> list[str]:
    """The names that the rollout has for the builds that there are."""
    return ["baseline", "optimized"][: len(builds(baseline.TraceStore, traces.TraceStore))]


@asynccontextmanager
async def _writing(lab: Lab) -> AsyncIterator[Subject]:
    fixed = [samples.trace(number) for number in range(_BATCH)]
    async with AsyncExitStack() as stack:
        arms = [await _writer(lab, stack, build, fixed) for build in _names()]
        newest_first = tuple(reversed(fixed))
        yield Subject.of(arms, (newest_first, _BATCH, True))


async def _writer(lab: Lab, stack: AsyncExitStack, build: str, fixed: list[Trace]) -> Arm:
    store = await _opened(lab.new_folder(), stack, build)
    numbers = count(_BATCH)
    waiting: list[Trace] = []

    def prepare() -> None:
        waiting[:] = [samples.trace(next(numbers)) for _ in range(_BATCH)]

    async def answer() -> object:
        async with AsyncExitStack() as own:
            fresh = await _opened(lab.new_folder(), own, build)
            await _store_all(fresh, fixed)
            checked = await fresh.verify()
            return tuple(await fresh.recent(2 * _BATCH)), (await fresh.stats()).total, checked.ok

    return Arm(run=lambda: _store_all(store, waiting), answer=answer, prepare=prepare)


async def _store_all(store: TraceStore, listed: Sequence[Trace]) -> None:
    """All of them acknowledged; a store that gathers may do so."""
    for acknowledged in [store.store(trace) for trace in listed]:
        await acknowledged


async def _opened(folder: Path, stack: AsyncExitStack, build: str, synchronous: Synchronous = "FULL") -> TraceStore:
    """A store as the trader has it: one thread that writes, one that reads, the settings' bounds."""
    settings = load(None, {}, {"data.dir": folder, "rollout.traces": build})
    writer, reader = ThreadedExecutor("bench-traces"), ThreadedExecutor("bench-traces-read")
    stack.callback(writer.close)
    stack.callback(reader.close)
    path = folder / "traces.db"
    made = open_traces(settings, path, SystemClock(), executor=writer, reader=reader, synchronous=synchronous)
    return await stack.enter_async_context(made)


@asynccontextmanager
async def _reading(lab: Lab, size: int, ask: _Question, truth: _Truth) -> AsyncIterator[Subject]:
    async with AsyncExitStack() as stack:
        arms = []
        for build in _names():
            folder = lab.new_folder()
            async with AsyncExitStack() as filling:
                store = await _opened(folder, filling, build, "OFF")
                for first in range(0, size, _BATCH):
                    await _store_all(store, [samples.trace(first + number) for number in range(_BATCH)])
            store = await _opened(folder, stack, build)
            arms.append(Arm(run=ask(store, size), answer=partial(truth.seen, store)))
        yield Subject.of(arms, truth.right(size))


def _warm_ids(store: TraceStore, size: int) -> _Work:
    return partial(_get, store, range(_READS))


def _cold_ids(store: TraceStore, size: int) -> _Work:
    """Other ids each time, all of them in turn: more than a cache of the settings' size holds."""
    numbers = cycle(range(size))
    return lambda: _get(store, list(islice(numbers, _READS)))


async def _get(store: TraceStore, numbers: Iterable[int]) -> list[Trace | None]:
    return [await store.get(samples.trace_id(number)) for number in numbers]


async def _totals(store: TraceStore) -> tuple[int, dict[str, int], dict[str, int]]:
    totals = await store.stats()
    return totals.total, totals.by_symbol, totals.by_verdict


def _newest(size: int) -> list[Trace]:
    return [samples.trace(size - 1 - number) for number in range(_BATCH)]


def _oldest(size: int) -> list[Trace]:
    return [samples.trace(number) for number in range(_READS)]


class _Truth(NamedTuple):
    """What a read must give, and how it is asked for."""

    seen: Callable[[TraceStore], Any]
    right: Callable[[int], object]


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
