"""Matching by price and time: an order that takes, orders that rest and are met by the outside market, and the booking
of each trade.
"""

from __future__ import annotations

from collections.abc import Sequence

from perpstrader.paper.engine import interest, lifecycle, margin
from perpstrader.paper.engine.account import Account
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.events import Fill, FillEvent, FillLiquidation, TradeEvent
from perpstrader.paper.engine.market import Level, TradePrint
from perpstrader.paper.engine.orders import Order, Where
from perpstrader.paper.engine.state import EngineState


def would_cross(market: Market, is_buy: bool, limit_px: int) -> bool:
    """Whether an order at this price would meet something in the book now."""
    return market.would_cross(is_buy, limit_px)


def take(
    state: EngineState, account: Account, order: Order, *, offset: int = 0, liquidation: FillLiquidation | None = None
) -> None:
    """Let ``order`` take what its limit allows: outside levels first at an equal price (they count as older), makers'
    prices throughout.

    ``offset`` moves the outside levels, rounded against the taker to a tick. A taker's own resting order in the way is
    cancelled, and so is a maker that lacks margin. Afterwards ``order.size`` is what nobody took.
    """
    market, is_buy = order.market, order.is_buy
    sign = 1 if is_buy else -1
    levels, taken = market.feed(not is_buy)
    makers = market.resting(not is_buy)
    index = 0
    while order.size > 0:
        while index < len(levels) and levels[index].size <= taken.get(levels[index].price, 0):
            index += 1
        level = levels[index] if index < len(levels) else None
        level_px = None if level is None else _shifted(market, level, offset, is_buy)
        maker = makers[0] if makers else None
        if level is not None and level_px is not None and (maker is None or (level_px - maker.limit_px) * sign <= 0):
            if (level_px - order.limit_px) * sign > 0:
                return
            quantity = min(order.size, level.size - taken.get(level.price, 0))
            taken[level.price] = taken.get(level.price, 0) + quantity
            _trade(state, market, level_px, quantity, order, None, liquidation)
            continue
        if maker is None or (maker.limit_px - order.limit_px) * sign > 0:
            return
        owner = state.account(maker.user)
        quantity = min(order.size, maker.size)
        if owner is account:
            lifecycle.close(state, owner, maker, "selfTradeCanceled")
        elif (hindrance := _hindrance(state, owner, maker, quantity)) is not None:
            lifecycle.close(state, owner, maker, hindrance)
        else:
            _trade(state, market, maker.limit_px, quantity, order, maker, liquidation)


def _shifted(market: Market, level: Level, offset: int, up: bool) -> int:
    return level.price if offset == 0 else market.asset.round_price(level.price + offset, up=up)


def _hindrance(state: EngineState, owner: Account, maker: Order, quantity: int) -> str | None:
    """The status with which a resting order is cancelled at its match; ``None`` when it may fill."""
    fee = margin.fee(maker.limit_px * quantity, owner.fee_tier(state.now_ms).maker, state.config.fee_discount)
    if not owner.can_carry(maker.market, quantity if maker.is_buy else -quantity, maker.limit_px, fee):
        return "marginCanceled"
    return "openInterestCapCanceled" if interest.stops(state, owner, maker, quantity) else None


def fill_resting(state: EngineState, market: Market, prints: Sequence[TradePrint]) -> None:
    """Fill what rests, at its own price: by trades of the outside market, then by an outside book that crosses it."""
    for is_buy in (True, False):
        if not market.resting(is_buy):
            continue
        for trade in prints:
            _fill_printed(state, market, trade, is_buy)
        _fill_crossed(state, market, is_buy)


def _fill_printed(state: EngineState, market: Market, trade: TradePrint, is_buy: bool) -> None:
    """A trade through an order's price fills it up to the trade's size; one at its price first drains the queue that
    stood before it.
    """
    sign = 1 if is_buy else -1
    left, drained = trade.size, 0
    for order in tuple(market.resting(is_buy)):
        if order.where is not Where.RESTING:
            continue
        distance = (order.limit_px - trade.price) * sign
        if distance < 0 or (distance == 0 and trade.buy == is_buy):
            return
        if distance == 0:
            ahead = max(order.queue_ahead - drained, 0)
            passed = min(ahead, left)
            order.queue_ahead = ahead - passed
            drained += passed
            left -= passed
        quantity = min(left, order.size)
        if quantity > 0 and _fill_maker(state, market, order, quantity):
            left -= quantity


def _fill_crossed(state: EngineState, market: Market, is_buy: bool) -> None:
    sign = 1 if is_buy else -1
    orders = market.resting(is_buy)
    _, taken = market.feed(not is_buy)
    while orders:
        order = orders[0]
        level = market.best_feed(not is_buy)
        if level is None or (level.price - order.limit_px) * sign > 0:
            return
        quantity = min(order.size, level.size - taken.get(level.price, 0))
        if _fill_maker(state, market, order, quantity):
            taken[level.price] = taken.get(level.price, 0) + quantity


def _fill_maker(state: EngineState, market: Market, order: Order, quantity: int) -> bool:
    """Fill a resting order from outside, or cancel it where margin or open interest hinders it; whether it filled."""
    owner = state.account(order.user)
    hindrance = _hindrance(state, owner, order, quantity)
    if hindrance is not None:
        lifecycle.close(state, owner, order, hindrance)
        return False
    _trade(state, market, order.limit_px, quantity, None, order, None)
    return True


def _trade(
    state: EngineState,
    market: Market,
    px: int,
    quantity: int,
    taker: Order | None,
    maker: Order | None,
    liquidation: FillLiquidation | None,
) -> None:
    """Book one trade on both sides; ``None`` is the outside market. Then orders and positions follow."""
    tid = state.next_tid()
    if taker is not None:
        if taker.status == "":
            lifecycle.announce(state, state.account(taker.user), taker, "open")
        _book(state, taker, px, quantity, tid, liquidation, crossed=True)
        market.last = px
    if maker is not None:
        _book(state, maker, px, quantity, tid, liquidation, crossed=False)
    aggressor_buys = taker.is_buy if taker is not None else maker is not None and not maker.is_buy
    if taker is None or maker is None:
        outside_buys = not aggressor_buys if taker is not None else aggressor_buys
        signed = quantity if outside_buys else -quantity
        market.outside_size += signed
        market.outside_cash -= signed * px
    taker_user = None if taker is None else taker.user
    maker_user = None if maker is None else maker.user
    buyer, seller = (taker_user, maker_user) if aggressor_buys else (maker_user, taker_user)
    state.events.append(TradeEvent(market.asset.coin, px, quantity, aggressor_buys, state.now_ms, tid, buyer, seller))
    if maker is not None:
        owner = state.account(maker.user)
        if maker.size == 0:
            lifecycle.close(state, owner, maker, "filled")
        lifecycle.follow_position(state, owner, market)
    if taker is not None:
        lifecycle.follow_position(state, state.account(taker.user), market)


def _book(
    state: EngineState,
    order: Order,
    px: int,
    quantity: int,
    tid: int,
    liquidation: FillLiquidation | None,
    *,
    crossed: bool,
) -> None:
    account, market = state.account(order.user), order.market
    notional = px * quantity
    tier = account.fee_tier(state.now_ms)
    extra = 0 if order.builder is None else margin.builder_fee(notional, order.builder.fee)
    fee = margin.fee(notional, tier.taker if crossed else tier.maker, state.config.fee_discount) + extra
    before, pnl = account.trade(market, quantity if order.is_buy else -quantity, px, fee)
    state.house_cash += fee
    account.add_volume(notional, state.now_ms, crossed=crossed)
    account.version += 1
    order.size -= quantity
    order.filled += quantity
    order.filled_notional += notional
    fill = Fill(
        coin=order.coin,
        px=px,
        size=quantity,
        is_buy=order.is_buy,
        time_ms=state.now_ms,
        start_position=before,
        dir=direction(before, quantity if order.is_buy else -quantity),
        closed_pnl=pnl,
        oid=order.oid,
        cloid=order.cloid,
        crossed=crossed,
        fee=fee,
        builder_fee=extra,
        tid=tid,
        action=state.action if crossed and liquidation is None else 0,
        liquidation=liquidation,
        twap_id=order.twap_id,
    )
    account.fills.append(fill)
    state.events.append(FillEvent(order.user, fill))


def direction(before: int, signed: int) -> str:
    """The venue's ``dir`` of a fill, from the position before it and the signed size."""
    after = before + signed
    if before == 0 or before * signed > 0:
        return "Open Long" if signed > 0 else "Open Short"
    if before * after < 0:
        return "Long > Short" if before > 0 else "Short > Long"
    return "Close Long" if before > 0 else "Close Short"
