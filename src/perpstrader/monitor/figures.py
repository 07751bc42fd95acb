"""What the monitor tells: frozen copies, with the window of each figure in its name or its docstring."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from perpstrader.monitor.histogram import Histogram


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One name since the start or the last ``clear``, failed calls included; ``recent_mean_ms`` is over the last 100.

    Percentiles are right to 1.6 %, the rest exactly.
    """

    name: str
    count: int
    failed: int
    failed_fraction: float
    mean_ms: float
    min_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    recent_mean_ms: float

    @classmethod
    def of(cls, name: str, every: Histogram, failed: int, recent_ns: Sequence[int]) -> Figures:
        """The figures of all calls, ``failed`` of them failed."""
        p50, p95, p99 = every.percentiles_ns(50, 95, 99)
        return cls(
            name=name, count=every.count, failed=failed, failed_fraction=failed / every.count if every.count else 0.0,
            mean_ms=_ms(every.total_ns / every.count) if every.count else 0.0, min_ms=_ms(every.min_ns),
            p50_ms=_ms(p50), p95_ms=_ms(p95), p99_ms=_ms(p99), max_ms=_ms(every.max_ns),
            recent_mean_ms=_ms(sum(recent_ns) / len(recent_ns)) if recent_ns else 0.0,
        )  # fmt: skip


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement that is over."""

    name: str
    duration_ns: int
    ok: bool
    metadata: tuple[tuple[str, str], ...] = ()


class ActiveMeasure(msgspec.Struct, frozen=True, kw_only=True):
    """One that was begun by ``start`` and has not ended; ``started_ns`` is a moment of the monitor's clock."""

    id: int
    name: str
    started_ns: int
    metadata: tuple[tuple[str, str], ...] = ()


class PerformanceSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Every figure at one moment, names in order. ``span_ms`` is the window: the time since the start or the last
    ``clear``. ``aged_out`` counts measurements that were begun and given up because too many were open.
    """

    span_ms: int
    timers: tuple[Figures, ...]
    counters: dict[str, int]
    gauges: dict[str, float]
    active: int
    aged_out: int


class PerformanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot with what is still open."""

    snapshot: PerformanceSnapshot
    active: tuple[ActiveMeasure, ...]


COLUMNS = ("stage", "calls", "failed", "p50 ms", "p95 ms", "p99 ms", "max ms", "mean ms")


def cells(row: Figures) -> tuple[str, ...]:
    """One name in the order of ``COLUMNS``."""
    times = (row.p50_ms, row.p95_ms, row.p99_ms, row.max_ms, row.mean_ms)
    return row.name, str(row.count), str(row.failed), *(f"{time:.3f}" for time in times)


def summary_of(snapshot: PerformanceSnapshot) -> str:
    """The snapshot as a table of text, with counters and gauges below it."""
    rows = [COLUMNS, *(cells(row) for row in snapshot.timers)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
    lines = [f"{snapshot.span_ms / 1000:.1f} s measured; {snapshot.active} open, {snapshot.aged_out} given up"]
    for name, *numbers in rows:
        aligned = (number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True))
        lines.append("  ".join([name.ljust(widths[0]), *aligned]))
    lines += [f"{name} {value}" for name, value in snapshot.counters.items()]
    lines += [f"{name} {value:g}" for name, value in snapshot.gauges.items()]
    return "\n".join(lines)


def _ms(ns: float) -> float:
    return ns / 1e6
