"""The performance monitor: how often each thing happened, how often it failed, and how long it took.

Handles (``timer``, ``counter``, ``gauge``) are resolved once by name and used without it afterwards. Names, samples,
running measurements and metadata are all bounded; what was dropped is counted. Reading changes nothing.

Belongs to one event loop (or one thread); nothing here locks, waits, or raises into what is measured.
"""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, ParamSpec, TypeVar, cast

from perpstrader.monitor.figures import (
    ActiveMeasure,
    Figures,
    Measure,
    PerformanceReport,
    PerformanceSnapshot,
    summary_of,
)
from perpstrader.monitor.histogram import Histogram
from perpstrader.runtime import Clock

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

MAX_NAMES: Final = 200
"""Of each kind; whatever comes under further names is counted together as ``OTHER``."""
OTHER: Final = "other"
MAX_ACTIVE: Final = 1_000
RECENT: Final = 100
_MAX_PAIRS: Final = 8
_MAX_TEXT: Final = 64


class Timer:
    """Everything measured under one name. Cheap to call; hold on to it."""

    __slots__ = ("_clock_ns", "failed", "name", "recent", "succeeded")

    def __init__(self, name: str, clock_ns: Callable[[], int]) -> None:
        self.name = name
        self._clock_ns = clock_ns
        self.succeeded = Histogram()
        self.failed = Histogram()
        self.recent: deque[tuple[int, bool, tuple[tuple[str, str], ...]]] = deque(maxlen=RECENT)

    def now(self) -> int:
        """A moment, to be handed to ``since``."""
        return self._clock_ns()

    def since(self, started: int, *, ok: bool = True) -> None:
        """Count what began at ``started`` and is over now."""
        self.record(self._clock_ns() - started, ok=ok)

    def record(self, ns: int, *, ok: bool = True, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        """Count something that took ``ns``; a failure counts as a call too, and as a failed one."""
        (self.succeeded if ok else self.failed).record(ns)
        self.recent.append((ns, ok, metadata))

    def measure(self) -> Scope:
        """For ``with``, in synchronous and asynchronous code; what leaves by an exception has failed."""
        return Scope(self)

    def figures(self) -> Figures:
        """All calls since the start or the last ``clear``."""
        every = Histogram()
        every.merge(self.succeeded)
        every.merge(self.failed)
        return Figures.of(self.name, every, self.failed.count, [ns for ns, _, _ in self.recent])

    def clear(self) -> None:
        """Forget what was measured."""
        self.succeeded.clear()
        self.failed.clear()
        self.recent.clear()


class Scope:
    """One measurement by ``with``; each needs a scope of its own, as ``Timer.measure`` gives."""

    __slots__ = ("_started", "_timer")

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._started = 0

    def __enter__(self) -> None:
        self._started = self._timer.now()

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._timer.since(self._started, ok=kind is None)


class Counter:
    """A number that only grows, such as the hits of a cache."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, count: int = 1) -> None:
        """Count ``count`` more."""
        self.value += count


class Gauge:
    """A number as it is now."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def set(self, value: float) -> None:
        """It is ``value`` now."""
        self.value = value


class PerformanceMonitor:
    """One a process; built by ``trader`` and handed on. All times come from ``clock``'s monotonic nanoseconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock_ns = clock.monotonic_ns
        self._since_ns = clock.monotonic_ns()
        self._timers: dict[str, Timer] = {}
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._watched_counts: dict[str, Callable[[], int]] = {}
        self._watched_levels: dict[str, Callable[[], float]] = {}
        self._active: OrderedDict[int, ActiveMeasure] = OrderedDict()
        self._last_id = 0
        self._aged_out = 0

    # --- handles ---

    def timer(self, name: str) -> Timer:
        """The timer of that name."""
        return _handle(self._timers, name, lambda known: Timer(known, self._clock_ns))

    def counter(self, name: str) -> Counter:
        """The counter of that name."""
        return _handle(self._counters, name, lambda _: Counter())

    def gauge(self, name: str) -> Gauge:
        """The gauge of that name."""
        return _handle(self._gauges, name, lambda _: Gauge())

    def watch_count(self, name: str, read: Callable[[], int]) -> None:
        """Show under ``name`` a count that is kept elsewhere; ``read`` is called for snapshots alone and must not
        raise.
        """
        if name in self._watched_counts or len(self._watched_counts) < MAX_NAMES:
            self._watched_counts[name] = read

    def watch_level(self, name: str, read: Callable[[], float]) -> None:
        """Show under ``name`` a level that is known elsewhere, as ``watch_count`` does."""
        if name in self._watched_levels or len(self._watched_levels) < MAX_NAMES:
            self._watched_levels[name] = read

    # --- measuring ---

    def measure(self, name: str) -> Scope:
        """``with monitor.measure("parse"):`` around any code, with awaits or without."""
        return Scope(self.timer(name))

    async def measure_async(self, name: str, work: Awaitable[T]) -> T:
        """What ``work`` gives or raises, and the time that it was waited for."""
        with self.measure(name):
            return await work

    def timed(self, name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorator for a function or a coroutine function; each call is measured to its end."""
        timer = self.timer(name)

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            if inspect.iscoroutinefunction(function):

                @functools.wraps(function)
                async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                    with Scope(timer):
                        return await function(*args, **kwargs)

                return cast("Callable[P, R]", awaited)

            @functools.wraps(function)
            def called(*args: P.args, **kwargs: P.kwargs) -> R:
                with Scope(timer):
                    return function(*args, **kwargs)

            return called

        return decorate

    def start(self, name: str, metadata: Mapping[str, object] | None = None) -> int:
        """Begin something that ends elsewhere; the id for ``end``. Beyond ``MAX_ACTIVE`` the oldest is given up.

        Of ``metadata`` at most eight pairs are kept, each shortened to 64 characters.
        """
        self._last_id += 1
        pairs = list((metadata or {}).items())[:_MAX_PAIRS]
        kept = tuple((str(key)[:_MAX_TEXT], str(value)[:_MAX_TEXT]) for key, value in pairs)
        self._active[self._last_id] = ActiveMeasure(
            id=self._last_id, name=self.timer(name).name, started_ns=self._clock_ns(), metadata=kept
        )
        while len(self._active) > MAX_ACTIVE:
            self._active.popitem(last=False)
            self._aged_out += 1
        return self._last_id

    def end(self, measure_id: int, *, ok: bool = True) -> Measure | None:
        """What was begun is over; ``None`` for an id that is not known (any more), which counts nothing."""
        active = self._active.pop(measure_id, None)
        if active is None:
            return None
        ns = max(0, self._clock_ns() - active.started_ns)
        self.timer(active.name).record(ns, ok=ok, metadata=active.metadata)
        return Measure(name=active.name, duration_ns=ns, ok=ok, metadata=active.metadata)

    # --- reading ---

    def by_name(self, name: str, limit: int = RECENT) -> tuple[Measure, ...]:
        """The last measurements of that name, oldest first; the last ``RECENT`` are kept."""
        timer = self._timers.get(name)
        rows = list(timer.recent)[-limit:] if timer is not None and limit > 0 else []
        return tuple(Measure(name=name, duration_ns=ns, ok=ok, metadata=data) for ns, ok, data in rows)

    def snapshot(self) -> PerformanceSnapshot:
        """Every figure as it is now, by name."""
        counters = {name: counter.value for name, counter in self._counters.items()}
        counters.update((name, read()) for name, read in self._watched_counts.items())
        gauges = {name: gauge.value for name, gauge in self._gauges.items()}
        gauges.update((name, read()) for name, read in self._watched_levels.items())
        return PerformanceSnapshot(
            span_ms=(self._clock_ns() - self._since_ns) // 1_000_000,
            timers=tuple(self._timers[name].figures() for name in sorted(self._timers)),
            counters=dict(sorted(counters.items())),
            gauges=dict(sorted(gauges.items())),
            active=len(self._active),
            aged_out=self._aged_out,
        )

    def report(self) -> PerformanceReport:
        """The snapshot, and what was begun and has not ended, oldest first."""
        return PerformanceReport(snapshot=self.snapshot(), active=tuple(self._active.values()))

    def summary(self) -> str:
        """The snapshot as text for a log or a terminal."""
        return summary_of(self.snapshot())

    def timers(self) -> tuple[Timer, ...]:
        """The timers by name, for ``openmetrics``, which reads their buckets."""
        return tuple(self._timers[name] for name in sorted(self._timers))

    def clear(self) -> None:
        """Forget what was measured and begun, and count from zero; handles stay good, and so does what is watched."""
        for timer in self._timers.values():
            timer.clear()
        for counter in self._counters.values():
            counter.value = 0
        self._active.clear()
        self._aged_out = 0
        self._since_ns = self._clock_ns()


def _handle(known: dict[str, T], name: str, make: Callable[[str], T]) -> T:
    found = known.get(name)
    if found is None:
        if len(known) >= MAX_NAMES:
            name = OTHER
        found = known.setdefault(name, known.get(name) or make(name))
    return found
