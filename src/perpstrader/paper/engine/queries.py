"""The views of the exchange: what its info endpoint may tell."""

from __future__ import annotations

from perpstrader.paper.engine import funding as rates
from perpstrader.paper.engine import interest, margin
from perpstrader.paper.engine.account import Account, Position
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.events import Fill, FundingEvent, LedgerEvent
from perpstrader.paper.engine.ledger import withdrawable
from perpstrader.paper.engine.orders import OrderStatus, OrderView
from perpstrader.paper.engine.state import EngineState
from perpstrader.paper.engine.views import AccountView, AssetAccountView, BookLevel, BookView, MarketState, PositionView


def account_state(state: EngineState, user: str) -> AccountView:
    """The account at mark; that of an unknown user is empty."""
    account = state.accounts.get(user) or Account(user, state.config)
    cross_value, maintenance = account.cross_value(), account.maintenance()
    return AccountView(
        user=user,
        time_ms=state.now_ms,
        version=account.version,
        account_value=account.value(),
        total_notional=sum([p.notional for p in account.positions.values()]),
        total_raw_usd=account.raw_usd(),
        total_margin_used=account.margin_used(),
        cross_value=cross_value,
        cross_notional=sum([p.notional for p in account.cross_positions()]),
        cross_raw_usd=account.cash,
        cross_margin_used=account.cross_margin(),
        maintenance_margin=maintenance,
        withdrawable=withdrawable(account),
        positions=tuple([_position(account, p, cross_value - maintenance) for p in account.positions.values()]),
    )


def _position(account: Account, position: Position, cross_available: int) -> PositionView:
    available = position.equity - position.maintenance if position.is_isolated else cross_available
    market, size, entry = position.market, position.size, position.entry_notional
    asset, mark = market.asset, market.mark_or_zero
    leverage = account.leverage_of(market)
    value = margin.position_value(size, mark)
    pnl = margin.unrealized_pnl(size, entry, mark)
    return PositionView(
        coin=asset.coin,
        size=size,
        leverage=leverage,
        entry_px=margin.entry_price(size, entry),
        position_value=value,
        unrealized_pnl=pnl,
        return_on_equity=margin.return_on_equity(pnl, entry, leverage),
        liquidation_px=margin.liquidation_price(
            size, mark, available, asset.margin_tiers, price_decimals=asset.price_decimals
        ),
        margin_used=position.equity if position.is_isolated else margin.margin_used(value, leverage),
        max_leverage=asset.max_leverage,
        funding_all_time=account.funding_all_time.get(asset.coin, 0),
        funding_since_open=position.funding_since_open,
        funding_since_change=position.funding_since_change,
        raw_usd=position.raw_usd if position.is_isolated else None,
    )


def asset_account(state: EngineState, user: str, coin: str) -> AssetAccountView:
    """Leverage and room to trade: free margin times leverage at mark; on the closing side the position twice over."""
    account = state.accounts.get(user) or Account(user, state.config)
    market = state.markets[coin]
    leverage, mark, held = account.leverage_of(market), market.mark_or_zero, account.size(coin)
    free = max(account.free(), 0)
    position = account.positions.get(coin)
    isolated = position is not None and position.is_isolated
    own = max(position.equity, 0) if position and isolated else margin.margin_used(abs(held) * mark, leverage)
    buy, sell = (free + 2 * own if held < 0 else free), (free + 2 * own if held > 0 else free)
    sizes = (buy * leverage // mark, sell * leverage // mark) if mark else (0, 0)
    return AssetAccountView(
        coin=coin, leverage=leverage, is_isolated=account.is_isolated(market), max_trade_sizes=sizes,
        available_to_trade=(buy, sell), mark=market.mark,
    )  # fmt: skip


def is_empty(state: EngineState, user: str) -> bool:
    """Neither money nor positions, in the account or its sub-accounts."""
    account = state.accounts.get(user)
    if account is None or (account.cash <= 0 and not account.positions):
        return not any(a.cash > 0 or a.positions for a in state.accounts.values() if a.master is account)
    return False


def open_orders(state: EngineState, user: str) -> tuple[OrderView, ...]:
    """All live orders as they are now, oldest first."""
    account = state.accounts.get(user)
    return () if account is None else tuple([order.view() for order in account.open_orders.values()])


def order_by_oid(state: EngineState, user: str, oid: int) -> OrderStatus | None:
    """The record as of its last change of status."""
    account = state.accounts.get(user)
    order = None if account is None else account.records.get(oid)
    if order is None or order.view_at_status is None:
        return None
    return OrderStatus(order.view_at_status, order.status, order.status_ms)


def historical_orders(state: EngineState, user: str) -> tuple[OrderStatus, ...]:
    """Changes of status, newest first."""
    account = state.accounts.get(user)
    return () if account is None else tuple(reversed(account.history))


def fills(state: EngineState, user: str) -> tuple[Fill, ...]:
    """Fills, oldest first."""
    account = state.accounts.get(user)
    return () if account is None else tuple(account.fills)


def funding(state: EngineState, user: str) -> tuple[FundingEvent, ...]:
    """Funding payments, oldest first."""
    account = state.accounts.get(user)
    return () if account is None else tuple(account.funding)


def ledger(state: EngineState, user: str) -> tuple[LedgerEvent, ...]:
    """Cash flows and liquidations, oldest first."""
    account = state.accounts.get(user)
    return () if account is None else tuple(account.ledger)


def fee_rates(state: EngineState, user: str) -> tuple[int, int]:
    """(taker, maker) in 1e-9."""
    tier = (state.accounts.get(user) or Account(user, state.config)).fee_tier(state.now_ms)
    return tier.taker, tier.maker


def book(state: EngineState, coin: str, depth: int) -> BookView:
    """The merged book."""
    market = state.markets[coin]
    return BookView(coin, market.time_ms, market.depth(True, depth), market.depth(False, depth))


def top(state: EngineState, coin: str) -> tuple[BookLevel | None, BookLevel | None]:
    """The best level of each side, without building the whole book where no account rests in it."""
    here = state.markets[coin]
    return _best(here, True), _best(here, False)


def _best(here: Market, bids: bool) -> BookLevel | None:
    if here.resting(bids):
        return next(iter(here.depth(bids, 1)), None)
    level = here.best_feed(bids)
    if level is None:
        return None
    _, taken = here.feed(bids)
    return BookLevel(level.price, level.size - taken.get(level.price, 0), 1)


def market(state: EngineState, coin: str) -> MarketState:
    """Prices and funding of a coin."""
    here = state.markets[coin]
    bid, ask = here.best(True), here.best(False)
    impact_bid, impact_ask = here.impact(True), here.impact(False)
    return MarketState(
        coin=coin,
        time_ms=here.time_ms,
        mark=here.mark,
        oracle=here.oracle,
        last=here.last,
        mid_twice=None if bid is None or ask is None else bid + ask,
        impact_bid=impact_bid,
        impact_ask=impact_ask,
        premium=rates.shown_premium(impact_bid, impact_ask, here.oracle),
        funding_rate=rates.current_rate(here, state.config.funding_cap),
        open_interest=interest.open_interest(here),
        halted=here.halted,
    )


def net_position_sign(state: EngineState, coin: str) -> int:
    """The sign of the accounts' sum."""
    net = sum([account.size(coin) for account in state.markets[coin].holders.values()])
    return (net > 0) - (net < 0)


def imbalance(state: EngineState) -> int:
    """All money at mark less what was deposited: 0 by the conservation law of ``EngineState``."""
    held = sum([account.value() for account in state.accounts.values()]) + state.liquidator.value()
    outside = sum([m.outside_cash + m.outside_size * m.mark_or_zero for m in state.markets.values()])
    return held + outside + state.house_cash - state.deposited


def open_interest_imbalance(state: EngineState, coin: str) -> int:
    """The sum of all signed positions in a coin: 0, as every trade has two sides."""
    held = sum([account.size(coin) for account in state.accounts.values()])
    return held + state.liquidator.size(coin) + state.markets[coin].outside_size
