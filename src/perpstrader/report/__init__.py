"""Reports of replays: what a run amounts to, as one frozen value with a terminal, an HTML and a JSON view."""

from perpstrader.report.halts import HaltSpan
from perpstrader.report.html import render_html, write_html
from perpstrader.report.metrics import (
    CostMultiple,
    EquityPoint,
    EquityStats,
    MarkDrawdown,
    TradeStats,
    cost_multiples,
    curve_points,
    equity_stats,
    trade_stats,
)
from perpstrader.report.model import (
    GRADES,
    Decisions,
    GroupRow,
    Money,
    Recording,
    ReplayReport,
    Safety,
    Speed,
    replay_report,
)
from perpstrader.report.terminal import print_report, report_lines
from perpstrader.report.trades import TradeRow, trades_of

__all__ = [
    "GRADES", "CostMultiple", "Decisions", "EquityPoint", "EquityStats", "GroupRow", "HaltSpan", "MarkDrawdown",
    "Money", "Recording", "ReplayReport", "Safety", "Speed", "TradeRow", "TradeStats", "cost_multiples",
    "curve_points", "equity_stats", "print_report", "render_html", "replay_report", "report_lines", "trade_stats",
    "trades_of", "write_html",
]  # fmt: skip
