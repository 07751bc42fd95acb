"""Cash in, out and between accounts; and what money buys."""

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


def transfer(state: EngineState, sender: str, receiver: str, micro_usd: int, kind: str) -> Answer:
    """Move a positive amount between two accounts, at most the sender's withdrawable; the receiver is opened if new."""
    source = state.accounts.get(sender)
    if source is None:
        return Rejected(Reject(code=RejectCode.MUST_DEPOSIT))
    free = withdrawable(source)
    if receiver in (sender, state.config.liquidator) or not 0 < micro_usd <= free:
        return Rejected(Reject(code=RejectCode.INSUFFICIENT_WITHDRAWAL, limit=free, value=micro_usd))
    target = state.accounts.get(receiver)
    if target is None:
        target = state.accounts[receiver] = Account(receiver, state.config)
    _move(state, source, -micro_usd, kind, receiver)
    _move(state, target, micro_usd, kind, sender)
    return Done()


def reserve_weight(state: EngineState, user: str, weight: int) -> Answer:
    """Buy request weight for the account, at 0.0005 USD each (API sheet 5.2)."""
    account = state.accounts.get(user)
    if account is None:
        return Rejected(Reject(code=RejectCode.MUST_DEPOSIT))
    cost, free = weight * state.config.request_weight_price, withdrawable(account)
    if not 0 < cost <= free:
        return Rejected(Reject(code=RejectCode.INSUFFICIENT_WITHDRAWAL, limit=free, value=cost))
    account.reserved_weight += weight
    _move(state, account, -cost, "reserveRequestWeight")
    state.house_cash += cost
    state.deposited += cost
    return Done()


def _move(state: EngineState, account: Account, micro_usd: int, kind: str, counterparty: str | None = None) -> None:
    account.cash += micro_usd
    state.deposited += micro_usd
    account.version += 1
    entry = LedgerEvent(account.user, state.now_ms, kind, micro_usd, counterparty=counterparty)
    account.ledger.append(entry)
    state.events.append(entry)


def withdrawable(account: Account) -> int:
    """What may leave the account now: of its cross margin, what neither positions nor resting orders need."""
    notional = sum([p.notional for p in account.cross_positions()])
    return margin.withdrawable(account.cross_value(), account.cross_margin(), notional, account.reserved())
