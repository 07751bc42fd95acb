"""``perpstrader status``: the trader now; without one, what it left on disk."""

from __future__ import annotations

from typing import Any

import msgspec
import typer

from perpstrader.cli import offline
from perpstrader.cli.control import find
from perpstrader.cli.options import Config, DataDir, Json, place
from perpstrader.cli.output import clock_text, decision_line, halt_text, position_cells, print_json, terminal
from perpstrader.cli.screen import render, summary
from perpstrader.domain.wording import plural
from perpstrader.trader.status import HaltRow, Status

app = typer.Typer(add_completion=False)


@app.command()
def status(as_json: Json = False, data_dir: DataDir = None, config: Config = None) -> None:
    """Equity, limits, halts, positions and the last decisions of the trader that runs with this data directory."""
    folder = place(data_dir, config)
    control = find(folder)
    console = terminal()
    if control is None:
        left = offline.stored(folder)
        if as_json:
            print_json(left)
            return
        console.print(
            f"No trader runs with {folder}. What it left: {left.network} account {left.account}", style="bold"
        )
        held, live = plural(len(left.positions), "position"), plural(len(left.orders), "order")
        console.print(f"  {held}, {live} that may be live at the venue")
        show_halts(left.halts)
        return
    answer: dict[str, Any] = control.get("/api/status")
    if as_json:
        print_json({"running": True, **answer})
        return
    now = msgspec.convert(answer, Status)
    if console.is_terminal:
        console.print(render(now, {}))
    else:
        _print_lines(now)


def _print_lines(now: Status) -> None:
    for part in summary(now, {}):
        print(part.plain)
    for row in now.positions:
        print("position\t" + "\t".join(position_cells(row)))
    for decision in now.decisions:
        print(f"{clock_text(decision.time_ms)} {decision_line(decision)}")


def show_halts(halts: tuple[HaltRow, ...]) -> None:
    """Each halt in a line."""
    for halt in halts:
        print(f"  {halt_text(halt)}")
    if not halts:
        print("  no halt is in force")
