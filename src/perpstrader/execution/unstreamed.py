"""While the stream is down, what it would tell of positions and stops is read instead (S20).

A stop that fires in part, or that the venue takes away, is known from the stream within milliseconds. A stream can be
away for half a minute, and longer than the deadline of protection, although the venue answers requests all the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from perpstrader.domain import VenueError
from perpstrader.execution.account import AccountWatch
from perpstrader.execution.desk import Desk
from perpstrader.execution.protection import Protector
from perpstrader.execution.view import PortfolioView
from perpstrader.venue.contract import OrderGroup, OrderRecord

ACCOUNT_EVERY_MS: Final = 2_000
"""The account costs 2 of a minute's weight of 1,200 (API sheet 5.1), and says whether a position has changed."""
STOPS_EVERY_MS: Final = 4_000
"""So that a stop that is gone is noticed, and replaced, within the five seconds of the deadline."""
_RECORDS_UP_TO: Final = 9
"""A stop's own record costs 2 as well, the list of all orders 20."""


class UnstreamedLook:
    """Looks by requests while the stream is down and something is held; at most one look runs at a time."""

    def __init__(
        self,
        desk: Desk,
        account: AccountWatch,
        protector: Protector,
        view: PortfolioView,
        *,
        compare: Callable[[], Awaitable[object]],
        look_at_list: Callable[[], Awaitable[object]],
        on_record: Callable[[str, OrderRecord], None],
    ) -> None:
        self._desk = desk
        self._account = account
        self._protector = protector
        self._view = view
        self._compare = compare
        self._look_at_list = look_at_list
        self._on_record = on_record
        self._looking = False
        self._account_ms = self._stops_ms = 0

    def look(self) -> None:
        """To be called about once a second; what has changed is compared with the venue's records at once."""
        if self._view.in_touch or self._looking or not (self._desk.positions.holdings or self._desk.orders.live()):
            return
        if self._desk.clock.now_ms() - self._account_ms >= ACCOUNT_EVERY_MS:
            self._looking = True
            self._desk.pool.spawn("unstreamed-look", self._look())

    async def _look(self) -> None:
        try:
            self._account_ms = self._desk.clock.now_ms()
            if not self._account.agrees(await self._account.refresh()):
                await self._compare()
            elif self._account_ms - self._stops_ms >= STOPS_EVERY_MS:
                self._stops_ms = self._account_ms
                await self._look_at_stops()
        except VenueError:
            return  # the next look is soon; how long the venue is away is counted by whoever asks it
        finally:
            self._looking = False

    async def _look_at_stops(self) -> None:
        stops = [self._protector.stop_of(symbol) for symbol in self._desk.positions.holdings]
        cloids = [stop.cloid for stop in stops if stop is not None]
        if len(cloids) > _RECORDS_UP_TO:
            await self._look_at_list()
            return
        for cloid, record in zip(cloids, await asyncio.gather(*map(self._desk.look_up, cloids)), strict=True):
            if record is not None and record.group is not OrderGroup.MISSING:
                self._on_record(cloid, record)
