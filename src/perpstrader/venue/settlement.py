"""Settling an unknown outcome: the venue's own records decide, or its passed expiry together with them; local time never does (S11)."""

from __future__ import annotations

from typing import Final

import msgspec

from perpstrader.domain import VenueError
from perpstrader.runtime import Clock
from perpstrader.venue.contract import HyperliquidClient, OrderGroup, OrderRecord

EXPIRY_SLACK_MS: Final = 3_000
"""Blocks may be stamped a little behind; only a venue time this far past the expiry is proof (API sheet 2.5)."""

_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 5.0


class Settled(msgspec.Struct, frozen=True):
    """What became of an order: the venue's record, or ``record.group`` MISSING when it provably never was and never will be."""

    record: OrderRecord
    asked: int


async def look_up(client: HyperliquidClient, cloid: str) -> OrderRecord | None:
    """The venue's record now, of group MISSING where it does not (yet) know the order; ``None`` where it could not be asked."""
    try:
        return await client.order(cloid)
    except VenueError:
        return None


async def settle(client: HyperliquidClient, clock: Clock, cloid: str, *, expires_ms: int, sent_ms: int) -> Settled:
    """Ask until the outcome is proven, however long the venue is away; returns only with proof.

    ``unknownOid`` alone proves nothing: open orders and fills must agree, and all three answers must be newer than a venue time
    beyond ``expires_ms`` + 3 s, read from the same venue just before.
    """
    pause, asked = _FIRST_PAUSE_S, 0
    while True:
        asked += 1
        record = await look_up(client, cloid)
        if record is not None and record.group is not OrderGroup.MISSING:
            return Settled(record, asked)
        if await _provably_never(client, cloid, expires_ms, sent_ms):
            return Settled(OrderRecord(group=OrderGroup.MISSING, status="unknownOid"), asked)
        await clock.sleep(pause)
        pause = min(_LONGEST_PAUSE_S, pause * 2)


async def _provably_never(client: HyperliquidClient, cloid: str, expires_ms: int, sent_ms: int) -> bool:
    try:
        if await client.venue_time_ms() <= expires_ms + EXPIRY_SLACK_MS:
            return False
        if (await client.order(cloid)).group is not OrderGroup.MISSING:
            return False
        if any(order.cloid == cloid for order in await client.open_orders()):
            return False
        return not any(fill.cloid == cloid for fill in await client.fills(sent_ms - EXPIRY_SLACK_MS))
    except VenueError:
        return False
