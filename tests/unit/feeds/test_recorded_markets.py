"""The recorded folders, read whole: counts, gaps, halts, valid prices, and the same run whatever the hash seed."""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from tests.unit.feeds.market_making import check_steps, check_update, flat

from perpstrader.paper.feeds import CandleFeed, Feed, FeedError, FeedStep, SyntheticFeed, load_candles, open_replay
from perpstrader.paper.feeds.candles import find_candles

HL = "hl_candles_2025_BTC_ETH_SOL"
BOOK = "hl_book_bbo_trades_2025-09-03_BTC_ETH"
BBO = "hl_bbo_trades_2025-09-01_06_BTC"

# The README counts 38,531 five-minute bars; the file of SOL begins two bars after the others and so holds two less.
ROWS = {
    (HL, "5m"): {"BTC": 38_531, "ETH": 38_531, "SOL": 38_529},
    (HL, "1m"): {"BTC": 6_808, "ETH": 6_806, "SOL": 7_056},
    (HL, "15m"): {"BTC": 16_176, "ETH": 16_176, "SOL": 16_175},
    (HL, "1h"): {"BTC": 7_793, "ETH": 7_793, "SOL": 7_793},
    ("binance_usdm_5m_2023-01_2024-05", "5m"): {"BTC": 143_900, "ETH": 143_901},
    ("binance_usdm_5m_2025Q1_feb3_crash", "5m"): {"BTC": 25_920, "ETH": 25_920},
    ("perp_1m_2022-01_BTC", "1m"): {"BTC": 45_031},
}


@pytest.fixture(autouse=True)
def _needs_pyarrow() -> None:
    pytest.importorskip("pyarrow", reason="recorded candles need pyarrow: pip install 'perpstrader[replay]'")


@pytest.mark.parametrize(("folder", "interval"), ROWS)
def test_every_recorded_candle_is_read(test_data: Path, folder: str, interval: str) -> None:
    series = load_candles(test_data / folder, interval)
    assert {one.asset.coin: len(one.times) for one in series} == ROWS[folder, interval]
    for one in series:
        assert all(one.asset.is_valid_price(price) for price in {*one.opens, *one.highs, *one.lows, *one.closes})
        assert (one.funding is not None) == (folder == HL)


def test_the_folder_of_candles_is_known_by_its_names(test_data: Path) -> None:
    found = find_candles(test_data / HL)
    assert sorted(found) == ["15m", "1h", "1m", "5m"]
    assert all(sorted(coins) == ["BTC", "ETH", "SOL"] for coins in found.values())


def test_the_hyperliquid_prices_of_2025_arrive_unrounded(test_data: Path) -> None:
    from pyarrow import feather

    for one in load_candles(test_data / HL, "5m"):
        file = test_data / HL / f"{one.asset.coin}_USDC_USDC-5m-futures.feather"
        scale = 10**one.asset.price_decimals
        assert [price / scale for price in one.closes] == feather.read_table(file).column("close").to_pylist()


def test_the_whole_five_minute_recording_is_replayed_once(test_data: Path) -> None:
    feed = open_replay(test_data / HL, "5m")
    bars: Counter[str] = Counter()
    funded: Counter[str] = Counter()
    before = 0
    for step in feed.steps(flat, lambda: True):
        assert before < step.time_ms
        before = step.time_ms
        bars.update(bar.coin for bar in step.bars)
        funded.update(coin for coin, _ in step.funding)
    assert bars == ROWS[HL, "5m"]
    assert before == feed.end_ms
    report = feed.report()
    assert (report.grade, report.bars, report.halted_bars, report.gaps) == ("candle", 115_591, 42, 0)
    hours = (feed.end_ms or 0) // 3_600_000 - feed.start_ms // 3_600_000
    assert set(funded.values()) == {hours}


def test_recorded_funding_reaches_the_hour_it_was_charged_for(test_data: Path) -> None:
    (series,) = load_candles(test_data / HL, "1h", symbols=("BTC",))
    assert series.funding is not None
    feed = CandleFeed([series])
    rates = {step.time_ms: step.funding[0][1] for step in feed.steps(flat, lambda: True) if step.funding}
    recorded = {hour: rate for hour, rate in series.funding.items() if hour in rates}
    assert len(recorded) > 0.99 * len(rates)
    assert all(rates[hour] == rate for hour, rate in recorded.items())


def test_a_sample_of_the_full_walk_is_a_valid_market(test_data: Path) -> None:
    for folder, interval in ((HL, "1m"), ("binance_usdm_5m_2025Q1_feb3_crash", "5m")):
        feed = open_replay(test_data / folder, interval, seed=3)
        by_coin = {asset.coin: asset for asset in feed.assets}
        for number, step in enumerate(feed.steps(lambda coin: {"BTC": 1, "ETH": -1}.get(coin, 0))):
            if number > 12_000:
                break
            for update in step.updates:
                check_update(update, by_coin[update.coin])


@pytest.mark.parametrize(
    ("folder", "interval", "grade"), [(BOOK, "1s", "book"), (BOOK, "15s", "book"), (BBO, "1m", "bbo")]
)
def test_a_live_recording_survives_its_gaps_and_shows_nothing_in_them(
    test_data: Path, folder: str, interval: str, grade: str
) -> None:
    feed = open_replay(test_data / folder, interval, seed=1)
    assert feed.grade == grade
    steps = list(feed.steps(flat))
    check_steps(steps, feed.assets)
    halted_at: dict[str, int] = {}
    gaps: dict[str, list[int]] = {}
    for step in steps:
        for update in step.updates:
            since = halted_at.pop(update.coin, None)
            if update.halted:
                assert update.bids is update.asks is update.mark is None
                assert not update.trades
                halted_at[update.coin] = step.time_ms
            elif since is not None:
                assert update.bids
                assert update.asks
                gaps.setdefault(update.coin, []).append(step.time_ms - since)
    expected = {BOOK: {"BTC": 2, "ETH": 2}, BBO: {"BTC": 6}}[folder]
    assert {coin: len(lengths) for coin, lengths in gaps.items()} == expected
    assert all(length > 29_000 for lengths in gaps.values() for length in lengths)
    assert max(gaps["BTC"]) > 249_000
    assert feed.report().gaps == sum(expected.values())


def test_the_recorded_book_is_shown_as_it_was(test_data: Path) -> None:
    feed = open_replay(test_data / BOOK, "15s")
    first = next(iter(feed.steps(flat)))
    btc = next(update for update in first.updates if update.coin == "BTC")
    assert btc.bids
    assert btc.asks
    assert (len(btc.bids), len(btc.asks)) == (20, 20)
    assert (btc.bids[0].price, btc.bids[0].size, btc.asks[0].price, btc.asks[0].size) == (1110380, 884885, 1110390, 360)


def test_each_trade_counts_once_and_only_while_the_book_was_recorded(test_data: Path) -> None:
    with gzip.open(test_data / BBO / "trades_BTC.csv.gz", "rt") as file:
        trades = {row["trade_id"]: int(row["exchange_timestamp"]) for row in csv.DictReader(file)}
    with gzip.open(test_data / BBO / "prices_BTC.csv.gz", "rt") as file:
        quoted = [int(row["exchange_timestamp"]) for row in csv.DictReader(file)]
    gaps = [(a, b) for a, b in pairwise(quoted) if b - a > 30_000]
    seen = [
        time for time in trades.values() if quoted[0] <= time <= quoted[-1] and not any(a < time < b for a, b in gaps)
    ]
    steps = open_replay(test_data / BBO, "1m").steps(flat)
    printed = sum(len(update.trades) for step in steps for update in step.updates)
    # Ten rows repeat an earlier trade; in some sessions the trades went on after the quotes had ended.
    assert (len(trades), printed) == (12_251, 10_171)
    assert printed == len(seen)


def test_bars_of_a_recording_add_up_to_its_trades(test_data: Path) -> None:
    feed = open_replay(test_data / BOOK, "1s")
    volumes: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    begin: dict[str, int] = {}
    end: dict[str, int] = {}
    for step in feed.steps(flat):
        for bar in step.bars:
            volumes[bar.coin] += bar.volume
            begin.setdefault(bar.coin, bar.open_ms)
            end[bar.coin] = bar.close_ms
    for step in feed.steps(flat):
        for update in step.updates:
            if begin[update.coin] <= step.time_ms <= end[update.coin]:
                inside[update.coin] += sum(row.size for row in update.trades)
    assert volumes == inside


def test_history_of_a_recording_ends_before_the_moment_asked_for(test_data: Path) -> None:
    feed = open_replay(test_data / BOOK, "15s")
    published: list[int] = []
    for step in feed.steps(flat):
        published += [bar.open_ms for bar in step.bars if bar.coin == "BTC"]
        assert [bar.open_ms for bar in feed.history("BTC", "15s", step.time_ms, 1_000)] == published


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("prices_BTC.csv", "price,size,side,exchange_timestamp\n1.0,1.0,middle,1756904112212\n", "side 'middle'"),
        ("prices_BTC.csv", "price,size,side,exchange_timestamp\n-1.0,1.0,bid,1756904112212\n", "row 1 has price -1.0"),
        (
            "prices_BTC.csv",
            "price,size,side,exchange_timestamp\n1.0,1.0,bid,1756904112212\n1.0,1.0,ask,1756904112000\n",
            "row 1 .* is later than the next",
        ),
        (
            "prices_BTC.csv",
            "price,size,side,exchange_timestamp\n2.0,1.0,bid,1756904112212\n",
            "no instant at which both",
        ),
        ("trades_BTC.csv", "price,size,side,trade_id,exchange_timestamp\n1.0,1.0,up,7,1756904112212\n", "side 'up'"),
    ],
)
def test_a_malformed_recording_is_refused_in_a_sentence(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    good = {
        "prices_BTC.csv": "price,size,side,exchange_timestamp\n1.0,1.0,bid,1756904112212\n2.0,1.0,ask,1756904112212\n",
        "trades_BTC.csv": "price,size,side,trade_id,exchange_timestamp\n1.0,1.0,buy,7,1756904112212\n",
    }
    for file, content in {**good, name: text}.items():
        (tmp_path / file).write_text(content)
    with pytest.raises(FeedError, match=sentence) as caught:
        open_replay(tmp_path, "1s")
    assert "\n" not in str(caught.value)


def test_a_recording_without_trades_or_prices_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prices_BTC.csv").write_text("price,size,side,exchange_timestamp\n")
    with pytest.raises(FeedError, match=r"needs trades_BTC\.csv and a prices or orderbooks file"):
        open_replay(tmp_path, "1s")


def fingerprint(steps: Iterator[FeedStep], count: int) -> str:
    """The hash of the first ``count`` steps."""
    digest = hashlib.sha256()
    for _, step in zip(range(count), steps, strict=False):
        digest.update(msgspec.json.encode(step))
    return digest.hexdigest()


def all_fingerprints(data: Path) -> list[str]:
    """One hash for each kind of feed."""
    feeds: list[Feed] = [SyntheticFeed(7, 1_700_000_000_000), open_replay(data / HL, "1m", seed=7)]
    feeds += [open_replay(data / BOOK, "15s", seed=7), open_replay(data / BBO, "1m", seed=7)]
    return [fingerprint(feed.steps(flat), 2_000) for feed in feeds]


def test_a_run_does_not_depend_on_the_hash_seed(test_data: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.unit.feeds.test_recorded_markets import all_fingerprints;"
        "print(*all_fingerprints(Path(sys.argv[1])))"
    )
    root = Path(__file__).resolve().parents[3]
    answers = set()
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        run = subprocess.run(
            [sys.executable, "-c", program, str(test_data)],
            cwd=root, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        answers.add(run.stdout)
    assert len(answers) == 1
    assert len(answers.pop().split()) == 4


def test_another_seed_walks_another_path(test_data: Path) -> None:
    one, other = (open_replay(test_data / HL, "1m", seed=seed) for seed in (1, 2))
    assert fingerprint(one.steps(flat), 500) != fingerprint(other.steps(flat), 500)
