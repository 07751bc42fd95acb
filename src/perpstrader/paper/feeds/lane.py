"""One coin of a candle replay: from a recorded bar to book, last, mark and oracle at a point of its path."""

from __future__ import annotations

from random import Random
from typing import Final

from perpstrader.paper.engine.market import MarketUpdate
from perpstrader.paper.feeds.bars import HOUR_MS, scaled_to_day
from perpstrader.paper.feeds.candles import CandleSeries
from perpstrader.paper.feeds.ladder import Ticks, ladder

POINTS_OF_BAR: Final = 4
LEVEL_WEIGHTS: Final = (1, 2, 3, 4, 5)
_WEIGHT_SUM: Final = sum(LEVEL_WEIGHTS)
_LIQUIDITY_DIVISOR: Final = 10
_SPREAD_DIVISOR: Final = 10_000
_PREMIUM_UNITS: Final = 10**10
_FUNDING_BASE: Final = 10**6
_FUNDING_CLAMP: Final = 5 * 10**6
_FUNDING_CAP: Final = 4 * 10**8

# Fractions of the price: how far mark (perpetuals elsewhere) and oracle (spot) stray from this market, and how slowly.
_MARK_NOISE: Final = 0.00015
_MARK_MEMORY: Final = 0.9
_SPOT_NOISE: Final = 0.0003
_SPOT_MEMORY: Final = 0.99
# Mark and oracle lag the path by these shares of its distance from an average of the closes before the bar; a bar that
# is longer than five minutes gives them more time to follow, and the shares shrink with it.
_LAG_BAR_MS: Final = 300_000
_MARK_LAG: Final = 1 / 16
_MARK_AVERAGE: Final = 1 / 4
_ORACLE_LAG: Final = 1 / 8
_ORACLE_AVERAGE: Final = 1 / 12


class Lane:
    """The market of one coin while its candles are replayed: every value follows from the bar, the point and the seed.

    *Book*: spread of max(1 tick, 1 bp) with the path price inside it at a place drawn per bar, five levels a side,
    one spread apart. *Liquidity*: a tenth of the bar's volume over the whole bar: each of the four points offers a
    quarter of it, half a side, growing away from the middle as 1:2:3:4:5. What a point did not sell is gone, and a
    bar without volume has an empty book. The depth of a bar thus tells its volume before it has happened: it is there
    to bound fills, not to trade on. *Mark*: the path, lagging a little behind it in fast moves, plus a seeded basis;
    *oracle*: slower, with a basis of its own. Their averages know only closes before the bar.
    """

    __slots__ = (
        "_basis", "_follow", "_lean", "_mark_average", "_oracle_average", "_spot", "_ticks", "_turns_low",
        "_volume_sums", "coin", "series",
    )  # fmt: skip

    def __init__(self, series: CandleSeries, seed: int) -> None:
        self.series = series
        self.coin = series.asset.coin
        self._ticks = Ticks(series.asset)
        # A stream of chance for each use: a longer recording then begins as its shorter version does.
        turns, lean, basis, spot = (Random(f"{seed}:{self.coin}:{use}") for use in ("turns", "lean", "basis", "spot"))
        count = len(series.times)
        self._turns_low = [turns.random() < 0.5 for _ in range(count)]
        self._lean = [lean.random() for _ in range(count)]
        self._basis = _noise(basis, count, _MARK_NOISE, _MARK_MEMORY)
        self._spot = _noise(spot, count, _SPOT_NOISE, _SPOT_MEMORY)
        self._mark_average = _averages(series, _MARK_AVERAGE)
        self._oracle_average = _averages(series, _ORACLE_AVERAGE)
        self._follow = min(1.0, _LAG_BAR_MS / series.interval_ms)
        self._volume_sums = [0]
        for volume in series.volumes:
            self._volume_sums.append(self._volume_sums[-1] + volume)

    def update(self, index: int, price: int, time_ms: int, *, continuous: bool) -> MarketUpdate:
        """The market when the path of bar ``index`` is at ``price``."""
        ticks = self._ticks
        tick = ticks.at(price)
        spread = max(-(-price // (_SPREAD_DIVISOR * tick)), 1) * tick
        below = int(spread * self._lean[index])
        bid = ticks.down(price - below)
        sizes = self._sizes(self.series.volumes[index])
        return MarketUpdate(
            coin=self.coin, time_ms=time_ms, bids=ladder(ticks, bid, spread, sizes, rising=False),
            asks=ladder(ticks, ticks.up(bid + spread), spread, sizes, rising=True), last=price,
            mark=self._mark(index, price),
            oracle=self._oracle(index, price), continuous=continuous,
        )  # fmt: skip

    def low_first(self, index: int, position_sign: int) -> bool:
        """Whether the path goes to the low first: against a long; against a short it does not; else as drawn."""
        return self._turns_low[index] if position_sign == 0 else position_sign > 0

    def day_volume(self, before_ms: int, day_ms: int) -> int:
        """Lots of the bars that closed in the day before ``before_ms``, scaled up when less than a day is recorded."""
        end = self.series.closed_before(before_ms)
        begin = self.series.closed_before(before_ms - day_ms)
        covered = (end - begin) * self.series.interval_ms
        return scaled_to_day(self._volume_sums[end] - self._volume_sums[begin], covered)

    def premium_rate(self, hour_ms: int) -> int:
        """The hourly funding rate in 1e-10 from the premiums at the opens of the hour's bars (API sheet 7.4).

        Where a bar is longer than the hour, the last open before its end stands for it.
        """
        times = self.series.times
        end = self.series.closed_before(hour_ms + self.series.interval_ms - 1)
        begin = end - 1
        while begin > 0 and times[begin - 1] >= hour_ms - HOUR_MS:
            begin -= 1
        if begin < 0:
            return 0
        premiums = [self._premium(index) for index in range(begin, end)]
        average = sum(premiums) // len(premiums)
        eight_hours = average + min(max(_FUNDING_BASE - average, -_FUNDING_CLAMP), _FUNDING_CLAMP)
        return min(max(eight_hours // 8, -_FUNDING_CAP), _FUNDING_CAP)

    def _premium(self, index: int) -> int:
        price = self.series.opens[index]
        oracle = self._oracle(index, price)
        half = max(price // (2 * _SPREAD_DIVISOR), 1)
        return (max(price - half - oracle, 0) - max(oracle - price - half, 0)) * _PREMIUM_UNITS // oracle

    def _mark(self, index: int, price: int) -> int:
        lagging = price + (self._mark_average[index] - price) * _MARK_LAG * self._follow
        return self._ticks.near(lagging + price * self._basis[index])

    def _oracle(self, index: int, price: int) -> int:
        lagging = price + (self._oracle_average[index] - price) * _ORACLE_LAG * self._follow
        return self._ticks.near(lagging + price * self._spot[index])

    @staticmethod
    def _sizes(volume: int) -> list[int]:
        share = volume // (_LIQUIDITY_DIVISOR * POINTS_OF_BAR * 2)
        sizes = [share * weight // _WEIGHT_SUM for weight in LEVEL_WEIGHTS]
        sizes[0] += share - sum(sizes)
        return sizes


def _noise(rng: Random, count: int, sigma: float, memory: float) -> list[float]:
    """A stationary series of ``count`` values with this standard deviation, each remembering the one before."""
    fresh = sigma * (1.0 - memory * memory) ** 0.5
    value = rng.gauss(0.0, sigma)
    values = []
    for _ in range(count):
        values.append(value)
        value = memory * value + rng.gauss(0.0, fresh)
    return values


def _averages(series: CandleSeries, weight: float) -> list[float]:
    """For each bar the exponential average of the closes before it, beginning with the first open."""
    average = float(series.opens[0])
    averages = []
    for close in series.closes:
        averages.append(average)
        average += (close - average) * weight
    return averages
