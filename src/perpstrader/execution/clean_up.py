"""Taking back what is too many: spare stops, orphans, targets of a wrong size. It goes on beside protection (S20, S21).

A cancel whose answer is lost takes as long as a request may, and its orders are looked up after it. So the clean-up of
a symbol is a task of its own, one at a time, and whoever started it leaves it where a position needs a stop. What it
has not finished is found again by the next pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from perpstrader.domain import Order, OrderStatus
from perpstrader.execution.desk import Desk
from perpstrader.execution.fills import FillCollector
from perpstrader.venue.contract import Canceled, OrderGroup

Work = Callable[[], Coroutine[Any, Any, bool]]


class CleanUp:
    """Cancels stops and targets; ``may_go`` says right before an order is cancelled whether nothing relies on it."""

    def __init__(self, desk: Desk, fills: FillCollector, may_go: Callable[[Order], bool]) -> None:
        self._desk = desk
        self._fills = fills
        self._may_go = may_go
        self._running: dict[str, asyncio.Task[bool]] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._leaving: dict[str, None] = {}

    def is_leaving(self, order: Order) -> bool:
        """True while a cancel of the order is on its way: it may rest, but nothing can rely on it."""
        return order.cloid in self._leaving

    def hurry(self, symbol: str) -> None:
        """Have who waits for the symbol's clean-up leave it, and look at the position at once."""
        waiting = self._waiting.get(symbol)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def run(self, symbol: str, work: Work) -> bool:
        """Do the work after what still runs for the symbol; its answer, and False too where ``hurry`` came first.

        What has started goes on without the caller; what has not is not started. One caller a symbol: it holds the
        symbol's lock.
        """
        hurried = self._waiting[symbol] = asyncio.get_running_loop().create_future()
        try:
            before = self._running.get(symbol)
            if before is not None:
                await asyncio.wait((before, hurried), return_when=asyncio.FIRST_COMPLETED)
                if not before.done():
                    return False
            task = self._desk.pool.spawn(f"clean-up-{symbol}", work())
            if task is None:
                return True  # the process is ending: nothing is begun any more, and nobody is to wait for it
            self._running[symbol] = task
            await asyncio.wait((task, hurried), return_when=asyncio.FIRST_COMPLETED)
            return task.done() and not task.cancelled() and task.exception() is None and task.result()
        finally:
            self._waiting.pop(symbol, None)

    async def cancel(self, symbol: str, orders: list[Order], why: str) -> bool:
        """Cancel by cloid; each one's own status decides, and what is gone already is settled by its record.

        What has never been seen at the venue is looked up before an action is spent on it. True when none is left.
        """
        self._leaving.update(dict.fromkeys(order.cloid for order in orders))
        try:
            seen = [order for order in orders if order.oid is not None or await self._take_record(order, why)]
            seen = [order for order in seen if self._may_go(order)]
            if seen:
                acks = await self._desk.client.cancel([(symbol, order.cloid) for order in seen])
                for order, ack in zip(seen, acks, strict=True):
                    if isinstance(ack, Canceled):
                        self._desk.orders.update(
                            order.cloid, status=OrderStatus.CANCELED, detail=why, updated_ms=self._desk.clock.now_ms()
                        )
                    else:
                        await self._take_record(order, why)
        finally:
            for order in orders:
                self._leaving.pop(order.cloid, None)
        return not any((o := self._desk.orders.get(order.cloid)) is not None and o.is_live for order in orders)

    async def _take_record(self, order: Order, why: str) -> bool:
        """Settle an order by the venue's record; True while it lives there. One without a record never was, in time."""
        record = await self._desk.look_up(order.cloid)
        if record is None:
            return False
        if record.group is OrderGroup.MISSING:
            if self._desk.is_stale(order):
                self._desk.orders.update(order.cloid, status=OrderStatus.NEVER_ARMED, detail=why)
            return False
        self._desk.orders.apply_record(order.cloid, record)
        if record.group is OrderGroup.FILLED:
            self._desk.pool.spawn(f"fills-{order.cloid}", self._fills.complete(order.cloid, record.status_ms))
        return record.group is OrderGroup.LIVE
