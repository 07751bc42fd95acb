"""``perpstrader orders``: what the venue may still execute."""

from __future__ import annotations

import msgspec
import typer

from perpstrader.cli import offline
from perpstrader.cli.control import find
from perpstrader.cli.options import Config, DataDir, Json, place
from perpstrader.cli.output import ORDER_COLUMNS, order_cells, print_json, show_table, terminal
from perpstrader.trader.status import OrderRow

app = typer.Typer(add_completion=False)
_STORED = ("symbol", "purpose", "side", "size", "filled", "limit", "status", "cloid")


@app.command()
def orders(as_json: Json = False, data_dir: DataDir = None, config: Config = None) -> None:
    """Live orders; without a running trader, those that were live when it ended."""
    folder = place(data_dir, config)
    control = find(folder)
    console = terminal()
    if control is not None:
        rows = msgspec.convert(control.get("/api/orders"), list[OrderRow])
        if as_json:
            print_json({"running": True, "orders": rows})
        else:
            show_table(console, "Orders", ORDER_COLUMNS, [order_cells(row) for row in rows], "No order is live.")
        return
    left = offline.stored(folder)
    if as_json:
        print_json({"running": False, "orders": left.orders})
        return
    console.print(f"No trader runs with {folder}; these were live when it ended:")
    kept = [(o.symbol, o.purpose, o.side, o.size, o.filled, o.limit_price, o.status, o.cloid) for o in left.orders]
    show_table(console, "Orders", _STORED, kept, "No order was live.")
