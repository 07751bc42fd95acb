"""The reads of API sheet 1 that trading itself does without: each a request, each answer typed as on the wire.

Numbers in the answers are wire text (``wire.numbers.parse_decimal`` makes them numbers), because nothing here is traded
by. Every method raises ``VenueError`` where no usable answer came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from perpstrader.venue.wire import account, info, market, rarer

T = TypeVar("T")


class Ask(Protocol):
    """Sends a read and decodes its answer; raises ``VenueError``."""

    async def __call__(self, call: info.InfoCall[T], request: info.InfoRequest | Mapping[str, object]) -> T:
        """The answer."""
        ...


class Queries:
    """Asks about the market and, where ``user`` is not named, about ``own`` account."""

    def __init__(self, ask: Ask, own: str) -> None:
        self._ask = ask
        self._own = own

    # --- the market ---

    async def trades(self, coin: str) -> Sequence[market.Trade]:
        """The newest public trades."""
        return await self._ask(info.RECENT_TRADES, info.InfoRequest(type="recentTrades", coin=coin))

    async def funding_rates(self, coin: str, start_ms: int, end_ms: int | None = None) -> Sequence[market.FundingRate]:
        """Hourly rates from ``start_ms`` on, oldest first, at most 500."""
        request = info.InfoRequest(type="fundingHistory", coin=coin, start_time=start_ms, end_time=end_ms)
        return await self._ask(info.FUNDING_HISTORY, request)

    async def predicted_fundings(self) -> market.PredictedFundings:
        """What this and other venues expect to charge next, by coin."""
        return await self._ask(info.PREDICTED_FUNDINGS, info.InfoRequest(type="predictedFundings"))

    async def at_open_interest_cap(self, dex: str | None = None) -> Sequence[str]:
        """The coins whose open interest is at its cap."""
        return await self._ask(rarer.AT_OPEN_INTEREST_CAP, info.InfoRequest(type="perpsAtOpenInterestCap", dex=dex))

    async def margin_table(self, number: int) -> market.MarginTable:
        """The leverage tiers of one table."""
        return await self._ask(rarer.MARGIN_TABLE, info.InfoRequest(type="marginTable", id=number))

    async def max_market_orders(self) -> Sequence[tuple[int, str]]:
        """``(leverage, USD)``: the largest market order by an asset's greatest leverage."""
        return await self._ask(rarer.MAX_MARKET_ORDERS, info.InfoRequest(type="maxMarketOrderNtls"))

    async def dexs(self) -> Sequence[rarer.PerpDex | None]:
        """All perpetual dexs; the first, ``None``, is the main one."""
        return await self._ask(rarer.DEXS, info.InfoRequest(type="perpDexs"))

    async def all_metas(self) -> Sequence[market.Meta]:
        """The universe of each dex, in the order of ``dexs``."""
        return await self._ask(rarer.ALL_METAS, info.InfoRequest(type="allPerpMetas"))

    async def dex_limits(self, dex: str) -> dict[str, object] | None:
        """The open interest caps of a deployed dex, in the venue's own words."""
        return await self._ask(rarer.DEX_LIMITS, info.InfoRequest(type="perpDexLimits", dex=dex))

    async def dex_status(self, dex: str) -> dict[str, object] | None:
        """The net deposit of a deployed dex, in the venue's own words."""
        return await self._ask(rarer.DEX_STATUS, info.InfoRequest(type="perpDexStatus", dex=dex))

    async def spot_meta(self) -> market.SpotMeta:
        """Tokens and spot pairs."""
        return await self._ask(info.SPOT_META, info.InfoRequest(type="spotMeta"))

    async def spot_contexts(self) -> rarer.SpotMetaAndAssetCtxs:
        """Tokens and spot pairs, and the figures of each pair."""
        return await self._ask(rarer.SPOT_CONTEXTS, info.InfoRequest(type="spotMetaAndAssetCtxs"))

    # --- an account ---

    async def plain_open_orders(self, user: str | None = None) -> Sequence[account.OpenOrder]:
        """Open orders without what makes a trigger one; ``HyperliquidClient.open_orders`` has all."""
        return await self._ask(info.OPEN_ORDERS, self._of(user, "openOrders"))

    async def order_history(self, user: str | None = None) -> Sequence[account.OrderRecord]:
        """The newest 2000 records of orders; one order may be in several."""
        return await self._ask(info.HISTORICAL_ORDERS, self._of(user, "historicalOrders"))

    async def latest_fills(self, user: str | None = None) -> Sequence[account.FillWire]:
        """The newest 2000 fills, newest first."""
        return await self._ask(info.USER_FILLS, self._of(user, "userFills"))

    async def spot_balances(self, user: str | None = None) -> account.SpotClearinghouseState:
        """Token balances; in unified modes the collateral is here."""
        return await self._ask(info.SPOT_CLEARINGHOUSE_STATE, self._of(user, "spotClearinghouseState"))

    async def limits_of(self, coin: str, user: str | None = None) -> account.ActiveAssetData:
        """Leverage, and the largest sizes that may be traded, of one coin."""
        request = info.InfoRequest(type="activeAssetData", user=self._named(user), coin=coin)
        return await self._ask(info.ACTIVE_ASSET_DATA, request)

    async def fees(self, user: str | None = None) -> account.UserFees:
        """The rates that the user pays, as fractions of notional."""
        return await self._ask(info.USER_FEES, self._of(user, "userFees"))

    async def portfolio(self, user: str | None = None) -> rarer.Portfolio:
        """Value, profit and volume by period."""
        return await self._ask(rarer.PORTFOLIO, self._of(user, "portfolio"))

    async def sub_accounts(self, user: str | None = None) -> Sequence[rarer.SubAccount]:
        """The sub-accounts of a master, with their state."""
        return await self._ask(rarer.SUB_ACCOUNTS, self._of(user, "subAccounts")) or []

    async def twap_history(self, user: str | None = None) -> Sequence[rarer.TwapRecord]:
        """The TWAPs of a user, and how they ended."""
        return await self._ask(rarer.TWAP_HISTORY, self._of(user, "twapHistory"))

    async def twap_fills(self, user: str | None = None) -> Sequence[rarer.TwapSliceFill]:
        """The newest fills of TWAP slices."""
        return await self._ask(rarer.TWAP_FILLS, self._of(user, "userTwapSliceFills"))

    async def raw(self, request: Mapping[str, object]) -> Any:
        """Any read in the venue's own words; see ``HyperliquidClient.info``."""
        kind = info.decode_request(info.encode(request)).type
        call: info.InfoCall[Any] = info.InfoCall(kind, Any)
        return await self._ask(call, request)

    def _of(self, user: str | None, kind: str) -> info.InfoRequest:
        return info.InfoRequest(type=kind, user=self._named(user))

    def _named(self, user: str | None) -> str:
        return self._own if user is None else user.lower()


class Inquirer:
    """The door to ``queries`` that a client has."""

    queries: Queries

    async def info(self, request: Mapping[str, object]) -> Any:
        """See the contract."""
        return await self.queries.raw(request)
