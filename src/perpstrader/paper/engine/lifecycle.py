"""The life of an order: on record, open, done; and what its end means for its children, its siblings and the
reduce-only orders beside it.
"""

from __future__ import annotations

from perpstrader.paper.engine.account import Account
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.events import OrderUpdate
from perpstrader.paper.engine.orders import IMMEDIATE, Order, OrderStatus, Where
from perpstrader.paper.engine.state import EngineState


def announce(state: EngineState, account: Account, order: Order, status: str) -> None:
    """Give the order a status: on its record, in the history and as an event."""
    order.status = status
    order.status_ms = state.now_ms
    view = order.view()
    order.view_at_status = view
    account.version += 1
    account.history.append(OrderStatus(view, status, state.now_ms))
    state.events.append(OrderUpdate(order.user, view, status, state.now_ms))


def register(state: EngineState, account: Account, order: Order) -> None:
    """Put the order on record and among the open ones."""
    _record(account, order)
    account.open_orders[order.oid] = order
    state.open_count += 1


def record_reject(state: EngineState, account: Account, order: Order, status: str) -> None:
    """Keep a refused order on record, as the venue does for what it refused with an oid (API sheet 2.6)."""
    _record(account, order)
    announce(state, account, order, status)
    _remember_done(state, account, order)


def _record(account: Account, order: Order) -> None:
    account.records[order.oid] = order
    if order.cloid is not None:
        account.cloids[order.cloid] = order.oid


def _remember_done(state: EngineState, account: Account, order: Order) -> None:
    account.done_oids.append(order.oid)
    if len(account.done_oids) > state.config.order_history:
        evicted = account.records.pop(account.done_oids.popleft())
        if evicted.cloid is not None and account.cloids.get(evicted.cloid) == evicted.oid:
            del account.cloids[evicted.cloid]


def close(state: EngineState, account: Account, order: Order, status: str) -> None:
    """End an open order with ``status`` (``filled``, a cancel or a refusal), and let its family follow."""
    order.market.remove(order)
    del account.open_orders[order.oid]
    state.open_count -= 1
    announce(state, account, order, status)
    _remember_done(state, account, order)
    if order.children:
        _release_children(state, account, order, status)
    if order.parent is not None and status == "filled":
        _cancel_siblings(state, account, order)


def _release_children(state: EngineState, account: Account, parent: Order, status: str) -> None:
    """Children are armed by the parent's whole fill, or its cancel for margin after a part; any other end takes them
    along (API sheet 7.8).
    """
    partial = parent.filled > 0
    armed = status == "filled" or (status == "marginCanceled" and partial)
    if partial and parent.tif in IMMEDIATE and state.config.arm_children_of_partial_ioc:
        armed = True
    for child in parent.children:
        if child.where is not Where.HELD:
            continue
        if armed:
            arm(state, account, child)
        else:
            close(state, account, child, "canceled")


def _cancel_siblings(state: EngineState, account: Account, order: Order) -> None:
    assert order.parent is not None
    for sibling in order.parent.children:
        if sibling is not order and sibling.oid in account.open_orders and sibling.orig_size == order.orig_size:
            close(state, account, sibling, "siblingFilledCanceled")


def arm(state: EngineState, account: Account, order: Order) -> None:
    """Let a trigger wait for mark; it is looked at once more when the running call ends, as mark may be past it."""
    order.market.arm(order)
    announce(state, account, order, "open")
    state.due.append(order.market)


def follow_position(state: EngineState, account: Account, market: Market) -> None:
    """After a change of position: reduce-only orders shrink with it, the older of two too many goes, and what protects
    nothing goes.
    """
    if not account.open_orders:
        return
    size = account.size(market.asset.coin)
    closing: list[Order] = []
    for order in tuple(account.open_orders.values()):
        if not order.reduce_only or order.market is not market or order.oid not in account.open_orders:
            continue
        fits = size != 0 and order.is_buy == (size < 0)
        if order.where is Where.RESTING:
            if fits:
                closing.append(order)
            else:
                close(state, account, order, "reduceOnlyCanceled")
        elif order.where is Where.TRIGGER and not fits and _dies_with_position(state, order):
            close(state, account, order, "reduceOnlyCanceled")
    closing.sort(key=_age)
    while len(closing) > 1 and sum([order.size for order in closing]) > abs(size):
        close(state, account, closing.pop(0), "reduceOnlyCanceled")
    if closing and closing[0].size > abs(size):
        closing[0].size = abs(size)


def _dies_with_position(state: EngineState, order: Order) -> bool:
    return order.is_position_tpsl or not state.config.orphan_triggers_survive


def _age(order: Order) -> int:
    return order.seq
