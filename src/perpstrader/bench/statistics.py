"""What a handful of repetitions say: median, the middle half, and how far a ratio of two medians may be off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Final

import msgspec

RESAMPLES: Final = 1_000
CONFIDENCE: Final = 0.95


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One arm's repetitions in the row's unit: the median, and the quartiles, between which the middle half lies."""

    median: float
    low: float
    high: float
    n: int


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """Baseline over optimized, more is better; in 95 of 100 runs the interval holds the ratio that this machine has."""

    value: float
    low: float
    high: float


def quantile(ordered: Sequence[float], fraction: float) -> float:
    """The value below which ``fraction`` (0 to 1) of an ascending, non-empty sequence lies, between neighbours
    linearly.
    """
    place = fraction * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def sample(values: Sequence[float]) -> Sample:
    """The figures of at least one repetition."""
    ordered = sorted(values)
    low, median, high = (quantile(ordered, fraction) for fraction in (0.25, 0.5, 0.75))
    return Sample(median=median, low=low, high=high, n=len(ordered))


def ratio(baseline: Sequence[float], optimized: Sequence[float], rng: Random) -> Ratio:
    """The ratio of the medians with its bootstrap interval: pairs of one round are drawn together, with replacement.

    Both sequences are of equal length, one value a round, above zero.
    """
    pairs = list(zip(baseline, optimized, strict=True))
    drawn = sorted(_ratio(rng.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    tail = (1 - CONFIDENCE) / 2
    return Ratio(value=_ratio(pairs), low=quantile(drawn, tail), high=quantile(drawn, 1 - tail))


def geometric_mean(ratios: Sequence[float]) -> float | None:
    """The mean that treats twice as fast and half as fast as opposites; ``None`` of nothing."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    return sample([slow for slow, _ in pairs]).median / sample([fast for _, fast in pairs]).median
