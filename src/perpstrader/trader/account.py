"""The account that a trader starts on: who signs, for whom, and where its own history begins."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from perpstrader.domain import PerpsTraderError, UnsafeError, dec
from perpstrader.execution import Books
from perpstrader.execution.execution import FLOOR_KEY
from perpstrader.settings import Settings
from perpstrader.state import StateStore, Transaction
from perpstrader.venue.contract import HyperliquidClient
from perpstrader.venue.signer import Signer

_BASIS_KEY: Final = "basis_usd"
KEY_FILE: Final = "paper-key"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The key that signs and the account that is traded; the key is not shown by ``repr``."""

    private_key: str
    account: str

    def __repr__(self) -> str:
        return f"Identity(account={self.account})"


def paper_key(data_dir: Path, new_key: Callable[[], str]) -> str:
    """The paper account's key: the one in the data directory, made there at the first start (mode 0600)."""
    path = data_dir / KEY_FILE
    if path.exists():
        return path.read_text().strip()
    data_dir.mkdir(parents=True, exist_ok=True)
    key = new_key()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(key + "\n")
    return key


def real_key(settings: Settings) -> str:
    """The agent's key for testnet or mainnet, from the settings; raises where there is none."""
    key = settings.venue.private_key
    if key is None:
        raise PerpsTraderError(
            f"{settings.venue.network} needs a key: set PERPSTRADER_PRIVATE_KEY or venue.key_file (mode 0600)"
        )
    return key.get_secret_value()


def named_account(settings: Settings) -> str | None:
    """The account that the settings are for; ``None`` where a paper key in the data directory says it."""
    if settings.venue.network == "paper" and settings.venue.private_key is None:
        return None
    signer = Signer(real_key(settings), mainnet=settings.venue.is_mainnet).address
    return (settings.venue.vault_address or settings.venue.account_address or signer).lower()


async def check_signer(client: HyperliquidClient, signer: str, settings: Settings) -> None:
    """Refuse a signer that may not trade this account, and a master key on mainnet (S72)."""
    account = client.account_address
    if signer == account:
        if settings.venue.is_mainnet:
            raise UnsafeError(
                "the key is the account's own; on mainnet only an agent's key is taken: approve one and use that"
            )
        return
    role, master = await client.role(signer)
    owner = (settings.venue.vault_address and settings.venue.account_address) or account
    if role != "agent" or master not in (account, owner):
        raise UnsafeError(
            f"the key's address {signer} is {role!r} at the venue and no agent of {account}; "
            "approve it there or use another key"
        )


async def open_books(store: StateStore, client: HyperliquidClient) -> Books:
    """The ledger's sums; at the first start the venue's cash basis and time are where this store's history begins."""
    saved = await store.read(_read_books)
    if saved is not None:
        return saved
    state = await client.account()
    basis, floor = state.cash_basis_usd, state.time_ms + 1

    def begin(tx: Transaction) -> None:
        tx.meta.put_text(_BASIS_KEY, f"{basis:f}")
        tx.meta.put_int(FLOOR_KEY, floor)

    await store.transact(begin)
    return Books(basis_usd=basis, rows=2 * len(state.positions))


def _read_books(tx: Transaction) -> Books | None:
    basis = tx.meta.get_text(_BASIS_KEY)
    if basis is None:
        return None
    totals = tx.ledger.totals()
    return Books(
        basis_usd=dec(basis), gross_usd=totals.gross_usd, fees_usd=totals.fees_usd, funding_usd=totals.funding_usd,
        cash_flows_usd=totals.cash_flows_usd, rows=2 * totals.rows,
    )  # fmt: skip


def lock_files(settings: Settings, account: str) -> tuple[Path, ...]:
    """Held while a trader runs (S75): its data directory's, and where the exchange is another process one of the
    account's in the home directory, because two data directories may name one account there.
    """
    own = settings.data_dir / "lock"
    if settings.venue.url is None:
        return (own,)
    return own, Path.home() / ".perpstrader" / "locks" / f"{settings.venue.network}-{account}"
