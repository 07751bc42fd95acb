"""Made-up candles for the tests of the feeds, and checks that hold for every step of every feed."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise

from hypothesis import strategies as st

from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.market import MarketUpdate
from perpstrader.paper.feeds import CandleSeries, FeedStep
from perpstrader.paper.feeds.facts import asset_for
from perpstrader.paper.feeds.ladder import Ticks

MINUTE = 60_000
T0 = 1_700_000_040_000


def series(
    rows: Iterable[tuple[int, int, int, int, int]],
    *,
    coin: str = "BTC",
    index: int = 0,
    times: list[int] | None = None,
    funding: dict[int, Decimal] | None = None,
    interval: str = "1m",
) -> CandleSeries:
    """Candles from rows of (open, high, low, close, volume) in price units and lots, one minute apart unless told."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    return CandleSeries(
        asset=asset_for(coin, index, 100.0), interval=interval,
        times=times or [T0 + MINUTE * n for n in range(len(columns[0]))],
        opens=columns[0], highs=columns[1], lows=columns[2], closes=columns[3], volumes=columns[4], funding=funding,
    )  # fmt: skip


@st.composite
def candle_rows(draw: st.DrawFn, coin: str = "BTC", max_size: int = 12) -> list[tuple[int, int, int, int, int]]:
    """Sound rows of candles on valid ticks, from tiny prices to large ones, some without volume."""
    ticks = Ticks(asset_for(coin, 0, 100.0))
    scale = draw(st.sampled_from([10**3, 10**5, 99_990, 10**6, 9_999_900]))
    rows = []
    for _ in range(draw(st.integers(1, max_size))):
        moves = draw(st.lists(st.integers(-40, 40), min_size=4, max_size=4))
        prices = sorted(ticks.near(scale * (1_000 + move) / 1_000) for move in moves)
        first, last = draw(st.permutations(prices[1:3]))
        rows.append((first, prices[3], prices[0], last, draw(st.sampled_from([0, 1, 79, 80, 1_000, 10**7]))))
    return rows


def check_update(update: MarketUpdate, asset: EngineAsset) -> None:
    """Every price is one that the venue could quote, the book is in order and not crossed, sizes are positive."""
    bids, asks = update.bids or (), update.asks or ()
    for price in [*(level.price for level in (*bids, *asks)), *(row.price for row in update.trades)]:
        assert asset.is_valid_price(price), (update.coin, price)
    for price in (update.last, update.mark, update.oracle):
        assert price is None or asset.is_valid_price(price), (update.coin, price)
    assert all(level.size > 0 for level in (*bids, *asks))
    assert all(a.price > b.price for a, b in pairwise(bids))
    assert all(a.price < b.price for a, b in pairwise(asks))
    if bids and asks:
        assert bids[0].price < asks[0].price


def check_steps(steps: list[FeedStep], assets: tuple[EngineAsset, ...]) -> None:
    """Steps rise strictly in time, updates carry it, a bar ends right before the step that publishes it."""
    by_coin = {asset.coin: asset for asset in assets}
    assert all(a.time_ms < b.time_ms for a, b in pairwise(steps))
    for step in steps:
        for update in step.updates:
            assert update.time_ms == step.time_ms
            check_update(update, by_coin[update.coin])
        for bar in step.bars:
            assert bar.close_ms == step.time_ms - 1
            assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high


def flat(_coin: str) -> int:
    """Nobody holds anything."""
    return 0
