"""What the venue answered, kept as long as it may be given again: never beyond the age that a reader accepts, never
from before an action or an event that it does not show.

An answer is as old as the request that brought it: the venue said it at some instant since that went out. Failures are
not kept.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar

import msgspec

from perpstrader.runtime import Clock
from perpstrader.runtime.flight import Flight
from perpstrader.venue.reads.kinds import NAMES, Key, Kind, Lives, ReadCounts

T = TypeVar("T")
MAX_ENTRIES: Final = 256
_NS_PER_MS: Final = 1_000_000


class Known(msgspec.Struct, frozen=True):
    """An answer, and the instant on our monotonic clock since which it was true at some time."""

    value: Any
    as_of_ns: int


class Streamed(Protocol):
    """Another source of answers: what the streams have told."""

    def find(self, key: Key) -> Known | None:
        """The newest that is known of ``key``; nothing from before the last ``outdate``."""
        ...

    def confirm(self, key: Key, value: Any, began_ns: int) -> None:
        """The venue answered ``value`` to a request that began then, and nothing has outdated it."""
        ...

    def outdate(self, kinds: Iterable[Kind], *, by_action: bool) -> None:
        """What was told so far may not show what has just happened: an action of ours, or an event on the streams."""
        ...


class _Entry(msgspec.Struct, frozen=True):
    value: Any
    began_ns: int
    generation: int


class ReadCache:
    """Answers by key, at most ``max_entries`` of them; the one not asked for the longest is given up first."""

    def __init__(self, clock: Clock, lives: Lives | None = None, *, max_entries: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._lives = lives or Lives()
        self._max_entries = max_entries
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._flights: dict[Key, Flight[Any]] = {}
        self._generations = dict.fromkeys(Kind, 0)
        self.counts: Mapping[Kind, ReadCounts] = {kind: ReadCounts() for kind in Kind}
        self.streamed: Streamed | None = None

    def total(self, name: str) -> int:
        """One count over all kinds; a name of ``ReadCounts``."""
        return sum(int(getattr(counts, name)) for counts in self.counts.values())

    @property
    def totals(self) -> dict[str, int]:
        """All counts over all kinds."""
        return {name: self.total(name) for name in NAMES}

    def __len__(self) -> int:
        return len(self._entries)

    # --- reading ---

    def oldest_ns(self, kind: Kind, max_age_ms: int | None) -> int | None:
        """The instant since which an answer must have been true; ``None`` where only the venue itself will do."""
        life_ms = self._lives.of(kind)
        age_ms = life_ms if max_age_ms is None else min(max_age_ms, life_ms)
        return None if age_ms <= 0 else self._clock.monotonic_ns() - age_ms * _NS_PER_MS

    async def get(self, key: Key, load: Callable[[], Coroutine[Any, Any, T]], max_age_ms: int | None) -> T:
        """An answer no older than that, from what is known, from a request on its way, or from ``load``.

        Raises what the request raises, to all who wait for it, and to nobody after them.
        """
        counts, oldest_ns = self.counts[key[0]], self.oldest_ns(key[0], max_age_ms)
        if oldest_ns is None:
            counts.asked += 1
            began_ns, generation = self._clock.monotonic_ns(), self._generations[key[0]]
            value = await load()
            self.keep(key, value, began_ns, generation)
            return value
        known = self.find(key, oldest_ns)
        if known is not None:
            return known.value  # type: ignore[no-any-return]  # what this key's load gave
        flight = self._flights.get(key)
        if flight is not None and self._serves(flight, key, oldest_ns):
            counts.joined += 1
        else:
            counts.asked += 1
            flight = self._start(key, load)
        return await flight.wait()  # type: ignore[no-any-return]

    def find(self, key: Key, oldest_ns: int) -> Known | None:
        """What is known of ``key`` and was true at some time since ``oldest_ns``; counted."""
        counts, entry = self.counts[key[0]], self._entries.get(key)
        if entry is not None and entry.generation == self._generations[key[0]] and entry.began_ns >= oldest_ns:
            counts.hits += 1
            self._entries.move_to_end(key)
            return Known(entry.value, entry.began_ns)
        told = self.streamed.find(key) if self.streamed is not None else None
        if told is not None and told.as_of_ns >= oldest_ns:
            counts.streamed += 1
            return told
        if entry is not None:
            if entry.generation != self._generations[key[0]]:
                counts.outdated += 1
            else:
                counts.stale += 1
        return None

    def begin(self, kind: Kind) -> tuple[int, int]:
        """Before a request goes out: the instant and the generation to ``keep`` its answer with."""
        return self._clock.monotonic_ns(), self._generations[kind]

    def keep(self, key: Key, value: Any, began_ns: int, generation: int) -> None:
        """Take an answer; one that an action or an event has outdated on its way is not kept, nor is an older one than
        what is.
        """
        if generation != self._generations[key[0]]:
            return
        if self.streamed is not None:
            self.streamed.confirm(key, value, began_ns)
        held = self._entries.get(key)
        if held is not None and held.generation == generation and held.began_ns > began_ns:
            return
        self._entries[key] = _Entry(value, began_ns, generation)
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            (kind, _), _ = self._entries.popitem(last=False)
            self.counts[kind].evicted += 1

    def outdate(self, kinds: Iterable[Kind], *, by_action: bool = True) -> None:
        """Whatever was asked before now is not given any more: an action of ours or an event may have changed it."""
        for kind in kinds:
            self._generations[kind] += 1
        if self.streamed is not None:
            self.streamed.outdate(kinds, by_action=by_action)

    async def close(self) -> None:
        """End the requests that are on their way; their waiters get a ``VenueError``."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- inside ---

    def _serves(self, flight: Flight[Any], key: Key, oldest_ns: int) -> bool:
        return (
            flight.began_ns >= oldest_ns
            and flight.generation == self._generations[key[0]]
            and not flight.task.done()
            and not flight.abandoned
        )

    def _start(self, key: Key, load: Callable[[], Coroutine[Any, Any, T]]) -> Flight[T]:
        began_ns, generation = self.begin(key[0])

        async def ask() -> T:
            value = await load()
            self.keep(key, value, began_ns, generation)
            return value

        flight = Flight(f"read-{key[0].value}", ask(), began_ns, generation)
        self._flights[key] = flight
        flight.task.add_done_callback(lambda task: self._landed(key, flight))
        return flight

    def _landed(self, key: Key, flight: Flight[Any]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
