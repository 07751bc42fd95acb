"""``perpstrader paper calibrate``: how near the exchange comes to a recorded market, and the settings that fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perpstrader.cli.options import Json
from perpstrader.cli.output import print_json, show_table, terminal
from perpstrader.paper.calibration import HORIZON_MS, Calibration
from perpstrader.paper.calibration import calibrate as fit

Fills = Annotated[Path, typer.Argument(metavar="FILLS", help="Folder with trades_BTC.csv and prices_ or orderbooks_.")]
Coins = Annotated[list[str] | None, typer.Option("--symbol", help="Only this coin; may be given again.")]
Write = Annotated[Path | None, typer.Option("--write", metavar="FILE", help="Write the settings there, too.")]
_TAKERS = ("coin", "takers", "median error", "95 % below", "book too thin", "under the minimum")
_PASSIVE = ("coin", "queue model", "orders", "filled", "filled for certain", "at most")


def calibrate(fills: Fills, symbol: Coins = None, write: Write = None, as_json: Json = False) -> None:
    """Reprice recorded takers, replay passive orders under each queue model, and say which settings fit best.

    A recording of a market holds nobody's passive order: what is known of those are bounds, and the model nearest to
    their middle is chosen. Nor does it hold how long orders take: the delay of its data is shown, and no setting.
    """
    found = fit(fills, symbol or ())
    text = snippet(found)
    if write is not None:
        write.write_text(text)
    if as_json:
        print_json({"calibration": found, "best": found.best, "settings": text})
        return
    console = terminal()
    takers = [
        (row.coin, str(row.orders), f"{row.median_bps:.3f} bps", f"{row.p95_bps:.3f} bps", str(row.unfilled),
         str(row.small))
        for row in found.takers
    ]  # fmt: skip
    show_table(console, "Takers at the engine's prices", _TAKERS, takers, "No taker was recorded.")
    passive = [
        (row.coin, row.model, str(row.orders), f"{row.rate:.1%}", f"{row.certain:.1%}", f"{row.possible:.1%}")
        for row in found.passive
    ]
    show_table(console, f"Passive orders within {HORIZON_MS // 1000} s", _PASSIVE, passive, "Nothing to replay.")
    console.print(text, markup=False, highlight=False)


def snippet(found: Calibration) -> str:
    """The settings that fit, as ``perpstrader.toml`` takes them."""
    lines = ["[paper]", f'queue_model = "{found.best}"']
    if found.delay is not None:
        lines.append(
            f"# Market data took {found.delay.median_ms} ms (median), {found.delay.p99_ms} ms (99 %) to arrive here, "
            f"over {found.delay.rows} rows;"
        )
        lines.append("# what orders take is not in it: measure latency_median_ms and latency_p99_ms with some.")
    return "\n".join(lines) + "\n"
