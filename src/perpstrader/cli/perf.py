"""``perpstrader perf``: how long each stage of a decision's way takes in the running trader, and how often it fails."""

from __future__ import annotations

import msgspec
import typer

from perpstrader.cli.control import find
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json, place
from perpstrader.cli.output import print_json, show_table, terminal
from perpstrader.monitor import PerformanceReport
from perpstrader.monitor.figures import COLUMNS, cells

app = typer.Typer(add_completion=False)


@app.command()
def perf(as_json: Json = False, data_dir: DataDir = None, config: Config = None) -> None:
    """Calls, failures and percentiles (within 1.6 %) of each stage since the trader's start, with counts and levels."""
    folder = place(data_dir, config)
    control = find(folder)
    if control is None:
        text = f"no trader runs with {folder}, and only a running one measures: start it with `perpstrader run`"
        raise CliError(text, ExitCode.UNREACHABLE)
    answer = control.get("/api/perf")
    if as_json:
        print_json({"running": True, **answer})
        return
    now = msgspec.convert(answer, PerformanceReport).snapshot
    console = terminal()
    title = f"Stages in {now.span_ms / 1000:.0f} s"
    show_table(console, title, COLUMNS, [cells(row) for row in now.timers], "Nothing is measured yet.")
    for name, value in [*now.counters.items(), *now.gauges.items()]:
        print(f"{name}\t{value:g}")
