"""Stores for the trace rows: opened as the trader opens them, filled once a size, and the traces that go into them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from perpstrader import traces
from perpstrader.bench.harness import builds
from perpstrader.bench.lab import Lab
from perpstrader.domain import Trace
from perpstrader.runtime import InlineExecutor, SystemClock, ThreadedExecutor
from perpstrader.settings import load
from perpstrader.traces import baseline, sample_trace
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.files import Synchronous
from perpstrader.traces.sample import BAR_MS, START_MS, STEP_MS, sample_history
from perpstrader.trader.records import open_traces

BATCH: Final = 100
JSON_BYTES: Final = {"1k": 1_000, "2k": 2_200, "8k": 8_200, "30k": 30_000}
"""What a trace of this name has as JSON, about."""

_BODIES: Final = 250
_ENDED: Final = 5


def trace(number: int, size: str = "8k") -> Trace:
    """The ``number``-th trace of a size; one in five has an outcome."""
    body = _bodies(size)[number % _BODIES]
    at_ms = START_MS + number * STEP_MS
    ended = number % _ENDED == 0
    view = body.view
    if view is not None:
        opened_ms = at_ms // BAR_MS * BAR_MS
        view = replace(view, time_ms=at_ms, history=sample_history(body.symbol, opened_ms, len(view.history)))
    return replace(
        body, view=view, id=trace_id(number), sequence=number, accepted_ms=at_ms,
        outcome_usd=f"{number % 13 - 6}.25" if ended else None, outcome_ms=at_ms if ended else None,
    )  # fmt: skip


def trace_id(number: int) -> str:
    """The id of the ``number``-th trace."""
    return f"t{number:09}"


@cache
def _bodies(size: str) -> list[Trace]:
    return [sample_trace(seed, json_bytes=JSON_BYTES[size]) for seed in range(_BODIES)]


def build_names() -> list[str]:
    """The names that the rollout has for the builds that there are."""
    return ["baseline", "optimized"][: len(builds(baseline.TraceStore, traces.TraceStore))]


async def store_all(store: TraceStore, listed: Sequence[Trace]) -> None:
    """All of them acknowledged: in batches, the next handed over while a store that gathers writes the one before."""
    waiting = []
    for first in range(0, len(listed), BATCH):
        waiting += [store.store(one) for one in listed[first : first + BATCH]]
        await SystemClock().sleep(0)
    for acknowledged in waiting:
        await acknowledged


async def opened(folder: Path, stack: AsyncExitStack, build: str, synchronous: Synchronous = "FULL") -> TraceStore:
    """A store as the trader has it: one thread that writes, one that reads, the settings' bounds."""
    writer, reader = ThreadedExecutor("bench-traces"), ThreadedExecutor("bench-traces-read")
    stack.callback(writer.close)
    stack.callback(reader.close)
    return await stack.enter_async_context(_made(folder, build, synchronous, executor=writer, reader=reader))


@asynccontextmanager
async def fresh(lab: Lab, build: str, synchronous: Synchronous = "FULL") -> AsyncIterator[TraceStore]:
    """An empty store, opened so."""
    async with AsyncExitStack() as stack:
        yield await opened(lab.new_folder(), stack, build, synchronous)


async def filled(lab: Lab, build: str, count: int, size: str) -> Path:
    """The folder of a store of ``count`` traces that this build has written; made once in a run."""
    folder = lab.folder / f"{build}-{count}-of-{size}"
    if not folder.exists():
        folder.mkdir()
        # in place, and without waiting for the disk: how long filling takes is nobody's question
        async with _made(folder, build, "OFF", executor=InlineExecutor()) as store:
            for first in range(0, count, BATCH):
                await store_all(store, [trace(number, size) for number in range(first, min(first + BATCH, count))])
    return folder


def file_bytes(folder: Path) -> int:
    """What a closed store takes on the disk."""
    return sum(file.stat().st_size for file in folder.iterdir())


async def read_ids(store: TraceStore, numbers: Iterable[int]) -> list[Trace | None]:
    """The traces with these numbers, one question each."""
    return [await store.get(trace_id(number)) for number in numbers]


def _made(folder: Path, build: str, synchronous: Synchronous, **executors: Any) -> Any:
    settings = load(None, {}, {"data.dir": folder, "rollout.traces": build})
    return open_traces(settings, folder / "traces.db", SystemClock(), synchronous=synchronous, **executors)
