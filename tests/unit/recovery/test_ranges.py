"""How far a market has moved over a window: by bars of any length, in bounded memory, never across a hole."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from perpstrader.domain import Candle
from perpstrader.recovery.ranges import Ranges

WINDOW_MS = 600_000
BAR_MS = 5_000


def bar(number: int, low: int | str = 100, high: int | str = 100, *, length_ms: int = BAR_MS) -> Candle:
    """Bar ``number`` since a whole window ago."""
    low, high = Decimal(low), Decimal(high)
    open_ms = number * length_ms
    return Candle(
        symbol="BTC", interval="5s", open_ms=open_ms, close_ms=open_ms + length_ms - 1, open=low, high=high, low=low,
        close=high, volume=Decimal(1), trades=1,
    )  # fmt: skip


def filled(ranges: Ranges, last: int, first: int = 0) -> None:
    for number in range(first, last + 1):
        ranges.take(bar(number))


def test_a_window_that_bars_cover_has_the_range_of_its_highest_and_lowest_price() -> None:
    ranges = Ranges(WINDOW_MS)
    filled(ranges, 60)
    ranges.take(bar(61, 99, 101))
    filled(ranges, 125, 62)
    assert ranges.fraction("BTC", 126 * BAR_MS) == Decimal("0.02")


def test_what_moved_before_the_window_counts_no_longer() -> None:
    ranges = Ranges(WINDOW_MS)
    ranges.take(bar(0, 50, 200))
    filled(ranges, 250, 1)
    assert ranges.fraction("BTC", 251 * BAR_MS) == 0


def test_S30_a_window_that_bars_do_not_cover_has_no_range() -> None:
    ranges = Ranges(WINDOW_MS)
    assert ranges.fraction("BTC", 0) is None
    filled(ranges, 100)
    assert ranges.fraction("BTC", 101 * BAR_MS) is None


def test_S30_a_hole_in_the_bars_begins_the_window_anew() -> None:
    ranges = Ranges(WINDOW_MS)
    filled(ranges, 119)
    filled(ranges, 200, 160)
    assert ranges.fraction("BTC", 201 * BAR_MS) is None


def test_S30_bars_that_ended_a_while_ago_say_nothing_of_now() -> None:
    ranges = Ranges(WINDOW_MS)
    filled(ranges, 130)
    assert ranges.fraction("BTC", 131 * BAR_MS) == 0
    assert ranges.fraction("BTC", 190 * BAR_MS) is None


def test_bars_longer_than_a_sixtieth_of_the_window_cover_it_too() -> None:
    ranges = Ranges(WINDOW_MS)
    for number in range(13):
        ranges.take(bar(number, 100, 101, length_ms=60_000))
    fraction = ranges.fraction("BTC", 13 * 60_000)
    assert fraction == Decimal(1) / Decimal("100.5")


def test_S64_memory_is_bounded_by_sixtieths_however_short_the_bars_are() -> None:
    ranges = Ranges(WINDOW_MS)
    for number in range(20_000):
        ranges.take(bar(number, length_ms=250))
    assert len(ranges._of["BTC"]) <= 62


@given(st.lists(st.tuples(st.integers(90, 110), st.integers(0, 5)), min_size=125, max_size=140))
def test_the_range_is_never_less_than_that_of_the_bars_inside_the_window(bars: list[tuple[int, int]]) -> None:
    ranges = Ranges(WINDOW_MS)
    for number, (low, more) in enumerate(bars):
        ranges.take(bar(number, low, low + more))
    inside = bars[-120:]
    span = max(low + more for low, more in inside) - min(low for low, _ in inside)
    found = ranges.fraction("BTC", len(bars) * BAR_MS)
    assert found is not None
    assert found >= Decimal(span) / 115
