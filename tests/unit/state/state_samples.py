"""Stores, orders, fills and hypothesis strategies that the tests of the state room share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st

from perpstrader.domain import (
    Fill,
    Halt,
    HaltKind,
    Order,
    OrderIntent,
    OrderStatus,
    Purpose,
    Side,
    TimeInForce,
    Trigger,
    make_cloid,
)
from perpstrader.runtime.executor import Executor, InlineExecutor
from perpstrader.state import StateStore, Transaction

T = TypeVar("T")
ACCOUNT = "0x00000000000000000000000000000000000000aa"
NETWORK = "paper"


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine on a loop of its own."""
    return asyncio.run(work)


def epochs(first: int = 7) -> Callable[[], int]:
    """Epochs that tell how often one was drawn: first, first + 1, ..."""
    return count(first).__next__


async def opened(
    path: Path | None = None,
    *,
    new_epoch: Callable[[], int] | None = None,
    executor: Executor | None = None,
    **changes: Any,
) -> StateStore:
    """A store of the usual account."""
    given: dict[str, Any] = {"account": ACCOUNT, "network": NETWORK, **changes}
    return await StateStore.open(path, executor=executor or InlineExecutor(), new_epoch=new_epoch or epochs(), **given)


def in_memory(work: Callable[[Transaction], T]) -> T:
    """What ``work`` gives in one transaction of a fresh store."""

    async def go() -> T:
        async with await opened() as store:
            return await store.transact(work)

    return run(go())


def intent(number: int = 1, **changes: Any) -> OrderIntent:
    """An entry to buy a little BTC."""
    given: dict[str, Any] = {
        "number": number, "purpose": Purpose.ENTRY, "symbol": "BTC", "side": Side.LONG, "buy": True,
        "size": Decimal("0.001"),
        "limit_price": Decimal("100000"), "tif": TimeInForce.IOC, "reduce_only": False, "strategy": "trend",
        "created_ms": 1_000,
        **changes,
    }  # fmt: skip
    return OrderIntent(**given)


def order(of: OrderIntent, attempt: int = 0, **changes: Any) -> Order:
    """An attempt that waits for its answer."""
    given: dict[str, Any] = {"status": OrderStatus.PENDING, "sent_ms": 1_001, **changes}
    return Order(intent=of, attempt=attempt, cloid=make_cloid(7, of.number, attempt), **given)


def fill(tid: int = 1, **changes: Any) -> Fill:
    """A small opening fill."""
    given: dict[str, Any] = {
        "tid": tid, "oid": 5, "symbol": "BTC", "buy": True, "price": Decimal("100000.5"), "size": Decimal("0.001"),
        "time_ms": 1_000,
        "fee_usd": Decimal("0.045"), "closed_pnl_usd": Decimal(0), "start_position": Decimal(0), "crossed": True,
        **changes,
    }  # fmt: skip
    return Fill(**given)


def halt(kind: HaltKind = HaltKind.OPERATOR, **changes: Any) -> Halt:
    """A halt by hand."""
    given: dict[str, Any] = {"since_ms": 1_000, "reason": "looks odd", "actor": "anna", **changes}
    return Halt(kind=kind, **given)


# Exact numbers of any exponent and sign, as a venue, a sum or a bug could produce them.
amounts = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12)
times = st.integers(min_value=0, max_value=4_102_444_800_000)
words = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
names = st.sampled_from(["BTC", "ETH", "kPEPE"])

intents = st.builds(
    OrderIntent, number=st.integers(1, 2**32 - 1), purpose=st.sampled_from(Purpose), symbol=names,
    side=st.sampled_from(Side),
    buy=st.booleans(), size=amounts, limit_price=amounts, tif=st.sampled_from(TimeInForce), reduce_only=st.booleans(),
    strategy=words,
    created_ms=times, signal_id=words, episode=words, full_close=st.booleans(), group=st.integers(0, 2**40),
    reason=words, digest=words,
    trigger=st.none() | st.builds(Trigger, price=amounts, is_stop=st.booleans(), is_market=st.booleans()),
)  # fmt: skip
orders = st.builds(
    Order, intent=intents, attempt=st.integers(0, 255),
    cloid=st.integers(0, 2**128 - 1).map(lambda value: f"0x{value:032x}"),
    status=st.sampled_from(OrderStatus), sent_ms=times, expires_ms=st.none() | times,
    oid=st.none() | st.integers(1, 2**53), filled=amounts,
    average_price=st.none() | amounts, detail=words, updated_ms=times,
)  # fmt: skip
fills = st.builds(
    Fill, tid=st.integers(1, 2**53), oid=st.integers(1, 2**53), symbol=names, buy=st.booleans(), price=amounts,
    size=amounts, time_ms=times,
    fee_usd=amounts, closed_pnl_usd=amounts, start_position=amounts, crossed=st.booleans(), cloid=st.none() | words,
    direction=words,
    fee_token=words, liquidation=st.booleans(),
)  # fmt: skip
