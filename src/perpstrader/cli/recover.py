"""``perpstrader recover``: what recovery finds wrong with positions, or take one out by hand."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from perpstrader.cli.answers import reason_for, show
from perpstrader.cli.control import find
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json, Reason, actor, place
from perpstrader.cli.output import clock_text, print_json, show_table, terminal
from perpstrader.domain.wording import plural
from perpstrader.trader.recovering import IssueRow, RecoveryReport

app = typer.Typer(add_completion=False)
_ACTIONS = ("close", "reduce", "reset")
_COLUMNS = ("since (UTC)", "symbol", "issue", "priority", "action", "why")
_HISTORY = ("time (UTC)", "symbol", "issue", "outcome")
_SHOWN = 20


@app.command()
def recover(
    symbol: Annotated[str, typer.Argument(help="The position; without it: what recovery finds.")] = "",
    action: Annotated[str, typer.Argument(help="close, reduce (half of it), or reset (its attempts).")] = "",
    reason: Reason = "",
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Recovery's issues, outcomes and attempts; with a symbol, take it out (done once the venue shows it)."""
    if symbol and action not in _ACTIONS:
        given = f"{action!r} is none of them" if action else "none is given"
        raise CliError(f"recover {symbol} needs an action, {', '.join(_ACTIONS)}: {given}", ExitCode.USAGE)
    if symbol:
        reason = reason_for("recover", reason)
    folder = place(data_dir, config)
    control = find(folder)
    if control is None:
        text = f"no trader runs with {folder}, and only a running one recovers: start it with `perpstrader run`"
        raise CliError(text, ExitCode.UNREACHABLE)
    if symbol:
        body = {"action": action, "reason": reason, "actor": actor()}
        show(control.post(f"/api/positions/{symbol}/recover", body), as_json=as_json)
        return
    answer = control.get("/api/recovery")
    if as_json:
        print_json({"running": True, **answer})
        return
    _print(msgspec.convert(answer, RecoveryReport))


def _print(report: RecoveryReport) -> None:
    console = terminal()
    now = [_standing(row) for row in report.issues]
    show_table(console, "Issues", _COLUMNS, now, "Nothing is wrong with any position.")
    past = [_past(row) for row in report.history[-_SHOWN:]]
    if past:
        show_table(console, "What became of them", _HISTORY, past, "")
    used = ", ".join(f"{symbol} {count} of {report.max_attempts}" for symbol, count in report.attempts.items())
    print(
        f"{plural(report.checks, 'check')}, the last at {clock_text(report.last_check_ms)}; "
        f"{plural(report.submitted, 'recovery', 'recoveries')} sent, {report.succeeded} shown by the venue, "
        f"{report.failed} not; attempts: {used or 'none'}"
    )


def _standing(row: IssueRow) -> tuple[str, ...]:
    return clock_text(row.time_ms), row.symbol, row.kind, row.priority, row.action, row.text


def _past(row: IssueRow) -> tuple[str, ...]:
    return clock_text(row.time_ms), row.symbol, row.kind, row.outcome
