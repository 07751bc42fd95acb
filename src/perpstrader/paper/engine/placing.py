"""From a request to an order: single orders, brackets and position TP/SL, cancel and modify."""

from __future__ import annotations

from collections.abc import Sequence

from perpstrader.paper.engine import lifecycle, matching, validation
from perpstrader.paper.engine.account import Account
from perpstrader.paper.engine.orders import (
    IMMEDIATE,
    Answer,
    Builder,
    Done,
    Filled,
    Grouping,
    NewOrder,
    Order,
    PlaceResult,
    Rejected,
    Resting,
    Tif,
    WaitingForFill,
    WaitingForTrigger,
    Where,
)
from perpstrader.paper.engine.rejects import REJECTED_STATUS, Reject, RejectCode
from perpstrader.paper.engine.state import EngineState

_NO_OID = -1
_FORMAT = (
    RejectCode.TICK,
    RejectCode.INVALID_PRICE,
    RejectCode.INVALID_SIZE,
    RejectCode.ZERO_SIZE,
    RejectCode.UNKNOWN_ASSET,
)


def place(
    state: EngineState, user: str, orders: Sequence[NewOrder | Reject], grouping: Grouping, builder: Builder | None
) -> list[PlaceResult]:
    """One result an order, or one refusal for the whole group; see ``Exchange.place``."""
    account = state.accounts.get(user)
    if account is None:
        return [Rejected(Reject(code=RejectCode.MUST_DEPOSIT)) for _ in orders]
    if grouping is Grouping.NORMAL_TPSL:
        return _place_bracket(state, account, orders, builder)
    if grouping is Grouping.POSITION_TPSL:
        refused = _group_refusal(orders)
        if refused is not None and state.config.grouped_fails_whole:
            return [Rejected(refused)]
        return [_place_one(state, account, new, builder, position_tpsl=True) for new in orders]
    if len(orders) > 1 and state.config.format_error_fails_batch:
        wrong = next((reject for new in orders if (reject := _format_refusal(state, new)) is not None), None)
        if wrong is not None:
            return [Rejected(wrong)]
    return [_place_one(state, account, new, builder) for new in orders]


def _format_refusal(state: EngineState, new: NewOrder | Reject) -> Reject | None:
    """Why the venue cannot even read an order of a batch, whatever the state of market and account."""
    refused = new if isinstance(new, Reject) else validation.check_format(state, new)
    return refused if refused is not None and refused.code in _FORMAT else None


def _group_refusal(legs: Sequence[NewOrder | Reject]) -> Reject | None:
    """Why these cannot be TP/SL legs: a text that was no number, no trigger, or not reduce-only."""
    for leg in legs:
        if isinstance(leg, Reject):
            return leg
        if leg.trigger is None:
            return Reject(code=RejectCode.TRIGGER_COUNT)
        if not leg.reduce_only:
            return Reject(code=RejectCode.GROUPED_NOT_REDUCE_ONLY)
    return None


def _new(state: EngineState, account: Account, new: NewOrder, builder: Builder | None) -> Order:
    return Order(
        user=account.user,
        oid=state.next_oid(),
        market=state.markets[new.coin],
        coin=new.coin,
        is_buy=new.is_buy,
        limit_px=new.limit_px,
        size=new.size,
        orig_size=new.size,
        reduce_only=new.reduce_only,
        tif=new.tif if new.trigger is None else Tif.IOC if new.trigger.is_market else Tif.GTC,
        trigger=new.trigger,
        cloid=new.cloid,
        time_ms=state.now_ms,
        seq=state.next_seq(),
        builder=builder,
    )


def _place_one(
    state: EngineState,
    account: Account,
    new: NewOrder | Reject,
    builder: Builder | None,
    *,
    position_tpsl: bool = False,
) -> PlaceResult:
    if isinstance(new, Reject):
        return Rejected(new)
    refused = validation.check_format(state, new, whole_position=position_tpsl)
    if refused is not None:
        return Rejected(refused)
    if state.config.refuse_open_cloid and account.cloids.get(new.cloid or "", _NO_OID) in account.open_orders:
        return Rejected(Reject(code=RejectCode.DUPLICATE_CLOID))
    order = _new(state, account, new, builder)
    order.is_position_tpsl = position_tpsl
    refused = validation.check_account(state, account, order, new)
    if refused is not None:
        return _refuse(state, account, order, refused)
    if position_tpsl and state.config.one_position_tpsl:
        _replace_position_tpsl(state, account, order)
    lifecycle.register(state, account, order)
    if order.trigger is not None:
        lifecycle.arm(state, account, order)
        return WaitingForTrigger(order.oid) if position_tpsl else Resting(order.oid, order.cloid)
    return execute(state, account, order)


def _replace_position_tpsl(state: EngineState, account: Account, order: Order) -> None:
    """A position has one stop and one target of this kind: the older one goes."""
    kind = None if order.trigger is None else order.trigger.tpsl
    for old in tuple(account.open_orders.values()):
        same = old.is_position_tpsl and old.coin == order.coin and not old.triggered
        if same and old.trigger is not None and old.trigger.tpsl is kind:
            lifecycle.close(state, account, old, "canceled")


def _refuse(state: EngineState, account: Account, order: Order, reject: Reject) -> Rejected:
    lifecycle.record_reject(state, account, order, REJECTED_STATUS[reject.code])
    return Rejected(reject, order.oid)


def execute(state: EngineState, account: Account, order: Order, *, offset: int = 0) -> PlaceResult:
    """Let an order on record meet the book: a reduce-only one clamped to the position, then what is left rests, or is
    dropped.
    """
    if order.reduce_only:
        order.size = min(order.size, abs(account.size(order.coin)))
    matching.take(state, account, order, offset=offset)
    if order.size == 0:
        lifecycle.close(state, account, order, "filled")
        return _filled(order)
    if order.tif in IMMEDIATE:
        if order.filled > 0:
            lifecycle.close(state, account, order, "canceled")
            return _filled(order)
        reject = validation.nothing_matched(order.market, order.tif, order.is_buy)
        lifecycle.close(state, account, order, REJECTED_STATUS[reject.code])
        return Rejected(reject, order.oid)
    order.market.rest(order)
    if order.filled == 0:
        lifecycle.announce(state, account, order, "open")
    if order.reduce_only:
        lifecycle.follow_position(state, account, order.market)
    if order.filled > 0 and not state.config.partial_gtc_rests:
        return _filled(order)
    return Resting(order.oid, order.cloid)


def _filled(order: Order) -> Filled:
    lots = order.filled
    average = (2 * order.filled_notional + lots) // (2 * lots)
    return Filled(order.oid, order.cloid, lots, order.filled_notional, average)


def _place_bracket(
    state: EngineState, account: Account, orders: Sequence[NewOrder | Reject], builder: Builder | None
) -> list[PlaceResult]:
    """A parent and its TP/SL legs: these exist once the parent lives; only its whole fill arms them (API sheet 7.8)."""
    if not orders:
        return []
    first = orders[0]
    refused = first if isinstance(first, Reject) else _parent_refusal(state, first, orders[1:])
    if refused is not None or isinstance(first, Reject):
        assert refused is not None
        return [Rejected(refused)]
    legs = [leg for leg in orders[1:] if isinstance(leg, NewOrder)]  # all of them: a Reject refused the group
    fates = [_leg_refusal(state, account, first, leg) for leg in legs]
    wrong = next((fate for fate in fates if fate is not None), None)
    if wrong is not None and state.config.grouped_fails_whole:
        return [Rejected(wrong)]
    parent = _new(state, account, first, builder)
    refused = validation.check_account(state, account, parent, first)
    if refused is not None:
        answer = _refuse(state, account, parent, refused)
        return [answer, *[Rejected(refused) for _ in legs]]
    lifecycle.register(state, account, parent)
    children: list[Order | Reject] = []
    for leg, fate in zip(legs, fates, strict=True):
        if fate is not None:
            children.append(fate)
            continue
        child = _new(state, account, leg, builder)
        child.parent = parent
        child.where = Where.HELD
        lifecycle.register(state, account, child)
        children.append(child)
    parent.children = tuple([child for child in children if isinstance(child, Order)])
    first_answer = execute(state, account, parent)
    return [first_answer, *[_leg_answer(state, account, child) for child in children]]


def _leg_answer(state: EngineState, account: Account, child: Order | Reject) -> PlaceResult:
    if isinstance(child, Reject):
        return Rejected(child)
    if child.where is Where.HELD:
        lifecycle.announce(state, account, child, "open")
        return WaitingForFill(child.oid)
    return WaitingForTrigger(child.oid) if child.where is Where.TRIGGER else WaitingForFill(child.oid)


def _parent_refusal(state: EngineState, parent: NewOrder, legs: Sequence[NewOrder | Reject]) -> Reject | None:
    if not legs or parent.trigger is not None:
        return Reject(code=RejectCode.TRIGGER_COUNT)
    return _group_refusal(legs) or validation.check_format(state, parent)


def _leg_refusal(state: EngineState, account: Account, parent: NewOrder, leg: NewOrder) -> Reject | None:
    """A leg is judged on its own notional, and its trigger against where the parent may fill: mark, or the parent's
    better limit.
    """
    refused = validation.check_format(state, leg)
    if refused is not None:
        return refused
    market = state.markets[leg.coin]
    mark = market.mark_or_zero
    reference = min(mark, parent.limit_px) if parent.is_buy else max(mark, parent.limit_px)
    return (
        validation.check_notional(state.config, account, market, leg)
        or validation.check_trigger(market, leg, reference)
        or validation.check_open_orders(state, account, market, protects=True)
    )


def hindrance(state: EngineState, account: Account, order: Order) -> str | None:
    """The status with which a fired trigger that may open something is cancelled; ``None`` when it may go on."""
    refused = validation.check_opening(state, account, order)
    if refused is None:
        return None
    margin_codes = (RejectCode.PERP_MARGIN, RejectCode.PERP_MAX_POSITION)
    return "marginCanceled" if refused.code in margin_codes else "openInterestCapCanceled"


def oid_of(state: EngineState, user: str, cloid: str) -> int:
    """The newest oid of a cloid, or one that is no order's."""
    account = state.accounts.get(user)
    return _NO_OID if account is None else account.cloids.get(cloid, _NO_OID)


def cancel(state: EngineState, user: str, coin: str, oid: int) -> Answer:
    """Cancel an open order of that coin."""
    account = state.accounts.get(user)
    market = state.markets.get(coin)
    order = None if account is None else account.open_orders.get(oid)
    if account is None or market is None or order is None or order.coin != coin:
        return Rejected(Reject(code=RejectCode.MISSING_ORDER, asset=None if market is None else market.asset.index))
    lifecycle.close(state, account, order, "canceled")
    return Done()


def modify(state: EngineState, user: str, oid: int | str, new: NewOrder | Reject, *, always: bool) -> PlaceResult:
    """Cancel and place; see ``Exchange.modify``."""
    account = state.accounts.get(user)
    if account is None:
        return Rejected(Reject(code=RejectCode.MUST_DEPOSIT))
    old = account.open_orders.get(oid_of(state, user, oid) if isinstance(oid, str) else oid)
    if not always:
        if old is None:
            return Rejected(Reject(code=RejectCode.MODIFY_DEAD))
        if isinstance(new, Reject):
            return Rejected(new)
        if new.coin != old.coin or (state.config.restrict_modify and not _rests(state, new)):
            return Rejected(Reject(code=RejectCode.MODIFY_INVALID))
    if old is not None:
        lifecycle.close(state, account, old, "canceled")
    return _place_one(state, account, new, None if old is None else old.builder)


def _rests(state: EngineState, new: NewOrder) -> bool:
    market = state.markets.get(new.coin)
    if market is None or new.trigger is not None or new.tif in IMMEDIATE:
        return False
    return new.tif is Tif.ALO or not matching.would_cross(market, new.is_buy, new.limit_px)
