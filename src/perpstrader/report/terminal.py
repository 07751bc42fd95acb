"""The report on a terminal: tables for a person, plain lines when piped."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from perpstrader.report.halts import halted_ms, trading_ended
from perpstrader.report.model import GroupRow, ReplayReport
from perpstrader.report.text import count_text, duration_text, percent_text, ratio_text, time_text, usd_text

SHOWN_REASONS = 8
SHOWN_HALTS = 6


def print_report(report: ReplayReport, console: Console, *, html: Path | None = None) -> None:
    """Print the summary; on a terminal with tables and colour, otherwise as ``name: value`` lines that ``grep`` can
    use."""
    if console.is_terminal:
        _print_tables(report, console)
    else:
        for name, value in report_lines(report):
            console.print(f"{name}: {value}", markup=False, highlight=False, soft_wrap=True)
    if html is not None:
        console.print(f"report: {html}", markup=False, highlight=False, soft_wrap=True)


def report_lines(report: ReplayReport) -> list[tuple[str, str]]:
    """The summary as names and values, the gravest first; the same figures as on the page."""
    lines = [*_result_lines(report), *_halt_lines(report), *_run_lines(report)]
    lines += [(f"refused {reason}", count_text(n)) for reason, n in report.decisions.refused_by_reason.items()]
    for row in report.by_strategy:
        lines.append((f"strategy {row.name or '(none)'}", f"{count_text(row.stats.trades)} trades, net {_net(row)}"))
    for row in report.by_symbol:
        lines.append((f"symbol {row.name}", f"{count_text(row.stats.trades)} trades, net {_net(row)}"))
    return lines


def _result_lines(report: ReplayReport) -> list[tuple[str, str]]:
    money, stats, trades = report.money, report.equity_stats, report.trade_stats
    drawdown = (
        f"{percent_text(stats.max_drawdown_fraction)} ({usd_text(stats.max_drawdown_usd)}) at every mark, "
        f"{percent_text(stats.closes_drawdown_fraction)} at bar closes"
    )
    costs = ", ".join(f"{cost.multiple}x {usd_text(cost.net_pnl_usd, signed=True)}" for cost in report.costs)
    return [
        ("data grade", f"{report.recording.grade}; {report.grade_sentence}"),
        ("net PnL", f"{usd_text(money.net_pnl_usd, signed=True)} ({percent_text(money.return_fraction, signed=True)})"),
        ("net PnL at costs", costs),
        ("equity", f"{usd_text(money.start_equity_usd)} to {usd_text(money.end_equity_usd)}"),
        ("fees", usd_text(money.fees_usd)),
        ("slippage", usd_text(money.slippage_usd)),
        ("funding", usd_text(money.funding_usd, signed=True)),
        ("max drawdown", drawdown),
        ("Sharpe, Sortino", f"{ratio_text(stats.sharpe)}, {ratio_text(stats.sortino)} (per year, from bar returns)"),
        ("trades", f"{count_text(trades.trades)} closed, {percent_text(trades.win_fraction, digits=1)} won"),
        ("profit factor", ratio_text(trades.profit_factor)),
        ("expectancy", f"{usd_text(trades.expectancy_usd, signed=True)} a trade"),
        ("average holding", duration_text(trades.average_holding_ms)),
    ]


def _halt_lines(report: ReplayReport) -> list[tuple[str, str]]:
    """When and why trading paused or ended: what nothing ended first, then the newest."""
    end_ms, ended = report.recording.end_ms, trading_ended(report.halts)
    total = duration_text(halted_ms(report.halts, end_ms))
    lines = [("halts", f"{count_text(len(report.halts))}, {total} in all" if report.halts else "none")]
    if ended is not None:
        lines.append(("trading ended", f"({ended.kind}) {ended.text(end_ms)}"))
    others = [span for span in report.halts if span is not ended]
    lines += [(f"halt {span.kind}", span.text(end_ms)) for span in others[-SHOWN_HALTS:]]
    if len(others) > SHOWN_HALTS:
        lines.append(("halts before", f"{count_text(len(others) - SHOWN_HALTS)} more, all of them in the JSON"))
    return lines


def _run_lines(report: ReplayReport) -> list[tuple[str, str]]:
    recording, decisions, speed, safety = report.recording, report.decisions, report.speed, report.safety
    lines = [
        ("range", f"{time_text(recording.start_ms)} to {time_text(recording.end_ms)} UTC"),
        ("bars", f"{count_text(recording.bars)} of {recording.interval}, {count_text(recording.halted_bars)} halted"),
        ("ambiguous bars", percent_text(recording.ambiguous_fraction)),
        ("signals", f"{decisions.signals:,} ({decisions.approved:,} approved, {decisions.refused:,} refused)"),
        ("orders, fills", f"{count_text(report.orders)}, {count_text(report.fills)}"),
        ("longest without a stop", duration_text(safety.max_unprotected_ms)),
        ("liquidations", count_text(safety.liquidations)),
        ("strategy errors", count_text(safety.strategy_errors)),
        ("books", f"net PnL less change of equity is {usd_text(report.money.identity_error_usd)}"),
        ("fingerprint", report.fingerprint),
        ("speed", f"{count_text(speed.bars_per_second)} bars/s, {speed.wall_seconds:.1f} s in all"),
    ]
    if speed.decisions_per_second is not None:
        lines.append(("decisions", f"{count_text(speed.decisions_per_second)} a second"))
    if speed.breakdown:
        lines.append(("where the time went", ", ".join(f"{step} {seconds:.2f} s" for step, seconds in speed.breakdown)))
    return lines


def _print_tables(report: ReplayReport, console: Console) -> None:
    console.print(Panel(escape(report.grade_sentence), title=escape(report.title), border_style="yellow", expand=False))
    console.print(_pairs("Result", _result_lines(report)[1:], report.money.net_pnl_usd))
    console.print(_pairs("Halts", _halt_lines(report)))
    console.print(_pairs("Run", _run_lines(report)))
    if report.decisions.refused_by_reason:
        console.print(_reasons(report))
    for title, rows in (("Strategies", report.by_strategy), ("Symbols", report.by_symbol)):
        if rows:
            console.print(_groups(title, rows))


def _pairs(title: str, rows: list[tuple[str, str]], net: Decimal | None = None) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for n, (name, value) in enumerate(rows):
        table.add_row(name, f"[bold {_tone(net)}]{escape(value)}[/]" if net is not None and n == 0 else escape(value))
    return table


def _reasons(report: ReplayReport) -> Table:
    reasons = list(report.decisions.refused_by_reason.items())
    most = max(count for _, count in reasons) or 1
    table = Table(title="Refusals by reason", title_justify="left", show_header=False, box=None, pad_edge=False)
    for reason, count in reasons[:SHOWN_REASONS]:
        table.add_row(escape(reason), count_text(count), f"[blue]{'█' * max(1, round(24 * count / most))}[/]")
    if len(reasons) > SHOWN_REASONS:
        table.add_row(
            f"and {len(reasons) - SHOWN_REASONS} more", count_text(sum(n for _, n in reasons[SHOWN_REASONS:])), ""
        )
    return table


def _groups(title: str, rows: tuple[GroupRow, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for name in ("name", "signals", "trades", "won", "net"):
        table.add_column(name, justify="left" if name == "name" else "right")
    for row in rows:
        signals = "" if row.decisions is None else count_text(row.decisions.signals)
        won = percent_text(row.stats.win_fraction, digits=1)
        net = f"[{_tone(row.net_usd)}]{_net(row)}[/]"
        table.add_row(escape(row.name or "(none)"), signals, count_text(row.stats.trades), won, net)
    return table


def _net(row: GroupRow) -> str:
    return usd_text(row.net_usd, signed=True)


def _tone(value: Decimal) -> str:
    if value == 0:
        return "default"
    return "green" if value > 0 else "red"
