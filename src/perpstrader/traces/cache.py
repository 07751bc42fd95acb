"""What was read or written lately, kept decoded: traces by id, and the newest summaries in a ring.

Both are bounded, and what they give out cannot be changed by whoever gets it (S63, TS-09). They hold what this process
wrote; a commit of another process to the same file empties them (``traces.store`` looks for one within its bound).
"""

from __future__ import annotations

import bisect
from collections import OrderedDict
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from perpstrader.domain.traces import Trace
from perpstrader.traces.records import TraceSummary

_MEMORY_FACTOR: Final = 4
"""A decoded trace takes about four times the bytes of its JSON (measured)."""

K = TypeVar("K")
V = TypeVar("V")


class CacheCounters(msgspec.Struct, frozen=True, kw_only=True):
    """``hits`` and ``misses`` of lookups by id and of the newest; ``evictions`` for want of room."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    entries: int = 0
    bytes: int = 0


class _Frozen(dict[K, V]):
    """A dictionary of a cached trace: equal to a plain one, encoded as one, and never changed."""

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError("a trace that was read is not changed; copy the dictionary first")

    __setitem__ = __delitem__ = _refuse
    clear = pop = popitem = setdefault = update = __ior__ = _refuse


def frozen(trace: Trace) -> Trace:
    """The same trace with nothing in it that can be changed."""
    return msgspec.structs.replace(trace, ages_ms=_Frozen(trace.ages_ms), indicators=_Frozen(trace.indicators))


class TraceCache:
    """The newest revisions by id, least recently used first out, at most ``entries`` and ``max_bytes``."""

    def __init__(self, entries: int, max_bytes: int) -> None:
        self._most = entries
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, tuple[Trace, int]] = OrderedDict()
        self._bytes = 0
        self._hits = self._misses = self._evictions = 0

    @property
    def counters(self) -> CacheCounters:
        """What it was good for so far."""
        return CacheCounters(
            hits=self._hits, misses=self._misses, evictions=self._evictions, entries=len(self._kept), bytes=self._bytes
        )

    def get(self, trace_id: str) -> Trace | None:
        """The trace, which is now the most recently used; ``None`` counts as a miss."""
        found = self._kept.get(trace_id)
        if found is None:
            self._misses += 1
            return None
        self._hits += 1
        self._kept.move_to_end(trace_id)
        return found[0]

    def put(self, trace: Trace, json_bytes: int) -> None:
        """Keep a trace; one that is larger than all the room is not kept."""
        self.drop(trace.id)
        size = json_bytes * _MEMORY_FACTOR
        if self._most == 0 or size > self._max_bytes:
            return
        self._kept[trace.id] = (frozen(trace), size)
        self._bytes += size
        while len(self._kept) > self._most or self._bytes > self._max_bytes:
            _, (_, gone) = self._kept.popitem(last=False)
            self._bytes -= gone
            self._evictions += 1

    def drop(self, trace_id: str) -> None:
        """Forget one."""
        gone = self._kept.pop(trace_id, None)
        if gone is not None:
            self._bytes -= gone[1]

    def clear(self) -> None:
        """Forget all; the counters stay."""
        self._kept.clear()
        self._bytes = 0


class Ring:
    """The newest summaries of the file in their order, once they have been loaded; ``None`` answers until then."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: list[TraceSummary] | None = None  # oldest first
        self._by_id: dict[str, TraceSummary] = {}
        self._is_whole = False  # the file holds no others

    @property
    def is_loaded(self) -> bool:
        """False while nothing is known, and nothing has to be told."""
        return self._rows is not None

    def load(self, newest_first: list[TraceSummary], *, is_whole: bool) -> None:
        """Begin with what the file shows."""
        self._rows = newest_first[::-1]
        self._by_id = {row.id: row for row in self._rows}
        self._is_whole = is_whole

    def clear(self) -> None:
        """Know nothing."""
        self._rows, self._by_id = None, {}

    def newest(self, limit: int) -> list[TraceSummary] | None:
        """The newest ``limit``, newest first; ``None`` where the ring cannot tell."""
        if self._rows is None or (limit > len(self._rows) and not self._is_whole):
            return None
        return self._rows[: -limit - 1 : -1]

    def add(self, row: TraceSummary) -> None:
        """A trace that was stored; one that is there already, because it was read before it was told, stays."""
        if self._rows is None:
            return
        if row.id in self._by_id:
            self.revise(row)
            return
        if self._rows and len(self._rows) >= self._size:
            self._is_whole = False
            if _order(row) < _order(self._rows[0]):
                return
            del self._by_id[self._rows.pop(0).id]
        bisect.insort(self._rows, row, key=_order)
        self._by_id[row.id] = row

    def revise(self, row: TraceSummary) -> None:
        """A trace that was revised keeps its place, and whether it was analysed."""
        known = self._by_id.get(row.id)
        if self._rows is None or known is None:
            return
        kept = msgspec.structs.replace(row, seq=known.seq, analyzed=known.analyzed, batch=known.batch)
        self._rows[bisect.bisect_left(self._rows, _order(known), key=_order)] = kept
        self._by_id[row.id] = kept


def _order(row: TraceSummary) -> tuple[int, int]:
    return row.accepted_ms, row.seq
