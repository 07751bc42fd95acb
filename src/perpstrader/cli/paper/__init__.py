"""``perpstrader paper``: the paper exchange alone, for any Hyperliquid client; its faults, and how real it is."""

from __future__ import annotations

from typing import Annotated

import typer

from perpstrader.cli.options import Config, DataDir, settings_from
from perpstrader.cli.paper import calibrating, faults, serving

app = typer.Typer(add_completion=False, invoke_without_command=True)
_FAULT = "What goes wrong on purpose, as KIND:CLASS=RATE@AMOUNT; may be given again."


@app.callback()
def paper(
    ctx: typer.Context,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port to listen on (3001).")] = None,
    host: Annotated[str | None, typer.Option(help="Address of this machine to listen on (127.0.0.1).")] = None,
    feed: Annotated[str | None, typer.Option(metavar="synthetic|live", help="A made-up or a mirrored market.")] = None,
    source: Annotated[str | None, typer.Option(metavar="URL", help="Whose market is mirrored (mainnet's).")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the generated market, and of faults and latency.")] = None,
    bar: Annotated[str | None, typer.Option(metavar="TIME", help="Length of the market's bars.")] = None,
    fault: Annotated[list[str] | None, typer.Option(metavar="FAULT", help=_FAULT)] = None,
    fault_control: Annotated[bool, typer.Option("--fault-control", help="Let `paper faults` change them.")] = False,
    fund: Annotated[str | None, typer.Option(metavar="USD", help="Make an account of yours with these funds.")] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Serve /info, /exchange and /ws as Hyperliquid does, on a generated or a mirrored market, until Ctrl-C.

    Accounts are kept in the data directory. --fund 10000 makes one at the first start, whose key lies there, and
    POST /paper/fund {"user": "0x…", "usd": "10000"} funds any address.
    """
    if ctx.invoked_subcommand is not None:
        return
    settings = settings_from(
        config, data_dir, venue__network="paper", paper__port=port, paper__host=host, feed__seed=seed,
        feed__bar_ms=bar, feed__source=feed, feed__live_url=source,
        paper__faults=fault or None, paper__fault_control=True if fault_control else None,
    )  # fmt: skip
    serving.serve_until_stopped(settings, fund)


app.command("faults")(faults.faults)
app.command("calibrate")(calibrating.calibrate)
