"""A histogram of durations in whole nanoseconds: exact counts, percentiles to 1.6 %, 15 KB whatever it is fed.

Log-linear: each power of two is divided into 32 equal parts, found by the value's bit length. Below 64 ns every value
has a bucket of its own.
"""

from __future__ import annotations

import math
from typing import Final

_PARTS: Final = 32
_PART_BITS: Final = 6
"""A value at or above 64 keeps its upper six bits, which are a number from 32 to 63."""
MAX_NS: Final = (1 << 63) - 1
_SLOTS: Final = _PARTS * (63 - _PART_BITS) + 2 * _PARTS
_NOTHING: Final = MAX_NS + 1


class Histogram:
    """Counts of durations, mergeable without loss. Not for two threads at once."""

    __slots__ = ("_buckets", "_max_ns", "_min_ns", "count", "total_ns")

    def __init__(self) -> None:
        self._buckets = [0] * _SLOTS
        self._min_ns = _NOTHING
        self._max_ns = 0
        self.count = 0
        self.total_ns = 0

    @property
    def min_ns(self) -> int:
        """The smallest value, exactly; 0 where there is none."""
        return self._min_ns if self.count else 0

    @property
    def max_ns(self) -> int:
        """The greatest value, exactly; 0 where there is none."""
        return self._max_ns

    def record(self, ns: int) -> None:
        """Count one value; below zero counts as zero, beyond ``MAX_NS`` (292 years) as that."""
        if ns < 0:
            ns = 0
        elif ns > MAX_NS:
            ns = MAX_NS
        shift = ns.bit_length() - _PART_BITS
        if shift > 0:
            self._buckets[(shift << 5) + (ns >> shift)] += 1
        else:
            self._buckets[ns] += 1
        if ns < self._min_ns:
            self._min_ns = ns
        if ns > self._max_ns:
            self._max_ns = ns
        self.count += 1
        self.total_ns += ns

    def merge(self, other: Histogram) -> None:
        """Afterwards this one is as if it had been given the other's values too; the other stays as it is."""
        for index, count in enumerate(other._buckets):
            if count:
                self._buckets[index] += count
        self._min_ns = min(self._min_ns, other._min_ns)
        self._max_ns = max(self._max_ns, other._max_ns)
        self.count += other.count
        self.total_ns += other.total_ns

    def percentiles_ns(self, *percents: float) -> list[int]:
        """For each of ``percents`` (ascending, 0..100) the value at that rank, within 1.6 %; zeros where it is empty.

        The rank is the nearest one (``ceil(p/100 * count)``), so that 100 is the greatest value. One walk for all.
        """
        found: list[int] = []
        seen, index = 0, -1
        for percent in percents:
            rank = min(self.count, max(1, math.ceil(percent / 100 * self.count)))
            while seen < rank:
                index += 1
                seen += self._buckets[index]
            found.append(min(self._max_ns, max(self.min_ns, _middle(index))) if self.count else 0)
        return found

    def count_below_powers(self, first: int, last: int) -> list[int]:
        """How many values are below 2**k ns, for each k from ``first`` (at least 6) to ``last`` (at most 62)."""
        counts: list[int] = []
        seen, index = 0, 0
        for power in range(first, last + 1):
            end = _PARTS * (power - _PART_BITS) + 2 * _PARTS
            seen += sum(self._buckets[index:end])
            index = end
            counts.append(seen)
        return counts

    def clear(self) -> None:
        """As new."""
        self._buckets = [0] * _SLOTS
        self._min_ns, self._max_ns, self.count, self.total_ns = _NOTHING, 0, 0, 0


def _middle(index: int) -> int:
    """The value that stands for a bucket."""
    shift = max(0, (index - _PARTS) >> 5)
    low = (index - (shift << 5)) << shift
    return low + ((1 << shift) >> 1)
