"""``perpstrader paper`` itself: the exchange on its port until Ctrl-C."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from random import Random

from perpstrader.cli import logs
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.stopping import watch_signals
from perpstrader.domain.errors import PerpsTraderError
from perpstrader.paper import open_paper
from perpstrader.paper.engine import usd_text
from perpstrader.paper.server.http import serve
from perpstrader.runtime import SystemClock
from perpstrader.runtime.system import run_system
from perpstrader.settings import Settings
from perpstrader.trader.account import KEY_FILE
from perpstrader.trader.app import identity_of, paper_plan
from perpstrader.venue.wire.numbers import parse_decimal


def serve_until_stopped(settings: Settings, fund: str | None = None) -> None:
    """Serve what the settings describe, with an account of ``fund`` USD if wanted; raises ``CliError`` for a recorded
    market, and for funds that are no positive amount.
    """
    funds = None if fund is None else _usd(fund)
    if settings.feed.source == "replay":
        raise CliError(
            "the paper exchange alone serves a generated or a mirrored market, because its clients live in today's "
            "time; `perpstrader replay` takes a recorded one (feed.source is set to replay)", ExitCode.USAGE,
        )  # fmt: skip
    logs.configure(settings.data_dir)
    run_system(_serve(settings, funds))


def _usd(text: str) -> Decimal:
    try:
        amount = parse_decimal(text, "--fund")
    except PerpsTraderError as error:
        raise CliError(f"{error}; --fund takes USD, such as 10000", ExitCode.USAGE) from None
    if amount <= 0:
        raise CliError(f"--fund {text} is not above 0; it takes USD, such as 10000", ExitCode.USAGE)
    return amount


async def _serve(settings: Settings, funds: Decimal | None) -> None:
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
            if funds is not None:
                account = identity_of(settings, settings.data_dir).account
                exchange.ensure_funded(account, funds)
                value = usd_text(exchange.venue.engine.account_state(account).account_value)
                print(f"  account: {account} with {value} USD; its key: {settings.data_dir / KEY_FILE}")
            if plan.live is not None:
                print(f"  market: {', '.join(plan.symbols)} as at {plan.live.url}")
            if plan.faults:
                print(f"  faults: {' '.join(plan.faults)}")
            print(f"  data: {settings.data_dir} · stop: Ctrl-C", flush=True)
            await stop.wait()
        finally:
            await server.close()
