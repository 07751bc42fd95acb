"""Sub-accounts: accounts of their own, with their master's fee tier, whom their master and its agents trade for."""

from __future__ import annotations

import hashlib
from typing import Final

from perpstrader.paper.engine import ledger
from perpstrader.paper.engine.account import Account
from perpstrader.paper.engine.events import AccountEvent
from perpstrader.paper.engine.orders import Answer, Done, Rejected
from perpstrader.paper.engine.rejects import Reject, RejectCode
from perpstrader.paper.engine.state import EngineState

MAX_NAME_LENGTH: Final = 16


def of(state: EngineState, master: str) -> list[Account]:
    """The sub-accounts of an account, the oldest first."""
    return [a for a in state.accounts.values() if a.master is not None and a.master.user == master]


def master_of(state: EngineState, user: str) -> str | None:
    """Whose sub-account it is; ``None`` for any other address."""
    account = state.accounts.get(user)
    return None if account is None or account.master is None else account.master.user


def create(state: EngineState, master: str, name: str) -> str | Rejected:
    """Open a sub-account: its address, which follows from the master's and the count."""
    account, config = state.accounts.get(master), state.config
    if account is None or account.master is not None:
        return Rejected(Reject(code=RejectCode.MUST_DEPOSIT))
    if account.volume < config.sub_account_min_volume:
        return Rejected(
            Reject(code=RejectCode.SUB_ACCOUNT_VOLUME, limit=config.sub_account_min_volume, value=account.volume)
        )
    family = of(state, master)
    if len(family) >= config.sub_account_cap:
        return Rejected(Reject(code=RejectCode.SUB_ACCOUNT_COUNT, limit=config.sub_account_cap, value=len(family)))
    if not _is_free(family, name):
        return Rejected(Reject(code=RejectCode.SUB_ACCOUNT_NAME))
    address = "0x" + hashlib.sha256(f"{master}/{len(family)}".encode()).hexdigest()[:40]
    state.accounts[address] = Account(address, config, master=account, name=name)
    state.events.extend((AccountEvent(address), AccountEvent(master)))
    return address


def rename(state: EngineState, master: str, user: str, name: str) -> Answer:
    """Give a sub-account another name."""
    family = of(state, master)
    account = next((a for a in family if a.user == user), None)
    if account is None:
        return Rejected(Reject(code=RejectCode.NOT_OWN_ACCOUNT))
    if not _is_free([a for a in family if a is not account], name):
        return Rejected(Reject(code=RejectCode.SUB_ACCOUNT_NAME))
    account.name = name
    state.events.append(AccountEvent(user))
    return Done()


def _is_free(family: list[Account], name: str) -> bool:
    return 0 < len(name) <= MAX_NAME_LENGTH and all(a.name != name for a in family)


def transfer(state: EngineState, master: str, user: str, micro_usd: int, *, deposit: bool) -> Answer:
    """Move money from the master to its sub-account, or back."""
    if master_of(state, user) != master:
        return Rejected(Reject(code=RejectCode.NOT_OWN_ACCOUNT))
    sender, receiver = (master, user) if deposit else (user, master)
    return ledger.transfer(state, sender, receiver, micro_usd, "subAccountTransfer")
