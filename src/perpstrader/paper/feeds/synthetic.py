"""A made-up market without end: coins that trend, range, storm and jump, the same for the same seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Final

from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.market import BarClose
from perpstrader.paper.feeds.bars import DAY_MS, bars_needed, interval_name, joined, scaled_to_day
from perpstrader.paper.feeds.contract import FeedError, FeedReport, FeedStep, Grade, never_quiet
from perpstrader.paper.feeds.regimes import RegimeWalk
from perpstrader.paper.feeds.synthetic_coin import MARKET_VOLATILITY, STYLES, SyntheticCoin, sigma_minute

SYMBOLS: Final = tuple(STYLES)
INSTANTS_PER_BAR: Final = 4
MARKET_JUMPS_PER_MINUTE: Final = 1 / 2_880


class SyntheticFeed:
    """An endless market that follows from its seed and settings alone; nothing in it is tuned for any strategy.

    Volatility, correlation, spread, depth and volume are set to those of the real coins, in market time. ``speed`` is
    how much market time passes in a second of venue time: by default 60, so that a 1 s bar moves as a 1-minute bar of
    the real coin does (about 0.07 % for BTC). It compresses the market's statistics in time; funding and all clocks
    of the venue stay as they are, and per second of venue time such a market is far more volatile than a real one.
    ``speed=1`` gives real statistics, where 1 s bars hardly move. The market is shown four times a bar, each time as
    a jump.

    ``start_ms`` is rounded up to the next bar; ``prehistory_bars`` bars before it are in ``history`` from the
    beginning. ``last_prices`` (USD by symbol) lets the prehistory end there, so that a market that was off goes on
    where it stood. A feed runs once. Raises ``FeedError`` for unknown symbols, a bar length without a name, or a
    speed that is not positive.
    """

    grade: Grade = "synthetic"
    end_ms: int | None = None

    def __init__(
        self,
        seed: int,
        start_ms: int,
        *,
        symbols: Sequence[str] = SYMBOLS,
        bar_ms: int = 1_000,
        speed: float = 60.0,
        prehistory_bars: int = 300,
        last_prices: Mapping[str, float] | None = None,
    ) -> None:
        self.interval = interval_name(bar_ms)
        unknown = [symbol for symbol in symbols if symbol not in STYLES]
        if unknown or not symbols or len(set(symbols)) < len(symbols):
            offered = ", ".join(SYMBOLS)
            raise FeedError(
                f"the synthetic market cannot have symbols {list(symbols)}; choose from {offered}, each once"
            )
        if not (math.isfinite(speed) and speed > 0):
            raise FeedError(f"speed {speed} of the synthetic market must be finite and above 0 (60: a minute a second)")
        if prehistory_bars < 0:
            raise FeedError(f"prehistory of {prehistory_bars} bars is not possible; give 0 or more")
        self.start_ms = -(-start_ms // bar_ms) * bar_ms
        self._bar_ms = bar_ms
        self._minutes = bar_ms * speed / 60_000 / INSTANTS_PER_BAR
        self._seed, self._symbols, self._prehistory_bars = seed, tuple(symbols), prehistory_bars
        self._begin(last_prices or {})
        if last_prices:
            # The same chance moves every begin alike: begun this much elsewhere, the prehistory ends where it should.
            self._begin({symbol: price * price / self._coins[symbol].price for symbol, price in last_prices.items()
                         if symbol in self._coins})  # fmt: skip

    def _begin(self, prices: Mapping[str, float]) -> None:
        """The market from its first prices (USD by symbol, else its own) to the end of its prehistory."""
        # Each coin has its own stream of chance, so that a coin's own moves do not depend on which others are listed.
        seed = self._seed
        self._coins = {
            symbol: SyntheticCoin(symbol, index, self.interval, Random(f"{seed}:{symbol}"), prices.get(symbol))
            for index, symbol in enumerate(self._symbols)
        }
        self._market = RegimeWalk(Random(f"{seed}:market"), sigma_minute(MARKET_VOLATILITY), MARKET_JUMPS_PER_MINUTE)
        self.assets: tuple[EngineAsset, ...] = tuple(coin.asset for coin in self._coins.values())
        self._bars = 0
        self._started = False
        for n in range(self._prehistory_bars, 0, -1):
            for _ in range(INSTANTS_PER_BAR):
                self._move()
            self._close_bars(self.start_ms - n * self._bar_ms)

    def steps(
        self, position_sign: Callable[[str], int], is_quiet: Callable[[], bool] = never_quiet
    ) -> Iterator[FeedStep]:
        """Four instants a bar, for ever; nobody's position sways this market, and no step of it is left out."""
        if self._started:
            raise FeedError("a synthetic feed runs once; make another one with the same seed")
        self._started = True
        return self._run()

    def _run(self) -> Iterator[FeedStep]:
        coins = tuple(self._coins.values())
        open_ms, first = self.start_ms, True
        while True:
            for instant in range(INSTANTS_PER_BAR):
                time_ms = open_ms + self._bar_ms * instant // INSTANTS_PER_BAR
                # The bar that ends here is cut off before the next one's first trade.
                bars = self._close_bars(open_ms - self._bar_ms) if instant == 0 and not first else ()
                self._bars += len(bars)
                self._move()
                yield FeedStep(time_ms=time_ms, updates=tuple([coin.update(time_ms) for coin in coins]), bars=bars)
            open_ms, first = open_ms + self._bar_ms, False

    def history(self, coin: str, interval: str, before_ms: int, limit: int) -> list[BarClose]:
        """At most ``limit`` newest bars that closed before ``before_ms``; 5,000 of the feed's own interval are kept."""
        needed = bars_needed(self.interval, interval, limit)
        known = self._coin(coin).history
        known_before = [bar for bar in known if bar.close_ms < before_ms]
        return joined(known_before[-needed:] if needed > 0 else [], interval, before_ms, limit)

    def day_volume(self, coin: str, before_ms: int) -> int:
        """Lots of a day of market time at the pace of the bars kept; ``speed`` compresses the day as well."""
        minutes_of_bar = self._minutes * INSTANTS_PER_BAR
        wanted = max(round(DAY_MS / 60_000 / minutes_of_bar), 1)
        bars = [bar for bar in self._coin(coin).history if bar.close_ms < before_ms][-wanted:]
        return scaled_to_day(sum(bar.volume for bar in bars), round(len(bars) * minutes_of_bar * 60_000))

    def report(self, ambiguous_bars: int = 0) -> FeedReport:
        """Bars published so far; a synthetic market has no gaps and no halts."""
        return FeedReport(grade=self.grade, bars=self._bars, ambiguous_bars=ambiguous_bars, halted_bars=0, gaps=0)

    def _coin(self, coin: str) -> SyntheticCoin:
        try:
            return self._coins[coin]
        except KeyError:
            raise FeedError(f"this market has no coin {coin!r}; it has {', '.join(self._coins)}") from None

    def _move(self) -> None:
        market_return = self._market.step(self._minutes)
        for coin in self._coins.values():
            coin.move(market_return, self._minutes)

    def _close_bars(self, open_ms: int) -> tuple[BarClose, ...]:
        closed = [coin.close_bar(open_ms) for coin in self._coins.values()]
        return tuple([bar for bar in closed if bar is not None])
