"""The plots of the report as inline SVG on logarithmic scales: a doubling is as wide everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

from perpstrader.bench.text import figure_text

_WIDTH: Final = 1000.0
_LABEL: Final = 330.0
_ROW: Final = 26.0
_COLOURS: Final = ("#2457d6", "#c0293b", "#0a7a4b", "#b07a00", "#7a3fb0", "#008b99", "#8a5a44", "#5a6473")


class Mark(NamedTuple):
    """One line of a scale: a value, what lies around it, and a target to compare with; ``faint`` for a limit."""

    label: str
    value: float
    low: float
    high: float
    target: float | None = None
    faint: bool = False


class Axis:
    """A logarithmic scale over some values above zero, with a little room at both ends."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = math.log10(min(values)), math.log10(max(values))
        room = max(0.1, 0.05 * (high - low))
        self._low, self._span = low - room, high - low + 2 * room
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """The place of a value."""
        return self._start + (math.log10(value) - self._low) / self._span * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Powers of ten on the scale, with 2 and 5 of each where it is short."""
        first, last = math.floor(self._low), math.ceil(self._low + self._span)
        steps = (1, 2, 5) if self._span < 2 else (1,)
        every = max(1, (last - first) // 8)
        wanted = [step * 10.0**power for power in range(first, last + 1, every) for step in steps]
        return [tick for tick in wanted if self._low <= math.log10(tick) <= self._low + self._span]


def scale_plot(marks: Sequence[Mark], *, label: str, unit: str) -> str:
    """Each mark on a line of its own: a dot, its interval, and a tick where its target is."""
    values = [v for mark in marks for v in (mark.low, mark.high, mark.target or mark.value)]
    axis = Axis([v for v in values if v > 0], _LABEL, _WIDTH - 90)
    height = _ROW * (len(marks) + 1) + 8
    parts = [_grid(axis, height)]
    for number, mark in enumerate(marks):
        y = _ROW * (number + 0.7)
        x, style = axis.at(mark.value), ' opacity=".45"' if mark.faint else ""
        parts.append(
            f'<g{style}><text x="{_LABEL - 12:.0f}" y="{y + 4:.1f}" text-anchor="end">{escape(mark.label)}</text>'
            f'<path class="span" d="M{axis.at(mark.low):.1f},{y:.1f}H{axis.at(mark.high):.1f}"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
            f'<text x="{_WIDTH:.0f}" y="{y + 4:.1f}" text-anchor="end">{figure_text(mark.value)} {escape(unit)}</text>'
        )
        if mark.target is not None:
            at = axis.at(mark.target)
            parts.append(f'<path class="target" d="M{at:.1f},{y - 9:.1f}V{y + 9:.1f}"/>')
        parts.append("</g>")
    return _svg("".join(parts), height, label)


def growth_plot(curves: Mapping[str, Sequence[tuple[float, float]]], *, label: str, unit: str) -> str:
    """A line for each curve of (size, cost), both logarithmic: straight up by one square a square is in proportion."""
    points = [point for curve in curves.values() for point in curve]
    height = 300.0
    across = Axis([x for x, _ in points], 90, _WIDTH - 320)
    upward = Axis([y for _, y in points], height - 40, 16)
    parts = []
    for tick in upward.ticks():
        y = upward.at(tick)
        parts.append(f'<path class="grid" d="M90,{y:.1f}H{_WIDTH - 320:.0f}"/>')
        parts.append(f'<text x="80" y="{y + 4:.1f}" text-anchor="end">{tick:,g} {escape(unit)}</text>')
    parts += [
        f'<text x="{across.at(size):.1f}" y="{height - 14:.0f}" text-anchor="middle">{size:,.0f}</text>'
        for size in sorted({x for x, _ in points})
    ]
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [(across.at(x), upward.at(y)) for x, y in sorted(curve)]
        line = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" style="fill:{colour}"/>' for x, y in places]
        top = 24 + 24 * number
        parts.append(f'<circle cx="{_WIDTH - 290:.0f}" cy="{top - 4}" r="5" style="fill:{colour}"/>')
        parts.append(f'<text x="{_WIDTH - 276:.0f}" y="{top}">{escape(name)}</text>')
    return _svg("".join(parts), max(height, 30 + 24 * len(curves)), label)


def _grid(axis: Axis, height: float) -> str:
    return "".join(
        f'<path class="grid" d="M{axis.at(tick):.1f},4V{height - 24:.0f}"/>'
        f'<text x="{axis.at(tick):.1f}" y="{height - 8:.0f}" text-anchor="middle">{tick:,g}</text>'
        for tick in axis.ticks()
    )


def _svg(inside: str, height: float, label: str) -> str:
    box = f"0 0 {_WIDTH:.0f} {height:.0f}"
    return f'<svg class="bench" viewBox="{box}" role="img" aria-label="{escape(label)}">{inside}</svg>'
