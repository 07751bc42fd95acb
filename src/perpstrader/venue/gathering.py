"""The writes of the optimized client: as everybody's, with ungrouped entries and cancels gathered into one action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perpstrader.domain import TimeInForce
from perpstrader.runtime import Clock, Transport
from perpstrader.venue import contract as c
from perpstrader.venue.calls import VenueCalls
from perpstrader.venue.coalescing import Batches
from perpstrader.venue.encoding import ActionEncoder
from perpstrader.venue.nonces import NonceSource
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.wire.limits import MIN_NOTIONAL_USD
from perpstrader.venue.writes import Sent

_BY_CLOID: Final = "cloid"
_BY_OID: Final = "oid"


class GatheredWrites(VenueCalls):
    """``VenueCalls`` whose ungrouped entries, and cancels, wait ``coalesce_ms`` for company; 0 sends each alone."""

    def __init__(
        self, transport: Transport, clock: Clock, encoder: ActionEncoder, nonces: NonceSource, *, account: str,
        vault_address: str | None = None, timeout_s: float = 10.0, venue_clock: VenueClock | None = None,
        coalesce_ms: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(
            transport, clock, encoder, nonces, account=account, vault_address=vault_address, timeout_s=timeout_s,
            venue_clock=venue_clock,
        )  # fmt: skip
        self.entries = Batches(clock, self._send_entries, window_ms=coalesce_ms, asset_of=_asset)
        self.cancels = Batches(clock, self._send_all_cancels, window_ms=coalesce_ms, asset_of=_asset)

    async def place(
        self, orders: Sequence[c.OrderRequest], *, grouping: c.Grouping = c.Grouping.NONE,
        expires_ms: int | None = None, answer_ms: int | None = None,
    ) -> Sequence[c.OrderAck]:  # fmt: skip
        """See the contract; what is no ungrouped entry goes out at once and alone."""
        if not (may_be_gathered(orders, grouping) and all(map(self._is_sound, orders))):
            return await super().place(orders, grouping=grouping, expires_ms=expires_ms, answer_ms=answer_ms)
        post_only = orders[0].tif is TimeInForce.ALO
        return await self.entries.send((post_only, answer_ms), self._wires(orders), expires_ms)

    async def cancel(
        self, symbol_and_cloids: Sequence[tuple[str, str]], *, fast: bool = False
    ) -> Sequence[c.CancelAck]:
        """See the contract."""
        return await self._gather_cancels(_BY_CLOID, symbol_and_cloids, fast)

    async def cancel_oids(
        self, symbol_and_oids: Sequence[tuple[str, int]], *, fast: bool = False
    ) -> Sequence[c.CancelAck]:
        """See the contract."""
        return await self._gather_cancels(_BY_OID, symbol_and_oids, fast)

    async def close(self) -> None:
        """See the contract; who waits for a shared action is told that it was not sent, or that nobody knows."""
        await self.entries.close()
        await self.cancels.close()
        await super().close()

    def _is_sound(self, order: c.OrderRequest) -> bool:
        """False for what the venue would refuse before it looks at the market: with it goes all that is beside it."""
        asset = self._assets.get(order.symbol)
        if asset is None or not (asset.is_price(order.limit_price) and asset.is_size(order.size)):
            return False
        return order.size * order.limit_price >= MIN_NOTIONAL_USD

    async def _gather_cancels(
        self, how: str, named: Sequence[tuple[str, str]] | Sequence[tuple[str, int]], fast: bool
    ) -> Sequence[c.CancelAck]:
        wires = self._cancels(named)
        return await self.cancels.send((how, fast), wires, None) if wires else []

    async def _send_entries(self, key: Any, wires: Sequence[Any], expires_ms: int | None) -> Sent[c.OrderAck]:
        return await self._send_orders(wires, c.Grouping.NONE, expires_ms, key[1])

    async def _send_all_cancels(self, key: Any, wires: Sequence[Any], expires_ms: int | None) -> Sent[c.CancelAck]:
        return await self._send_cancels(wires, key[1])


def may_be_gathered(orders: Sequence[c.OrderRequest], grouping: c.Grouping) -> bool:
    """True for ungrouped entries, all post-only or none: no stop, no exit, nothing that belongs together."""
    entries = all(not order.reduce_only and order.trigger is None for order in orders)
    kinds = {order.tif is TimeInForce.ALO for order in orders}
    return entries and grouping is c.Grouping.NONE and len(kinds) == 1


def _asset(wire: Any) -> int:
    return int(wire.asset)
