"""``perpstrader traces stats``: what was decided, what came of it, and what refusals missed and spared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console

from perpstrader.cli.options import Config, DataDir, Json
from perpstrader.cli.output import print_json, short, show_table, terminal
from perpstrader.cli.progress import progress_bar
from perpstrader.cli.traces.record import DAY_MS, Bot, Replay, StoreAt, record_of, with_store
from perpstrader.domain.traces import TraceKind
from perpstrader.traces import TraceStats
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.hindsight import Hindsight, Spared
from perpstrader.traces.outcomes import Bin, Outcome
from perpstrader.traces.walk import walk

_BY: Final = ("symbol", "strategy", "regime")
_OUTCOMES: Final = ("decisions", "orders", "ended", "win rate", "expectancy USD", "profit factor", "net USD")
_BINS: Final = ("confidence", "ended", "said", "won", "net USD")
_SPARED: Final = ("reason", "bars after", "would have won", "lost", "even", "not known", "mean move")
_NOTHING: Final = "Nothing is recorded."


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """The record in numbers; all but ``totals`` from the day of ``since_ms`` on."""

    since_ms: int
    totals: TraceStats
    by_kind: tuple[Outcome, ...]
    by_symbol: tuple[Outcome, ...]
    by_strategy: tuple[Outcome, ...]
    by_regime: tuple[Outcome, ...]
    by_reason: tuple[Outcome, ...]
    calibration: tuple[Bin, ...]
    refusals_after: tuple[Spared, ...]


def stats(
    days: Annotated[int, typer.Option(min=1, help="Of so many UTC days, the newest recorded one included.")] = 30,
    replay: Replay = None,
    store_at: StoreAt = None,
    bot: Bot = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Decisions by reason, symbol, strategy, regime; win rate, calibration, what refusals would have made."""
    path = record_of(data_dir, config, replay, store_at, bot)
    with progress_bar("reading the record", quiet=as_json) as progress:
        numbers = with_store(path, lambda store: _read(store, days, progress))
    if as_json:
        print_json(numbers)
    else:
        _show(numbers, terminal(), days)


async def _read(store: TraceStore, days: int, progress: Callable[[float], None] | None) -> Numbers:
    newest = await store.summaries(1)
    last_ms = newest[0].accepted_ms if newest else 0
    since_ms = max(0, (last_ms // DAY_MS - days + 1) * DAY_MS)
    hindsight = Hindsight()
    async for trace in walk(store, since_ms, last_ms):
        hindsight.see(trace)
        if progress is not None:
            progress((trace.accepted_ms - since_ms) / max(1, last_ms - since_ms))
    reasons = await store.outcomes(("reason",), since_ms=since_ms)
    return Numbers(
        since_ms=since_ms, totals=await store.stats(), by_kind=await store.outcomes(("kind",), since_ms=since_ms),
        by_symbol=await _of_decisions(store, "symbol", since_ms),
        by_strategy=await _of_decisions(store, "strategy", since_ms),
        by_regime=await _of_decisions(store, "regime", since_ms),
        by_reason=tuple(row for row in reasons if row.key["reason"]),
        calibration=await store.calibration(since_ms=since_ms), refusals_after=hindsight.result(),
    )  # fmt: skip


async def _of_decisions(store: TraceStore, name: str, since_ms: int) -> tuple[Outcome, ...]:
    """Without exits, commands, halts and incidents, which name symbols and actors, too."""
    rows = await store.outcomes(("kind", name), since_ms=since_ms)
    return tuple(row for row in rows if row.key["kind"] == TraceKind.DECISION)


def _show(numbers: Numbers, console: Console, days: int) -> None:
    totals = numbers.totals
    console.print(
        f"{totals.total} traces are kept, {totals.executed} led to an order, {totals.with_error} had errors,"
        f" {totals.unanalyzed} are not analysed yet; {totals.notes} cycles decided nothing. The last {days} days:"
    )
    kinds = [(str(row.key["kind"]), *_cells(row)) for row in numbers.by_kind]
    show_table(console, "By kind", ("kind", "number", *_OUTCOMES[1:]), kinds, _NOTHING)
    for name, rows in zip(_BY, (numbers.by_symbol, numbers.by_strategy, numbers.by_regime), strict=True):
        cells = [(str(row.key[name]) or "-", *_cells(row)) for row in rows]
        show_table(console, f"Decisions by {name}", (name, *_OUTCOMES), cells, _NOTHING)
    refusals = sorted(numbers.by_reason, key=lambda row: (-row.decisions, str(row.key["reason"])))
    show_table(
        console, "Refusals", ("reason", "times"), [(str(r.key["reason"]), str(r.decisions)) for r in refusals],
        "Nothing was refused.",
    )  # fmt: skip
    show_table(
        console, "Confidence against outcome", _BINS, [bin_cells(b) for b in numbers.calibration],
        "No position that ended is recorded.",
    )  # fmt: skip
    show_table(
        console, "Refused entries, by the closes that later decisions saw, before costs", _SPARED,
        spared_cells(numbers.refusals_after), "Nothing was refused.",
    )  # fmt: skip


def _cells(row: Outcome) -> tuple[str, ...]:
    return (
        str(row.decisions), str(row.executed), str(row.ended), _percent(row.win_rate), short(row.expectancy_usd),
        "-" if row.profit_factor is None else f"{row.profit_factor:.2f}", short(row.net_usd),
    )  # fmt: skip


def bin_cells(row: Bin) -> tuple[str, ...]:
    """One bin of the calibration in a line."""
    return (
        f"{row.low:.1f}-{row.high:.1f}", str(row.ended), _percent(row.mean_confidence), _percent(row.win_rate),
        short(row.net_usd),
    )  # fmt: skip


def spared_cells(rows: Sequence[Spared]) -> list[tuple[str, ...]]:
    """What refusals missed and spared, without what never happened."""
    return [
        (
            row.reason or "(all)", str(row.bars), str(row.won), str(row.lost), str(row.even), str(row.unknown),
            "-" if row.mean_fraction is None else f"{row.mean_fraction:+.3%}",
        )
        for row in rows if row.won or row.lost or row.even or row.unknown
    ]  # fmt: skip


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction:.0%}"
