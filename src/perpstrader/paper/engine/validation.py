"""What the venue checks before an order may live, in the sequence of API sheet section 9."""

from __future__ import annotations

from perpstrader.paper.engine import interest, margin
from perpstrader.paper.engine.account import Account
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.config import EngineConfig
from perpstrader.paper.engine.matching import would_cross
from perpstrader.paper.engine.orders import IMMEDIATE, NewOrder, Order, Tif, Tpsl
from perpstrader.paper.engine.rejects import Reject, RejectCode
from perpstrader.paper.engine.state import EngineState

_PPM = 1_000_000


def check_format(state: EngineState, new: NewOrder, *, whole_position: bool = False) -> Reject | None:
    """What is wrong with the order by itself: coin, size, price and trigger ticks, value, and the 95 % band. No oid is
    given for these.
    """
    market = state.markets.get(new.coin)
    if market is None or market.asset.is_delisted:
        return Reject(code=RejectCode.UNKNOWN_ASSET)
    asset = market.asset
    if new.size < 0:
        return Reject(code=RejectCode.INVALID_SIZE, asset=asset.index)
    if new.size == 0 and not whole_position:
        return Reject(code=RejectCode.ZERO_SIZE, asset=asset.index)
    prices = (new.limit_px,) if new.trigger is None else (new.limit_px, new.trigger.trigger_px)
    for price in prices:
        if price <= 0:
            return Reject(code=RejectCode.INVALID_PRICE, asset=asset.index)
        if not asset.is_valid_price(price):
            return Reject(code=RejectCode.TICK, asset=asset.index)
    if market.halted or market.mark is None:
        return Reject(code=RejectCode.HALTED, asset=asset.index)
    if state.post_only and (new.trigger is not None or new.tif is not Tif.ALO):
        return Reject(code=RejectCode.POST_ONLY_WINDOW, asset=asset.index)
    if any(_is_off(price, market.mark, state.config.price_band) for price in prices):
        return Reject(code=RejectCode.PRICE_BAND, asset=asset.index)
    limit = _value_limit(state.config, asset.max_leverage, new)
    if new.limit_px * new.size > limit:
        return Reject(code=RejectCode.VALUE_TOO_LARGE, asset=asset.index, limit=limit, value=new.limit_px * new.size)
    return None


def _is_off(price: int, reference: int, band: int) -> bool:
    return abs(price - reference) * _PPM > reference * band


def _value_limit(config: EngineConfig, max_leverage: int, new: NewOrder) -> int:
    cap = next(cap for least, cap in config.max_market_notional if max_leverage >= least)
    is_market = new.tif in IMMEDIATE if new.trigger is None else new.trigger.is_market
    return cap if is_market else cap * 10


def check_trigger(market: Market, new: NewOrder, reference: int) -> Reject | None:
    """A trigger must lie ahead of ``reference`` (mark, or a parent's price), and its limit on the side to which it
    executes.

    The second holds for stops and for every market trigger; a take-profit **limit** may ask for a better price than its
    trigger.
    """
    trigger = new.trigger
    assert trigger is not None
    above = new.is_buy == (trigger.tpsl is Tpsl.SL)
    passed = reference >= trigger.trigger_px if above else reference <= trigger.trigger_px
    wrong_side = new.limit_px < trigger.trigger_px if new.is_buy else new.limit_px > trigger.trigger_px
    if passed or (wrong_side and (trigger.tpsl is Tpsl.SL or trigger.is_market)):
        return Reject(code=RejectCode.BAD_TRIGGER_PX, asset=market.asset.index)
    return None


def check_notional(config: EngineConfig, account: Account, market: Market, new: NewOrder) -> Reject | None:
    """At least 10 USD at the limit price, unless the order closes the whole position (API sheet 4); triggers are judged
    on their own p x s.
    """
    value = new.limit_px * new.size
    if value >= config.min_notional:
        return None
    held = account.size(new.coin)
    closes_all = (
        held != 0 and new.is_buy == (held < 0) and (new.size == abs(held) or (new.reduce_only and new.size > abs(held)))
    )
    if closes_all and new.trigger is None:
        return None
    return Reject(code=RejectCode.MIN_TRADE_NTL, asset=market.asset.index, limit=config.min_notional, value=value)


def check_reduce_only(account: Account, market: Market, new: NewOrder) -> Reject | None:
    """A reduce-only order needs a position on the other side."""
    held = account.size(new.coin)
    if held == 0 or new.is_buy == (held > 0):
        return Reject(code=RejectCode.REDUCE_ONLY, asset=market.asset.index)
    return None


def check_account(state: EngineState, account: Account, order: Order, new: NewOrder) -> Reject | None:
    """What depends on account and book, for an order that stands alone or is a parent; refusals get an oid."""
    market, config, index = order.market, state.config, order.market.asset.index
    assert market.mark is not None
    if not order.is_position_tpsl:
        refused = check_notional(config, account, market, new)
        if refused is not None:
            return refused
    if new.trigger is not None:
        refused = check_trigger(market, new, market.mark)
        if refused is not None:
            return refused
    if new.reduce_only and (new.trigger is None or config.reduce_only_trigger_needs_position):
        refused = check_reduce_only(account, market, new)
        if refused is not None:
            return refused
    if _is_off(new.limit_px, market.oracle or market.mark, config.oracle_band):
        return Reject(code=RejectCode.ORACLE, asset=index)
    refused = check_open_orders(state, account, market, protects=new.reduce_only or new.trigger is not None)
    if refused is not None or new.trigger is not None:
        return refused
    if not new.reduce_only:
        refused = check_opening(state, account, order)
        if refused is not None:
            return refused
    return _check_match(market, new)


def check_opening(state: EngineState, account: Account, order: Order) -> Reject | None:
    """What an order must have that may open something: margin, and room below the coin's open interest cap."""
    return check_margin(state, account, order) or interest.refusal(state, account, order)


def check_open_orders(state: EngineState, account: Account, market: Market, *, protects: bool) -> Reject | None:
    """The cap grows with volume, but reduce-only and trigger orders stop at the basic one: stops can be locked out (API
    sheet 4).
    """
    cap = state.config.open_order_cap if protects else account.order_cap()
    if len(account.open_orders) < cap:
        return None
    return Reject(
        code=RejectCode.TOO_MANY_OPEN_ORDERS, asset=market.asset.index, limit=cap, value=len(account.open_orders)
    )


def check_margin(state: EngineState, account: Account, order: Order) -> Reject | None:
    """The account must cover all positions, all resting orders and this one at its limit price, with its taker fee;
    what opens nothing is free.
    """
    market, asset = order.market, order.market.asset
    reserved = account.reserved(order)
    if reserved == account.reserved():
        return None
    after = abs(account.size(order.coin) + (order.size if order.is_buy else -order.size)) * market.mark_or_zero
    if margin.tier_at(after, asset.margin_tiers).max_leverage < account.leverage_of(market):
        return Reject(code=RejectCode.PERP_MAX_POSITION, asset=asset.index, value=after)
    fee = margin.fee(order.size * order.limit_px, account.fee_tier(state.now_ms).taker)
    needed = account.cross_margin() + reserved + fee
    value = account.cross_value()
    if value < needed:
        return Reject(code=RejectCode.PERP_MARGIN, asset=asset.index, limit=needed, value=value)
    return None


def _check_match(market: Market, new: NewOrder) -> Reject | None:
    index = market.asset.index
    if new.tif is Tif.ALO and would_cross(market, new.is_buy, new.limit_px):
        return Reject(code=RejectCode.BAD_ALO_PX, asset=index, bid=market.best(True), ask=market.best(False))
    if new.tif in IMMEDIATE and not would_cross(market, new.is_buy, new.limit_px):
        return nothing_matched(market, new.tif, new.is_buy)
    return None


def nothing_matched(market: Market, tif: Tif, is_buy: bool) -> Reject:
    """Why an immediate order found nothing: an empty side for a market order, else no price within its limit."""
    empty = market.best(not is_buy) is None
    code = RejectCode.MARKET_ORDER_NO_LIQUIDITY if empty or tif is Tif.FRONTEND_MARKET else RejectCode.IOC_CANCEL
    return Reject(code=code, asset=market.asset.index)
