"""What can be seen and done while no trader runs: its ``state.db``, under the account's lock."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from decimal import Context
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from perpstrader.cli.control import LOCK_FILE
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.domain import HaltKind, Order, plain
from perpstrader.domain.risk_state import Halt
from perpstrader.execution.bookkeeping import restored_holdings
from perpstrader.execution.positions import Holding
from perpstrader.risk import RiskKeeper
from perpstrader.runtime import AccountLock, InlineExecutor, SystemClock
from perpstrader.settings import RiskSettings
from perpstrader.state import StateStore, Transaction, owner_of
from perpstrader.trader.status import HaltRow

T = TypeVar("T")
_SHOWN: Final = Context(prec=7)


class StoredPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position as the fills that are on disk add up to it; the venue may know better."""

    symbol: str
    side: str
    size: str
    entry_price: str
    stop_price: str
    owner: str
    episode: str
    opened_ms: int


class StoredOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was live when the trader ended."""

    symbol: str
    purpose: str
    side: str
    size: str
    filled: str
    limit_price: str
    status: str
    cloid: str


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """The last state on disk; ``running`` is always False."""

    running: bool
    account: str
    network: str
    halts: tuple[HaltRow, ...]
    positions: tuple[StoredPosition, ...]
    orders: tuple[StoredOrder, ...]


class StoredBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker as the last trader left it; one that never opened is not among them."""

    name: str
    state: str
    since_ms: int
    text: str


def breakers(data_dir: Path) -> tuple[StoredBreaker, ...]:
    """The breakers on disk."""

    async def look(store: StateStore, account: str, network: str) -> tuple[StoredBreaker, ...]:
        rows = await store.read(lambda tx: tx.breakers.all())
        return tuple(
            StoredBreaker(
                name=row.name, state=row.state.value, since_ms=row.since_ms,
                text=f"{row.actor}: {row.reason}" if row.actor else row.failure,
            )
            for row in rows
        )  # fmt: skip

    return _with_store(data_dir, look)


def stored(data_dir: Path) -> Stored:
    """The last state on disk."""

    async def look(store: StateStore, account: str, network: str) -> Stored:
        def read(tx: Transaction) -> Stored:
            symbols = [episode.symbol for episode in tx.episodes.active()]
            return Stored(
                running=False, account=account, network=network, halts=tuple(_halt(h) for h in tx.halts.active()),
                positions=tuple(_position(h) for h in restored_holdings(tx, symbols) if h.size),
                orders=tuple(_order(order) for order in tx.intents.live_orders()),
            )  # fmt: skip

        return await store.read(read)

    return _with_store(data_dir, look)


def halt(data_dir: Path, reason: str, actor: str) -> str:
    """Entries stay halted at the next start; on disk when this returns (S40)."""

    async def write(store: StateStore, account: str, network: str) -> str:
        keeper = _keeper(store)
        await keeper.load()
        await keeper.halt(HaltKind.OPERATOR, reason, actor)
        return "entries are halted from the next start on; positions keep the stops that the venue holds"

    return _with_store(data_dir, write)


def resume(data_dir: Path, reason: str, actor: str) -> tuple[bool, str]:
    """Release what an operator may release; whether nothing is left, and what was done."""

    async def write(store: StateStore, account: str, network: str) -> tuple[bool, str]:
        keeper = _keeper(store)
        await keeper.load()
        released = ", ".join(halt.kind.value for halt in await keeper.resume(actor, reason)) or "nothing"
        left = ", ".join(f"{halt.kind.value}: {halt.reason}" for halt in keeper.state.halts)
        return not left, f"released {released}" + (f"; still halted ({left})" if left else "; the next start may trade")

    return _with_store(data_dir, write)


def _keeper(store: StateStore) -> RiskKeeper:
    """What halts and releases; the limits do not matter to either, and nothing is left to write later."""
    return RiskKeeper(RiskSettings(), store, SystemClock(), persist=lambda write: None)


def _with_store(data_dir: Path, work: Callable[[StateStore, str, str], Awaitable[T]]) -> T:
    path = data_dir / "state.db"
    if not path.exists():
        raise CliError(
            f"no trader runs with {data_dir}, and none ever did: start one with `perpstrader run`, or name another "
            "--data-dir", ExitCode.UNREACHABLE,
        )  # fmt: skip
    account, network = owner_of(path)

    async def main() -> T:
        async with await StateStore.open(
            path, executor=InlineExecutor(), account=account, network=network, new_epoch=lambda: secrets.randbits(64)
        ) as store:
            return await work(store, account, network)

    with AccountLock(data_dir / LOCK_FILE, account):
        return asyncio.run(main())


def _halt(halt: Halt) -> HaltRow:
    return HaltRow(
        kind=halt.kind.value, since_ms=halt.since_ms, until_ms=halt.until_ms, reason=halt.reason, actor=halt.actor
    )


def _position(holding: Holding) -> StoredPosition:
    stop = holding.plan.stop_price
    return StoredPosition(
        symbol=holding.symbol, side=holding.side.value, size=plain(abs(holding.size)),
        entry_price=plain(_SHOWN.plus(holding.entry_price)),
        stop_price=plain(stop) if stop is not None else "", owner=holding.owner, episode=holding.episode,
        opened_ms=holding.opened_ms,
    )  # fmt: skip


def _order(order: Order) -> StoredOrder:
    intent = order.intent
    return StoredOrder(
        symbol=intent.symbol, purpose=intent.purpose.value, side="buy" if intent.buy else "sell",
        size=plain(intent.size), filled=plain(order.filled), limit_price=plain(intent.limit_price),
        status=order.status.value, cloid=order.cloid,
    )  # fmt: skip
