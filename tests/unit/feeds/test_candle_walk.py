"""The walk inside a recorded bar: its order, its liquidity, what it may know, its halts and gaps."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.feeds.market_making import MINUTE, T0, candle_rows, check_steps, flat, series

from perpstrader.paper.engine.market import MarketUpdate
from perpstrader.paper.feeds import CandleFeed, FeedError, FeedStep, ambiguous

ROWS = [
    (1_000_000, 1_001_000, 998_000, 1_000_500, 8_000_000),
    (1_000_600, 1_002_000, 1_000_100, 1_001_500, 4_000_000),
    (1_001_000, 1_001_000, 990_000, 991_000, 16_000_000),
]


def _last(steps: list[FeedStep], coin: str = "BTC") -> list[tuple[int, int | None, bool]]:
    return [
        (update.time_ms - T0, update.last, update.continuous)
        for step in steps
        for update in step.updates
        if update.coin == coin
    ]


@pytest.mark.parametrize(("sign", "first", "second"), [(1, "low", "high"), (-1, "high", "low")])
def test_a_bar_goes_against_the_position_first(sign: int, first: str, second: str) -> None:
    steps = list(CandleFeed([series(ROWS)], seed=1).steps(lambda _: sign))
    places = {"high": 1, "low": 2}
    expected = []
    for number, row in enumerate(ROWS):
        begin = number * MINUTE
        expected += [
            (begin, row[0], False),
            (begin + 15_000, row[places[first]], True),
            (begin + 30_000, row[places[second]], True),
            (begin + 45_000, row[3], True),
        ]
    assert _last(steps) == expected


@given(candle_rows(), st.integers(-1, 1), st.integers(0, 5))
def test_every_walk_visits_open_both_extremes_and_close(
    rows: list[tuple[int, int, int, int, int]], sign: int, seed: int
) -> None:
    feed = CandleFeed([series(rows)], seed)
    steps = list(feed.steps(lambda _: sign))
    check_steps(steps, feed.assets)
    visited: dict[int, list[int | None]] = {}
    for time, last, _ in _last(steps):
        visited.setdefault(time // MINUTE, []).append(last)
    for number, row in enumerate(rows):
        if row[4] == 0:
            assert visited.get(number, [None]) == [None]
            continue
        first, one, other, last = visited[number]
        assert (first, last) == (row[0], row[3])
        assert sorted([one or 0, other or 0]) == sorted([row[1], row[2]])


def test_the_position_is_asked_after_orders_of_the_open_had_time_to_fill() -> None:
    asked: list[int] = []
    now = 0

    def sign(_coin: str) -> int:
        asked.append(now - T0)
        return 0

    for step in CandleFeed([series(ROWS)], seed=1).steps(sign):
        now = step.time_ms
    assert asked == [14_999, MINUTE + 14_999, 2 * MINUTE + 14_999]


def test_a_closed_bar_is_published_with_the_next_open_and_not_before() -> None:
    steps = list(CandleFeed([series(ROWS)]).steps(flat))
    published = [(step.time_ms - T0, bar.open) for step in steps for bar in step.bars]
    assert published == [(MINUTE * (n + 1), row[0]) for n, row in enumerate(ROWS)]
    at_second_open = next(step for step in steps if step.time_ms == T0 + MINUTE)
    assert at_second_open.updates[0].last == ROWS[1][0]
    assert at_second_open.bars[0].close == ROWS[0][3]


@given(candle_rows(max_size=8), candle_rows(max_size=4), st.integers(1, 7), st.integers(-1, 1))
def test_nothing_of_a_bar_shows_before_it_begins(
    rows: list[tuple[int, int, int, int, int]], other: list[tuple[int, int, int, int, int]], cut: int, sign: int
) -> None:
    kept = rows[:cut]
    changed = kept + other
    horizon = T0 + MINUTE * len(kept)

    def before(data: list[tuple[int, int, int, int, int]]) -> list[FeedStep]:
        feed = CandleFeed([series(data)], seed=4)
        return [step for step in feed.steps(lambda _: sign) if step.time_ms < horizon]

    assert before(rows) == before(changed)
    one, two = CandleFeed([series(rows)]), CandleFeed([series(changed)])
    assert one.history("BTC", "1m", horizon, 50) == two.history("BTC", "1m", horizon, 50)
    assert one.day_volume("BTC", horizon) == two.day_volume("BTC", horizon)


@given(candle_rows(), st.lists(st.booleans(), min_size=60, max_size=60), st.integers(0, 3))
def test_leaving_out_quiet_steps_changes_nothing_in_the_others(
    rows: list[tuple[int, int, int, int, int]], answers: list[bool], seed: int
) -> None:
    feed = CandleFeed([series(rows), series(rows, coin="ETH", index=1)], seed)
    whole = {step.time_ms: step for step in feed.steps(flat)}
    replies = iter(answers * 10)
    thinned = list(feed.steps(flat, lambda: next(replies)))
    assert all(whole[step.time_ms] == step for step in thinned)
    left_out = whole.keys() - {step.time_ms for step in thinned}
    assert all(whole[time].quiet_skippable and not whole[time].bars for time in left_out)


@given(candle_rows())
def test_a_bar_offers_at_most_a_tenth_of_its_volume(rows: list[tuple[int, int, int, int, int]]) -> None:
    offered: Counter[int] = Counter()
    for step in CandleFeed([series(rows)]).steps(flat):
        for update in step.updates:
            levels = (*(update.bids or ()), *(update.asks or ()))
            offered[(step.time_ms - T0) // MINUTE] += sum(level.size for level in levels)
    for number, row in enumerate(rows):
        assert offered[number] <= row[4] // 10


def test_a_liquid_bar_offers_nearly_the_whole_tenth() -> None:
    offered = sum(
        level.size
        for step in CandleFeed([series(ROWS[:1])]).steps(flat)
        for update in step.updates
        for level in (*(update.bids or ()), *(update.asks or ()))
    )
    assert 0.99 * ROWS[0][4] / 10 < offered <= ROWS[0][4] / 10


@given(candle_rows(), st.integers(0, 3))
def test_the_spread_is_the_larger_of_a_tick_and_a_basis_point_around_the_path(
    rows: list[tuple[int, int, int, int, int]], seed: int
) -> None:
    feed = CandleFeed([series(rows)], seed)
    for step in feed.steps(flat):
        for update in step.updates:
            if not update.bids or not update.asks or update.last is None:
                continue
            bid, ask, tick = update.bids[0].price, update.asks[0].price, feed.assets[0].tick(update.last)
            assert bid <= update.last <= ask
            wanted = max(tick, update.last / 10_000)
            # Rounding to ticks never narrows it, and widens it by less than two.
            assert wanted <= ask - bid < wanted + 2 * feed.assets[0].tick(ask)


def test_mark_oracle_book_and_last_are_four_series() -> None:
    rows = [
        (1_000_000 + 100 * n, 1_003_000 + 100 * n, 998_000 + 100 * n, 1_000_100 + 100 * n, 10**7) for n in range(60)
    ]
    seen: Counter[str] = Counter()
    for step in CandleFeed([series(rows)], seed=2).steps(flat):
        for update in step.updates:
            assert update.bids
            assert update.asks
            mid2 = update.bids[0].price + update.asks[0].price
            four = (mid2 / 2, update.last, update.mark, update.oracle)
            seen["all"] += 1
            seen["four"] += len(set(four)) == 4
            assert update.mark is not None
            assert update.oracle is not None
            assert update.last is not None
            assert abs(update.mark - update.last) < 0.004 * update.last
            assert abs(update.oracle - update.last) < 0.006 * update.last
    assert seen["four"] > 0.6 * seen["all"]


def test_bars_without_volume_on_all_coins_are_a_halt() -> None:
    quiet = (1_000_500, 1_000_500, 1_000_500, 1_000_500, 0)
    rows = [ROWS[0], quiet, quiet, ROWS[1]]
    feed = CandleFeed([series(rows), series(rows, coin="ETH", index=1)])
    steps = list(feed.steps(flat))
    halted = [step for step in steps if T0 + MINUTE <= step.time_ms < T0 + 3 * MINUTE]
    assert [step.time_ms for step in halted] == [T0 + MINUTE, T0 + 2 * MINUTE]
    for step in halted:
        assert step.updates == tuple(
            MarketUpdate(coin=coin, time_ms=step.time_ms, halted=True) for coin in ("BTC", "ETH")
        )
    reopened = next(step for step in steps if step.time_ms == T0 + 3 * MINUTE)
    assert not any(update.halted or update.continuous for update in reopened.updates)
    assert feed.report(3).halted_bars == 4
    assert feed.report(3).ambiguous_bars == 3


def test_one_coin_without_volume_has_an_empty_book_and_no_halt() -> None:
    quiet = (1_000_500, 1_000_500, 1_000_500, 1_000_500, 0)
    feed = CandleFeed([series([ROWS[0], quiet]), series(ROWS[:2], coin="ETH", index=1)])
    update = next(step for step in feed.steps(flat) if step.time_ms == T0 + MINUTE).updates[0]
    assert (update.coin, update.halted, update.bids, update.asks) == ("BTC", False, (), ())


def test_a_missing_bar_halts_its_coin_until_the_next_one() -> None:
    times = [T0, T0 + 2 * MINUTE, T0 + 3 * MINUTE]
    feed = CandleFeed([series(ROWS, times=times), series([*ROWS, ROWS[2]], coin="ETH", index=1)])
    steps = {step.time_ms: step for step in feed.steps(flat)}
    assert [update.halted for update in steps[T0 + MINUTE].updates] == [False, True]
    assert {update.coin for update in steps[T0 + MINUTE].updates if update.halted} == {"BTC"}
    assert not any(update.halted for update in steps[T0 + 2 * MINUTE].updates)
    assert feed.report().gaps == 1


def test_a_hole_in_the_whole_recording_is_a_halt_and_publishes_the_last_bar_in_time() -> None:
    feed = CandleFeed([series(ROWS, times=[T0, T0 + MINUTE, T0 + 10 * MINUTE])])
    steps = list(feed.steps(flat))
    check_steps(steps, feed.assets)
    hole = next(step for step in steps if step.time_ms == T0 + 2 * MINUTE)
    assert hole.updates[0].halted
    assert len(hole.bars) == 1
    assert [s.time_ms for s in steps if T0 + 2 * MINUTE < s.time_ms <= T0 + 10 * MINUTE] == [T0 + 10 * MINUTE]
    assert feed.report().gaps == 1


def test_funding_is_as_recorded_at_its_hour_and_from_the_premium_elsewhere() -> None:
    rows = [ROWS[0]] * 130
    hour = T0 - T0 % 3_600_000 + 3_600_000
    feed = CandleFeed([series(rows, funding={hour: Decimal("0.0000875")})], seed=1)
    funding = [(step.time_ms, step.funding) for step in feed.steps(flat, lambda: True) if step.funding]
    assert [time for time, _ in funding][:2] == [hour, hour + 3_600_000]
    assert funding[0][1] == (("BTC", Decimal("0.0000875")),)
    # Within +-0.05 % of premium the venue's formula gives the base rate, 0.01 % per 8 hours.
    assert funding[1][1] == (("BTC", Decimal("0.0000125")),)


def test_hours_inside_a_long_bar_have_funding_steps_of_their_own() -> None:
    begin = T0 - T0 % 14_400_000
    rows = [ROWS[0], ROWS[1]]
    feed = CandleFeed([series(rows, interval="4h", times=[begin, begin + 14_400_000])])
    for quiet in (True, False):
        steps = list(feed.steps(flat, lambda quiet=quiet: quiet))
        check_steps(steps, feed.assets)
        assert [step.time_ms for step in steps if step.funding] == [begin + 3_600_000 * n for n in range(1, 9)]


def test_a_window_replays_a_part_and_history_reaches_before_it() -> None:
    whole = CandleFeed([series(ROWS * 3)], seed=9)
    part = CandleFeed([series(ROWS * 3)], seed=9, start_ms=T0 + 3 * MINUTE, end_ms=T0 + 6 * MINUTE)
    assert (part.start_ms, part.end_ms) == (T0 + 3 * MINUTE, T0 + 6 * MINUTE)
    steps = {step.time_ms: step for step in whole.steps(flat)}
    assert all(step.updates == steps[step.time_ms].updates for step in part.steps(flat) if step.updates)
    assert len(part.history("BTC", "1m", part.start_ms, 10)) == 3
    assert part.report().bars == 3


def test_longer_bars_are_joined_from_whole_ones_only() -> None:
    begin = T0 - T0 % 300_000 + 300_000
    feed = CandleFeed([series(ROWS * 4, times=[begin - MINUTE + MINUTE * n for n in range(12)])])
    joined = feed.history("BTC", "5m", begin + 10 * MINUTE, 5)
    assert [bar.open_ms for bar in joined] == [begin, begin + 300_000]
    inside = (ROWS * 4)[1:6]
    assert (joined[0].open, joined[0].close) == (inside[0][0], inside[-1][3])
    assert joined[0].high == max(row[1] for row in inside)
    assert joined[0].low == min(row[2] for row in inside)
    assert joined[0].volume == sum(row[4] for row in inside)
    assert [bar.open_ms for bar in feed.history("BTC", "5m", begin + 10 * MINUTE - 1, 5)] == [begin]


def test_ambiguous_is_a_bar_that_reaches_both_prices() -> None:
    bar = series(ROWS).bar(0)
    assert ambiguous(bar, 998_000, 1_001_000)
    assert not ambiguous(bar, 997_999, 1_001_000)
    assert not ambiguous(bar, 998_000, 1_001_001)


def test_what_cannot_be_replayed_is_refused_in_a_sentence() -> None:
    with pytest.raises(FeedError, match="at least one coin"):
        CandleFeed([])
    with pytest.raises(FeedError, match="no whole 1m bar from"):
        CandleFeed([series(ROWS)], start_ms=T0 + 10 * MINUTE)
    with pytest.raises(FeedError, match="BTC and ETH do not begin at the same instants"):
        CandleFeed([series(ROWS), series(ROWS, coin="ETH", times=[T0 + 1, T0 + MINUTE + 1, T0 + 2 * MINUTE + 1])])
    feed = CandleFeed([series(ROWS)])
    with pytest.raises(FeedError, match="90s' is not known"):
        feed.history("BTC", "90s", T0, 5)
    with pytest.raises(FeedError, match="1s bars cannot be made of this market's 1m bars"):
        feed.history("BTC", "1s", T0, 5)
    with pytest.raises(FeedError, match="no coin 'DOGE'; it has BTC"):
        feed.history("DOGE", "1m", T0, 5)
