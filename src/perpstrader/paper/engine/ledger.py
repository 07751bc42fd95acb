"""Cash in and out, and leverage."""

from __future__ import annotations

from perpstrader.domain.errors import MoneyError
from perpstrader.paper.engine import margin
from perpstrader.paper.engine.account import Account
from perpstrader.paper.engine.events import LedgerEvent
from perpstrader.paper.engine.orders import Answer, Done, Rejected
from perpstrader.paper.engine.rejects import Reject, RejectCode
from perpstrader.paper.engine.state import EngineState


def fund(state: EngineState, user: str, micro_usd: int) -> None:
    """Deposit a positive amount; the account is opened by its first deposit."""
    if micro_usd <= 0:
        raise MoneyError(f"A deposit of {micro_usd} micro-USD is not positive; fund an account with more than 0.")
    if user == state.config.liquidator:
        raise MoneyError(f"{user} is the liquidator's own address; fund another one.")
    account = state.accounts.get(user)
    if account is None:
        account = state.accounts[user] = Account(user, state.config)
    _move(state, account, micro_usd, "deposit")


def withdraw(state: EngineState, user: str, micro_usd: int) -> Answer:
    """Take out a positive amount, at most the withdrawable."""
    account = state.accounts.get(user)
    if account is None:
        return Rejected(Reject(code=RejectCode.MUST_DEPOSIT))
    free = withdrawable(account)
    if micro_usd <= 0 or micro_usd > free:
        return Rejected(Reject(code=RejectCode.INSUFFICIENT_WITHDRAWAL, limit=free, value=micro_usd))
    _move(state, account, -micro_usd, "withdraw")
    return Done()


def _move(state: EngineState, account: Account, micro_usd: int, kind: str) -> None:
    account.cash += micro_usd
    state.deposited += micro_usd
    account.version += 1
    entry = LedgerEvent(account.user, state.now_ms, kind, micro_usd)
    account.ledger.append(entry)
    state.events.append(entry)


def withdrawable(account: Account) -> int:
    """What may leave the account now."""
    notional = sum([margin.position_value(p.size, p.market.mark_or_zero) for p in account.positions.values()])
    return margin.withdrawable(account.value(), account.margin_used(), notional, account.reserved())


def update_leverage(state: EngineState, user: str, coin: str, leverage: int, *, is_cross: bool) -> Answer:
    """Set a coin's leverage; positions and resting orders must stay covered at the new one."""
    account, market = state.accounts.get(user), state.markets.get(coin)
    if account is None:
        return Rejected(Reject(code=RejectCode.MUST_DEPOSIT))
    if market is None:
        return Rejected(Reject(code=RejectCode.UNKNOWN_ASSET))
    asset = market.asset
    if not is_cross:
        return Rejected(Reject(code=RejectCode.ISOLATED_NOT_OFFERED, asset=asset.index))
    if not 1 <= leverage <= asset.max_leverage:
        return Rejected(
            Reject(code=RejectCode.INVALID_LEVERAGE, asset=asset.index, limit=asset.max_leverage, value=leverage)
        )
    before = account.leverage.get(coin)
    lowers = leverage < account.leverage_of(market)
    account.leverage[coin] = leverage
    value, needed = account.value(), account.margin_used() + account.reserved()
    if lowers and value < needed and (coin in account.positions or account.open_orders):
        if before is None:
            del account.leverage[coin]
        else:
            account.leverage[coin] = before
        return Rejected(Reject(code=RejectCode.PERP_MARGIN, asset=asset.index, limit=needed, value=value))
    account.version += 1
    return Done()
