"""``perpstrader paper``: the paper exchange alone, for any Hyperliquid client."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from perpstrader.cli import logs
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, settings_from
from perpstrader.cli.stopping import watch_signals
from perpstrader.paper import PaperPlan, open_paper
from perpstrader.paper.server.http import serve
from perpstrader.runtime import SystemClock
from perpstrader.runtime.system import run_system
from perpstrader.settings import Settings

app = typer.Typer(add_completion=False)


@app.command()
def paper(
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port to listen on (3001).")] = None,
    host: Annotated[str | None, typer.Option(help="Address of this machine to listen on (127.0.0.1).")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the generated market.")] = None,
    bar: Annotated[str | None, typer.Option(metavar="TIME", help="Length of the market's bars.")] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Serve /info, /exchange and /ws as Hyperliquid does, on a generated market, until Ctrl-C.

    Accounts are kept in the data directory. POST /paper/fund {"user": "0x…", "usd": "10000"} funds any address.
    """
    settings = settings_from(
        config, data_dir, venue__network="paper", paper__port=port, paper__host=host, feed__seed=seed, feed__bar_ms=bar
    )
    if settings.feed.source == "replay":
        raise CliError(
            "the paper exchange alone serves a generated market, because its clients live in today's time; "
            "`perpstrader replay` takes a recorded one (feed.source is set to replay)", ExitCode.USAGE,
        )  # fmt: skip
    logs.configure(settings.data_dir)
    run_system(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    watch_signals(stop, "accounts are on disk, clients are told goodbye")
    plan = PaperPlan(
        seed=settings.feed.seed, bar_ms=settings.feed.bar_ms, speed=float(settings.feed.speed),
        network=settings.paper.signature_network, enforce_limits=settings.paper.enforce_limits,
    )  # fmt: skip
    async with open_paper(plan, settings.data_dir, SystemClock()) as exchange:
        server = await serve(exchange.venue, settings.paper.host, settings.paper.port)
        try:
            print(f"paper exchange: {server.url} (any Hyperliquid client; official SDK: base_url={server.url!r})")
            print(f'  funds: POST {server.url}/paper/fund {{"user": "0x…", "usd": "10000"}}')
            print(f"  data: {settings.data_dir} · stop: Ctrl-C", flush=True)
            await stop.wait()
        finally:
            await server.close()
