"""A whole trader in virtual time on a market that stands still, holding as many positions as a row asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from perpstrader.domain.errors import PerpsTraderError
from perpstrader.domain.market import INTERVAL_MS
from perpstrader.paper.engine import BarClose, Grouping, Level, MarketUpdate, NewOrder, Tif
from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.feeds.contract import FeedReport, FeedStep, Grade, never_quiet
from perpstrader.runtime import VirtualClock
from perpstrader.settings import load
from perpstrader.simulate.world import LEAD_MS, World, simulated

INTERVAL: Final = "1m"
_SEED: Final = 7
_STEP_MS: Final = 1_000
_SIZE_DECIMALS: Final = 2
_PRICE: Final = 1_000_000
"""100 USD in units of 10^-4 USD."""
_TICK: Final = 100
_DEEP: Final = 10_000_000
"""100,000 coins on each of five levels."""
_LOTS: Final = 1_000
"""10 coins a position: 1,000 USD."""
_BALANCE_USD: Final = 10_000_000
_WAIT_S: Final = 120


class FlatFeed:
    """A ``Feed`` of coins that all stand at 100 USD for ever, with a deep book; each minute a bar closes."""

    grade: Grade = "synthetic"
    end_ms: int | None = None
    interval = INTERVAL

    def __init__(self, coins: int, start_ms: int) -> None:
        self.start_ms = start_ms
        self.assets = tuple(
            EngineAsset(coin=f"C{number}", index=number, size_decimals=_SIZE_DECIMALS, max_leverage=20)
            for number in range(coins)
        )
        self._published = 0

    def steps(
        self, position_sign: Callable[[str], int], is_quiet: Callable[[], bool] = never_quiet
    ) -> Iterator[FeedStep]:
        """The same book each second."""
        length, time_ms = INTERVAL_MS[INTERVAL], self.start_ms
        while True:
            closes = time_ms > self.start_ms and time_ms % length == 0
            bars = tuple(self._bar(asset.coin, time_ms - length, length) for asset in self.assets) if closes else ()
            self._published += len(bars)
            updates = tuple(self._update(asset.coin, time_ms) for asset in self.assets)
            yield FeedStep(time_ms=time_ms, updates=updates, bars=bars)
            time_ms += _STEP_MS

    def history(self, coin: str, interval: str, before_ms: int, limit: int) -> list[BarClose]:
        """Bars in which nothing moved."""
        length = INTERVAL_MS[interval]
        last = min(before_ms, self.start_ms) // length * length
        return [self._bar(coin, last - n * length, length) for n in range(min(limit, 30), 0, -1)]

    def day_volume(self, coin: str, before_ms: int) -> int:
        """A thousand million USD."""
        return 10**9

    def report(self, ambiguous_bars: int = 0) -> FeedReport:
        """Bars published so far."""
        return FeedReport(
            grade=self.grade, bars=self._published, ambiguous_bars=ambiguous_bars, halted_bars=0, gaps=0
        )  # fmt: skip

    def _bar(self, coin: str, open_ms: int, length: int) -> BarClose:
        return BarClose(
            coin=coin, interval=INTERVAL, open_ms=open_ms, close_ms=open_ms + length - 1, open=_PRICE, high=_PRICE,
            low=_PRICE, close=_PRICE, volume=_LOTS, trades=_LOTS,
        )  # fmt: skip

    def _update(self, coin: str, time_ms: int) -> MarketUpdate:
        return MarketUpdate(
            coin=coin, time_ms=time_ms, last=_PRICE, mark=_PRICE, oracle=_PRICE,
            bids=tuple(Level(_PRICE - n * _TICK, _DEEP) for n in range(1, 6)),
            asks=tuple(Level(_PRICE + n * _TICK, _DEEP) for n in range(1, 6)),
        )  # fmt: skip


@asynccontextmanager
async def flat_world(positions: int, folder: Path, clock: VirtualClock, *, recovery: str) -> AsyncIterator[World]:
    """A started trader that has taken over ``positions`` longs of 1,000 USD, each with its stop at the venue.

    ``recovery`` is the build in use. Raises ``PerpsTraderError`` where they were not all protected in time.
    """
    feed = FlatFeed(positions, clock.now_ms() + LEAD_MS)
    coins = [asset.coin for asset in feed.assets]
    settings = load(None, {}, {
        "data.dir": folder, "trader.symbols": coins, "trader.bar_ms": INTERVAL_MS[INTERVAL], "trader.strategies": [],
        "paper.balance_usd": _BALANCE_USD, "rollout.recovery": recovery,
    })  # fmt: skip
    async with simulated(settings, clock, feed, seed=_SEED) as world:
        for coin in coins:
            buy(world, coin)
        await protected(world, coins)
        yield world


def buy(world: World, coin: str) -> None:
    """The account buys 10 coins at the venue, by another hand than the trader's."""
    limit = _PRICE + 5 * _TICK
    order = NewOrder(coin=coin, is_buy=True, limit_px=limit, size=_LOTS, tif=Tif.IOC)
    account = world.trader.execution.desk.client.account_address
    world.engine.place(account, [order], Grouping.NA, world.clock.now_ms())


async def protected(world: World, coins: list[str]) -> None:
    """Returns when the trader knows a position in each coin and the venue lists a stop for each."""
    account = world.trader.execution.desk.client.account_address
    for _ in range(_WAIT_S):
        held = world.trader.execution.desk.positions.holdings
        stops = {order.coin for order in world.engine.open_orders(account)}
        if all(coin in held and held[coin].size and coin in stops for coin in coins):
            return
        await world.clock.sleep(1)
    raise PerpsTraderError(f"not all of {len(coins)} positions were protected within {_WAIT_S} s of virtual time")
