"""A coin's leverage and margin mode, and the margin of isolated positions (API sheet 7.2)."""

from __future__ import annotations

from perpstrader.paper.engine import margin
from perpstrader.paper.engine.account import Account, Position
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.events import AccountEvent
from perpstrader.paper.engine.ledger import withdrawable
from perpstrader.paper.engine.orders import Answer, Done, Rejected
from perpstrader.paper.engine.rejects import Reject, RejectCode
from perpstrader.paper.engine.state import EngineState


def update_leverage(state: EngineState, user: str, coin: str, leverage: int, *, is_cross: bool) -> Answer:
    """Set leverage and mode; positions and resting orders must stay covered, and no position changes its mode.

    An isolated position whose leverage is lowered is topped up from cross margin to what the new one asks for.
    """
    account, market = state.accounts.get(user), state.markets.get(coin)
    if account is None:
        return Rejected(Reject(code=RejectCode.MUST_DEPOSIT))
    if market is None:
        return Rejected(Reject(code=RejectCode.UNKNOWN_ASSET))
    refused = _refusal(account, market, leverage, is_cross=is_cross)
    if refused is not None:
        return Rejected(refused)
    before = account.leverage.get(coin)
    lowers = leverage < account.leverage_of(market)
    account.leverage[coin] = leverage
    position = account.positions.get(coin)
    missing = 0
    if position is not None and position.is_isolated and lowers:
        missing = max(margin.margin_used(position.notional, leverage) - position.equity, 0)
    if lowers and account.free() < missing and (coin in account.positions or account.open_orders):
        if before is None:
            del account.leverage[coin]
        else:
            account.leverage[coin] = before
        return Rejected(Reject(code=RejectCode.PERP_MARGIN, asset=market.asset.index, limit=missing))
    if position is not None and missing:
        _move(account, position, missing)
    account.isolated[coin] = not is_cross
    _changed(state, account)
    return Done()


def _refusal(account: Account, market: Market, leverage: int, *, is_cross: bool) -> Reject | None:
    asset, position = market.asset, account.positions.get(market.asset.coin)
    if is_cross and asset.is_isolated_only:
        return Reject(code=RejectCode.NO_CROSS, asset=asset.index)
    most = (
        asset.max_leverage if position is None else margin.tier_at(position.notional, asset.margin_tiers).max_leverage
    )
    if not 1 <= leverage <= most:
        return Reject(code=RejectCode.INVALID_LEVERAGE, asset=asset.index, limit=most, value=leverage)
    if position is not None and position.is_isolated == is_cross:
        return Reject(code=RejectCode.LEVERAGE_SWITCH, asset=asset.index)
    return None


def update_isolated_margin(state: EngineState, user: str, coin: str, micro_usd: int) -> Answer:
    """Move margin into an isolated position, or out of it (negative): what stays must be the larger of its initial
    margin and a tenth of its notional; of a ``strictIsolated`` coin nothing leaves.
    """
    account = state.accounts.get(user)
    if account is None:
        return Rejected(Reject(code=RejectCode.MUST_DEPOSIT))
    position = account.positions.get(coin)
    if position is None or not position.is_isolated:
        return Rejected(Reject(code=RejectCode.NOT_ISOLATED))
    if micro_usd >= 0:
        free = withdrawable(account)
        if micro_usd > free:
            return Rejected(Reject(code=RejectCode.ISOLATED_FUNDS, limit=free, value=micro_usd))
    else:
        asset, notional = position.market.asset, position.notional
        needed = max(margin.margin_used(notional, account.leverage_of(position.market)), notional // 10)
        free = 0 if asset.margin_mode == "strictIsolated" else max(position.equity - needed, 0)
        if -micro_usd > free:
            return Rejected(Reject(code=RejectCode.ISOLATED_REMOVAL, limit=free, value=-micro_usd))
    _move(account, position, micro_usd)
    _changed(state, account)
    return Done()


def top_up(state: EngineState, user: str, coin: str, leverage_milli: int) -> Answer:
    """Add as much margin as brings an isolated position down to a leverage (in thousandths); one that is there needs
    none.
    """
    account = state.accounts.get(user)
    position = None if account is None else account.positions.get(coin)
    if position is None or not position.is_isolated or leverage_milli <= 0:
        code = RejectCode.NOT_ISOLATED if leverage_milli > 0 else RejectCode.INVALID_LEVERAGE
        return Rejected(Reject(code=code))
    wanted = -(-position.notional * 1_000 // leverage_milli)
    return update_isolated_margin(state, user, coin, max(wanted - position.equity, 0))


def _move(account: Account, position: Position, micro_usd: int) -> None:
    account.cash -= micro_usd
    position.raw_usd += micro_usd


def _changed(state: EngineState, account: Account) -> None:
    account.version += 1
    state.events.append(AccountEvent(account.user))
