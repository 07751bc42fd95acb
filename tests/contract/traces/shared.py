"""A local record, shipped: for tests that ask the shared one what the local one says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from perpstrader.runtime import SystemClock
from perpstrader.traces.postgres import Address, BotName, Shipper, ShipperLimits
from perpstrader.traces.postgres.server import PostgresServer
from perpstrader.traces.postgres.store import SharedStore
from perpstrader.traces.store import TraceStore

BOT = BotName(account="0xabc", network="paper", epoch=7)


def shipper_of(store: Any, url: str, bot: BotName = BOT, *, timeout_s: float = 20, **limits: int) -> Shipper:
    """A shipper as the trader has it, with short pauses; new files get numbers of their own."""
    wanted = {"retry_base_ms": 50, "retry_max_ms": 400, "interval_ms": 50, **limits}
    server = PostgresServer(Address(url), timeout_s=timeout_s)
    return Shipper(store, server, bot, SystemClock(), Random(), ShipperLimits(**wanted))


async def ship(store: Any, url: str, bot: BotName = BOT, **limits: int) -> Shipper:
    """Ship all that is committed; anything that goes wrong fails the test."""
    shipper = shipper_of(store, url, bot, **limits)
    await shipper.step()
    while shipper.state.waiting:
        await shipper.step()
    assert shipper.state.error == ""
    await shipper.finish()
    return shipper


@asynccontextmanager
async def both(
    url: str, path: Path, fill: Callable[[Any], Awaitable[None]], bot: BotName = BOT
) -> AsyncIterator[tuple[TraceStore, SharedStore]]:
    """The local record that ``fill`` made, and the shared one after shipping."""
    async with TraceStore.open(path) as local:
        await fill(local)
        await ship(local, url, bot)
        async with SharedStore.open(url) as shared:
            yield local, shared


def run(body: Awaitable[None]) -> None:
    """To its end, on a loop of its own."""

    async def main() -> None:
        await body

    asyncio.run(main())
