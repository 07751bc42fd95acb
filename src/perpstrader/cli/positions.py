"""``perpstrader positions``: what is open, with stop and distance to liquidation."""

from __future__ import annotations

import msgspec
import typer

from perpstrader.cli import offline
from perpstrader.cli.control import find
from perpstrader.cli.options import Config, DataDir, Json, place
from perpstrader.cli.output import POSITION_COLUMNS, position_cells, print_json, show_table, terminal
from perpstrader.trader.status import PositionRow

app = typer.Typer(add_completion=False)
_STORED = ("symbol", "side", "size", "entry", "stop", "owner", "episode")


@app.command()
def positions(as_json: Json = False, data_dir: DataDir = None, config: Config = None) -> None:
    """Open positions; without a running trader, what the fills on disk add up to."""
    folder = place(data_dir, config)
    control = find(folder)
    console = terminal()
    if control is not None:
        rows = msgspec.convert(control.get("/api/positions"), list[PositionRow])
        if as_json:
            print_json({"running": True, "positions": rows})
        else:
            cells = [position_cells(row) for row in rows]
            show_table(console, "Positions", POSITION_COLUMNS, cells, "No position is open.")
        return
    left = offline.stored(folder)
    if as_json:
        print_json({"running": False, "positions": left.positions})
        return
    console.print(f"No trader runs with {folder}; this is what its fills on disk add up to:")
    kept = [
        (p.symbol, p.side, p.size, p.entry_price, p.stop_price or "none", p.owner, p.episode) for p in left.positions
    ]
    show_table(console, "Positions", _STORED, kept, "No position is open.")
