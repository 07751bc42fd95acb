"""``perpstrader traces bots``: who ships to a shared record, and how far each has got."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json
from perpstrader.cli.output import print_json, show_table, terminal
from perpstrader.cli.traces.record import Shared, record_of
from perpstrader.domain.wording import moment_text
from perpstrader.traces.postgres.store import Bot, SharedStore

_COLUMNS = ("bot", "account", "network", "entries", "first seen (UTC)", "last seen (UTC)")


def list_bots(
    store_at: Annotated[str, typer.Option("--store", metavar="shared|postgresql://…", help="Which.")] = "shared",
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """The bots of a shared record; --bot of the other verbs takes the beginning of such a name."""
    where = record_of(data_dir, config, None, store_at, None)
    if not isinstance(where, Shared):
        raise CliError("bots share a database, not a file", ExitCode.USAGE)
    bots = asyncio.run(_read(where.url))
    if as_json:
        print_json({"bots": bots})
        return
    cells = [
        (bot.name, bot.account, bot.network, str(bot.entry), moment_text(bot.first_ms), moment_text(bot.seen_ms))
        for bot in bots
    ]
    show_table(terminal(), "Bots of the shared record", _COLUMNS, cells, "None has shipped yet.")


async def _read(url: str) -> list[Bot]:
    async with SharedStore.open(url) as store:
        return await store.bots()
