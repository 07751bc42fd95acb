"""Line charts as inline SVG that stretches with the page, with labels in HTML so that text keeps its size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

WIDTH: Final = 1000.0
HEIGHT: Final = 300.0
_MINUTE: Final = 60_000
_DAY: Final = 86_400_000
_TIME_STEPS: Final = (
    1_000, 5_000, 15_000, 30_000,
    *(_MINUTE * n for n in (1, 5, 15, 30, 60, 180, 360, 720)),
    *(_DAY * n for n in (1, 2, 7)),
)  # fmt: skip


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """At most ``count + 1`` round values (1, 2, 2.5, 5 times a power of ten) within ``low..high``; ``low < high``."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= raw), 10 * power)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def time_ticks(start_ms: int, end_ms: int, count: int = 7) -> list[tuple[int, str]]:
    """About ``count`` UTC times at most, on round boundaries (first days where they are months), with labels."""
    span = max(1, end_ms - start_ms)
    step = next((size for size in _TIME_STEPS if span / size <= count), None)
    if step is None:
        return _month_ticks(start_ms, end_ms, max(1, math.ceil(span / (30.44 * _DAY) / count)))
    if step >= _DAY:
        form = "%d %b"
    elif step >= _MINUTE:
        form = "%d %b %H:%M" if span > _DAY else "%H:%M"
    else:
        form = "%H:%M:%S"
    first = -(-start_ms // step) * step
    return [(tick, _utc(tick).strftime(form)) for tick in range(first, end_ms + 1, step)]


def _month_ticks(start_ms: int, end_ms: int, every: int) -> list[tuple[int, str]]:
    first, last = _utc(start_ms), _utc(end_ms)
    ticks = []
    for month in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        tick = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
        if month % every == 0 and tick >= first:
            ticks.append((int(tick.timestamp() * 1000), tick.strftime("%b %Y")))
    return ticks


def _utc(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def line_chart(
    *,
    kind: str,
    label: str,
    times_ms: Sequence[int],
    values: Sequence[float],
    format_value: Callable[[float], str],
    baseline: float,
    floor: float | None = None,
    ceiling: float | None = None,
) -> str:
    """A filled line over time as HTML; ``kind`` is its CSS class, ``label`` what a screen reader says.

    ``baseline`` is where the filling starts (the equity at the start, a drawdown of 0) and is drawn as a dashed line.
    """
    low = min([*values, baseline]) if floor is None else floor
    high = max([*values, baseline]) if ceiling is None else ceiling
    if high - low <= 1e-12 * max(1.0, abs(high)):
        low, high = low - max(1.0, abs(low)) * 0.01, high + max(1.0, abs(high)) * 0.01
    pad = 0.06 * (high - low)
    low = low - pad if floor is None else low
    high = high + pad if ceiling is None else high
    start, span = times_ms[0], max(1, times_ms[-1] - times_ms[0])

    def x(time_ms: int) -> float:
        return (time_ms - start) / span

    def y(value: float) -> float:
        return 1.0 - (value - low) / (high - low)

    points = [f"{x(t) * WIDTH:.1f},{y(v) * HEIGHT:.1f}" for t, v in zip(times_ms, values, strict=True)]
    base = f"{y(baseline) * HEIGHT:.1f}"
    line = "M" + "L".join(points)
    rows = [(y(tick), format_value(tick)) for tick in nice_ticks(low, high)]
    columns = [(x(tick), text) for tick, text in time_ticks(times_ms[0], times_ms[-1])]
    grid = "".join(f'<path class="grid" d="M0,{top * HEIGHT:.1f}H{WIDTH:.0f}"/>' for top, _ in rows)
    return (
        f'<div class="plot {kind}" data-low="{low!r}" data-high="{high!r}">'
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">'
        f'{grid}<path class="area" d="M0,{base}L{"L".join(points)}L{WIDTH:.0f},{base}Z"/>'
        f'<path class="base" d="M0,{base}H{WIDTH:.0f}"/><path class="line" d="{line}"/></svg>'
        + "".join(f'<span class="y" style="top:{100 * top:.2f}%">{escape(text)}</span>' for top, text in rows)
        + "".join(
            f'<span class="x {"even" if n % 2 else "odd"}" style="left:{100 * left:.2f}%">{escape(text)}</span>'
            for n, (left, text) in enumerate(columns)
            if 0.02 <= left <= 0.98
        )
        + '<i class="rule" hidden></i><i class="dot" hidden></i></div>'
    )
