"""How verbs print: tables and colour on a terminal, plain lines when piped, one JSON line with ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from textwrap import wrap
from typing import Any, Final

import msgspec
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from perpstrader.domain import plain
from perpstrader.domain.wording import moment_text
from perpstrader.trader.status import DecisionRow, HaltRow, OrderRow, PositionRow

_LAST_COLUMN: Final = 24
_SEVEN_FIGURES: Final = Context(prec=7)
_OLD_MS = 15_000
VERDICT_STYLES = {"approved": "green", "refused": "yellow", "halt": "red", "incident": "red"}


def terminal(*, wrap: bool = False) -> Console:
    """Standard output; lines are wrapped by the terminal itself, or between words here."""
    return Console(highlight=False, soft_wrap=not wrap)


def print_json(value: Any) -> None:
    """One line; money as text, so that no digit is lost."""
    print(msgspec.json.encode(value).decode(), flush=True)


def short(number: object) -> str:
    """A price or size as text with at most seven significant figures; ``-`` where there is none."""
    try:
        return plain(_SEVEN_FIGURES.plus(Decimal(str(number)))) if number is not None else "-"
    except InvalidOperation:
        return str(number)


def clock_text(time_ms: int) -> str:
    """Time of day in UTC, to the millisecond."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]


def age_text(age_ms: int | None) -> str:
    """An age in the unit that fits, such as ``0.4 s`` or ``12 min``; a dash for what never was."""
    if age_ms is None:
        return "-"
    if age_ms < 10_000:
        return f"{age_ms / 1000:.1f} s"
    return f"{age_ms // 1000} s" if age_ms < 600_000 else f"{age_ms // 60_000} min"


class Fitting:
    """A table where the terminal is wide enough for its columns; else a few lines a row, each value under its name."""

    def __init__(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._title = title
        self._columns = columns
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich asks for."""
        if self._width() <= options.max_width:
            yield self._table()
            return
        yield Text(self._title, style="italic")
        for row in self._rows:
            named = [f"{name} {cell}" for name, cell in zip(self._columns, row, strict=True) if cell not in ("", "-")]
            yield from (Text(line) for line in wrap(" · ".join(named), options.max_width, subsequent_indent="  "))

    def _width(self) -> int:
        """What the columns take; the last one may wrap and counts with a few words."""
        widths = [max(cell_len(row[n]) for row in (self._columns, *self._rows)) for n in range(len(self._columns))]
        return sum(widths[:-1]) + min(widths[-1], _LAST_COLUMN) + 2 * (len(widths) - 1)

    def _table(self) -> Table:
        made = Table(title=self._title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
        for name in self._columns:
            made.add_column(name, overflow="fold")
        for row in self._rows:
            made.add_row(*(Text(cell, style=VERDICT_STYLES.get(cell, "")) for cell in row))
        return made


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Fitting:
    """A table without a frame; text is shown as it is, a verdict in its colour."""
    return Fitting(title, columns, rows)


def show_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], none: str) -> None:
    """A table on a terminal; when piped the same as tab-separated lines under their names."""
    if not rows:
        console.print(none)
    elif console.is_terminal:
        console.print(table(title, columns, rows))
    else:
        for row in [columns, *rows]:
            print("\t".join(row))


def halt_text(halt: HaltRow) -> str:
    """A halt in a line: since when, until when, by whom and why."""
    ends = f"until {moment_text(halt.until_ms)} UTC" if halt.until_ms is not None else "until `perpstrader resume`"
    return f"HALTED since {moment_text(halt.since_ms)} UTC, {ends} ({halt.kind}) by {halt.actor}: {halt.reason}"


POSITION_COLUMNS = (
    "symbol", "side", "size", "entry", "mark", "unrealized", "stop", "stop %", "liquidation %", "protection", "owner",
)  # fmt: skip


def position_cells(row: PositionRow) -> tuple[str, ...]:
    """One position in the order of ``POSITION_COLUMNS``."""
    return (
        row.symbol, row.side, row.size, row.entry_price, _as_of(row.mark_price, row.mark_age_ms), row.unrealized_usd,
        row.stop_price or "none", row.stop_distance_pct or "-", row.liquidation_distance_pct or "-",
        _as_of(row.protection, row.protection_age_ms), row.owner,
    )  # fmt: skip


def _as_of(text: str, age_ms: int | None) -> str:
    """What is older than it should be says so."""
    if age_ms is None:
        return f"{text} (age unknown)"
    return text if age_ms < _OLD_MS else f"{text} ({age_text(age_ms)} ago)"


ORDER_COLUMNS = ("symbol", "purpose", "side", "size", "filled", "limit", "trigger", "status", "oid", "cloid")


def order_cells(row: OrderRow) -> tuple[str, ...]:
    """One order in the order of ``ORDER_COLUMNS``."""
    oid = "-" if row.oid is None else str(row.oid)
    return (
        row.symbol, row.purpose, row.side, row.size, row.filled, row.limit_price, row.trigger_price or "-", row.status,
        oid, row.cloid,
    )  # fmt: skip


DECISION_COLUMNS = ("time (UTC)", "symbol", "strategy", "wanted", "verdict", "why")


def decision_cells(row: DecisionRow) -> tuple[str, ...]:
    """One decision in the order of ``DECISION_COLUMNS``."""
    return clock_text(row.time_ms), row.symbol or "-", row.strategy, row.wanted or "-", row.verdict, row.why or "sent"


def decision_line(row: DecisionRow) -> str:
    """One decision as a plain line."""
    wanted = f" {row.wanted}" if row.wanted else ""
    subject = " ".join(word for word in (row.symbol, row.strategy) if word)
    return f"{row.verdict:<9} {subject}{wanted}: {row.why or 'sent'}"
