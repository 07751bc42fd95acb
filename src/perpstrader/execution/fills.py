"""Fills, from wherever they are seen first: applied once in memory, then protection, then the disk, in that order
(SY-06).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final

from perpstrader.domain import ZERO, Fill, Order, Purpose, VenueError, read_cloid
from perpstrader.execution.desk import Desk
from perpstrader.execution.positions import FOREIGN, FillEffect, Plan

_STREAM_GRACE_S: Final = 1.0
_POLL_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 5.0
_OVERLAP_MS: Final = 10_000
_GAP_GRACE_S: Final = 0.25
_GAP_OVERLAP_MS: Final = 60_000
_QUIET_PAUSE_S: Final = 1.0
_QUIET_READS: Final = 3
_EMPTY_READS: Final = 30

OnEffect = Callable[[FillEffect, Order | None], None]


class FillCollector:
    """Applies every fill of the account once. ``on_effect`` is told of each, in order, right after memory has it."""

    def __init__(self, desk: Desk, on_effect: OnEffect, plan_of: Callable[[Order], Plan | None]) -> None:
        self._desk = desk
        self._on_effect = on_effect
        self._plan_of = plan_of
        self._gap_read = False
        self._completing: dict[str, None] = {}
        self.newest_ms = 0

    def take(self, fills: Iterable[Fill]) -> int:
        """Apply what is new, oldest first; returns how many were."""
        new = 0
        for fill in sorted(fills, key=lambda fill: (fill.time_ms, fill.tid)):
            if self._desk.positions.is_new(fill):
                self._apply(fill)
                new += 1
        return new

    async def poll(self, since_ms: int) -> int | None:
        """Read the venue's own list from ``since_ms`` (with an overlap) and apply what is new; ``None`` when it cannot
        be read.
        """
        try:
            return self.take(await self._desk.client.fills(max(0, since_ms - _OVERLAP_MS)))
        except VenueError as error:
            self._desk.say("fills-unreadable", "", str(error))
            return None

    async def expect(self, cloid: str, size: Decimal, *, patience_s: float | None = None) -> bool:
        """Wait until the order's fills add up to ``size``: the stream usually had them already, else the venue is
        asked; for ever, or for ``patience_s`` and then False.
        """
        begun = next_read = self._desk.clock.monotonic_ns()
        next_read += int(_STREAM_GRACE_S * 1e9)
        pause = _POLL_PAUSE_S
        while (order := self._desk.orders.get(cloid)) is not None and order.filled < size:
            now = self._desk.clock.monotonic_ns()
            if now < next_read:
                # A read is due at its time, however often other orders change meanwhile.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout((next_read - now) / 1e9):
                        await self._desk.orders.changed()
                continue
            if patience_s is not None and now - begun >= patience_s * 1e9:
                return False
            await self.poll(order.sent_ms)
            next_read = self._desk.clock.monotonic_ns() + int(pause * 1e9)
            pause = min(_LONGEST_PAUSE_S, pause * 2)
        return True

    async def complete(self, cloid: str, since_ms: int = 0) -> None:
        """Have the fills of an order whose record says filled; afterwards it is terminal.

        The sum may stay below our size: the venue clamps what is reduce-only and drops an IOC's rest. So it is final
        once it has stopped growing over several readings; one that stays empty is left to the comparison of positions.
        """
        if cloid in self._completing:
            return
        self._completing[cloid] = None
        try:
            await self._complete(cloid, since_ms)
        finally:
            self._completing.pop(cloid, None)

    async def _complete(self, cloid: str, since_ms: int) -> None:
        quiet, before = 0, ZERO
        while (order := self._desk.orders.get(cloid)) is not None and order.is_live:
            read = await self.poll(max(order.sent_ms, since_ms))
            order = self._desk.orders.get(cloid)
            if order is None or not order.is_live:
                return
            quiet = quiet + 1 if read is not None and order.filled == before else 0
            before = order.filled
            if quiet >= (_QUIET_READS if order.filled > 0 else _EMPTY_READS):
                detail = f"the venue calls it filled; its trades add up to {order.filled} of {order.intent.size}"
                self._desk.orders.finish_filled(cloid, detail, self._desk.clock.now_ms())
                return
            await self._desk.clock.sleep(_QUIET_PAUSE_S)

    def _apply(self, fill: Fill) -> None:
        if fill.start_position != self._desk.positions.size(fill.symbol) and not self._gap_read:
            self._gap_read = True
            self._desk.pool.spawn("fills-gap", self._read_gap(fill.time_ms))
        order = self._desk.orders.apply_fill(fill)
        episode, owner, plan = f"{fill.symbol}-{FOREIGN}-{fill.tid}", FOREIGN, None
        if order is not None and order.intent.purpose is Purpose.ENTRY:
            episode, owner, plan = order.intent.episode, order.intent.strategy, self._plan_of(order)
        effect = self._desk.positions.apply(fill, episode=episode, owner=owner, plan=plan)
        self.newest_ms = max(self.newest_ms, fill.time_ms)
        self._on_effect(effect, order)

    async def _read_gap(self, time_ms: int) -> None:
        """A fill did not begin where the last one ended: one in between has not been seen, unless it is on its way."""
        try:
            await self._desk.clock.sleep(_GAP_GRACE_S)
            await self.poll(time_ms - _GAP_OVERLAP_MS)
        finally:
            self._gap_read = False


def is_ours(fill: Fill, epoch: int) -> bool:
    """True when the fill's cloid bears our tag and this store's epoch (domain notes, 26)."""
    parts = read_cloid(fill.cloid)
    return parts is not None and parts.epoch == epoch


def net_usd(effect: FillEffect) -> Decimal:
    """Realised profit of one fill by our own cost, less its fee; an opening fill costs its fee."""
    return effect.realized_usd - (effect.fill.fee_usd or ZERO)
