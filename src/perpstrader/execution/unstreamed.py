"""While the stream is down, or silent as a dead one, what it would tell of positions and stops is read instead (S20).

A stop that fires in part, or that the venue takes away, is known from the stream within milliseconds. A stream can be
away for half a minute, and longer than the deadline of protection, although the venue answers requests all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from perpstrader.domain import VenueError
from perpstrader.execution.account import AccountWatch
from perpstrader.execution.desk import Desk
from perpstrader.execution.protection import Protector
from perpstrader.execution.view import PortfolioView
from perpstrader.venue.contract import OrderGroup, OrderRecord

ACCOUNT_EVERY_MS: Final = 2_000
"""The account costs 2 of a minute's weight of 1,200 (API sheet 5.1), and says whether a position has changed."""
STOPS_EVERY_MS: Final = 3_000
"""So that a stop that is gone is noticed, and replaced, within the five seconds of the deadline."""
_COMPARE_EVERY_MS: Final = 4_000
_PATIENCE_S: Final = 3.0
"""A look whose answers are late is given up: the next one may have them sooner."""
_RECORDS_UP_TO: Final = 9
"""A stop's own record costs 2 as well, the list of all orders 20."""


class UnstreamedLook:
    """Looks by requests while something is held and the stream is down, or what it missed has not been read yet.

    At most one look runs at a time, and none where ``has_room`` says that protection needs the rest of the weight. A
    stream that ``is_quiet`` for longer than its market explains is not trusted to tell.
    """

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
        self.has_room: Callable[[], bool] = lambda: True
        self.is_quiet: Callable[[], bool] = lambda: False
        self._looking = False
        self._account_ms = self._stops_ms = self._compared_ms = 0

    def look(self) -> None:
        """To be called about once a second."""
        hears = self._view.in_touch and not self.is_quiet()
        sees_all = hears and self._view.reconciled
        if sees_all or self._looking or not (self._desk.positions.holdings or self._desk.orders.live()):
            return
        now_ms, looks = self._desk.clock.now_ms(), list[Callable[[], Awaitable[None]]]()
        if now_ms - self._account_ms >= ACCOUNT_EVERY_MS and not hears and self.has_room():
            self._account_ms = now_ms
            looks.append(self._look_at_account)
        if now_ms - self._stops_ms >= STOPS_EVERY_MS and self.has_room():
            self._stops_ms = now_ms
            looks.append(self._look_at_stops)
        if looks:
            self._looking = True
            self._desk.pool.spawn("unstreamed-look", self._look(looks))

    async def _look(self, looks: Sequence[Callable[[], Awaitable[None]]]) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.gather(*(one() for one in looks))
        except TimeoutError:
            return
        finally:
            self._looking = False

    async def _look_at_account(self) -> None:
        """A position that has changed is compared with the venue's records at once, and beside the next looks."""
        try:
            state = await self._account.refresh()
        except VenueError:
            return  # the next look is soon; how long the venue is away is counted by whoever asks it
        now_ms = self._desk.clock.now_ms()
        if not self._account.agrees(state) and now_ms - self._compared_ms >= _COMPARE_EVERY_MS:
            self._compared_ms = now_ms
            self._desk.pool.spawn("unstreamed-compare", self._compared())

    async def _compared(self) -> None:
        await self._compare()

    async def _look_at_stops(self) -> None:
        stops = [self._protector.stop_of(symbol) for symbol in self._desk.positions.holdings]
        cloids = [stop.cloid for stop in stops if stop is not None]
        if len(cloids) > _RECORDS_UP_TO:
            with contextlib.suppress(VenueError):
                await self._look_at_list()
            return
        for cloid, record in zip(cloids, await asyncio.gather(*map(self._desk.look_up, cloids)), strict=True):
            if record is not None and record.group is not OrderGroup.MISSING:
                self._on_record(cloid, record)
