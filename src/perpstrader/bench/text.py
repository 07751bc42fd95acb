"""Figures as a person reads them: three digits, a dash where there is none."""

from __future__ import annotations

from typing import Final

from perpstrader.bench.rows import Row

NOTHING: Final = "-"


def figure_text(value: float | None) -> str:
    """Three significant digits, thousands grouped, never an exponent."""
    if value is None:
        return NOTHING
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 10 else f"{value:.3g}"


def ratio_text(row: Row) -> str:
    """The ratio with its interval, such as ``5.1 (4.8 to 5.4)``."""
    if row.ratio is None or row.ratio_low is None or row.ratio_high is None:
        return NOTHING
    return f"{row.ratio:.3g} ({row.ratio_low:.3g} to {row.ratio_high:.3g})"
