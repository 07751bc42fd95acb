"""Where a resting order stands in the queue of its price, beyond what trades tell.

Trades at its price always pass what was ahead first (``matching``). The model ``book`` adds that nobody can be ahead
who is no longer shown: a level that shrank below what was ahead caps it. ``share`` adds that of what was taken back at
the level, a share as large as the share of the queue that stood ahead was ahead (the proportional model of queue
simulators such as hftbacktest). ``trades`` believes neither: nobody ahead gives up.
"""

from __future__ import annotations

from collections.abc import Sequence

from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.config import QueueModel
from perpstrader.paper.engine.market import Level, MarketUpdate

Sides = tuple[tuple[Level, ...], tuple[Level, ...]]


def follow(market: Market, update: MarketUpdate, before: Sides, model: QueueModel) -> None:
    """Move resting orders on after ``update``, whose trades have passed already; ``before``: the sides until then."""
    for trade in update.trades:
        key = (not trade.buy, trade.price)
        market.traded[key] = market.traded.get(key, 0) + trade.size
    for is_buy, now, old in ((True, update.bids, before[0]), (False, update.asks, before[1])):
        if now is None:
            continue
        for order in market.resting(is_buy):
            left = _shown(now, order.limit_px, is_buy)
            if left is None or not order.queue_ahead:
                continue
            ahead = order.queue_ahead
            if model == "share":
                # What trades took is gone from the front already; ``ahead`` is of the queue that they left.
                queue = (_shown(old, order.limit_px, is_buy) or 0) - market.traded.get((is_buy, order.limit_px), 0)
                if queue > left and queue >= ahead:
                    ahead -= (queue - left) * ahead // queue
            order.queue_ahead = min(ahead, left)
        for key in [key for key in market.traded if key[0] is is_buy]:
            del market.traded[key]


def _shown(levels: Sequence[Level], price: int, is_buy: bool) -> int | None:
    """The size shown at ``price``; ``None`` where it lies beyond the depth that is shown."""
    sign = 1 if is_buy else -1
    for level in levels:
        if level.price == price:
            return level.size
        if (level.price - price) * sign < 0:
            return 0
    return None
