"""The baseline's reads are what is given; beside them the optimized client's cache and streams are held against them.

What these would have given is looked up before each read and compared with what the venue then says. Asking costs
nothing: the answers that the baseline gets are those that the cache keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeVar

from perpstrader.domain import AssetSpec
from perpstrader.runtime import Clock, Transport
from perpstrader.venue import baseline
from perpstrader.venue import contract as c
from perpstrader.venue.calls import chosen_mids
from perpstrader.venue.nonces import NonceSource
from perpstrader.venue.reads import Key, Kind, Lives, ReadCache, StreamReads
from perpstrader.venue.reads.kinds import MOVED_BY_ACTIONS, MOVED_BY_EVENTS
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.wire import responses

T = TypeVar("T")
NEAR_FRACTION: Final = Decimal("0.05")
"""Prices move between two looks, but not by this much within the life of a cached one."""


class HyperliquidClient(baseline.HyperliquidClient):
    """Implements ``venue.contract.HyperliquidClient`` as the baseline does.

    ``divergences`` counts what the cache or the streams would have given and the venue had not said: positions, open
    orders or metadata other than the answers before and after it agree on, or prices far from theirs. ``on_divergence``
    is told of each in a sentence.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        private_key: str,
        nonces: NonceSource,
        *,
        account: str,
        mainnet: bool = False,
        vault_address: str | None = None,
        timeout_s: float = 10.0,
        venue_clock: VenueClock | None = None,
        lives: Lives | None = None,
    ) -> None:
        super().__init__(
            transport, clock, private_key, nonces, account=account, mainnet=mainnet, vault_address=vault_address,
            timeout_s=timeout_s, venue_clock=venue_clock,
        )  # fmt: skip
        self.reads = ReadCache(clock, lives)
        self.streamed = StreamReads(clock, self.venue_clock, account)
        self.streamed.on_event = lambda: self.reads.outdate(MOVED_BY_EVENTS, by_action=False)
        self.reads.streamed = self.streamed
        self.divergences = 0
        self.on_divergence: Callable[[str], None] = lambda text: None
        self._before: dict[Key, tuple[int, Any]] = {}

    async def metadata(self, *, max_age_ms: int | None = 0) -> Mapping[str, AssetSpec]:
        """See the contract."""
        return await self._beside((Kind.META, ""), super().metadata)

    async def mids(
        self, symbols: Collection[str] | None = None, *, max_age_ms: int | None = 0
    ) -> Mapping[str, Decimal]:
        """See the contract."""
        found = await self._beside((Kind.MIDS, ""), super().mids)
        return found if symbols is None else chosen_mids(found, symbols)

    async def book(self, symbol: str, *, max_age_ms: int | None = 0) -> c.Book:
        """See the contract."""
        ask = super().book
        return await self._beside((Kind.BOOK, symbol), lambda: ask(symbol))

    async def account(self, *, max_age_ms: int | None = 0) -> c.AccountState:
        """See the contract."""
        return await self._beside((Kind.ACCOUNT, ""), super().account)

    async def open_orders(self, *, max_age_ms: int | None = 0) -> Sequence[c.OpenOrder]:
        """See the contract."""
        return await self._beside((Kind.ORDERS, ""), super().open_orders)

    async def _act(
        self, action: Any, expires_ms: int | None, answer_ms: int | None = None
    ) -> responses.ExchangeAnswer | c.NotSent | c.Unknown | c.Rejected:
        self.reads.outdate(MOVED_BY_ACTIONS)
        try:
            return await super()._act(action, expires_ms, answer_ms)
        finally:
            self.reads.outdate(MOVED_BY_ACTIONS)

    async def _beside(self, key: Key, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        began_ns, generation = self.reads.begin(key[0])
        oldest_ns = self.reads.oldest_ns(key[0], None)
        known = None if oldest_ns is None else self.reads.find(key, oldest_ns)
        value = await ask()
        before = self._before.get(key)
        if known is not None and before is not None and before[0] <= known.as_of_ns:
            self._compare(key, known.value, value, before[1])
        self.reads.keep(key, value, began_ns, generation)
        self._before[key] = began_ns, value
        return value

    def _compare(self, key: Key, given: Any, value: Any, before: Any) -> None:
        """A difference counts where the venue stood still around it, so that no instant can explain it."""
        shown, now, then = _facts(key[0], given), _facts(key[0], value), _facts(key[0], before)
        if (now == then and shown != now) or not _is_near(key[0], given, value):
            self.divergences += 1
            kind = f"{key[0].value} {key[1]}".strip()
            self.on_divergence(
                f"the optimized client would have given another {kind} than the venue: {given} for {value}"
            )


def _facts(kind: Kind, value: Any) -> Any:
    """What of an answer changes by an event alone, and not with every price."""
    if kind is Kind.ACCOUNT:
        return {symbol: (held.size, held.entry_price, held.leverage) for symbol, held in value.positions.items()}
    if kind is Kind.ORDERS:
        return sorted((order.oid, order.size, order.limit_price, order.trigger_price or 0) for order in value)
    return value if kind is Kind.META else None


def _is_near(kind: Kind, given: Any, value: Any) -> bool:
    if kind is Kind.MIDS:
        return all(_close(price, value[coin]) for coin, price in given.items() if coin in value)
    if kind is Kind.BOOK:
        pairs = zip((given.bids, given.asks), (value.bids, value.asks), strict=True)
        return all(_close(ours[0].price, theirs[0].price) for ours, theirs in pairs if ours and theirs)
    return True


def _close(one: Decimal, other: Decimal) -> bool:
    return abs(one - other) <= NEAR_FRACTION * other
