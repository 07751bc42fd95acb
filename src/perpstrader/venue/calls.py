"""What both clients share: each call one request, each signed action sent once, each answer typed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Final, TypeVar

from perpstrader.domain import AssetSpec, Candle, CashFlow, Fill, FundingPayment, PerpsTraderError, VenueError
from perpstrader.runtime import Clock, Transport, TransportError
from perpstrader.venue import contract as c
from perpstrader.venue import convert
from perpstrader.venue.encoding import ActionEncoder
from perpstrader.venue.nonces import NonceSource
from perpstrader.venue.queries import Inquirer, Queries
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.wire import info, limits
from perpstrader.venue.wire.faults import said_by
from perpstrader.venue.writes import Writes

T = TypeVar("T")
R = TypeVar("R")
_HTTP_OK: Final = 200


class VenueCalls(Writes, Inquirer):
    """Implements ``venue.contract.HyperliquidClient`` on one transport; reads are not cached and not repeated.

    ``account`` is the master, sub-account or vault address that is read; ``vault_address`` the one that actions name
    when they trade for another.
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
    ) -> None:
        super().__init__(transport, encoder, nonces, vault_address=vault_address, timeout_s=timeout_s)
        self._clock = clock
        self._account = account.lower()
        self.queries = Queries(self._ask, self._account)
        self.venue_clock = venue_clock or VenueClock(clock)

    @property
    def account_address(self) -> str:
        """The account that is read and traded for."""
        return self._account

    # --- reads ---

    async def metadata(self, *, max_age_ms: int | None = 0) -> Mapping[str, AssetSpec]:
        """See the contract; the indices used by actions are those of the newest answer."""
        self._assets = await self._read(info.META, info.InfoRequest(type="meta"), convert.assets)
        return MappingProxyType(self._assets)

    async def contexts(self) -> Mapping[str, c.AssetContext]:
        """See the contract."""
        return await self._read(
            info.META_AND_ASSET_CTXS,
            info.InfoRequest(type="metaAndAssetCtxs"),
            lambda answer: convert.contexts(*answer),
        )

    async def mids(
        self, symbols: Collection[str] | None = None, *, max_age_ms: int | None = 0
    ) -> Mapping[str, Decimal]:
        """See the contract."""
        found = await self._read(info.ALL_MIDS, info.InfoRequest(type="allMids"), convert.mids)
        return MappingProxyType(found if symbols is None else chosen_mids(found, symbols))

    async def book(self, symbol: str, *, max_age_ms: int | None = 0) -> c.Book:
        """See the contract; its time is the book's and not the answer's, so it says nothing of the venue's clock."""
        book = await self._read(info.L2_BOOK, info.InfoRequest(type="l2Book", coin=symbol), convert.optional_book)
        if book is None:
            raise VenueError(f"the venue has no book for {symbol}")
        return book

    async def candles(self, symbol: str, interval: str, start_ms: int, end_ms: int) -> Sequence[Candle]:
        """See the contract; the bar that is still open is left out."""
        request = info.CandleRequest(coin=symbol, interval=interval, start_time=start_ms, end_time=end_ms)
        bars = await self._read(
            info.CANDLE_SNAPSHOT, info.InfoRequest(type="candleSnapshot", req=request), convert.candles
        )
        now = self.venue_clock.now_ms()
        return [bar for bar in bars if bar.close_ms < now]

    async def account(self, *, max_age_ms: int | None = 0) -> c.AccountState:
        """See the contract."""
        return await self._read(info.CLEARINGHOUSE_STATE, self._mine("clearinghouseState"), convert.account_state)

    async def mode(self) -> c.AccountMode:
        """See the contract; a word that is not known is ``UNKNOWN``, which no trader starts on."""
        word = await self._read(info.USER_ABSTRACTION, self._mine("userAbstraction"), str)
        return c.AccountMode(word) if word in set(c.AccountMode) else c.AccountMode.UNKNOWN

    async def role(self, address: str) -> tuple[str, str | None]:
        """See the contract."""
        return await self._read(info.USER_ROLE, info.InfoRequest(type="userRole", user=address.lower()), convert.role)

    async def agents(self, address: str) -> Mapping[str, int]:
        """See the contract."""
        request = info.InfoRequest(type="extraAgents", user=address.lower())
        return await self._read(info.EXTRA_AGENTS, request, convert.agents)

    async def open_orders(self, *, max_age_ms: int | None = 0) -> Sequence[c.OpenOrder]:
        """See the contract."""
        return tuple(await self._read(info.FRONTEND_OPEN_ORDERS, self._mine("frontendOpenOrders"), convert.open_orders))

    async def order(self, cloid: str) -> c.OrderRecord:
        """See the contract."""
        request = info.InfoRequest(type="orderStatus", user=self._account, oid=cloid)
        return await self._read(info.ORDER_STATUS, request, convert.order_record)

    async def fills(self, since_ms: int) -> Sequence[Fill]:
        """See the contract."""
        found = await self._pages(
            info.USER_FILLS_BY_TIME,
            since_ms,
            limits.HISTORY_ROWS,
            lambda row: row.time,
            lambda wire: convert.fill(wire, self._account),
            key=lambda fill: (fill.symbol, fill.tid, fill.buy),
        )
        return sorted(found, key=lambda fill: (fill.time_ms, fill.tid))

    async def funding(self, since_ms: int) -> Sequence[FundingPayment]:
        """See the contract."""
        found = await self._pages(
            info.USER_FUNDING,
            since_ms,
            limits.RANGE_ROWS,
            lambda row: row.time,
            lambda row: convert.funding(row.time, row.delta),
            key=lambda row: (row.symbol, row.time_ms),
        )
        return sorted(found, key=lambda row: (row.time_ms, row.symbol))

    async def cash_flows(self, since_ms: int) -> Sequence[CashFlow]:
        """See the contract."""
        found = await self._pages(
            info.USER_LEDGER,
            since_ms,
            limits.RANGE_ROWS,
            lambda row: row.time,
            lambda row: convert.cash_flow(row, self._account),
            key=lambda flow: flow.key if flow else None,
        )
        return sorted((flow for flow in found if flow is not None), key=lambda flow: (flow.time_ms, flow.key))

    async def leverage(self, symbol: str) -> tuple[int, bool]:
        """See the contract."""
        request = info.InfoRequest(type="activeAssetData", user=self._account, coin=symbol)
        leverage = await self._read(info.ACTIVE_ASSET_DATA, request, lambda answer: answer.leverage)
        return leverage.value, leverage.type == "cross"

    async def rate_limit(self) -> c.RateLimit:
        """See the contract."""
        answer = await self._read(info.USER_RATE_LIMIT, self._mine("userRateLimit"), lambda answer: answer)
        return c.RateLimit(used=answer.n_requests_used, cap=answer.n_requests_cap, surplus=answer.n_requests_surplus)

    async def venue_time_ms(self) -> int:
        """See the contract; each answer also corrects the estimate of the venue's clock."""
        sent = self._clock.now_ms()
        request = info.InfoRequest(type="exchangeStatus")
        time_ms = await self._read(info.EXCHANGE_STATUS, request, lambda answer: answer.time)
        self.venue_clock.observe(time_ms, sent, self._clock.now_ms())
        return time_ms

    # --- inside ---

    def _mine(self, kind: str) -> info.InfoRequest:
        return info.InfoRequest(type=kind, user=self._account)

    async def _ask(self, call: info.InfoCall[T], request: info.InfoRequest | Mapping[str, object]) -> T:
        return await self._read(call, request, lambda answer: answer)

    async def _read(
        self, call: info.InfoCall[T], request: info.InfoRequest | Mapping[str, object], make: Callable[[T], R]
    ) -> R:
        """One read; ``VenueError`` for whatever came that is no usable answer: no bytes, a status, HTML, a number that
        is none.
        """
        try:
            answer = await self._transport.post("/info", info.encode(request), timeout_s=self._timeout_s)
        except TransportError as error:
            raise VenueError(f"{call.kind}: {error}") from error
        if answer.status != _HTTP_OK:
            raise VenueError(f"{call.kind}: the venue answered {answer.status}: {said_by(answer.body)}")
        try:
            return make(call.decode(answer.body))
        except VenueError:
            raise
        except (PerpsTraderError, ValueError, ArithmeticError) as error:
            raise VenueError(f"{call.kind}: {error}") from error

    async def _pages(
        self,
        call: info.InfoCall[list[T]],
        since_ms: int,
        page_rows: int,
        time_of: Callable[[T], int],
        make: Callable[[T], R],
        *,
        key: Callable[[R], object],
    ) -> list[R]:
        """All rows from ``since_ms`` on: pages start at the last time seen, inclusive, and are joined by ``key``.

        Raises ``VenueError`` when more rows bear one time than fit a page, because then some cannot be reached.
        """
        found: dict[object, R] = {}
        start = since_ms
        while True:
            request = info.InfoRequest(type=call.kind, user=self._account, start_time=start)
            rows = await self._read(call, request, lambda rows: [(time_of(row), make(row)) for row in rows])
            found.update((key(row), row) for _, row in rows)
            if len(rows) < page_rows:
                return list(found.values())
            newest = max(time for time, _ in rows)
            if newest == start:
                raise VenueError(
                    f"{call.kind}: {len(rows)} rows bear the time {start}; those after them are not reached"
                )
            start = newest


def chosen_mids(mids: Mapping[str, Decimal], symbols: Collection[str]) -> dict[str, Decimal]:
    """The mids of these symbols; ``VenueError`` for one that the venue quotes no mid of."""
    missing = [symbol for symbol in symbols if symbol not in mids]
    if missing:
        raise VenueError(f"the venue quotes no mid of {', '.join(missing)}")
    return {symbol: mids[symbol] for symbol in symbols}
