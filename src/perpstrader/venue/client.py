"""The optimized client: reads served from what is known while it is young enough, else from one shared request.

It differs from the baseline in that and in its encoder alone; what it sends, and what it makes of an answer, is
``venue.calls`` for both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from perpstrader.domain import AssetSpec
from perpstrader.runtime import Clock, Transport
from perpstrader.venue import contract as c
from perpstrader.venue.calls import chosen_mids
from perpstrader.venue.encoding import ActionEncoder
from perpstrader.venue.gathering import GatheredWrites
from perpstrader.venue.nonces import NonceSource
from perpstrader.venue.reads import Key, Kind, Lives, ReadCache, StreamReads
from perpstrader.venue.reads.kinds import MOVED_BY_ACTIONS, MOVED_BY_EVENTS
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.wire import responses

_MIDS: Key = (Kind.MIDS, "")
_ACCOUNT: Key = (Kind.ACCOUNT, "")
_ORDERS: Key = (Kind.ORDERS, "")
_META: Key = (Kind.META, "")


class HyperliquidClient(GatheredWrites):
    """Implements ``venue.contract.HyperliquidClient``; ``reads`` counts how its reads were answered.

    Hand ``streamed`` to the ``Streams`` of the same account, and reads are served by them as well.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        encoder: ActionEncoder,
        nonces: NonceSource,
        *,
        account: str,
        vault_address: str | None = None,
        timeout_s: float = 10.0,
        venue_clock: VenueClock | None = None,
        lives: Lives | None = None,
        coalesce_ms: int = 0,
    ) -> None:
        super().__init__(
            transport, clock, encoder, nonces, account=account, vault_address=vault_address, timeout_s=timeout_s,
            venue_clock=venue_clock, coalesce_ms=coalesce_ms,
        )  # fmt: skip
        self.reads = ReadCache(clock, lives)
        self.streamed = StreamReads(clock, self.venue_clock, account)
        self.streamed.on_event = lambda: self.reads.outdate(MOVED_BY_EVENTS, by_action=False)
        self.reads.streamed = self.streamed

    async def metadata(self, *, max_age_ms: int | None = 0) -> Mapping[str, AssetSpec]:
        """See the contract."""
        return await self.reads.get(_META, super().metadata, max_age_ms)

    async def mids(
        self, symbols: Collection[str] | None = None, *, max_age_ms: int | None = 0
    ) -> Mapping[str, Decimal]:
        """See the contract; those of followed coins come from their best prices."""
        if symbols is not None and (oldest_ns := self.reads.oldest_ns(Kind.MIDS, max_age_ms)) is not None:
            told = self.streamed.mids(symbols, oldest_ns)
            if told is not None:
                self.reads.counts[Kind.MIDS].streamed += 1
                return told
        found = await self.reads.get(_MIDS, super().mids, max_age_ms)
        return found if symbols is None else MappingProxyType(chosen_mids(found, symbols))

    async def book(self, symbol: str, *, max_age_ms: int | None = 0) -> c.Book:
        """See the contract."""
        ask = super().book
        return await self.reads.get((Kind.BOOK, symbol), lambda: ask(symbol), max_age_ms)

    async def account(self, *, max_age_ms: int | None = 0) -> c.AccountState:
        """See the contract."""
        return await self.reads.get(_ACCOUNT, super().account, max_age_ms)

    async def open_orders(self, *, max_age_ms: int | None = 0) -> Sequence[c.OpenOrder]:
        """See the contract."""
        return await self.reads.get(_ORDERS, super().open_orders, max_age_ms)

    async def close(self) -> None:
        """See the contract; who waits for a shared request gets a ``VenueError``."""
        await self.reads.close()
        await super().close()

    async def _act(
        self, action: Any, expires_ms: int | None, answer_ms: int | None = None
    ) -> responses.ExchangeAnswer | c.NotSent | c.Unknown | c.Rejected:
        """As both do; before and after it, what was read until then is outdated, whatever the answer says."""
        self.reads.outdate(MOVED_BY_ACTIONS, by_action=True)
        try:
            return await super()._act(action, expires_ms, answer_ms)
        finally:
            self.reads.outdate(MOVED_BY_ACTIONS, by_action=True)
