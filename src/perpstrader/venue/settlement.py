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


class _Evidence:
    """What has been read since the venue's time passed the expiry; it stays true, because nothing can arrive any more.

    So what was read is not read again when the next answer fails: where there is little room for reads, many orders to
    settle would else keep each other from ever having all the answers at once.
    """

    __slots__ = ("has_fills", "is_expired", "is_unlisted")

    def __init__(self) -> None:
        self.is_expired = False
        self.is_unlisted = False
        self.has_fills: bool | None = None


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

    ``unknownOid`` alone proves nothing: open orders and fills must agree, and all answers must be newer than a venue
    time beyond ``expires_ms`` + 3 s, read from the same venue before. A fill without a record (records are kept by
    count) is proof of an ended order only when two rounds, at least 2 s apart, find it so and find it not open.
    """
    pause, asked = _FIRST_PAUSE_S, 0
    gone_before, evidence = False, _Evidence()
    while True:
        asked += 1
        record = await look_up(client, cloid)
        if record is not None and record.group is not OrderGroup.MISSING:
            return Settled(record, asked)
        finding = await _after_expiry(client, cloid, expires_ms, sent_ms, evidence)
        if finding is _Finding.NEVER:
            return Settled(OrderRecord(group=OrderGroup.MISSING, status="unknownOid"), asked)
        if finding is _Finding.GONE and gone_before:
            return Settled(OrderRecord(group=OrderGroup.CANCELED, status=EVICTED), asked)
        gone_before = finding is _Finding.GONE
        if gone_before:
            evidence = _Evidence()
        await clock.sleep(max(pause, _LEAST_CONFIRMATION_S) if gone_before else pause)
        pause = min(_LONGEST_PAUSE_S, pause * 2)


async def _after_expiry(
    client: HyperliquidClient, cloid: str, expires_ms: int, sent_ms: int, evidence: _Evidence
) -> _Finding:
    """What the records say once the venue's own time has passed the expiry; a record that turns up proves nothing
    here, the next look-up returns it.

    Open orders are read before fills: an order that is not open then has all its fills behind it.
    """
    try:
        if not evidence.is_expired:
            if await client.venue_time_ms() <= expires_ms + EXPIRY_SLACK_MS:
                return _Finding.UNPROVEN
            evidence.is_expired = True
        if not evidence.is_unlisted:
            if any(order.cloid == cloid for order in await client.open_orders()):
                return _Finding.UNPROVEN
            evidence.is_unlisted = True
        if evidence.has_fills is None:
            fills = await client.fills(max(0, min(sent_ms, expires_ms) - _FILLS_BEFORE_MS))
            evidence.has_fills = any(fill.cloid == cloid for fill in fills)
        if (await client.order(cloid)).group is not OrderGroup.MISSING:
            return _Finding.UNPROVEN
    except VenueError:
        return _Finding.UNPROVEN
    return _Finding.GONE if evidence.has_fills else _Finding.NEVER
