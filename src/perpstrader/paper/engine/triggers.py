"""Triggers fire on mark and on nothing else; each then meets the market at its own level on a path, or at the new one
after a jump.
"""

from __future__ import annotations

from perpstrader.paper.engine import lifecycle, liquidation, placing
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.orders import Order
from perpstrader.paper.engine.state import EngineState


def move_mark(state: EngineState, market: Market, old: int, new: int) -> None:
    """Move mark from ``old`` to ``new``, firing what lies between in the order of the path.

    On a continuous path mark starts at ``old`` and stands at each trigger's level when it fires (who is liquidated
    there is liquidated first) and the outside book is shifted to that level; after a jump mark is there already, and
    every trigger meets the new book.
    """
    while (order := _next_due(market, new, rising=new >= old)) is not None:
        here, level = market.mark_or_zero, _level(order)
        at = level if min(here, new) <= level <= max(here, new) else here
        if at != here:
            market.set_mark(at)
            liquidation.check(state, market)
            continue
        fire(state, order, offset=at - new)
    market.set_mark(new)


def settle(state: EngineState) -> None:
    """Fire what was armed past mark during this call; it meets the book as it is."""
    while state.due:
        market = state.due.pop()
        while (order := _next_due(market, market.mark_or_zero, rising=True)) is not None:
            fire(state, order, offset=0)


def _next_due(market: Market, mark: int, *, rising: bool) -> Order | None:
    above = market.above[0] if market.above and _level(market.above[0]) <= mark else None
    below = market.below[0] if market.below and _level(market.below[0]) >= mark else None
    first, second = (above, below) if rising else (below, above)
    return first or second


def _level(order: Order) -> int:
    assert order.trigger is not None
    return order.trigger.trigger_px


def fire(state: EngineState, order: Order, *, offset: int) -> None:
    """Turn a trigger into an order: an IOC capped at its limit, or a limit order that rests. What a thin book leaves of
    an IOC is dropped.
    """
    account, market = state.account(order.user), order.market
    market.remove(order)
    state.action += 1
    order.triggered = True
    order.seq = state.next_seq()
    lifecycle.announce(state, account, order, "triggered")
    held = account.size(order.coin)
    if order.is_position_tpsl:
        order.size = order.orig_size = abs(held)
    if order.reduce_only and (held == 0 or order.is_buy == (held > 0)):
        lifecycle.close(state, account, order, "reduceOnlyCanceled")
    elif state.post_only and state.config.triggers_die_in_post_only:
        lifecycle.close(state, account, order, "rejected")
    elif not order.reduce_only and (hindrance := placing.hindrance(state, account, order)) is not None:
        lifecycle.close(state, account, order, hindrance)
    else:
        placing.execute(state, account, order, offset=offset)
