"""Fills, from wherever they are seen first: applied once in memory, then protection, then the disk, in that order
(SY-06).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final

from perpstrader.domain import ZERO, Fill, Order, Purpose, VenueError, read_cloid
from perpstrader.execution.desk import Desk
from perpstrader.execution.positions import FillEffect, Plan

_STREAM_GRACE_S: Final = 1.0
_POLL_PAUSE_S: Final = 0.5
_OVERLAP_MS: Final = 10_000

OnEffect = Callable[[FillEffect, Order | None], None]


class FillCollector:
    """Applies every fill of the account once. ``on_effect`` is told of each, in order, right after memory has it."""

    def __init__(self, desk: Desk, on_effect: OnEffect, plan_of: Callable[[Order], Plan | None]) -> None:
        self._desk = desk
        self._on_effect = on_effect
        self._plan_of = plan_of
        self.newest_ms = 0

    def take(self, fills: Iterable[Fill]) -> int:
        """Apply what is new, oldest first; returns how many were."""
        new = 0
        for fill in sorted(fills, key=lambda fill: (fill.time_ms, fill.tid)):
            if self._desk.positions.is_new(fill):
                self._apply(fill)
                new += 1
        return new

    async def poll(self, since_ms: int) -> int:
        """Read the venue's own list from ``since_ms`` (with an overlap) and apply what is new; 0 when it cannot be
        read.
        """
        try:
            return self.take(await self._desk.client.fills(since_ms - _OVERLAP_MS))
        except VenueError as error:
            self._desk.say("fills-unreadable", "", str(error))
            return 0

    async def expect(self, cloid: str, size: Decimal) -> None:
        """Wait until the order's fills add up to ``size``: the stream usually had them already, else the venue is
        asked, for ever.
        """
        first = True
        while True:
            order = self._desk.orders.get(cloid)
            if order is None or order.filled >= size:
                return
            try:
                async with asyncio.timeout(_STREAM_GRACE_S if first else _POLL_PAUSE_S):
                    await self._desk.orders.changed()
            except TimeoutError:
                await self.poll(order.sent_ms)
                first = False

    def _apply(self, fill: Fill) -> None:
        order = self._desk.orders.apply_fill(fill)
        episode, owner, plan = f"{fill.symbol}-foreign-{fill.tid}", "foreign", None
        if order is not None and order.intent.purpose is Purpose.ENTRY:
            episode, owner, plan = order.intent.episode, order.intent.strategy, self._plan_of(order)
        effect = self._desk.positions.apply(fill, episode=episode, owner=owner, plan=plan)
        self.newest_ms = max(self.newest_ms, fill.time_ms)
        self._on_effect(effect, order)


def is_ours(fill: Fill, epoch: int) -> bool:
    """True when the fill's cloid bears our tag and this store's epoch (domain notes, 26)."""
    parts = read_cloid(fill.cloid)
    return parts is not None and parts.epoch == epoch


def net_usd(effect: FillEffect) -> Decimal:
    """Realised profit of one fill by our own cost, less its fee; an opening fill costs its fee."""
    return effect.realized_usd - (effect.fill.fee_usd or ZERO)
