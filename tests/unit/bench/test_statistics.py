"""Medians, quartiles, ratios with their interval, and the mean of ratios, on numbers worked out by hand."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.bench.statistics import geometric_mean, quantile, ratio, sample

POSITIVE = st.floats(min_value=0.001, max_value=1e6)


def test_a_quantile_lies_between_its_neighbours() -> None:
    assert [quantile([10, 20, 30, 40], fraction) for fraction in (0, 0.25, 0.5, 1)] == [10, 17.5, 25, 40]
    assert quantile([7], 0.9) == 7


def test_a_sample_is_its_median_and_quartiles_in_whatever_order_it_came() -> None:
    found = sample([5, 1, 4, 2, 3])
    assert (found.low, found.median, found.high, found.n) == (2, 3, 4, 5)


def test_one_wild_repetition_does_not_move_the_median() -> None:
    assert sample([10, 10, 10, 10, 9_999]).median == 10


def test_a_ratio_is_of_medians_and_more_is_better() -> None:
    found = ratio([10.0, 12.0, 11.0], [5.0, 6.0, 5.5], Random(1))
    assert found.value == 2.0
    assert found.low <= found.value <= found.high


def test_arms_that_never_vary_give_an_interval_without_width() -> None:
    found = ratio([8.0] * 9, [2.0] * 9, Random(1))
    assert (found.value, found.low, found.high) == (4.0, 4.0, 4.0)


def test_noise_widens_the_interval() -> None:
    rng = Random(3)
    quiet = ratio([100 + rng.random() for _ in range(30)], [50 + rng.random() for _ in range(30)], Random(1))
    noisy = ratio([100 + 80 * rng.random() for _ in range(30)], [50 + 40 * rng.random() for _ in range(30)], Random(1))
    assert noisy.high - noisy.low > 5 * (quiet.high - quiet.low)


def test_rounds_are_drawn_in_pairs_so_that_a_slow_moment_of_the_machine_cancels_out() -> None:
    moments = [1.0, 1.0, 3.0, 9.0, 1.0, 5.0, 2.0]
    found = ratio([4 * moment for moment in moments], moments, Random(1))
    assert (found.low, found.high) == (4.0, 4.0)


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=12), st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_interval_around_the_ratio(pairs: list[tuple[float, float]], seed: int) -> None:
    slow, fast = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = ratio(slow, fast, Random(seed))
    assert found == ratio(slow, fast, Random(seed))
    assert found.low <= found.high
    assert min(slow) / max(fast) <= found.value * (1 + 1e-9)
    assert found.value <= max(slow) / min(fast) * (1 + 1e-9)


def test_twice_as_fast_and_half_as_fast_are_together_no_change() -> None:
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert geometric_mean([]) is None
    assert math.isclose(geometric_mean([10.0] * 7) or 0, 10.0)
