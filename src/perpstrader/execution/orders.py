"""Our orders at the venue: every one reaches exactly one terminal state, backed by the venue's own records (S15)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain import ZERO, Fill, Order, OrderStatus, Purpose
from perpstrader.venue.contract import OrderGroup, OrderRecord

_KEEP_TERMINAL: Final = 2_000


class OrderTracker:
    """Holds every live order and the newest terminal ones, by client order id and by the venue's id.

    ``on_change`` is told of each change with the new value; it must not raise.
    """

    def __init__(self, on_change: Callable[[Order], None]) -> None:
        self._on_change = on_change
        self._by_cloid: dict[str, Order] = {}
        self._cloid_of_oid: dict[int, str] = {}
        self._live: dict[str, None] = {}
        self._terminal: dict[str, None] = {}
        self._changed = asyncio.Event()

    def restore(self, orders: Iterable[Order]) -> None:
        """Start from what was on disk."""
        for order in orders:
            self._store(order)

    def add(self, order: Order) -> None:
        """Take a new attempt into the book, before its first byte goes out."""
        self._put(order)

    def get(self, cloid: str | None) -> Order | None:
        """The order, or ``None`` for a cloid that is not (or no longer) known here."""
        return self._by_cloid.get(cloid) if cloid is not None else None

    def of_fill(self, fill: Fill) -> Order | None:
        """The order that a fill belongs to, by its cloid, else by the venue's id."""
        return self.get(fill.cloid) or self.get(self._cloid_of_oid.get(fill.oid))

    def live(self, symbol: str | None = None, purpose: Purpose | None = None) -> list[Order]:
        """Orders that the venue may still execute, oldest first."""
        return [
            order
            for order in map(self._by_cloid.__getitem__, self._live)
            if (symbol is None or order.intent.symbol == symbol)
            and (purpose is None or order.intent.purpose is purpose)
        ]

    def once_rested(self, symbol: str, episode: str, purpose: Purpose) -> list[Order]:
        """Orders of an episode that the venue had taken and that were cancelled since, as far as they are known."""
        return [
            order
            for order in map(self._by_cloid.__getitem__, self._terminal)
            if order.status is OrderStatus.CANCELED and order.oid is not None and order.intent.symbol == symbol
            and order.intent.purpose is purpose and order.intent.episode == episode
        ]  # fmt: skip

    def update(self, cloid: str, **changes: object) -> Order | None:
        """Change fields of a known order; a terminal state is never left again, fills excepted."""
        order = self._by_cloid.get(cloid)
        if order is None:
            return None
        if order.status.is_terminal and "status" in changes:
            changes = {key: value for key, value in changes.items() if key in ("oid", "updated_ms")}
        changed = msgspec.structs.replace(order, **changes)
        if changed != order:
            self._put(changed)
        return changed

    def apply_fill(self, fill: Fill) -> Order | None:
        """Add a new fill to its order; reaching the whole size is ``FILLED``, whatever the status said before."""
        order = self.of_fill(fill)
        if order is None:
            return None
        filled = order.filled + fill.size
        paid = (order.average_price or ZERO) * order.filled + fill.price * fill.size
        status = order.status
        if filled >= order.intent.size:
            status = OrderStatus.FILLED
        elif status.is_terminal:
            status = OrderStatus.PARTIAL
        changed = msgspec.structs.replace(
            order, filled=filled, average_price=paid / filled, status=status, oid=fill.oid, updated_ms=fill.time_ms
        )
        self._put(changed)
        return changed

    def apply_record(self, cloid: str, record: OrderRecord) -> Order | None:
        """Take over what the venue's records say: live, cancelled, rejected; a fill counts when its trade is seen."""
        order = self._by_cloid.get(cloid)
        if order is None:
            return None
        oid = record.order.oid if record.order is not None else order.oid
        status = _status_of(order, record)
        if status is None:
            return self.update(cloid, oid=oid)
        return self.update(cloid, status=status, oid=oid, detail=record.status, updated_ms=record.status_ms)

    def finish_partial(self, cloid: str, expected: Decimal, detail: str, now_ms: int) -> Order | None:
        """Close an IOC whose remainder the venue dropped, once the fills that its answer named have all been seen."""
        order = self._by_cloid.get(cloid)
        if order is None or order.status.is_terminal or order.filled < expected:
            return order
        status = OrderStatus.PARTIAL if order.filled > 0 else OrderStatus.CANCELED
        return self.update(cloid, status=status, detail=detail, updated_ms=now_ms)

    def finish_filled(self, cloid: str, detail: str, now_ms: int) -> Order | None:
        """Close an order that the venue calls filled below our size: it was clamped, or its rest was dropped."""
        return self.update(cloid, status=OrderStatus.FILLED, detail=detail, updated_ms=now_ms)

    async def changed(self) -> None:
        """Return at the next change of any order."""
        await self._changed.wait()

    def _put(self, order: Order) -> None:
        self._store(order)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._on_change(order)

    def _store(self, order: Order) -> None:
        self._by_cloid[order.cloid] = order
        if order.oid is not None:
            self._cloid_of_oid[order.oid] = order.cloid
        if order.status.is_terminal:
            self._live.pop(order.cloid, None)
            self._terminal[order.cloid] = None
            while len(self._terminal) > _KEEP_TERMINAL:
                self._forget(next(iter(self._terminal)))
        else:
            self._live[order.cloid] = None

    def _forget(self, cloid: str) -> None:
        self._terminal.pop(cloid, None)
        order = self._by_cloid.pop(cloid, None)
        if order is not None and order.oid is not None:
            self._cloid_of_oid.pop(order.oid, None)


def _status_of(order: Order, record: OrderRecord) -> OrderStatus | None:
    """The status that a record means for this order; ``None`` where fills have yet to say it."""
    if record.group is OrderGroup.LIVE:
        return OrderStatus.TRIGGERED if record.status == "triggered" else OrderStatus.RESTING
    if record.group is OrderGroup.CANCELED:
        return OrderStatus.PARTIAL if order.filled > 0 else OrderStatus.CANCELED
    if record.group is OrderGroup.REJECTED:
        return OrderStatus.PARTIAL if order.filled > 0 else OrderStatus.REJECTED
    if record.group is OrderGroup.MISSING:
        return OrderStatus.PARTIAL if order.filled > 0 else OrderStatus.EXPIRED
    return None
