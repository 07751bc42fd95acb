"""``POST /info``: the request body, and one typed decoder an answer, built once.

``info.L2_BOOK.decode(body)`` reads an answer; ``encode(InfoRequest("l2Book", coin="BTC"))`` asks; ``decode_request``
is the server's side, which answers the shapes of ``market`` and ``account`` through ``encode``.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import msgspec

from perpstrader.venue.wire import account, market
from perpstrader.venue.wire.faults import WireError, excerpt

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder()


class CandleRequest(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What ``candleSnapshot`` asks for; both times inclusive, ``end_time`` defaults to now."""

    coin: str
    interval: str
    start_time: int
    end_time: int | None = None


class InfoRequest(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Any body of ``POST /info``; absent fields are absent on the wire, keys that we do not know are dropped."""

    type: str
    user: str | None = None
    coin: str | None = None
    dex: str | None = None
    oid: int | str | None = None
    start_time: int | None = None
    end_time: int | None = None
    aggregate_by_time: bool | None = None
    reversed: bool | None = None
    n_sig_figs: int | None = None
    mantissa: int | None = None
    req: CandleRequest | None = None
    builder: str | None = None
    id: int | None = None


class InfoCall(Generic[T]):
    """One kind of request: its ``kind`` on the wire, the fields that it must have, and the decoder of its answer."""

    __slots__ = ("_decoder", "kind", "required")

    def __init__(self, kind: str, answer: Any, *required: str) -> None:
        self.kind = kind
        self.required = required
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(answer)

    def decode(self, body: bytes | str | msgspec.Raw) -> T:
        """The typed answer; raises ``WireError`` with the field and the body's beginning when it has another shape."""
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            shown = excerpt(bytes(body) if isinstance(body, msgspec.Raw) else body)
            raise WireError(f"the answer to {self.kind} is not understood: {error}; it begins {shown}") from error


META: Final[InfoCall[market.Meta]] = InfoCall("meta", market.Meta)
META_AND_ASSET_CTXS: Final[InfoCall[market.MetaAndAssetCtxs]] = InfoCall("metaAndAssetCtxs", market.MetaAndAssetCtxs)
ALL_MIDS: Final[InfoCall[market.AllMids]] = InfoCall("allMids", market.AllMids)
L2_BOOK: Final[InfoCall[market.L2Book | None]] = InfoCall("l2Book", market.L2Book | None, "coin")
CANDLE_SNAPSHOT: Final[InfoCall[list[market.CandleWire]]] = InfoCall("candleSnapshot", list[market.CandleWire], "req")
RECENT_TRADES: Final[InfoCall[list[market.Trade]]] = InfoCall("recentTrades", list[market.Trade], "coin")
FUNDING_HISTORY: Final[InfoCall[list[market.FundingRate]]] = InfoCall(
    "fundingHistory", list[market.FundingRate], "coin", "startTime"
)
PREDICTED_FUNDINGS: Final[InfoCall[market.PredictedFundings]] = InfoCall(
    "predictedFundings", market.PredictedFundings
)
EXCHANGE_STATUS: Final[InfoCall[market.ExchangeStatus]] = InfoCall("exchangeStatus", market.ExchangeStatus)
SPOT_META: Final[InfoCall[market.SpotMeta]] = InfoCall("spotMeta", market.SpotMeta)
PERP_DEXS: Final[InfoCall[list[dict[str, object] | None]]] = InfoCall("perpDexs", list[dict[str, object] | None])

CLEARINGHOUSE_STATE: Final[InfoCall[account.ClearinghouseState]] = InfoCall(
    "clearinghouseState", account.ClearinghouseState, "user"
)
SPOT_CLEARINGHOUSE_STATE: Final[InfoCall[account.SpotClearinghouseState]] = InfoCall(
    "spotClearinghouseState", account.SpotClearinghouseState, "user"
)
ACTIVE_ASSET_DATA: Final[InfoCall[account.ActiveAssetData]] = InfoCall(
    "activeAssetData", account.ActiveAssetData, "user", "coin"
)
OPEN_ORDERS: Final[InfoCall[list[account.OpenOrder]]] = InfoCall("openOrders", list[account.OpenOrder], "user")
FRONTEND_OPEN_ORDERS: Final[InfoCall[list[account.FrontendOrder]]] = InfoCall(
    "frontendOpenOrders", list[account.FrontendOrder], "user"
)
ORDER_STATUS: Final[InfoCall[account.OrderStatusAnswer]] = InfoCall(
    "orderStatus", account.OrderStatusAnswer, "user", "oid"
)
HISTORICAL_ORDERS: Final[InfoCall[list[account.OrderRecord]]] = InfoCall(
    "historicalOrders", list[account.OrderRecord], "user"
)
USER_FILLS: Final[InfoCall[list[account.FillWire]]] = InfoCall("userFills", list[account.FillWire], "user")
USER_FILLS_BY_TIME: Final[InfoCall[list[account.FillWire]]] = InfoCall(
    "userFillsByTime", list[account.FillWire], "user", "startTime"
)
# ccxt asks for these two without startTime when its caller names none, and is answered.
USER_FUNDING: Final[InfoCall[list[account.UserFunding]]] = InfoCall("userFunding", list[account.UserFunding], "user")
USER_LEDGER: Final[InfoCall[list[account.LedgerUpdate]]] = InfoCall(
    "userNonFundingLedgerUpdates", list[account.LedgerUpdate], "user"
)
USER_RATE_LIMIT: Final[InfoCall[account.UserRateLimit]] = InfoCall("userRateLimit", account.UserRateLimit, "user")
USER_FEES: Final[InfoCall[account.UserFees]] = InfoCall("userFees", account.UserFees, "user")
USER_ROLE: Final[InfoCall[account.UserRole]] = InfoCall("userRole", account.UserRole, "user")
EXTRA_AGENTS: Final[InfoCall[list[account.ExtraAgent]]] = InfoCall("extraAgents", list[account.ExtraAgent], "user")
USER_ABSTRACTION: Final[InfoCall[str]] = InfoCall("userAbstraction", str, "user")

CALLS: Final[dict[str, InfoCall[Any]]] = {
    call.kind: call
    for call in (
        META, META_AND_ASSET_CTXS, ALL_MIDS, L2_BOOK, CANDLE_SNAPSHOT, RECENT_TRADES, FUNDING_HISTORY,
        PREDICTED_FUNDINGS, EXCHANGE_STATUS, SPOT_META, PERP_DEXS, CLEARINGHOUSE_STATE,
        SPOT_CLEARINGHOUSE_STATE, ACTIVE_ASSET_DATA, OPEN_ORDERS, FRONTEND_OPEN_ORDERS, ORDER_STATUS,
        HISTORICAL_ORDERS, USER_FILLS, USER_FILLS_BY_TIME, USER_FUNDING, USER_LEDGER, USER_RATE_LIMIT,
        USER_FEES, USER_ROLE, EXTRA_AGENTS, USER_ABSTRACTION,
    )
}  # fmt: skip
"""Every request that is typed here, by its kind on the wire."""

_REQUEST = msgspec.json.Decoder(InfoRequest)
_FIELD_OF = {field.encode_name: field.name for field in msgspec.structs.fields(InfoRequest)}


def encode(value: object) -> bytes:
    """The JSON bytes of a request or of an answer's structs."""
    return _ENCODER.encode(value)


def decode_request(body: bytes | str | msgspec.Raw) -> InfoRequest:
    """The request that a client sent; a type without a typed answer here passes, for the server to refuse or serve.

    Raises ``WireError`` where the venue answers 422: no JSON, no ``type``, a wrong field type, or a required field
    missing.
    """
    try:
        request = _REQUEST.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        shown = excerpt(bytes(body) if isinstance(body, msgspec.Raw) else body)
        raise WireError(f"the info request {shown} is not understood: {error}") from error
    call = CALLS.get(request.type)
    missing = [name for name in call.required if getattr(request, _FIELD_OF[name]) is None] if call else []
    if missing:
        raise WireError(f"the info request {request.type} lacks {', '.join(missing)}")
    return request
