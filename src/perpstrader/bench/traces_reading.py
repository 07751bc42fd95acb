"""What reading decisions costs: the newest, one, by symbol, what nobody has analysed, totals; growth, and the disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from perpstrader.bench.harness import Arm, Case, Skipped, Subject
from perpstrader.bench.lab import Lab
from perpstrader.bench.traces_kit import build_names, file_bytes, filled, opened, read_ids, trace
from perpstrader.domain import Trace
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.export import Format, export

COMPONENT: Final = "traces"
_NEWEST: Final = 50
_READS: Final = 20
_UNREAD: Final = 100
_SYMBOL: Final = "BTC"
_GROUPS: Final = ("symbol", "regime")
_SIZED_QUICKLY: Final = ("by-id", "stats")

_Work = Callable[[], Awaitable[Any]]


class _Question(NamedTuple):
    """A row: how it is asked, in a store of so many, and what must come out."""

    name: str
    operations: int
    unit: str
    ask: Callable[[TraceStore, int], _Work]
    right: Callable[[int, str], object]
    more: str
    claim: float | None = None
    cold: bool = False


def cases(lab: Lab) -> list[Case]:
    """The rows of reading; sizes are of traces of 8 KB, with ``lab.full`` also up to a million of 1 KB."""
    sizes = (1_000, 5_000) if lab.quick else (10_000, 100_000)
    made = [
        _case(lab, question, count, "8k", first=sizes[0])
        for question in _QUESTIONS
        for count in sizes
        if count == sizes[0] or not lab.quick or question.name in _SIZED_QUICKLY
    ]
    if not lab.quick:
        made += _growth(lab, (10_000, 1_000_000) if lab.full else sizes, "1k" if lab.full else "8k")
    made += _win_rate(lab, 1_000_000 if lab.full else sizes[0], "1k" if lab.full else "8k")
    return made + _disk(lab, sizes[0])


def _case(lab: Lab, question: _Question, count: int, size: str, *, first: int) -> Case:
    return Case(
        COMPONENT, question.name if count == first else f"{question.name}-of-{count}", question.unit,
        question.operations, partial(_reading, lab, question, count, size),
        size=None if lab.quick and question.name not in _SIZED_QUICKLY else count,
        claim=question.claim if count == first else None,
        note=f"{question.more}; {count:,} traces of {size.upper()}B that lie in the page cache, not on a cold disk",
    )  # fmt: skip


# --- the questions ---


def _newest(count: int, size: str) -> object:
    return [trace(count - 1 - number, size) for number in range(_NEWEST)]


def _oldest(count: int, size: str) -> object:
    return [trace(number, size) for number in range(_READS)]


def _warm_ids(store: TraceStore, count: int) -> _Work:
    return partial(read_ids, store, range(_READS))


def _other_ids(store: TraceStore, count: int) -> _Work:
    """A thousand ids from anywhere, all of them in turn: more than a cache of the settings' size holds."""
    numbers = cycle(Random(count).sample(range(count), min(count, 1_000)))
    return lambda: read_ids(store, list(islice(numbers, _READS)))


def _by_symbol(store: TraceStore, count: int) -> _Work:
    return lambda: _rows_of_symbol(store)


async def _rows_of_symbol(store: TraceStore) -> list[tuple[str, str]]:
    return [(row.id, row.symbol) for row in (await store.find(symbol=_SYMBOL, limit=_NEWEST)).rows]


def _right_by_symbol(count: int, size: str) -> object:
    of_symbol = (one for one in (trace(number, size) for number in reversed(range(count))) if one.symbol == _SYMBOL)
    return [(one.id, one.symbol) for one in islice(of_symbol, _NEWEST)]


def _summaries(store: TraceStore, count: int) -> _Work:
    return lambda: _summary_ids(store)


async def _summary_ids(store: TraceStore) -> list[str]:
    return [row.id for row in await store.summaries(_NEWEST)]


def _right_summaries(count: int, size: str) -> object:
    return [trace(count - 1 - number, size).id for number in range(_NEWEST)]


def _totals(store: TraceStore, count: int) -> _Work:
    return lambda: _total(store)


async def _total(store: TraceStore) -> tuple[int, int]:
    totals = await store.stats()
    return totals.total, totals.unanalyzed


_QUESTIONS: Final = (
    _Question(
        "read-recent", _NEWEST, "us/trace", lambda store, count: lambda: store.recent(_NEWEST), _newest,
        f"the newest {_NEWEST} whole, again and again, as a page asks: the best case of a cache", claim=3.0,
    ),
    _Question(
        "read-recent-cold", _NEWEST, "us/trace", lambda store, count: lambda: store.recent(_NEWEST), _newest,
        f"the newest {_NEWEST} whole, the first question to a store that has just been opened: both builds decode the "
        "same JSON with the same decoder, which bounds what can be won; see limit-decode", claim=3.0, cold=True,
    ),
    _Question("summaries", 1, "us/call", _summaries, _right_summaries, f"the newest {_NEWEST} summaries"),
    _Question(
        "by-id", _READS, "us/trace", _warm_ids, _oldest, "the same ids again and again, the best case of a cache"
    ),
    _Question("by-id-cold", _READS, "us/trace", _other_ids, _oldest, "other ids each time, all of them in turn"),
    _Question("by-symbol", 1, "us/call", _by_symbol, _right_by_symbol, f"the newest {_NEWEST} summaries of a symbol"),
    _Question(
        "unanalyzed", _UNREAD, "us/trace", lambda store, count: lambda: store.unanalyzed(_UNREAD),
        lambda count, size: [trace(number, size) for number in range(_UNREAD)],
        f"the oldest {_UNREAD} that nobody has analysed, whole: both builds decode, nothing is cached",
    ),
    _Question(
        "stats", 1, "us/call", _totals, lambda count, size: (count, count),
        "totals by kind, verdict, reason, symbol and strategy, from sums that the file keeps in both builds",
    ),
)  # fmt: skip


@asynccontextmanager
async def _reading(lab: Lab, question: _Question, count: int, size: str) -> AsyncIterator[Subject]:
    async with AsyncExitStack() as stack:
        arms = [await _reader(lab, stack, build, question, count, size) for build in build_names()]
        yield Subject.of(arms, question.right(count, size))


async def _reader(lab: Lab, stack: AsyncExitStack, build: str, question: _Question, count: int, size: str) -> Arm:
    folder = await filled(lab, build, count, size)
    if question.cold:
        return await _cold_reader(stack, build, folder, question, count)
    store = await opened(folder, stack, build)
    answer = _warm_ids if question.name == "by-id-cold" else question.ask  # a fixed question where the row has none
    return Arm(run=question.ask(store, count), answer=answer(store, count))


async def _cold_reader(stack: AsyncExitStack, build: str, folder: Path, question: _Question, count: int) -> Arm:
    """A store that is closed and opened again before each repetition."""
    held = await stack.enter_async_context(AsyncExitStack())
    kept = [await opened(folder, held, build)]

    async def reopen() -> None:
        await held.aclose()
        kept[0] = await opened(folder, held, build)

    async def ask() -> Any:
        return await question.ask(kept[0], count)()

    return Arm(run=ask, answer=ask, prepare=reopen)


# --- growth ---


def _growth(lab: Lab, sizes: tuple[int, int], size: str) -> list[Case]:
    asked = ("read-recent-cold", "by-id-cold", "by-symbol", "unanalyzed", "stats")
    return [
        Case(
            COMPONENT, f"growth-{question.name}", question.unit, question.operations,
            partial(_growing, lab, question, sizes, size), claim=None if question.name == "stats" else 0.5,
            compares_builds=False,
            note=f"the optimized build alone: baseline is a store of {sizes[0]:,} and optimized one of {sizes[1]:,} "
            f"traces of {size.upper()}B; at least 0.5 is asked of it, at most twice as slow"
            f"{', but not where all that nobody has analysed is counted' if question.name == 'stats' else ''}",
        )
        for question in _QUESTIONS
        if question.name in asked
    ]  # fmt: skip


@asynccontextmanager
async def _growing(lab: Lab, question: _Question, sizes: tuple[int, int], size: str) -> AsyncIterator[Subject]:
    async with AsyncExitStack() as stack:
        arms = []
        for count in sizes:
            reader = await _reader(lab, stack, "optimized", question, count, size)

            async def answer(reader: Arm = reader, count: int = count) -> bool:
                return bool(await reader.answer() == question.right(count, size))

            arms.append(Arm(run=reader.run, answer=answer, prepare=reader.prepare))
        yield Subject.of(arms, True)


# --- win rate ---


def _win_rate(lab: Lab, count: int, size: str) -> list[Case]:
    note = f"by symbol and regime, over {count:,} traces of {size.upper()}B, one in five of which ended"
    return [
        Case(
            COMPONENT, "win-rate", "us/call", 1, partial(_rates, lab, count, size), compares_builds=False,
            note=f"{note}: baseline asks each row of the summaries, optimized the sums over all days that the file "
            "keeps in either build",
        ),
        Case(
            COMPONENT, "win-rate-parquet", "us/call", 1, partial(_rates_of_parquet, lab, count, size),
            compares_builds=False,
            note=f"{note}: baseline asks each row of the summaries, optimized the same rows in Parquet through DuckDB",
        ),
    ]  # fmt: skip


_EACH_ROW: Final = (
    "SELECT symbol, regime, count(outcome_usd), sum(CAST(outcome_usd AS {real}) > 0) FROM {source}"
    " GROUP BY 1, 2 HAVING count(outcome_usd) > 0 ORDER BY 1, 2"
)


def _scan(folder: Path, stack: AsyncExitStack) -> Callable[[], list[tuple[Any, ...]]]:
    connection = apsw.Connection(str(folder / "traces.db"), flags=apsw.SQLITE_OPEN_READONLY)
    stack.callback(connection.close)
    connection.execute("PRAGMA mmap_size = 268435456; PRAGMA cache_size = -65536")
    sql = _EACH_ROW.format(real="REAL", source="trace")
    return lambda: connection.execute(sql).fetchall()


@asynccontextmanager
async def _rates(lab: Lab, count: int, size: str) -> AsyncIterator[Subject]:
    async with AsyncExitStack() as stack:
        folder = await filled(lab, "optimized", count, size)
        scan, store = _scan(folder, stack), await opened(folder, stack, "optimized")

        async def asked() -> list[tuple[Any, ...]]:
            told = await store.outcomes(_GROUPS)
            return [(*one.key.values(), one.ended, one.wins) for one in told if one.ended]

        yield Subject(Arm(run=scan, answer=scan), Arm(run=lambda: store.outcomes(_GROUPS), answer=asked))


@asynccontextmanager
async def _rates_of_parquet(lab: Lab, count: int, size: str) -> AsyncIterator[Subject]:
    if find_spec("duckdb") is None or find_spec("pyarrow") is None:
        raise Skipped("it needs the extra `analytics` (DuckDB and pyarrow)")
    import duckdb

    async with AsyncExitStack() as stack:
        folder = await filled(lab, "optimized", count, size)
        target = lab.new_folder() / "traces.parquet"
        store = await opened(folder, stack, "optimized")
        await export(store, target, Format.PARQUET)
        scan, connection = _scan(folder, stack), duckdb.connect()
        stack.callback(connection.close)
        sql = _EACH_ROW.format(real="DOUBLE", source=f"'{target}'")

        def run() -> list[tuple[Any, ...]]:
            return list(connection.execute(sql).fetchall())

        yield Subject(Arm(run=scan, answer=scan), Arm(run=run, answer=run))


# --- the disk ---


def _disk(lab: Lab, count: int) -> list[Case]:
    more = f"the closed file of {count:,} traces of 8KB with all its indices and sums"
    return [
        Case(
            COMPONENT, "bytes-on-disk", "bytes/trace", count, partial(_bytes, lab, count), counted=True,
            note=f"{more}; made-up evidence, whose numbers are as random as they get",
        ),
        Case(
            COMPONENT, "bytes-on-disk-of-json", "bytes/trace", count, partial(_bytes_of_json, lab, count), counted=True,
            compares_builds=False,
            claim=2.86, note=f"baseline: the JSON of the traces alone; optimized: {more}; 2.86 is a file of 0.35 times "
            "the JSON",
        ),
    ]  # fmt: skip


@asynccontextmanager
async def _bytes(lab: Lab, count: int) -> AsyncIterator[Subject]:
    arms = []
    for build in build_names():
        folder = await filled(lab, build, count, "8k")
        arms.append(Arm(run=partial(file_bytes, folder), answer=partial(_all_there, lab, folder, build, count)))
    yield Subject.of(arms, True)


async def _all_there(lab: Lab, folder: Path, build: str, count: int) -> bool:
    async with AsyncExitStack() as stack:
        store = await opened(folder, stack, build)
        return await store.get(_last(count).id) == _last(count) and (await store.stats()).total == count


def _last(count: int) -> Trace:
    return trace(count - 1)


@asynccontextmanager
async def _bytes_of_json(lab: Lab, count: int) -> AsyncIterator[Subject]:
    folder = await filled(lab, "optimized", count, "8k")
    encode = msgspec.json.Encoder().encode
    size = sum(len(encode(trace(number))) for number in range(count))
    there = partial(_all_there, lab, folder, "optimized", count)
    yield Subject(Arm(run=lambda: size, answer=lambda: True), Arm(run=partial(file_bytes, folder), answer=there))
