"""``perpstrader risk``: the day against its limits, each position's risk and stop, what is used of each limit."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import typer
from rich.console import Console

from perpstrader.cli.control import find
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json, place
from perpstrader.cli.output import print_json, short, show_table, terminal
from perpstrader.domain.verdicts import UNKNOWN
from perpstrader.domain.wording import against, moment_text, plural
from perpstrader.risk.contract import PortfolioRisk, RiskMetrics
from perpstrader.trader.risking import RiskReport, StopRow

app = typer.Typer(add_completion=False)
_POSITIONS = ("symbol", "side", "entry", "mark", "stop", "at risk USD", "to liquidation", "moved by")
_LIMITS = ("limit", "now", "used", "")
_HALTS = ("halt", "since", "until", "reason")


@app.command()
def risk(as_json: Json = False, data_dir: DataDir = None, config: Config = None) -> None:
    """The day against its limits, each position with its stop and what moved it, every limit in use, every halt."""
    folder = place(data_dir, config)
    control = find(folder)
    if control is None:
        text = f"no trader runs with {folder}, and only a running one knows its risk: start it with `perpstrader run`"
        raise CliError(text, ExitCode.UNREACHABLE)
    answer = control.get("/api/risk")
    if as_json:
        print_json({"running": True, **answer})
        return
    report, console = msgspec.convert(answer, RiskReport), terminal()
    _show_day(console, report.day)
    _show_portfolio(console, report.portfolio)
    show_table(console, "Positions", _POSITIONS, [_position(row) for row in report.positions], "Nothing is held.")
    rows = [
        (row.rule, against(row.value, row.limit, row.unit), f"{row.used_pct} %" if row.used_pct else "-",
         "" if row.passed else "not judged" if row.value == UNKNOWN else "BEYOND") for row in report.limits
    ]  # fmt: skip
    show_table(console, "Limits", _LIMITS, rows, "There is no limit.")
    halts = [(row.kind, _at(row.since_ms), _at(row.until_ms), row.reason) for row in report.halts]
    show_table(console, "Halts", _HALTS, halts, "Nothing is halted.")
    for symbol, why in report.waiting.items():
        console.print(f"{symbol} is not entered now: {why}")
    for text in report.inactive:
        console.print(f"inactive: {text}")


def _show_day(console: Console, day: RiskMetrics) -> None:
    fees, funding = short(day.fees_usd), short(day.funding_usd)
    console.print(f"{day.day}: realised {short(day.realized_usd)} USD (fees {fees}, funding {funding})")
    stops, flattens = short(day.entry_stop_usd), short(day.flatten_usd)
    console.print(f"lost {short(day.loss_usd)} USD; {stops} stop entries, {flattens} flatten")
    course = f"{_percent(day.drawdown_fraction)} under the peak, sizes x {short(day.size_multiplier)}"
    streak, entries = plural(day.loss_streak, "loss", "losses"), plural(day.entries, "entry", "entries")
    console.print(f"{course}; {streak} in a row; {entries}")


def _show_portfolio(console: Console, book: PortfolioRisk) -> None:
    console.print(
        f"Portfolio: equity {short(book.equity_usd)} USD, gross {short(book.gross_notional_usd)}, net"
        f" {short(book.net_notional_usd)}, largest coin {_percent(book.concentration_fraction)} of equity, maintenance"
        f" {_percent(book.margin_ratio)}, nearest liquidation {_percent(book.nearest_liquidation_fraction)} away"
    )


def _position(row: StopRow) -> tuple[str, ...]:
    moved = row.moved_by or row.fixed or "nothing yet"
    return (
        row.risk.symbol, row.side, short(row.entry_price), short(row.mark_price), short(row.stop_price),
        short(row.risk.risk_usd), _percent(row.risk.liquidation_fraction), moved,
    )  # fmt: skip


def _percent(fraction: Decimal | None) -> str:
    return "unknown" if fraction is None else f"{fraction * 100:.2f} %"


def _at(time_ms: int | None) -> str:
    return "somebody resumes" if time_ms is None else f"{moment_text(time_ms)} UTC"
