"""One coin of the synthetic market: its price, its book, its trades, and the four series that come of them."""

from __future__ import annotations

import math
from collections import deque
from random import Random
from typing import Final

import msgspec

from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.market import BarClose, Level, MarketUpdate, TradePrint
from perpstrader.paper.feeds.bars import BarBuilder
from perpstrader.paper.feeds.facts import asset_for
from perpstrader.paper.feeds.ladder import Ticks, ladder
from perpstrader.paper.feeds.mark import MarkModel
from perpstrader.paper.feeds.regimes import RegimeWalk

BOOK_LEVELS: Final = 10
HISTORY_BARS: Final = 5_000
ORACLE_SECONDS: Final = 3.0
_MINUTES_OF_YEAR: Final = 525_600.0
_COIN_JUMPS_PER_MINUTE: Final = 1 / 1_440
_VOLATILITY_MEMORY_MINUTES: Final = 10.0
_HOME_PULL_PER_MINUTE: Final = 1 / (30 * 1_440)
_BASIS_SIGMA: Final = 0.0003
_BASIS_MEMORY_MINUTES: Final = 60.0


class CoinStyle(msgspec.Struct, frozen=True):
    """How a coin trades: yearly volatility and spread as fractions, USD at the touch and USD traded a minute."""

    price: float
    volatility: float
    beta: float
    spread: float
    touch_usd: float
    minute_usd: float


MARKET_VOLATILITY: Final = 0.45
STYLES: Final = {
    "BTC": CoinStyle(98_000.0, 0.50, 1.00, 0.00002, 250_000, 2_500_000),
    "ETH": CoinStyle(3_400.0, 0.70, 1.25, 0.00004, 150_000, 1_000_000),
    "SOL": CoinStyle(185.0, 0.85, 1.40, 0.00008, 80_000, 300_000),
    "BNB": CoinStyle(690.0, 0.55, 0.85, 0.00015, 30_000, 40_000),
    "XRP": CoinStyle(2.40, 0.80, 1.20, 0.00012, 40_000, 90_000),
    "DOGE": CoinStyle(0.21, 0.95, 1.50, 0.00012, 30_000, 60_000),
    "AVAX": CoinStyle(31.0, 0.90, 1.40, 0.00025, 15_000, 15_000),
    "kPEPE": CoinStyle(0.0125, 1.10, 1.60, 0.00025, 15_000, 20_000),
}


def sigma_minute(volatility: float) -> float:
    """The standard deviation of a one-minute log return for a yearly volatility (markets without closing hours)."""
    return volatility / math.sqrt(_MINUTES_OF_YEAR)


class SyntheticCoin:
    """The state of one coin: ``move`` advances it, ``update`` shows it; all chance comes from its own generator."""

    def __init__(self, coin: str, index: int, interval: str, rng: Random, price: float | None = None) -> None:
        self.style = STYLES[coin]
        self.asset: EngineAsset = asset_for(coin, index, self.style.price)
        self.builder = BarBuilder(coin, interval)
        self.history: deque[BarClose] = deque(maxlen=HISTORY_BARS)
        self._rng = rng
        self._ticks = Ticks(self.asset)
        self._unit = 10**self.asset.price_decimals
        self._home = math.log(self.style.price * self._unit)
        self._log = self._home + rng.gauss(0.0, 0.02) if price is None else math.log(price * self._unit)
        own = math.sqrt(self.style.volatility**2 - (self.style.beta * MARKET_VOLATILITY) ** 2)
        self._walk = RegimeWalk(rng, sigma_minute(own), _COIN_JUMPS_PER_MINUTE)
        self._sigma = sigma_minute(self.style.volatility)
        self._variance = 1.0
        self._lean = self._basis = self._other = 0.0
        self._oracle_age = math.inf
        self._oracle = self._mark = 0
        self._marks = MarkModel()
        self._bid = self._ask = self._last = 0
        self._trades: tuple[TradePrint, ...] = ()

    def move(self, market_return: float, minutes: float) -> None:
        """Let ``minutes`` of market time pass, in which the whole market moved by ``market_return`` (log)."""
        change = self.style.beta * market_return + self._walk.step(minutes)
        change += (self._home - self._log) * _HOME_PULL_PER_MINUTE * minutes
        self._log += change
        forget = -math.expm1(-minutes / _VOLATILITY_MEMORY_MINUTES)
        self._variance += (change * change / (self._sigma * self._sigma * minutes) - self._variance) * forget
        price = math.exp(self._log)
        self._quote(price)
        self._trade(change, minutes)
        self._reference(price, minutes)

    @property
    def price(self) -> float:
        """The middle of the market, in USD."""
        return math.exp(self._log) / float(self._unit)

    @property
    def stress(self) -> float:
        """Recent volatility over the usual one, within 0.4 and 8: spread grows with it, depth shrinks."""
        return min(max(math.sqrt(self._variance), 0.4), 8.0)

    def update(self, time_ms: int) -> MarketUpdate:
        """The coin as it stands; each move is a jump, for which a trigger gets no better price than the book's."""
        return MarketUpdate(
            coin=self.asset.coin, time_ms=time_ms, bids=self._side(self._bid, rising=False),
            asks=self._side(self._ask, rising=True), last=self._last, mark=self._mark, oracle=self._oracle,
            trades=self._trades,
        )  # fmt: skip

    def close_bar(self, open_ms: int) -> BarClose | None:
        """End the bar that began at ``open_ms`` and keep it in the history."""
        bar = self.builder.close(open_ms)
        if bar is not None:
            self.history.append(bar)
        return bar

    def _quote(self, price: float) -> None:
        """Set the touch: a spread that widens with stress, leaning a little to one side for a while."""
        self._lean = 0.9 * self._lean + self._rng.gauss(0.0, 0.1)
        spread = price * self.style.spread * (0.4 + 0.6 * self.stress)
        centre = price + min(max(self._lean, -0.5), 0.5) * spread
        self._bid = self._ticks.down(math.floor(centre - spread / 2))
        self._ask = self._ticks.up(max(math.ceil(centre + spread / 2), self._bid + 1))

    def _side(self, best: int, *, rising: bool) -> tuple[Level, ...]:
        rng, tick = self._rng, self._ticks.at(best)
        step = max(tick, (self._ask - self._bid) // 2 // tick * tick)
        lots = self.style.touch_usd / self.stress * self._unit / best * 10**self.asset.size_decimals
        sizes = [int(lots * (1.0 + 0.35 * n) * (0.3 + 1.4 * rng.random())) + 1 for n in range(BOOK_LEVELS)]
        return ladder(self._ticks, best, step, sizes, rising=rising)

    def _trade(self, change: float, minutes: float) -> None:
        """Trades at the touch: more in stress, mostly on the side that the price went to."""
        rng = self._rng
        buys = 0.5 + max(-0.35, min(0.35, 0.2 * change / (self._sigma * math.sqrt(minutes))))
        usd = self.style.minute_usd * minutes * self.stress
        count = min(1 + int(rng.expovariate(1.0)), 5)
        trades: list[TradePrint] = []
        for _ in range(count):
            buy = rng.random() < buys
            price = self._ask if buy else self._bid
            lots = usd / count * rng.expovariate(1.0) * self._unit / price * 10**self.asset.size_decimals
            trades.append(TradePrint(price, int(lots) + 1, buy))
            self.builder.add(price, trades[-1].size)
        self._trades = tuple(trades)
        self._last = trades[-1].price

    def _reference(self, price: float, minutes: float) -> None:
        """Oracle (the spot price, every 3 s) and mark (the venue's median); both stand still in between."""
        rng, seconds = self._rng, minutes * 60.0
        keep = math.exp(-minutes / _BASIS_MEMORY_MINUTES)
        self._basis = self._basis * keep + rng.gauss(0.0, _BASIS_SIGMA * math.sqrt(1.0 - keep * keep))
        self._other = 0.8 * self._other + rng.gauss(0.0, 0.00002)
        self._oracle_age += seconds
        if self._oracle_age < ORACLE_SECONDS:
            return
        elapsed, self._oracle_age = min(self._oracle_age, 3_600.0), 0.0
        self._oracle = self._ticks.near(price * (1.0 + self._basis))
        mark = self._marks.update(elapsed, self._bid, self._ask, self._last, self._oracle, price * (1.0 + self._other))
        self._mark = self._ticks.near(mark)
