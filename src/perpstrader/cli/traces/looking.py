"""``perpstrader traces list|show|explain``: single decisions, read beside a running trader or without one."""

from __future__ import annotations

import enum
import re
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json
from perpstrader.cli.output import print_json, show_table, terminal
from perpstrader.cli.traces.record import Bot, Replay, StoreAt, archived_words, record_of, with_store
from perpstrader.domain import TraceKind
from perpstrader.domain.wording import moment_text
from perpstrader.traces import Page, explain, explain_at, is_answered, life_of
from perpstrader.traces.contract import TraceStore

_TO_THE_MINUTE: Final = re.compile(r"[^:]*(:\d\d)?(Z|[+-]\d\d:?\d\d)?")
_MINUTE_MS: Final = 60_000
_SECOND_MS: Final = 1_000
_COLUMNS: Final = ("time (UTC)", "id", "symbol", "strategy", "wanted", "verdict", "reason")


class Verdict(enum.StrEnum):
    """What was said of a signal."""

    APPROVED = "approved"
    REFUSED = "refused"


def list_newest(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    symbol: Annotated[str | None, typer.Option(help="Of this symbol only.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Of this strategy only.")] = None,
    verdict: Annotated[Verdict | None, typer.Option(help="With this verdict only.")] = None,
    kind: Annotated[TraceKind | None, typer.Option(help="Of this kind only.")] = None,
    replay: Replay = None,
    store_at: StoreAt = None,
    bot: Bot = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """The newest decisions with verdict and reason."""
    word = verdict.value if verdict is not None else None

    async def read(store: TraceStore) -> Page:
        return await store.find(symbol=symbol, strategy=strategy, verdict=word, kind=kind, limit=limit)

    page = with_store(record_of(data_dir, config, replay, store_at, bot), read)
    if as_json:
        print_json({"traces": page.rows, "archived": page.archived})
        return
    cells = [
        (
            moment_text(row.accepted_ms), row.id, row.symbol or "-", row.strategy or "-",
            f"{row.action} {row.side}".strip() or row.kind.value, row.verdict or "-",
            row.reason or row.error or ("an order followed" if row.executed else "-"),
        )
        for row in page.rows
    ]  # fmt: skip
    show_table(terminal(), "Decisions, newest first", _COLUMNS, cells, "Nothing is recorded that matches.")
    if page.archived:
        print(f"not searched{archived_words(page.archived)}")


def show(
    trace_id: Annotated[str, typer.Argument(metavar="ID", help="As `traces list` prints it.")],
    replay: Replay = None,
    store_at: StoreAt = None,
    bot: Bot = None,
    data_dir: DataDir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """One decision with everything that it saw, said and led to, as JSON."""
    trace = with_store(record_of(data_dir, config, replay, store_at, bot), lambda store: store.get(trace_id))
    if trace is None:
        raise CliError(f"there is no trace {trace_id}; `perpstrader traces list` shows the newest")
    if as_json:
        print_json(trace)
    else:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(trace), indent=2).decode())


def explain_one(
    trace_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A decision, or --at and --symbol.")] = None,
    at: Annotated[str | None, typer.Option(metavar="2025-05-12T14:05", help="An instant in UTC.")] = None,
    symbol: Annotated[str | None, typer.Option(help="The symbol meant by --at.")] = None,
    replay: Replay = None,
    store_at: StoreAt = None,
    bot: Bot = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """In plain words why there was a trade, or why there was none; exit code 1 where nothing is recorded of that time.

    --at to the minute tells of that minute, to the second of that second; what came again and again is told once.
    """
    path = record_of(data_dir, config, replay, store_at, bot)
    if trace_id is not None:
        answered, lines = True, with_store(path, lambda store: _whole_life(store, trace_id))
    elif at is not None and symbol is not None:
        time_ms, within_ms = _instant(at), _MINUTE_MS if _TO_THE_MINUTE.fullmatch(at) else _SECOND_MS
        nearby = with_store(path, lambda store: store.near(time_ms, symbol, within_ms=within_ms))
        answered, lines = is_answered(nearby), explain_at(nearby)
    else:
        raise CliError("name a trace's id, or --at TIME and --symbol SYMBOL", ExitCode.USAGE)
    if as_json:
        print_json({"explanation": lines, "recorded": answered})
    else:
        print("\n".join(lines))
    if not answered:
        raise typer.Exit(ExitCode.FAILED)


async def _whole_life(store: TraceStore, trace_id: str) -> list[str]:
    trace = await store.get(trace_id)
    if trace is None:
        raise CliError(f"there is no trace {trace_id}; `perpstrader traces list` shows the newest")
    return explain(trace, await life_of(store, trace))


def _instant(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CliError(f"--at {text!r} is no instant; write 2025-05-12T14:05 (UTC)", ExitCode.USAGE) from None
    return int((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() * 1000)
