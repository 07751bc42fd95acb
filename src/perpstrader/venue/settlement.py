"""Settling an unknown outcome: the venue's own records decide, or its passed expiry together with them; local time
never does (S11).
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from perpstrader.domain import VenueError
from perpstrader.runtime import Clock
from perpstrader.venue.contract import HyperliquidClient, OrderGroup, OrderRecord
from perpstrader.venue.wire.limits import EXPIRY_SLACK_MS

EVICTED: Final = "recordEvicted"
"""The status given here to an order whose record the venue no longer has, although fills prove that it was there."""

_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 5.0
_LEAST_CONFIRMATION_S: Final = 2.0
_FILLS_BEFORE_MS: Final = 15 * 60_000
"""Fills are looked for from this long before the order went out, because our clock may be ahead of the venue's."""


class Settled(msgspec.Struct, frozen=True):
    """What became of an order: the venue's record; of group MISSING when it provably never was and never will be, and
    CANCELED with status ``EVICTED`` when only its fills are left of it.
    """

    record: OrderRecord
    asked: int


class _Finding(enum.Enum):
    UNPROVEN = enum.auto()
    NEVER = enum.auto()
    GONE = enum.auto()


async def look_up(client: HyperliquidClient, cloid: str) -> OrderRecord | None:
    """The venue's record now, of group MISSING where it does not (yet) know the order; ``None`` where it could not be
    asked.
    """
    try:
        return await client.order(cloid)
    except VenueError:
        return None


async def settle(client: HyperliquidClient, clock: Clock, cloid: str, *, expires_ms: int, sent_ms: int) -> Settled:
    """Ask until the outcome is proven, however long the venue is away; returns only with proof.

    ``unknownOid`` alone proves nothing: fills and open orders must agree, and all answers must be newer than a venue
    time beyond ``expires_ms`` + 3 s, read from the same venue just before. A fill without a record (records are kept by
    count) is proof of an ended order only when two rounds, at least 2 s apart, find it so and find it not open.
    """
    pause, asked = _FIRST_PAUSE_S, 0
    gone_before = False
    while True:
        asked += 1
        record = await look_up(client, cloid)
        if record is not None and record.group is not OrderGroup.MISSING:
            return Settled(record, asked)
        finding = await _after_expiry(client, cloid, expires_ms, sent_ms)
        if finding is _Finding.NEVER:
            return Settled(OrderRecord(group=OrderGroup.MISSING, status="unknownOid"), asked)
        if finding is _Finding.GONE and gone_before:
            return Settled(OrderRecord(group=OrderGroup.CANCELED, status=EVICTED), asked)
        gone_before = finding is _Finding.GONE
        await clock.sleep(max(pause, _LEAST_CONFIRMATION_S) if gone_before else pause)
        pause = min(_LONGEST_PAUSE_S, pause * 2)


async def _after_expiry(client: HyperliquidClient, cloid: str, expires_ms: int, sent_ms: int) -> _Finding:
    """What the records say once the venue's own time has passed the expiry; a record that turns up proves nothing
    here, the next look-up returns it.
    """
    try:
        if await client.venue_time_ms() <= expires_ms + EXPIRY_SLACK_MS:
            return _Finding.UNPROVEN
        fills = await client.fills(max(0, min(sent_ms, expires_ms) - _FILLS_BEFORE_MS))
        if any(order.cloid == cloid for order in await client.open_orders()):
            return _Finding.UNPROVEN
        if (await client.order(cloid)).group is not OrderGroup.MISSING:
            return _Finding.UNPROVEN
    except VenueError:
        return _Finding.UNPROVEN
    return _Finding.GONE if any(fill.cloid == cloid for fill in fills) else _Finding.NEVER
