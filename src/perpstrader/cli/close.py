"""``perpstrader close``: one position out, now."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from perpstrader.cli.answers import reason_for, show
from perpstrader.cli.control import find, need_trader
from perpstrader.cli.options import Config, DataDir, Json, Reason, actor, place
from perpstrader.cli.waiting import carry_out

app = typer.Typer(add_completion=False)


@app.command()
def close(
    symbol: Annotated[str, typer.Argument(help="The symbol of the position, as `perpstrader positions` shows it.")],
    reason: Reason = "", as_json: Json = False, data_dir: DataDir = None, config: Config = None,
) -> None:  # fmt: skip
    """Close one position at market, whoever opened it; exit code 1 while the venue does not show it flat."""
    reason = reason_for("close", reason)
    folder = place(data_dir, config)
    control = need_trader(find(folder), folder, "close a position")
    body = {"reason": reason, "actor": actor()}
    path = f"/api/positions/{quote(symbol, safe='')}/close"
    show(carry_out(control, path, body, what=f"close {symbol}"), as_json=as_json)
