"""Each streaming indicator equals the naive formula over the whole series."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.strategies.indicators import Atr, Bollinger, Ema, RollingStdev, Rsi, Sma

PRICES = st.lists(st.floats(min_value=0.01, max_value=200_000), min_size=1, max_size=120)
PERIODS = st.integers(min_value=2, max_value=30)


def close_to(value: float | None, expected: float, scale: float) -> bool:
    return value is not None and math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-7 * max(1.0, scale))


def naive_ema(xs: list[float], period: int) -> float:
    value = sum(xs[:period]) / period
    for x in xs[period:]:
        value = 2 / (period + 1) * x + (1 - 2 / (period + 1)) * value
    return value


def naive_wilder(xs: list[float], period: int) -> float:
    value = sum(xs[:period]) / period
    for x in xs[period:]:
        value = (value * (period - 1) + x) / period
    return value


@given(PRICES, PERIODS)
def test_sma_is_the_mean_of_the_window(xs: list[float], period: int) -> None:
    sma = Sma(period)
    for n, x in enumerate(xs, 1):
        value = sma.update(x)
        assert (value is None) == (n < period)
        if n >= period:
            assert close_to(value, statistics.fmean(xs[n - period : n]), max(xs))


@given(PRICES, PERIODS)
def test_ema_is_seeded_with_the_mean_and_then_smoothed(xs: list[float], period: int) -> None:
    ema = Ema(period)
    for x in xs:
        ema.update(x)
    if len(xs) < period:
        assert ema.value is None
    else:
        assert close_to(ema.value, naive_ema(xs, period), max(xs))


@given(PRICES, PERIODS)
def test_rsi_is_wilders(xs: list[float], period: int) -> None:
    rsi = Rsi(period)
    for x in xs:
        rsi.update(x)
    changes = [b - a for a, b in itertools.pairwise(xs)]
    if len(changes) < period:
        assert rsi.value is None
        return
    gain = naive_wilder([max(c, 0.0) for c in changes], period)
    loss = naive_wilder([max(-c, 0.0) for c in changes], period)
    assert rsi.value is not None
    assert 0 <= rsi.value <= 100
    if gain + loss > 1e-6:
        assert math.isclose(rsi.value, 100 - 100 / (1 + gain / loss) if loss else 100.0, rel_tol=1e-6, abs_tol=1e-6)


@given(st.lists(st.tuples(*[st.floats(min_value=1, max_value=1000)] * 3), min_size=1, max_size=80), PERIODS)
def test_atr_is_wilders_average_of_true_ranges(rows: list[tuple[float, float, float]], period: int) -> None:
    atr = Atr(period)
    ranges, previous = [], None
    for a, close, b in rows:
        high, low = max(a, b, close), min(a, b, close)
        atr.update(high, low, close)
        gaps: list[float] = [] if previous is None else [abs(high - previous), abs(low - previous)]
        ranges.append(max(high - low, *gaps) if gaps else high - low)
        previous = close
    if len(ranges) < period:
        assert atr.value is None
    else:
        assert close_to(atr.value, naive_wilder(ranges, period), 1000)


@given(PRICES, PERIODS)
def test_stdev_is_that_of_the_window_population(xs: list[float], period: int) -> None:
    stdev = RollingStdev(period)
    for n, x in enumerate(xs, 1):
        value = stdev.update(x)
        assert (value is None) == (n < period)
        if n >= period:
            window = xs[n - period : n]
            assert value is not None
            assert math.isclose(value, statistics.pstdev(window), rel_tol=1e-6, abs_tol=1e-6 * max(xs))
            assert close_to(stdev.mean, statistics.fmean(window), max(xs))


def test_a_jump_that_left_the_window_leaves_no_residue() -> None:
    sma, stdev = Sma(10), RollingStdev(10)
    for x in [1e12, *[1.0] * 40]:
        sma.update(x)
        stdev.update(x)
    assert sma.value == 1.0
    assert stdev.value == 0.0


@given(PRICES, PERIODS, st.floats(min_value=0.5, max_value=4))
def test_bollinger_bands_lie_around_the_mean(xs: list[float], period: int, width: float) -> None:
    bands = Bollinger(period, width)
    for x in xs:
        bands.update(x)
    if len(xs) < period:
        assert bands.middle is None
        return
    middle, reach = statistics.fmean(xs[-period:]), width * statistics.pstdev(xs[-period:])
    assert close_to(bands.middle, middle, max(xs))
    assert math.isclose(bands.upper, middle + reach, rel_tol=1e-6, abs_tol=1e-5 * max(xs))
    assert math.isclose(bands.lower, middle - reach, rel_tol=1e-6, abs_tol=1e-5 * max(xs))


def test_a_series_without_changes_has_a_neutral_rsi() -> None:
    rsi = Rsi(5)
    for _ in range(10):
        rsi.update(7.0)
    assert rsi.value == 50.0


def test_rsi_of_the_published_worked_example() -> None:
    """StockCharts' sheet "cs-rsi": the first RSI(14) of these closes is 70.53."""
    closes = [44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245,
              45.8433, 46.0826, 45.8931, 46.0328, 45.6140, 46.2820, 46.2820]  # fmt: skip
    rsi = Rsi(14)
    for x in closes:
        rsi.update(x)
    assert rsi.value == pytest.approx(70.53, abs=0.01)


@pytest.mark.parametrize("make", [Sma, Ema, Rsi, Atr, RollingStdev, Bollinger])
def test_a_period_of_nothing_is_refused(make: type) -> None:
    with pytest.raises(ValueError, match="period must be at least"):
        make(0)
