"""``perpstrader status``: the trader now; without one, what it left on disk."""

from __future__ import annotations

from typing import Any

import msgspec
import typer

from perpstrader.cli import offline
from perpstrader.cli.control import find
from perpstrader.cli.options import Config, DataDir, Json, place
from perpstrader.cli.output import moment_text, print_json, terminal
from perpstrader.cli.screen import render
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
        console.print(f"  {len(left.positions)} position(s), {len(left.orders)} order(s) that may be live at the venue")
        show_halts(left.halts)
        return
    answer: dict[str, Any] = control.get("/api/status")
    if as_json:
        print_json({"running": True, **answer})
        return
    console.print(render(msgspec.convert(answer, Status), {}))


def show_halts(halts: tuple[HaltRow, ...]) -> None:
    """Each halt in a line."""
    for halt in halts:
        print(f"  halted since {moment_text(halt.since_ms)} UTC ({halt.kind}) by {halt.actor}: {halt.reason}")
    if not halts:
        print("  no halt is in force")
