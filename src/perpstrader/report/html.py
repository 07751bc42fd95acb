"""The report as one HTML file that needs nothing else: style, script and charts are inside, and it asks the network
for nothing.

Everything that comes from the run is escaped, and the page's own policy lets only this script run, so that a
strategy's name cannot.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable
from decimal import Decimal
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from perpstrader.domain.wording import plural
from perpstrader.report.charts import line_chart
from perpstrader.report.halts import halted_ms, trading_ended
from perpstrader.report.model import GroupRow, ReplayReport
from perpstrader.report.text import (
    NOTHING,
    count_text,
    duration_text,
    percent_text,
    price_text,
    ratio_text,
    time_text,
    usd_text,
)
from perpstrader.report.trades import TradeRow

MAX_LISTED_TRADES: Final = 1_000


def write_html(report: ReplayReport, path: Path) -> Path:
    """The path of the file that now holds the whole report; an older one is replaced at once and never seen half
    written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(render_html(report), encoding="utf-8")
    os.replace(part, path)
    return path


def render_html(report: ReplayReport) -> str:
    """The whole page; equal reports give equal pages."""
    style, script = _asset("report.css"), _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    points = [(p.time_ms, float(p.equity_usd), round(p.drawdown_fraction, 6)) for p in report.equity]
    curve = msgspec.json.encode(points).decode()
    body = "\n".join(
        [
            _head(report),
            _key_figures(report),
            '<div class="stack">',
            _charts(report),
            f'<div class="two">{_costs(report)}{_refusals(report)}</div>',
            f'<div class="two">{_groups("Strategies", report.by_strategy)}{_groups("Symbols", report.by_symbol)}</div>',
            _trades(report),
            _halts(report),
            f'<div class="two">{_safety(report)}{_run(report)}</div>',
            "</div>",
        ]
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(report.title)}</title>\n'
        f"<style>\n{style}</style></head>\n<body><main>\n{body}\n"
        f"<footer>PerpsTrader {escape(report.version)}. Times are UTC. "
        "Past and simulated results promise nothing.</footer></main>\n"
        f'<script type="application/json" id="curve">{curve}</script>\n<script>{script}</script></body></html>\n'
    )


def _asset(name: str) -> str:
    return (files("perpstrader.report") / "assets" / name).read_text(encoding="utf-8")


def _head(report: ReplayReport) -> str:
    recording = report.recording
    identity = abs(report.money.identity_error_usd)
    alarms = []
    if identity >= Decimal("0.005"):
        alarms.append(f"The books do not balance: net PnL and equity differ by {usd_text(identity)}.")
    ended = trading_ended(report.halts)
    if ended is not None:
        alarms.append(f"Trading ended ({ended.kind}) {ended.text(recording.end_ms)}.")
    if report.safety.liquidations:
        alarms.append(f"{plural(report.safety.liquidations, 'liquidation')} happened in this run.")
    return (
        f'<header><p class="eyebrow">Replay report</p><h1>{escape(report.title)}</h1>'
        f'<p class="sub">{escape(", ".join(recording.symbols))} · {escape(recording.interval)} bars · '
        f"{time_text(recording.start_ms)} to {time_text(recording.end_ms)} · {escape(recording.source)}</p></header>"
        f'<p class="grade" role="note"><b>Data grade: {escape(recording.grade)}</b>'
        f"<span>{escape(report.grade_sentence)} "
        f"{percent_text(recording.ambiguous_fraction)} of the bars were ambiguous inside.</span></p>"
        + "".join(f'<p class="grade alarm" role="alert">{escape(alarm)}</p>' for alarm in alarms)
    )


def _key_figures(report: ReplayReport) -> str:
    money, stats, trades, decisions = report.money, report.equity_stats, report.trade_stats, report.decisions
    net = f"{percent_text(money.return_fraction, signed=True)} of {usd_text(money.start_equity_usd)}"
    drawdown = (
        f"{usd_text(stats.max_drawdown_usd)} at every mark; "
        f"{percent_text(stats.closes_drawdown_fraction)} at bar closes; "
        f"longest {duration_text(stats.longest_drawdown_ms)}"
    )
    sharpe = f"Sortino {ratio_text(stats.sortino)}; per year, from bar returns"
    won = f"profit factor {ratio_text(trades.profit_factor)}"
    per_trade = f"{usd_text(trades.expectancy_usd, signed=True)} a trade" if trades.trades else "no closed trades"
    judged = f"{count_text(decisions.approved)} approved, {count_text(decisions.refused)} refused"
    figures = (
        ("Net PnL", usd_text(money.net_pnl_usd, signed=True), net, _tone(money.net_pnl_usd)),
        ("Max drawdown", percent_text(stats.max_drawdown_fraction), drawdown, ""),
        ("Sharpe", ratio_text(stats.sharpe), sharpe, ""),
        ("Closed trades", count_text(trades.trades), per_trade, ""),
        ("Win rate", percent_text(trades.win_fraction, digits=1), won, ""),
        ("Fees", usd_text(money.fees_usd), f"slippage {usd_text(money.slippage_usd)}", ""),
        ("Funding", usd_text(money.funding_usd, signed=True), "received less paid", _tone(money.funding_usd)),
        ("Signals", count_text(decisions.signals), judged, ""),
    )
    cards = "".join(
        f'<div class="card key"><dt>{name}</dt><dd class="{tone}">{value}</dd><dd>{note}</dd></div>'
        for name, value, note, tone in figures
    )
    return f'<dl class="keys">{cards}</dl>'


def _charts(report: ReplayReport) -> str:
    points = report.equity
    if len(points) < 2:
        return '<section class="card"><h2>Equity</h2><p class="note">Too few bars to draw a curve.</p></section>'
    times = [point.time_ms for point in points]
    equity = [float(point.equity_usd) for point in points]
    stats = report.equity_stats
    wide = max(equity) - min(equity) < 10
    return (
        '<section class="card"><h2>Equity <small>account value at mark, after fees and funding</small></h2>'
        '<p class="reading" id="reading" aria-live="off">Point at the curve to read it.</p>'
        + line_chart(
            kind="equity",
            label=f"Equity from {usd_text(points[0].equity_usd)} to {usd_text(points[-1].equity_usd)}",
            times_ms=times,
            values=equity,
            format_value=lambda value: f"${value:,.2f}" if wide else f"${value:,.0f}",
            baseline=equity[0],
        )
        + "<h2>Drawdown <small>below the highest equity so far, at bar closes</small></h2>"
        + line_chart(
            kind="drawdown",
            label=f"Drawdown at bar closes, at most {percent_text(stats.closes_drawdown_fraction)}",
            times_ms=times,
            values=[-point.drawdown_fraction for point in points],
            format_value=lambda value: percent_text(value, digits=1 if stats.max_drawdown_fraction > 0.02 else 2),
            baseline=0.0,
            ceiling=0.0,
        )
        + "</section>"
    )


def _costs(report: ReplayReport) -> str:
    cells = "".join(
        f'<div><dt>{cost.multiple}x costs</dt><dd class="{_tone(cost.net_pnl_usd)}">'
        f"{usd_text(cost.net_pnl_usd, signed=True)}</dd></div>"
        for cost in report.costs
    )
    return (
        '<section class="card"><h2>Net PnL if trading cost more</h2>'
        f'<dl class="costs">{cells}</dl><p class="note">Costs are fees and slippage; funding is left as it was. '
        "A result that turns at 2x was made of assumptions about costs.</p></section>"
    )


def _refusals(report: ReplayReport) -> str:
    decisions = report.decisions
    share = f"{count_text(decisions.refused)} of {count_text(decisions.signals)} signals"
    head = f"<h2>Refusals by reason <small>{share}</small></h2>"
    if not decisions.refused_by_reason:
        return f'<section class="card">{head}<p class="note">Nothing was refused.</p></section>'
    return f'<section class="card">{head}{_bars(decisions.refused_by_reason.items(), count_text, code=True)}</section>'


def _bars(rows: Iterable[tuple[str, float]], say: Callable[[float], str], *, code: bool = False) -> str:
    listed = list(rows)
    most = max(value for _, value in listed) or 1.0
    name = "<code>{}</code>" if code else "{}"
    return (
        '<dl class="bars">'
        + "".join(
            f'<div><dt title="{escape(label)}">{name.format(escape(label))}</dt><dd class="track" aria-hidden="true">'
            f'<i style="width:{100 * value / most:.1f}%"></i></dd><dd>{escape(say(value))}</dd></div>'
            for label, value in listed
        )
        + "</dl>"
    )


def _groups(title: str, rows: tuple[GroupRow, ...]) -> str:
    decided = any(row.decisions is not None for row in rows)
    heads = ["Net", "Trades", "Won", "Profit factor", *(["Signals", "Refused"] if decided else [])]
    body = []
    for row in rows:
        stats, counts = row.stats, row.decisions
        cells = [count_text(stats.trades), percent_text(stats.win_fraction, digits=1), ratio_text(stats.profit_factor)]
        if decided:
            cells += [NOTHING, NOTHING] if counts is None else [count_text(counts.signals), count_text(counts.refused)]
        body.append(
            f'<tr><td class="t">{escape(row.name or "(none)")}</td>'
            f'<td class="{_tone(row.net_usd)}">{usd_text(row.net_usd, signed=True)}</td>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + "</tr>"
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f'<section class="card"><h2>{title}</h2>'
        f'<div class="scroll short" tabindex="0" role="region" aria-label="{title}"><table>'
        f'<thead><tr><th scope="col" class="t">Name</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div></section>"
    )


def _trades(report: ReplayReport) -> str:
    listed = report.trades[-MAX_LISTED_TRADES:]
    if not listed:
        return '<section class="card"><h2>Trades</h2><p class="note">No position was opened.</p></section>'
    cut = f"the last {count_text(len(listed))} of " if len(listed) < len(report.trades) else ""
    heads = (
        ("Opened", "t"), ("Symbol", "t"), ("Side", "t"), ("Strategy", "t"), ("Net", ""), ("Return", ""), ("Held", ""),
        ("Ended by", "t"), ("Entry", ""), ("Exit", ""), ("Size", ""), ("Fees", ""), ("Funding", ""),
    )  # fmt: skip
    head = "".join(f'<th scope="col" class="{kind}"><button type="button">{name}</button></th>' for name, kind in heads)
    rows = "".join(_trade(trade) for trade in listed)
    shown = f"{cut}{count_text(len(report.trades))}"
    return (
        f'<section class="card"><div class="tools"><h2>Trades <small>{shown}</small></h2>'
        '<input type="search" data-filters placeholder="Filter: BTC long stop" aria-label="Filter the trades"></div>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Trades"><table data-sortable>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _trade(trade: TradeRow) -> str:
    held = None if trade.closed_ms is None else trade.closed_ms - trade.opened_ms
    tone = _tone(trade.net_usd)
    cells: tuple[tuple[str, str, object], ...] = (
        ("t", time_text(trade.opened_ms), trade.opened_ms),
        ("t", escape(trade.symbol), None),
        ("t", f'<span class="tag">{trade.side}</span>', None),
        ("t", escape(trade.strategy or NOTHING), None),
        (tone, usd_text(trade.net_usd, signed=True), trade.net_usd),
        (tone, percent_text(trade.return_fraction, signed=True), trade.return_fraction),
        ("", duration_text(held), held if held is not None else -1),
        ("t", escape(trade.exit or NOTHING), None),
        ("", price_text(trade.entry_price), trade.entry_price),
        ("", price_text(trade.exit_price), trade.exit_price or 0),
        ("", price_text(trade.size), trade.size),
        ("", usd_text(trade.fees_usd), trade.fees_usd),
        ("", usd_text(trade.funding_usd, signed=True), trade.funding_usd),
    )
    return (
        "<tr>"
        + "".join(
            f'<td class="{kind}">{text}</td>' if value is None else f'<td class="{kind}" data-v="{value}">{text}</td>'
            for kind, text, value in cells
        )
        + "</tr>"
    )


def _halts(report: ReplayReport) -> str:
    """When and why trading paused or ended."""
    end_ms = report.recording.end_ms
    total = f"{plural(len(report.halts), 'halt')}, {duration_text(halted_ms(report.halts, end_ms))} in all"
    head = f"<h2>Halts <small>{escape(total)}</small></h2>"
    if not report.halts:
        return '<section class="card"><h2>Halts</h2><p class="note">Entries were never halted.</p></section>'
    rows = "".join(
        f'<tr><td class="t"><code>{escape(span.kind)}</code></td>'
        f'<td class="t long">{escape(span.text(end_ms))}</td></tr>'
        for span in reversed(report.halts)
    )
    return (
        f'<section class="card">{head}<div class="scroll short" tabindex="0" role="region" aria-label="Halts"><table>'
        '<thead><tr><th scope="col" class="t">Kind</th><th scope="col" class="t">When, why, and what it cost</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div></section>"
    )


def _safety(report: ReplayReport) -> str:
    safety, trades = report.safety, report.trade_stats
    return _facts(
        "Safety and trades",
        (
            ("Longest without a stop", duration_text(safety.max_unprotected_ms)),
            ("Liquidations", count_text(safety.liquidations)),
            ("Halts", count_text(len(report.halts))),
            ("Strategy errors", count_text(safety.strategy_errors)),
            ("Average win, loss", f"{usd_text(trades.average_win_usd)}, {usd_text(trades.average_loss_usd)}"),
            ("Best, worst", f"{usd_text(trades.best_usd)}, {usd_text(trades.worst_usd)}"),
            ("Average holding", duration_text(trades.average_holding_ms)),
            ("Longest losing streak", count_text(trades.longest_losing_streak)),
            ("Annual volatility", percent_text(report.equity_stats.volatility_fraction)),
        ),
    )


def _run(report: ReplayReport) -> str:
    recording, speed = report.recording, report.speed
    decided = "" if speed.decisions_per_second is None else f", {count_text(speed.decisions_per_second)} decisions/s"
    facts = _facts(
        "The run",
        (
            ("Bars", f"{count_text(recording.bars)}, {count_text(recording.halted_bars)} of them halted"),
            ("Orders, fills", f"{count_text(report.orders)}, {count_text(report.fills)}"),
            ("Books", f"net PnL less change of equity: {usd_text(report.money.identity_error_usd)}"),
            ("Seed", str(report.seed)),
            ("Fingerprint", report.fingerprint),
            ("Speed", f"{count_text(speed.bars_per_second)} bars/s{decided}; {speed.wall_seconds:.1f} s in all"),
        ),
        close=False,
    )
    if not speed.breakdown:
        return facts + "</section>"
    bars = _bars(speed.breakdown, "{:.2f} s".format)
    return f'{facts}<h2 style="margin-top:16px">Where the time went</h2>{bars}</section>'


def _facts(title: str, rows: Iterable[tuple[str, str]], *, close: bool = True) -> str:
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f'<section class="card"><h2>{title}</h2><dl class="facts">{listed}</dl>' + ("</section>" if close else "")


def _tone(value: Decimal) -> str:
    if value == 0:
        return ""
    return "up" if value > 0 else "down"
