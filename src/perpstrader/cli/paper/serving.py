"""``perpstrader paper`` itself: the exchange on its port until Ctrl-C."""

from __future__ import annotations

import asyncio
from random import Random

from perpstrader.cli import logs
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.stopping import watch_signals
from perpstrader.paper import open_paper
from perpstrader.paper.server.http import serve
from perpstrader.runtime import SystemClock
from perpstrader.runtime.system import run_system
from perpstrader.settings import Settings
from perpstrader.trader.app import paper_plan


def serve_until_stopped(settings: Settings) -> None:
    """Serve what the settings describe; raises ``CliError`` for a recorded market."""
    if settings.feed.source == "replay":
        raise CliError(
            "the paper exchange alone serves a generated or a mirrored market, because its clients live in today's "
            "time; `perpstrader replay` takes a recorded one (feed.source is set to replay)", ExitCode.USAGE,
        )  # fmt: skip
    logs.configure(settings.data_dir)
    run_system(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    watch_signals(stop, "accounts are on disk, clients are told goodbye")
    plan = paper_plan(settings)
    async with open_paper(plan, settings.data_dir, SystemClock()) as exchange:
        server = await serve(
            exchange.venue, settings.paper.host, settings.paper.port, latency=plan.latency,
            rng=Random(f"{plan.seed}:latency"), fault_control=plan.fault_control,
        )  # fmt: skip
        try:
            print(f"paper exchange: {server.url} (any Hyperliquid client; official SDK: base_url={server.url!r})")
            print(f'  funds: POST {server.url}/paper/fund {{"user": "0x…", "usd": "10000"}}')
            if plan.live is not None:
                print(f"  market: {', '.join(plan.symbols)} as at {plan.live.url}")
            if plan.faults:
                print(f"  faults: {' '.join(plan.faults)}")
            print(f"  data: {settings.data_dir} · stop: Ctrl-C", flush=True)
            await stop.wait()
        finally:
            await server.close()
