"""The synthetic market: the same for the same seed, valid on every tick, and with the statistics that it states."""

from __future__ import annotations

import math
import statistics
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.feeds.market_making import T0, check_steps, flat

from perpstrader.paper.feeds import Feed, FeedError, FeedStep, SyntheticFeed


def _steps(feed: SyntheticFeed, count: int) -> list[FeedStep]:
    return list(islice(feed.steps(flat), count))


def _feed(seed: int = 1, **settings: object) -> SyntheticFeed:
    return SyntheticFeed(seed, T0, **settings)  # type: ignore[arg-type]  # each test sets its own few


@settings(max_examples=15)
@given(st.integers(0, 10**9), st.sampled_from([250, 1_000, 60_000]), st.sampled_from([1.0, 60.0, 600.0]))
def test_every_step_is_a_valid_market(seed: int, bar_ms: int, speed: float) -> None:
    feed = _feed(seed, bar_ms=bar_ms, speed=speed, prehistory_bars=5)
    steps = _steps(feed, 60)
    check_steps(steps, feed.assets)
    for step in steps:
        assert len(step.updates) == 8
        assert not step.quiet_skippable
        for update in step.updates:
            assert len(update.bids or ()) == len(update.asks or ()) == 10
            assert update.trades
            assert update.last == update.trades[-1].price
            assert not update.continuous


def test_the_same_seed_gives_the_same_market_and_another_seed_another() -> None:
    assert _steps(_feed(5), 80) == _steps(_feed(5), 80)
    assert _steps(_feed(5), 80) != _steps(_feed(6), 80)


def test_a_coin_moves_alike_whichever_others_are_listed() -> None:
    def of_eth(feed: SyntheticFeed) -> list[int | None]:
        return [update.last for step in _steps(feed, 40) for update in step.updates if update.coin == "ETH"]

    assert of_eth(_feed(3)) == of_eth(_feed(3, symbols=("ETH", "kPEPE")))


def test_there_is_history_to_warm_up_with_before_the_first_step() -> None:
    feed: Feed = _feed(2, prehistory_bars=300)
    bars = feed.history("SOL", "1s", feed.start_ms, 1_000)
    assert len(bars) == 300
    assert bars[-1].close_ms == feed.start_ms - 1
    assert all(a.close_ms + 1 == b.open_ms for a, b in pairwise(bars))
    assert feed.history("SOL", "1s", feed.start_ms, 7) == bars[-7:]
    assert feed.history("SOL", "1s", feed.start_ms - 1, 1_000) == bars[:-1]
    assert [bar.interval for bar in feed.history("SOL", "1m", feed.start_ms, 3)] == ["1m"] * 3


def test_a_bar_holds_exactly_the_trades_printed_in_it() -> None:
    feed = _feed(4, symbols=("BTC",), prehistory_bars=3)
    steps = _steps(feed, 9)
    bar = steps[4].bars[0]
    prints = [row for step in steps[:4] for row in step.updates[0].trades]
    assert (bar.open, bar.close) == (prints[0].price, prints[-1].price)
    assert (bar.high, bar.low) == (max(row.price for row in prints), min(row.price for row in prints))
    assert (bar.volume, bar.trades) == (sum(row.size for row in prints), len(prints))
    assert feed.history("BTC", "1s", steps[4].time_ms, 1) == [bar]


def test_bars_move_as_one_minute_bars_of_the_real_coins_do() -> None:
    btc, eth, pepe = [], [], []
    for seed in range(12):
        feed = _feed(seed, symbols=("BTC", "ETH", "kPEPE"), prehistory_bars=1_500)
        for coin, moves in (("BTC", btc), ("ETH", eth), ("kPEPE", pepe)):
            bars = feed.history(coin, "1s", feed.start_ms, 1_500)
            moves += [math.log(b.close / a.close) for a, b in pairwise(bars)]
    sigma = {name: statistics.pstdev(moves) * 1e4 for name, moves in (("BTC", btc), ("ETH", eth), ("kPEPE", pepe))}
    # Yearly 50 %, 70 % and 110 % are 6.9, 9.7 and 15.2 basis points a minute.
    assert 4.5 < sigma["BTC"] < 10.5
    assert sigma["BTC"] < sigma["ETH"] < sigma["kPEPE"] < 24
    assert statistics.correlation(btc, eth) > 0.4
    tail = sum(abs(move) > 4 * sigma["BTC"] / 1e4 for move in btc) / len(btc)
    assert tail > 3 * math.erfc(4 / math.sqrt(2))


def test_spread_widens_and_depth_thins_when_the_market_storms() -> None:
    feed = _feed(11, symbols=("BTC",), prehistory_bars=0)
    calm: list[tuple[float, int]] = []
    wild: list[tuple[float, int]] = []
    closes: list[int] = []
    for step in islice(feed.steps(flat), 12_000):
        update = step.updates[0]
        assert update.bids
        assert update.asks
        closes.append(update.bids[0].price)
        if len(closes) < 40:
            continue
        moved = statistics.pstdev([math.log(b / a) for a, b in zip(closes[-40:], closes[-39:], strict=False)])
        spread = (update.asks[0].price - update.bids[0].price) / update.bids[0].price
        (wild if moved > 6e-4 else calm if moved < 2e-4 else []).append((spread, sum(x.size for x in update.asks)))
    assert len(wild) > 50 < len(calm)
    assert statistics.fmean(row[0] for row in wild) > 1.5 * statistics.fmean(row[0] for row in calm)
    assert statistics.fmean(row[1] for row in wild) < 0.6 * statistics.fmean(row[1] for row in calm)


def test_mark_oracle_book_and_last_are_four_series() -> None:
    different = total = 0
    for step in _steps(_feed(8), 200):
        for update in step.updates:
            assert update.bids
            assert update.asks
            four = {(update.bids[0].price + update.asks[0].price) / 2, update.last, update.mark, update.oracle}
            different += len(four) == 4
            total += 1
    assert different > 0.5 * total


def test_a_day_of_volume_is_that_of_a_market_day() -> None:
    feed = _feed(1, prehistory_bars=1_440)
    bars = feed.history("BTC", "1s", feed.start_ms, 1_440)
    assert feed.day_volume("BTC", feed.start_ms) == sum(bar.volume for bar in bars)
    short = _feed(1, prehistory_bars=144)
    assert 0.2 < short.day_volume("BTC", short.start_ms) / feed.day_volume("BTC", feed.start_ms) < 5


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"symbols": ("BTC", "NOPE")}, "choose from BTC, ETH"),
        ({"symbols": ()}, "choose from BTC, ETH"),
        ({"bar_ms": 777}, "bars of 777 ms are not offered; allowed are 250ms"),
        ({"speed": 0.0}, "speed 0.0 .* above 0"),
        ({"speed": math.inf}, "speed inf"),
        ({"prehistory_bars": -1}, "prehistory of -1 bars"),
    ],
)
def test_a_market_that_cannot_be_made_is_refused_in_a_sentence(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(FeedError, match=sentence):
        _feed(1, **settings)


def test_a_synthetic_feed_runs_once() -> None:
    feed = _feed(1, prehistory_bars=0)
    feed.steps(flat)
    with pytest.raises(FeedError, match="runs once"):
        feed.steps(flat)


def test_a_market_that_was_off_goes_on_where_it_stood() -> None:
    stood = {"BTC": 61_234.5, "SOL": 182.21, "kPEPE": 0.0123}
    feed = SyntheticFeed(1, 1_700_000_000_000, last_prices=stood)
    for coin, price in stood.items():
        asset = next(asset for asset in feed.assets if asset.coin == coin)
        last = feed.history(coin, "1s", 1_700_000_000_000, 1)[0].close / 10**asset.price_decimals
        assert abs(last / price - 1) < 0.003
