"""Shipping decisions to a shared PostgreSQL database, where the settings name one; the local record stays the truth."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Final

from perpstrader.execution import Note
from perpstrader.runtime import Clock
from perpstrader.settings import Settings
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.postgres import Address, BotName, Server, Shipper, ShipperLimits
from perpstrader.traces.postgres.link import driver
from perpstrader.traces.postgres.server import PostgresServer
from perpstrader.traces.reading import Reads
from perpstrader.trader.recorder import Recorder

_STATEMENTS: Final = 20
_FINISH_S: Final = 3.0


def server_of(settings: Settings) -> PostgresServer | None:
    """The server that the settings name, not yet connected; raises ``TraceError`` where that can never succeed."""
    if settings.traces.postgres_url is None:
        return None
    driver()
    address = Address(settings.traces.postgres_url.get_secret_value())
    return PostgresServer(address, timeout_s=settings.traces.postgres_timeout_ms / 1000)


async def make_shipper(
    settings: Settings, traces: TraceStore, server: Server | None, bot: BotName, clock: Clock, rng: Random,
    recorder: Recorder,
) -> Shipper | None:  # fmt: skip
    """The shipper of a record that is a file of this machine; without a server nothing is held back for one."""
    if not isinstance(traces, Reads):
        return None
    if server is None:
        await traces.end_shipping()
        return None
    wanted = settings.traces
    limits = ShipperLimits(
        batch_rows=wanted.postgres_batch_rows, interval_ms=wanted.postgres_interval_ms,
        retry_max_ms=wanted.postgres_retry_max_ms,
    )  # fmt: skip
    shipper = Shipper(traces, server, bot, clock, Random(rng.getrandbits(64)), limits)

    def tell(kind: str, text: str, *, grave: bool = False) -> None:
        recorder.take(Note(time_ms=clock.now_ms(), kind=kind, symbol="", text=text, grave=grave))

    shipper.on_away = lambda text: tell("shared-record-away", text)
    shipper.on_back = lambda text: tell("shared-record-back", text)
    shipper.on_dead = lambda text: tell("shared-record-refused", text, grave=True)
    return shipper


def deadline_ms(settings: Settings) -> int:
    """How long a shipper may be silent: a pause, and every statement of a parcel taking as long as it may."""
    return settings.traces.postgres_retry_max_ms + _STATEMENTS * settings.traces.postgres_timeout_ms


async def ship_the_rest(shipper: Shipper) -> None:
    """At a stop: what is committed goes out if the server takes it now; the rest goes at the next start."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_FINISH_S):
            await shipper.finish()
