"""What a run of the benchmark is worth: its rows, the machine that they were measured on, and the same as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from perpstrader.bench.statistics import Sample, geometric_mean


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the benchmark; ``baseline`` and ``optimized`` are medians in ``unit``, less is better.

    ``ratio`` is baseline over optimized, with its interval; all three are ``None`` where there is nothing to compare.
    ``claim`` is what the seed promises, ``met`` whether the whole interval reaches it. ``parity`` says that both arms
    (or the one that there is) gave the right answer before the first and after the last repetition; ``None``: skipped.
    """

    component: str
    row: str
    unit: str
    baseline: float | None
    optimized: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    claim: float | None
    met: bool | None
    parity: bool | None
    n: int
    note: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A row, the spread behind it, and the size that it is about where rows of several sizes make a curve."""

    row: Row
    size: int | None = None
    baseline: Sample | None = None
    optimized: Sample | None = None
    compares_builds: bool = True

    @property
    def curve(self) -> str:
        """The name that rows of other sizes share: ``stats`` of ``stats-of-100``."""
        return self.row.row.removesuffix(f"-of-{self.size}")

    @property
    def is_limit(self) -> bool:
        """True for what bounds a component from below: no build of it can be quicker."""
        return self.row.row.startswith("limit-")


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run; ``environment`` names no path, host or user."""

    environment: dict[str, Any]
    results: tuple[Result, ...]

    @property
    def line(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {"environment": self.environment, "rows": [result.row for result in self.results]}

    @property
    def failures(self) -> tuple[Row, ...]:
        """Rows whose answers were wrong or whose arms differ; there are no figures for them."""
        return tuple(result.row for result in self.results if result.row.parity is False)

    @property
    def mean_ratio(self) -> float | None:
        """The geometric mean of the ratios of the two builds."""
        return geometric_mean([ratio for each in self.results if each.compares_builds and (ratio := each.row.ratio)])
