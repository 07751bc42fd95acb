"""``perpstrader traces diff|tail``: what two decisions differ in, and the record as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated

import typer

from perpstrader.cli.exits import CliError
from perpstrader.cli.options import Config, DataDir, Json
from perpstrader.cli.output import clock_text, print_json, show_table, terminal
from perpstrader.cli.traces.record import Bot, Replay, StoreAt, record_of, with_store
from perpstrader.domain import Trace
from perpstrader.runtime import SystemClock
from perpstrader.traces import TraceSummary
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.diff import Difference, diff
from perpstrader.traces.tail import tail


def diff_two(
    first: Annotated[str, typer.Argument(metavar="A", help="A decision, as `traces list` prints it.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    replay: Replay = None,
    store_at: StoreAt = None,
    bot: Bot = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Every place at which two decisions differ, with both values; rules are compared by their names."""

    async def read(store: TraceStore) -> tuple[Difference, ...]:
        return diff(await wanted(store, first), await wanted(store, second))

    found = with_store(record_of(data_dir, config, replay, store_at, bot), read)
    if as_json:
        print_json({"first": first, "second": second, "differences": found})
    else:
        show_differences(found, (first, second), "They are the same.")


def tail_record(
    last: Annotated[int, typer.Option(min=0, max=10_000, help="Begin with so many that are there already.")] = 10,
    replay: Replay = None,
    store_at: StoreAt = None,
    bot: Bot = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Each decision as it is recorded, until it is interrupted; with --json one line of JSON a decision."""

    async def follow(store: TraceStore) -> None:
        before = await store.summaries(last) if last else []
        for row in reversed(before):
            _tell(row, as_json)
        after = max((row.seq for row in before), default=None)
        async with aclosing(tail(store, SystemClock(), after=after)) as rows:
            async for row in rows:
                _tell(row, as_json)

    with_store(record_of(data_dir, config, replay, store_at, bot), follow)


async def wanted(store: TraceStore, trace_id: str) -> Trace:
    """The trace of this id, or a sentence that there is none."""
    trace = await store.get(trace_id)
    if trace is None:
        raise CliError(f"there is no trace {trace_id}; `perpstrader traces list` shows the newest")
    return trace


def show_differences(found: Sequence[Difference], names: tuple[str, str], none: str) -> None:
    """One row a difference, under the names of both sides."""
    cells = [(row.path, row.first, row.second) for row in found]
    show_table(terminal(), "What differs", ("where", *names), cells, none)


def _tell(row: TraceSummary, as_json: bool) -> None:
    if as_json:
        print_json(row)
        return
    wanted_text = f"{row.action} {row.side}".strip() or row.kind.value
    words = (row.verdict or "-", row.symbol or "-", row.strategy, wanted_text, row.reason or row.error)
    print(f"{clock_text(row.accepted_ms)} {row.id} {' '.join(word for word in words if word)}", flush=True)
