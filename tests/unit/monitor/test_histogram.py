"""The histogram: right to 1.6 %, mergeable without loss, of one size whatever it is fed."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.monitor import Histogram
from perpstrader.monitor.histogram import MAX_NS

DURATIONS = st.lists(st.one_of(st.integers(0, MAX_NS), st.integers(0, 200), st.integers(0, 10**9)), max_size=60)
PERCENTS = (0, 1, 25, 50, 90, 95, 99, 99.9, 100)


def of(values: Sequence[int]) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


def exact(values: Sequence[int], percent: float) -> int:
    """The value at the nearest rank."""
    return sorted(values)[max(1, math.ceil(percent / 100 * len(values))) - 1]


def told(histogram: Histogram) -> tuple[object, ...]:
    """Everything that can be read from it."""
    return (
        histogram.count, histogram.total_ns, histogram.min_ns, histogram.max_ns, histogram.percentiles_ns(*PERCENTS),
        histogram.count_below_powers(6, 62),
    )  # fmt: skip


@given(DURATIONS.filter(bool))
def test_every_percentile_is_within_1_6_percent_of_the_value_at_its_rank(values: list[int]) -> None:
    for percent, shown in zip(PERCENTS, of(values).percentiles_ns(*PERCENTS), strict=True):
        right = exact(values, percent)
        assert abs(shown - right) <= 0.016 * right


def test_a_million_fold_spread_with_two_modes_is_told_as_it_is() -> None:
    rng = Random(7)
    values = [int(rng.lognormvariate(11, 1)) for _ in range(18_000)] + [rng.randrange(10**10) for _ in range(2_000)]
    for percent, shown in zip((50, 95, 99), of(values).percentiles_ns(50, 95, 99), strict=True):
        assert shown == pytest.approx(exact(values, percent), rel=0.016)


@given(DURATIONS)
def test_count_sum_least_and_greatest_are_exact(values: list[int]) -> None:
    shown = of(values)
    assert (shown.count, shown.total_ns) == (len(values), sum(values))
    assert (shown.min_ns, shown.max_ns) == (min(values, default=0), max(values, default=0))


@given(DURATIONS, DURATIONS)
def test_merging_two_gives_what_one_would_have_been_and_leaves_the_other_alone(a: list[int], b: list[int]) -> None:
    one, other = of(a), of(b)
    before = told(other)
    one.merge(other)
    assert told(one) == told(of(a + b))
    assert told(other) == before


@given(DURATIONS)
def test_counts_below_powers_of_two_are_exact(values: list[int]) -> None:
    assert of(values).count_below_powers(6, 62) == [sum(v < 1 << k for v in values) for k in range(6, 63)]


def test_below_64_ns_every_value_is_its_own_and_zero_is_one_too() -> None:
    shown = of([0, 0, 1, 63])
    assert shown.count == 4
    assert shown.percentiles_ns(25, 50, 75, 100) == [0, 0, 1, 63]


def test_what_no_duration_can_be_is_counted_at_the_end_of_the_range() -> None:
    shown = of([-5, MAX_NS + 1, 1 << 80])
    assert (shown.count, shown.min_ns, shown.max_ns) == (3, 0, MAX_NS)


def test_an_empty_one_tells_zeros() -> None:
    assert told(Histogram())[:5] == (0, 0, 0, 0, [0] * len(PERCENTS))


def test_its_size_does_not_grow() -> None:
    shown = Histogram()
    before = sys.getsizeof(shown._buckets)
    for power in range(63):
        shown.record((1 << power) + 1)
    assert sys.getsizeof(shown._buckets) == before <= 16_384


def test_cleared_it_is_as_new() -> None:
    shown = of([1, 10**9])
    shown.clear()
    assert told(shown) == told(Histogram())
