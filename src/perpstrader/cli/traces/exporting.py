"""``perpstrader traces export|sql``: the record for other programs, and questions to it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json
from perpstrader.cli.output import print_json, show_table, terminal
from perpstrader.cli.progress import progress_bar
from perpstrader.cli.traces.record import DAY_MS, Bot, Replay, StoreAt, record_of, with_store
from perpstrader.domain import plain
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.export import Format
from perpstrader.traces.export import export as export_to

_Target = Path | None


def _file_option(name: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(name, metavar="FILE", help=text)
    return option


def export(
    jsonl: Annotated[_Target, _file_option("--jsonl", "One decision a line, as JSON.")] = None,
    parquet: Annotated[_Target, _file_option("--parquet", "Columns and the whole decision (extra: replay).")] = None,
    otlp: Annotated[_Target, _file_option("--otlp", "Lines of OpenTelemetry resource spans.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Only the newest so many UTC days of the record.")] = None,
    replay: Replay = None,
    store_at: StoreAt = None,
    bot: Bot = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Write the record to a new file, oldest first; nothing is overwritten."""
    named = [(form, path) for form, path in zip(Format, (jsonl, parquet, otlp), strict=True) if path is not None]
    if len(named) != 1:
        raise CliError("name one file: --jsonl FILE, --parquet FILE or --otlp FILE", ExitCode.USAGE)
    form, path = named[0]

    async def work(store: TraceStore, told: Callable[[float], None] | None) -> int:
        newest = await store.summaries(1)
        last_ms = newest[0].accepted_ms if newest else 0
        since_ms = 0 if days is None else max(0, (last_ms // DAY_MS - days + 1) * DAY_MS)
        return await export_to(store, path, form, since_ms=since_ms, progress=await _counted(store, told))

    with progress_bar(f"writing {path.name}", quiet=as_json) as told:
        written = with_store(record_of(data_dir, config, replay, store_at, bot), lambda store: work(store, told))
    if as_json:
        print_json({"file": str(path), "format": form.value, "decisions": written})
    else:
        print(f"{written} decisions are in {path}")


def sql(
    question: Annotated[str, typer.Argument(metavar="SQL", help="Over the tables traces and days.")],
    replay: Replay = None,
    store_at: StoreAt = None,
    bot: Bot = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Ask the record in SQL (DuckDB, extra: analytics), on a copy in memory that reaches neither file nor network.

    `traces` has a row a decision, `days` the sums by day, symbol, strategy, regime, kind, verdict and reason.
    """
    from perpstrader.traces.analytics import Answer, ask

    async def work(store: TraceStore, told: Callable[[float], None] | None) -> Answer:
        return await ask(store, question, progress=await _counted(store, told))

    with progress_bar("copying the summaries", quiet=as_json) as told:
        answer = with_store(record_of(data_dir, config, replay, store_at, bot), lambda store: work(store, told))
    if as_json:
        print_json({"columns": answer.columns, "rows": answer.rows})
    else:
        rows = [tuple(_cell(value) for value in row) for row in answer.rows]
        show_table(terminal(), "Answer", answer.columns, rows, "No rows.")


async def _counted(store: TraceStore, told: Callable[[float], None] | None) -> Callable[[int], None] | None:
    """Tells the share of all decisions that are done."""
    if told is None:
        return None
    total = max(1, (await store.stats()).total)
    return lambda done: told(min(1.0, done / total))


def _cell(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    return "" if value is None else value.isoformat() if isinstance(value, date) else str(value)
