"""The shipper: what the local record commits goes to a server, in order, once, whatever happens to either of them.

It reads what is committed after the last entry that the server holds, a parcel at a time. A server that is away is
tried again after a pause that doubles up to a bound, of which a random part is waited for (full jitter), so that many
bots do not come back at once. Nobody waits for it: it reads on the record's reading connection, writes a few bytes a
parcel, and rests after each parcel as long as that took.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final, Protocol

import msgspec

from perpstrader.domain.errors import PerpsTraderError
from perpstrader.runtime.clock import Clock
from perpstrader.traces.outbox import Backlog, Origin, Parcel
from perpstrader.traces.postgres.port import BotName, Server

_LONGEST_REST_S: Final = 1.0
_DOUBLINGS: Final = 20


class Outbox(Protocol):
    """The local record; see ``traces.outbox``."""

    async def begin_shipping(self, new_file: str) -> Origin:
        """Hold what is not shipped from now on; where the file, numbered ``new_file`` if it has none, stands."""
        ...

    async def is_history_of(self, entry: int, digest: bytes | None) -> bool:
        """Whether this can be the file that was shipped up to an entry with this digest."""
        ...

    async def renumber(self, new_file: str) -> Origin:
        """Ship as another file from now on."""
        ...

    async def ship_for(self, bot: str, entry: int) -> None:
        """Ship for ``bot``, whose server holds everything up to the entry."""
        ...

    async def unshipped(self, after: int, limit: int, max_bytes: int) -> Parcel:
        """What is committed after the entry ``after``."""
        ...

    async def shipped(self, entry: int, changes: int) -> None:
        """Everything up to there has arrived."""
        ...

    async def backlog(self) -> Backlog:
        """What waits, and what was lost to shipping."""
        ...

    async def dictionaries(self) -> dict[int, bytes]:
        """What the payloads were packed with."""
        ...


class ShipperLimits(msgspec.Struct, frozen=True, kw_only=True):
    """``batch_rows`` entries and about ``batch_bytes`` make a parcel; the record is looked at every ``interval_ms``; a
    server that is away is tried again after ``retry_base_ms``, doubling up to ``retry_max_ms``.
    """

    batch_rows: int = 500
    batch_bytes: int = 4 * 1024 * 1024
    interval_ms: int = 1_000
    retry_base_ms: int = 500
    retry_max_ms: int = 60_000


class Shipping(msgspec.Struct, frozen=True, kw_only=True):
    """How shipping stands: ``waiting`` entries are not shipped yet, ``lost`` were pruned before they could be.

    ``away_ms`` is since when the server takes nothing, ``error`` what it, or the road to it, said last.
    """

    shipped: int = 0
    waiting: int = 0
    dead: int = 0
    lost: int = 0
    failures: int = 0
    away_ms: int | None = None
    error: str = ""

    @property
    def text(self) -> str:
        """The same in one line."""
        parts = [f"{self.shipped} shipped since the start", f"{self.waiting} wait"]
        parts += [f"{self.dead} refused there"] if self.dead else []
        parts += [f"{self.lost} lost to it for the bounds of the file"] if self.lost else []
        return ", ".join(parts) + (f"; it takes nothing now: {self.error}" if self.away_ms is not None else "")


class Shipper:
    """One a trader; ``on_away`` and ``on_back`` hear once of each outage, ``on_dead`` of what the server refused."""

    def __init__(
        self, outbox: Outbox, server: Server, bot: BotName, clock: Clock, rng: Random,
        limits: ShipperLimits | None = None,
    ) -> None:  # fmt: skip
        self._outbox = outbox
        self._server = server
        self._bot = bot
        self._clock = clock
        self._rng = rng
        self._limits = limits or ShipperLimits()
        self._after: int | None = None
        self._taught: Mapping[int, bytes] = {}
        self._tries = 0
        self.state = Shipping()
        self.on_away: Callable[[str], None] = lambda text: None
        self.on_back: Callable[[str], None] = lambda text: None
        self.on_dead: Callable[[str], None] = lambda text: None

    async def run(self, beat: Callable[[], None]) -> None:
        """Ship for ever; ``beat`` is called before every parcel and every try."""
        try:
            while True:
                beat()
                await self._clock.sleep(await self.step())
        finally:
            self._after = None
            await self._server.close()

    async def step(self) -> float:
        """One parcel, or one try; the seconds to wait before the next."""
        started_ns = self._clock.monotonic_ns()
        try:
            more = await self._ship()
        except PerpsTraderError as error:
            return await self._later(error)
        if not more:
            return self._limits.interval_ms / 1000
        return min(_LONGEST_REST_S, (self._clock.monotonic_ns() - started_ns) / 1e9)

    async def finish(self) -> None:
        """Ship all that is committed, as far as the server takes it at once; then release it."""
        try:
            while await self._ship():
                pass
        except PerpsTraderError:
            pass  # it is durable here, and shipped after the next start
        finally:
            self._after = None
            await self._server.close()

    async def _ship(self) -> bool:
        """Ship a parcel; whether there may be more."""
        if self._after is None:
            self._after = await self._connect()
        limits = self._limits
        parcel = await self._outbox.unshipped(self._after, limits.batch_rows, limits.batch_bytes)
        if parcel.is_empty:
            self._note(parcel)
            return False
        await self._teach(parcel)
        delivery = await self._server.take(parcel, self._clock.now_ms())
        await self._outbox.shipped(parcel.last, parcel.changes)
        self._after = parcel.last
        self._note(parcel, stored=delivery.stored, dead=delivery.dead)
        if parcel.missing is not None:
            await self._look_at_backlog()
        if delivery.dead:
            self.on_dead(
                f"{delivery.dead} rows of the record were refused by the shared one and lie in its dead letter:"
                f" {delivery.reason}"
            )
        full = len(parcel.marks) + len(parcel.notes) >= limits.batch_rows
        return parcel.last < parcel.newest or full

    async def _connect(self) -> int:
        new_file, now_ms = f"{self._rng.getrandbits(64):016x}", self._clock.now_ms()
        origin = await self._outbox.begin_shipping(new_file)
        entry = await self._server.connect(self._bot, origin, now_ms)
        if not await self._outbox.is_history_of(entry, await self._server.digest(entry)):
            # a copy, or a file that was put back by hand: under its old name its entries would count as there already
            origin = await self._outbox.renumber(new_file)
            entry = await self._server.connect(self._bot, origin, now_ms)
        await self._outbox.ship_for(self._bot.of_file(origin.file), entry)
        self._taught = {}
        return entry

    async def _teach(self, parcel: Parcel) -> None:
        """The server must know a dictionary before what is packed with it."""
        if parcel.entries and not self._taught:
            self._taught = await self._outbox.dictionaries()
            await self._server.learn(self._taught)

    async def _later(self, error: PerpsTraderError) -> float:
        """Count a failure and say how long to wait; an outage is told of once."""
        self._after, text = None, str(error)
        now_ms = self._clock.now_ms()
        if self.state.away_ms is None:
            self.on_away(f"{text}; decisions are kept here and shipped when it is back")
        self.state = msgspec.structs.replace(
            self.state, failures=self.state.failures + 1, error=text,
            away_ms=now_ms if self.state.away_ms is None else self.state.away_ms,
        )  # fmt: skip
        limits = self._limits
        longest_ms = min(limits.retry_max_ms, limits.retry_base_ms * 2 ** min(self._tries, _DOUBLINGS))
        self._tries += 1
        await self._look_at_backlog()
        return self._rng.uniform(0, longest_ms) / 1000

    async def _look_at_backlog(self) -> None:
        try:
            found = await self._outbox.backlog()
            self.state = msgspec.structs.replace(self.state, waiting=found.waiting, lost=found.lost)
        except PerpsTraderError:
            pass  # the record itself is in trouble, which its own alarms tell

    def _note(self, parcel: Parcel, *, stored: int = 0, dead: int = 0) -> None:
        state, self._tries = self.state, 0
        self.state = msgspec.structs.replace(
            state, shipped=state.shipped + stored, dead=state.dead + dead, waiting=max(0, parcel.newest - parcel.last),
            away_ms=None, error="",
        )  # fmt: skip
        if state.away_ms is not None:
            lasted_s = max(0, self._clock.now_ms() - state.away_ms) // 1000
            self.on_back(f"the shared record takes decisions again after {lasted_s} s; {self.state.waiting} more wait")
