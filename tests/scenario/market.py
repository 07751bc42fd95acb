"""A market that a scenario writes down: for each coin a list of bars, each a few points of its price, with its book."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec

from perpstrader.domain.market import INTERVAL_MS
from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.market import BarClose, MarketUpdate
from perpstrader.paper.feeds.contract import FeedReport, FeedStep, Grade, never_quiet
from perpstrader.paper.feeds.facts import asset_for
from perpstrader.paper.feeds.ladder import Ticks, ladder

POINTS = 5
"""Instants in a bar; a path with fewer points stands still at its last one."""

_LEVELS = 5
_DEEP_USD = 2_000_000


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar of one coin: up to ``POINTS`` prices in USD, and what its book offers on each of five levels, in USD.

    Within a bar the price moves along its path; with ``gap`` every point is a jump. The first point always is one.
    ``mark`` stands apart from the price where it is given. A ``halted`` bar has no volume, and nothing fills in it.
    """

    path: tuple[int | str, ...]
    bids_usd: int = _DEEP_USD
    asks_usd: int = _DEEP_USD
    mark: int | str | None = None
    gap: bool = False
    halted: bool = False

    def price(self, point: int) -> Decimal:
        """The price at that instant."""
        return Decimal(str(self.path[min(point, len(self.path) - 1)]))


def calm(price: int | str, bars: int = 1, **book: int) -> list[Bar]:
    """Bars in which nothing moves."""
    return [Bar(path=(price,), **book)] * bars


class ScriptedFeed:
    """A ``Feed`` of what was written down; after its last bar a coin stands still for ever."""

    grade: Grade = "synthetic"
    end_ms: int | None = None

    def __init__(self, coins: Mapping[str, Sequence[Bar]], *, start_ms: int, interval: str = "5s") -> None:
        self.interval = interval
        self.start_ms = start_ms
        self.bar_ms = INTERVAL_MS[interval]
        self.coins = {coin: list(bars) for coin, bars in coins.items()}
        self.assets = tuple(
            asset_for(coin, index, float(bars[0].price(0))) for index, (coin, bars) in enumerate(self.coins.items())
        )
        self._ticks = {asset.coin: Ticks(asset) for asset in self.assets}
        self._asset = {asset.coin: asset for asset in self.assets}
        self._published = 0

    def number(self, open_ms: int) -> int:
        """Which bar of the script begins there, from 0."""
        return (open_ms - self.start_ms) // self.bar_ms

    def steps(
        self, position_sign: Callable[[str], int], is_quiet: Callable[[], bool] = never_quiet
    ) -> Iterator[FeedStep]:
        """The script from its beginning, then for ever its last instant."""
        number = 0
        while True:
            open_ms = self.start_ms + number * self.bar_ms
            for point in range(POINTS):
                time_ms = open_ms + point * self.bar_ms // POINTS
                closed = tuple(self._closed(coin, number - 1) for coin in self.coins) if number and not point else ()
                self._published += len(closed)
                updates = tuple(self._update(asset, number, point, time_ms) for asset in self.assets)
                yield FeedStep(time_ms=time_ms, updates=updates, bars=closed)
            number += 1

    def history(self, coin: str, interval: str, before_ms: int, limit: int) -> list[BarClose]:
        """Bars at the first price, so that nothing moved before the script begins; then those that were played."""
        length, price = INTERVAL_MS[interval], self._units(coin, self._bar(coin, 0).price(0))
        own = interval == self.interval
        last = self.start_ms if own else min(before_ms, self.start_ms) // length * length
        before = [_bar(coin, interval, last - n * length, length, [price], lots=1_000) for n in range(30, 0, -1)]
        over = max(0, (before_ms - self.start_ms) // self.bar_ms) if own else 0
        known = [*before, *(self._closed(coin, number) for number in range(over))]
        return [bar for bar in known if bar.close_ms < before_ms][-limit:]

    def day_volume(self, coin: str, before_ms: int) -> int:
        """A thousand million USD."""
        return int(self._lots(coin, 1_000_000_000, self._bar(coin, 0).price(0)))

    def report(self, ambiguous_bars: int = 0) -> FeedReport:
        """Bars published so far."""
        return FeedReport(
            grade=self.grade, bars=self._published, ambiguous_bars=ambiguous_bars, halted_bars=0, gaps=0
        )  # fmt: skip

    def _bar(self, coin: str, number: int) -> Bar:
        bars = self.coins[coin]
        if number < len(bars):
            return bars[number]
        return msgspec.structs.replace(bars[-1], path=bars[-1].path[-1:])

    def _update(self, asset: EngineAsset, number: int, point: int, time_ms: int) -> MarketUpdate:
        bar, ticks = self._bar(asset.coin, number), self._ticks[asset.coin]
        price = bar.price(point)
        units = ticks.near(self._units(asset.coin, price))
        mark = units if bar.mark is None else self._units(asset.coin, Decimal(str(bar.mark)))
        tick = ticks.at(units)
        return MarketUpdate(
            coin=asset.coin, time_ms=time_ms, last=units, mark=mark, oracle=mark, halted=bar.halted,
            bids=ladder(ticks, units - tick, tick, self._levels(asset.coin, bar.bids_usd, price), rising=False),
            asks=ladder(ticks, units + tick, tick, self._levels(asset.coin, bar.asks_usd, price), rising=True),
            continuous=point > 0 and not bar.gap,
        )  # fmt: skip

    def _closed(self, coin: str, number: int) -> BarClose:
        bar = self._bar(coin, number)
        path = [self._units(coin, bar.price(point)) for point in range(POINTS)]
        open_ms = self.start_ms + number * self.bar_ms
        return _bar(coin, self.interval, open_ms, self.bar_ms, path, lots=0 if bar.halted else 1_000)

    def _levels(self, coin: str, usd: int, price: Decimal) -> list[int]:
        return [int(self._lots(coin, usd, price))] * _LEVELS

    def _units(self, coin: str, price: Decimal) -> int:
        return int(price.scaleb(self._asset[coin].price_decimals))

    def _lots(self, coin: str, usd: int, price: Decimal) -> Decimal:
        return (usd / price).scaleb(self._asset[coin].size_decimals)


def _bar(coin: str, interval: str, open_ms: int, length: int, path: Sequence[int], *, lots: int) -> BarClose:
    return BarClose(
        coin=coin, interval=interval, open_ms=open_ms, close_ms=open_ms + length - 1, open=path[0], high=max(path),
        low=min(path), close=path[-1], volume=lots, trades=lots,
    )  # fmt: skip
