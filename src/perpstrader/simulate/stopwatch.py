"""Where a replay's time goes: exclusive wall time of a few sections, taken around synchronous calls only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, Final, TypeVar

T = TypeVar("T")
REST: Final = "trader, strategies, books, loop"


class Stopwatch:
    """Sections nest; a section's time is its own, without that of the sections inside it."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._since_ns = time.perf_counter_ns()
        self._spent_ns: dict[str, int] = {}
        self._started_ns = self._since_ns

    def around(self, owner: object, method: str, section: str) -> None:
        """Time every call of ``owner.method``, on this instance alone."""
        inner: Callable[..., Any] = getattr(owner, method)

        @wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._enter(section)
            try:
                return inner(*args, **kwargs)
            finally:
                self._leave()

        setattr(owner, method, timed)

    def through(self, steps: Iterator[T], section: str) -> Iterator[T]:
        """Time the making of each item."""
        while True:
            self._enter(section)
            try:
                item = next(steps)
            except StopIteration:
                return
            finally:
                self._leave()
            yield item

    def seconds(self) -> tuple[tuple[str, float], ...]:
        """Seconds by section, largest first; the rest is what no section covers."""
        total = time.perf_counter_ns() - self._started_ns
        spent = dict(self._spent_ns)
        spent[REST] = total - sum(spent.values())
        return tuple(sorted(((name, ns / 1e9) for name, ns in spent.items()), key=lambda row: -row[1]))

    def _enter(self, section: str) -> None:
        now = time.perf_counter_ns()
        if self._open:
            self._add(self._open[-1], now)
        self._open.append(section)
        self._since_ns = now

    def _leave(self) -> None:
        now = time.perf_counter_ns()
        self._add(self._open.pop(), now)
        self._since_ns = now

    def _add(self, section: str, now: int) -> None:
        self._spent_ns[section] = self._spent_ns.get(section, 0) + now - self._since_ns


class Pulse:
    """How fast quiet bars pass, and what a decision that goes all the way costs beyond them.

    A bar time is quiet when nothing was decided, nothing was ordered and nothing was held.
    """

    def __init__(self) -> None:
        self._last_ns = time.perf_counter_ns()
        self._quiet_bars = 0
        self._quiet_ns = 0
        self._acting_bars = 0
        self._acting_ns = 0
        self._acted = 0

    def beat(self, bars: int, *, quiet: bool, acted: int) -> None:
        """A bar time with ``bars`` bars is over; ``acted`` orders went all the way in it."""
        now = time.perf_counter_ns()
        spent, self._last_ns = now - self._last_ns, now
        if acted:
            self._acting_bars += bars
            self._acting_ns += spent
            self._acted += acted
        elif quiet:
            self._quiet_bars += bars
            self._quiet_ns += spent

    @property
    def quiet_bars_per_second(self) -> float | None:
        """Quiet bars over the time that they took."""
        return self._quiet_bars / (self._quiet_ns / 1e9) if self._quiet_ns else None

    @property
    def decisions_per_second(self) -> float | None:
        """Entries and exits that reached the venue, over the time of their bars less what quiet bars would have taken.
        """
        if not self._acted:
            return None
        quiet_ns = self._quiet_ns / self._quiet_bars * self._acting_bars if self._quiet_bars else 0.0
        return self._acted / (max(1.0, self._acting_ns - quiet_ns) / 1e9)
