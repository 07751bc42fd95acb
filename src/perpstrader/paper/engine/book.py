"""One coin's market as the engine sees it: the outside book and what was taken from it, the accounts' orders, mark,
oracle, funding.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING

from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.market import Level
from perpstrader.paper.engine.orders import Order, Where
from perpstrader.paper.engine.views import BookLevel

if TYPE_CHECKING:
    from perpstrader.paper.engine.account import Account


def _best_first(order: Order) -> tuple[int, int]:
    return (-order.limit_px if order.is_buy else order.limit_px, order.seq)


def _low_first(order: Order) -> tuple[int, int]:
    assert order.trigger is not None
    return (order.trigger.trigger_px, order.seq)


def _high_first(order: Order) -> tuple[int, int]:
    assert order.trigger is not None
    return (-order.trigger.trigger_px, order.seq)


class Market:
    """The state of one coin. Outside liquidity that an account took stays taken until the feed replaces that side of
    the book.
    """

    def __init__(self, asset: EngineAsset) -> None:
        self.asset = asset
        self.time_ms = 0
        self.mark: int | None = None
        self.mark_or_zero = 0
        self.previous_mark: int | None = None
        self.oracle: int | None = None
        self.last: int | None = None
        self.halted = False
        self.feed_bids: tuple[Level, ...] = ()
        self.feed_asks: tuple[Level, ...] = ()
        self.taken_bids: dict[int, int] = {}
        self.taken_asks: dict[int, int] = {}
        self.bids: list[Order] = []
        self.asks: list[Order] = []
        self.above: list[Order] = []
        self.below: list[Order] = []
        self.traded: dict[tuple[bool, int], int] = {}
        """Lots that the outside market traded since its last book, by side of the book and price; for ``queue``."""
        self.holders: dict[str, Account] = {}
        self.outside_size = 0
        self.outside_cash = 0
        self.premium_sum = 0
        self.premium_samples = 0
        self.handed_rate: int | None = None
        self.last_rate = 0

    def set_mark(self, mark: int) -> None:
        """Set the mark; positions are worth it from now on."""
        self.mark = mark
        self.mark_or_zero = mark

    def feed(self, bids: bool) -> tuple[tuple[Level, ...], dict[int, int]]:
        """The outside levels of one side, best first, and what was taken of each price."""
        return (self.feed_bids, self.taken_bids) if bids else (self.feed_asks, self.taken_asks)

    def resting(self, bids: bool) -> list[Order]:
        """The accounts' orders of one side, best price first and oldest first within a price."""
        return self.bids if bids else self.asks

    def left_at(self, bids: bool, price: int) -> int:
        """The outside size that is left at ``price``."""
        levels, taken = self.feed(bids)
        for level in levels:
            if level.price == price:
                return level.size - taken.get(price, 0)
        return 0

    def best_feed(self, bids: bool) -> Level | None:
        """The best outside level that has something left."""
        levels, taken = self.feed(bids)
        for level in levels:
            if level.size > taken.get(level.price, 0):
                return level
        return None

    def best(self, bids: bool) -> int | None:
        """The best price of one side, outside and accounts together."""
        level = self.best_feed(bids)
        orders = self.resting(bids)
        if not orders:
            return None if level is None else level.price
        if level is None:
            return orders[0].limit_px
        return max(level.price, orders[0].limit_px) if bids else min(level.price, orders[0].limit_px)

    def would_cross(self, is_buy: bool, limit_px: int) -> bool:
        """Whether an order at this price would meet something in the book now."""
        best = self.best(not is_buy)
        return best is not None and (best <= limit_px if is_buy else best >= limit_px)

    def rest(self, order: Order) -> None:
        """Put an order in the book behind what is there; the outside size at its price is ahead of it."""
        order.where = Where.RESTING
        order.queue_ahead = self.left_at(order.is_buy, order.limit_px)
        insort(self.resting(order.is_buy), order, key=_best_first)

    def arm(self, order: Order) -> None:
        """Let a trigger wait for mark."""
        order.where = Where.TRIGGER
        if order.fires_above:
            insort(self.above, order, key=_low_first)
        else:
            insort(self.below, order, key=_high_first)

    def remove(self, order: Order) -> None:
        """Take an order out of wherever it is."""
        if order.where is Where.RESTING:
            self.resting(order.is_buy).remove(order)
        elif order.where is Where.TRIGGER:
            (self.above if order.fires_above else self.below).remove(order)
        order.where = Where.NOWHERE

    def is_busy(self) -> bool:
        """Whether an update of this coin can change any account."""
        return bool(self.holders or self.bids or self.asks or self.above or self.below)

    def depth(self, bids: bool, count: int) -> tuple[BookLevel, ...]:
        """The shown book of one side: outside size left and accounts' orders, merged by price."""
        levels, taken = self.feed(bids)
        sizes: dict[int, tuple[int, int]] = {}
        for level in levels:
            left = level.size - taken.get(level.price, 0)
            if left > 0:
                sizes[level.price] = (left, 1)
        for order in self.resting(bids):
            size, orders = sizes.get(order.limit_px, (0, 0))
            sizes[order.limit_px] = (size + order.size, orders + 1)
        prices = sorted(sizes, reverse=bids)[:count]
        return tuple([BookLevel(price, *sizes[price]) for price in prices])

    def impact(self, bids: bool) -> int | None:
        """The average price, in units, of trading the impact notional against this side; ``None`` if the book is too
        thin.
        """
        notional = self.asset.impact_notional
        levels, taken = self.feed(bids)
        if taken or self.resting(bids):
            shown = self.depth(bids, len(levels) + len(self.resting(bids)))
            levels = tuple([Level(level.px, level.size) for level in shown])
        spent, lots = 0, 0
        for level in levels:
            cost = level.price * level.size
            if spent + cost >= notional:
                rest = -(-(notional - spent) // level.price)
                return (spent + rest * level.price) // (lots + rest)
            spent += cost
            lots += level.size
        return None
