"""Several callers' orders, or cancels, in one signed action: gathered for a few milliseconds, answered one by one.

Gathered are ungrouped entries, post-only ones apart from the others because the venue treats them apart (API sheet
3.5), and cancels among themselves. A grouped entry, a stop and an exit never come here: they wait for nobody.

* **Expiry.** An action has one. The tightest of its orders is taken: an order then dies no later than its caller
  believes, so that what the caller proves after *its* expiry (S11) holds. Orders whose expiries differ by more than
  ``SPREAD_MS`` do not share, nor those with and without one.
* **Refused as a whole.** What is off tick or lot, or too small, goes alone (``venue.gathering``). Still, for one bad
  order the venue may refuse an action without saying which it was (API sheet 2.3). Nothing of it was executed, and
  nothing is sent again here. Whoever the words are true of is told them; everybody else that the action was shared,
  which is no reason never to try again. For a while after that each goes alone, so that the next attempt of each learns
  its own truth.
* **Cancelled callers** take their part out as long as it has not left; the others do not notice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Final

from perpstrader.runtime import Clock
from perpstrader.runtime.pool import TaskPool
from perpstrader.venue.contract import AlreadyGone, NotSent, Rejected, Unknown
from perpstrader.venue.wire.errors import ErrorClass, ErrorCode, error_class, error_text
from perpstrader.venue.writes import Sent

MAX_PARTS: Final = 39
"""The most that one action holds for a weight of 1."""

SPREAD_MS: Final = 1_000
ALONE_MS: Final = 5_000
"""How long each goes alone after an action was refused as a whole."""

_NS_PER_MS: Final = 1_000_000
_ASSET: Final = re.compile(r"asset=(\d+)\s*$")
_TRUE_OF_ALL: Final = frozenset({ErrorClass.AUTH, ErrorClass.EXPIRED, ErrorClass.RATE_LIMITED, ErrorClass.HALTED})
"""What is said of the signer, the action or the venue, and not of one order."""

Send = Callable[[Any, Sequence[Any], int | None], Awaitable[Sent[Any]]]
"""Sends one action: what its parts have in common, the parts, the expiry. It raises nothing that the network does."""


class _Part:
    __slots__ = ("expires_ms", "told", "wires")

    def __init__(self, wires: Sequence[Any], expires_ms: int | None) -> None:
        self.wires = wires
        self.expires_ms = expires_ms
        self.told: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()


class _Batch:
    __slots__ = ("full", "parts")

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.full = asyncio.Event()

    def has_room_for(self, part: _Part) -> bool:
        """Whether it may join, by number and by expiry."""
        held = [one for one in self.parts if not one.told.done()]
        if sum(len(one.wires) for one in held) + len(part.wires) > MAX_PARTS:
            return False
        times = [one.expires_ms for one in (*held, part)]
        known = [time for time in times if time is not None]
        return not known or (len(known) == len(times) and max(known) - min(known) <= SPREAD_MS)


class Batches:
    """Gathers parts of equal ``key`` for ``window_ms``, which 0 turns off, and sends them as one action.

    ``sent`` and ``joined`` count actions, and parts that found company.
    """

    def __init__(self, clock: Clock, send: Send, *, window_ms: int, asset_of: Callable[[Any], int]) -> None:
        self._clock = clock
        self._send = send
        self._window_ms = window_ms
        self._asset_of = asset_of
        self._open: dict[Hashable, _Batch] = {}
        self._alone_until_ms = 0
        self._pool = TaskPool(lambda name, error: None)  # whoever waits is told of every failure
        self.sent = 0
        self.joined = 0

    async def send(self, key: Hashable, wires: Sequence[Any], expires_ms: int | None) -> Sequence[Any]:
        """One acknowledgement for each of ``wires``, whatever else the action held."""
        if not self._window_ms or len(wires) > MAX_PARTS or self._now_ms() < self._alone_until_ms:
            self.sent += 1
            return (await self._send(key, wires, expires_ms)).acks
        part: _Part = _Part(wires, expires_ms)
        batch = self._open.get(key)
        if batch is not None and not batch.has_room_for(part):
            batch.full.set()
            batch = None
        if batch is None:
            batch = self._open[key] = _Batch()
            if self._pool.spawn("send-together", self._run(key, batch)) is None:
                return [NotSent("the client was closed; nothing was sent")] * len(wires)
        batch.parts.append(part)
        return await part.told

    async def close(self) -> None:
        """Send nothing more; whoever waits is told so."""
        await self._pool.stop()

    async def _run(self, key: Hashable, batch: _Batch) -> None:
        left = False
        try:
            await self._gather(batch)
            self._shut(key, batch)
            batch.parts = [part for part in batch.parts if not part.told.done()]
            if batch.parts:
                left = True
                self._tell(batch.parts, await self._send_parts(key, batch.parts))
        except asyncio.CancelledError:
            text = "the client was closed while its answer was awaited" if left else "the client was closed before"
            self._shut(key, batch)
            ack = Unknown(text) if left else NotSent(text)
            self._tell(batch.parts, Sent([ack for part in batch.parts for _ in part.wires]))
            raise
        except Exception as error:
            for part in batch.parts:
                if not part.told.done():
                    part.told.set_exception(error)

    def _shut(self, key: Hashable, batch: _Batch) -> None:
        """Nobody joins it any more."""
        if self._open.get(key) is batch:
            del self._open[key]

    async def _gather(self, batch: _Batch) -> None:
        try:
            async with asyncio.timeout(self._window_ms / 1000):
                await batch.full.wait()
        except TimeoutError:
            return

    async def _send_parts(self, key: Hashable, parts: Sequence[_Part]) -> Sent[Any]:
        times = [part.expires_ms for part in parts if part.expires_ms is not None]
        self.sent += 1
        self.joined += len(parts) if len(parts) > 1 else 0
        return await self._send(key, [wire for part in parts for wire in part.wires], min(times, default=None))

    def _tell(self, parts: Sequence[_Part], sent: Sent[Any]) -> None:
        acks = list(sent.acks)
        if sent.shared and len(parts) > 1:
            acks = self._each_its_own([wire for part in parts for wire in part.wires], acks)
        first = 0
        for part in parts:
            own = acks[first : first + len(part.wires)]
            first += len(part.wires)
            if not part.told.done():
                part.told.set_result(own)

    def _each_its_own(self, wires: Sequence[Any], acks: Sequence[Any]) -> list[Any]:
        """What one word for all says of each; where it names an asset of one order alone, it is about that one."""
        ack = acks[0]
        if not isinstance(ack, Rejected | AlreadyGone):
            return list(acks)
        if isinstance(ack, Rejected) and error_class(ErrorCode(ack.code)) in _TRUE_OF_ALL:
            return list(acks)
        self._alone_until_ms = self._now_ms() + ALONE_MS
        said = ack.text if isinstance(ack, Rejected) else error_text(ErrorCode.MISSING_ORDER)
        shared = Rejected(ErrorCode.SHARED_ACTION, error_text(ErrorCode.SHARED_ACTION, reason=said))
        named = _ASSET.search(said)
        meant = [wire for wire in wires if named is not None and int(named.group(1)) == self._asset_of(wire)]
        return [ack if len(meant) == 1 and wire is meant[0] else shared for wire in wires]

    def _now_ms(self) -> int:
        return self._clock.monotonic_ns() // _NS_PER_MS
