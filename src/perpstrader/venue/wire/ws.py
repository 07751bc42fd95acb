"""WebSocket frames in both directions (API sheet 6): subscriptions, typed channels, and requests by ``post``.

A frame's channel is read first and its data only by who wants it: ``frame = decode_frame(text)``, then
``BBO.decode(frame)``.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import msgspec

from perpstrader.venue.wire import account, market
from perpstrader.venue.wire.exchange import PostedRequest
from perpstrader.venue.wire.faults import WireError, excerpt
from perpstrader.venue.wire.info import InfoRequest

T = TypeVar("T")

GREETING: Final = "Websocket connection established."
_ENCODER: Final = msgspec.json.Encoder()


class Subscription(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One stream: its type and what narrows it."""

    type: str
    coin: str | None = None
    interval: str | None = None
    user: str | None = None
    dex: str | None = None
    n_sig_figs: int | None = None
    mantissa: int | None = None
    aggregate_by_time: bool | None = None
    fast: bool | None = None

    def key(self) -> Subscription:
        """The form in which a request and the venue's normalised echo of it are equal, for use as a dictionary key."""
        return Subscription(
            self.type,
            self.coin,
            self.interval,
            self.user and self.user.lower(),
            self.dex or None,
            self.n_sig_figs,
            self.mantissa,
            self.aggregate_by_time or None,
            self.fast or None,
        )


class Subscribe(msgspec.Struct, frozen=True, tag_field="method", tag="subscribe"):
    """Asks for a stream."""

    subscription: Subscription


class Unsubscribe(msgspec.Struct, frozen=True, tag_field="method", tag="unsubscribe"):
    """Ends a stream; the subscription must be the same object."""

    subscription: Subscription


class Ping(msgspec.Struct, frozen=True, tag_field="method", tag="ping"):
    """Keeps the connection: the venue closes one on which it sent nothing for 60 s."""


class PostedPayload(msgspec.Struct, frozen=True):
    """What ``post`` carries as the client builds it: ``info`` or ``action`` and the body of that endpoint."""

    type: str
    payload: InfoRequest | PostedRequest


class ReceivedPayload(msgspec.Struct, frozen=True):
    """What ``post`` carries as the server meets it: the payload goes to ``info`` or ``exchange`` ``decode_request``."""

    type: str
    payload: msgspec.Raw


class Post(msgspec.Struct, frozen=True, tag_field="method", tag="post"):
    """A request by WebSocket as received; ``id`` is the client's, unique per socket."""

    id: int
    request: ReceivedPayload


class _OutgoingPost(msgspec.Struct, frozen=True, tag_field="method", tag="post"):
    id: int
    request: PostedPayload


class Frame(msgspec.Struct, frozen=True):
    """A frame from the venue with its data unread; ``pong`` has none."""

    channel: str
    data: msgspec.Raw = msgspec.Raw(b"null")


_FRAME = msgspec.json.Decoder(Frame)
_REQUEST: msgspec.json.Decoder[Subscribe | Unsubscribe | Ping | Post] = msgspec.json.Decoder(
    Subscribe | Unsubscribe | Ping | Post
)


def encode(message: object) -> bytes:
    """The JSON bytes of a message of this module."""
    return _ENCODER.encode(message)


def info_post(request_id: int, request: InfoRequest) -> bytes:
    """A read by WebSocket."""
    return _ENCODER.encode(_OutgoingPost(request_id, PostedPayload("info", request)))


def action_post(request_id: int, request: PostedRequest) -> bytes:
    """A signed action by WebSocket; if the socket dies before its answer, the outcome is unknown."""
    return _ENCODER.encode(_OutgoingPost(request_id, PostedPayload("action", request)))


def decode_frame(raw: bytes | str) -> Frame | None:
    """The frame, or ``None`` for plain text such as the greeting; ``WireError`` for JSON that is no frame."""
    if raw[:1] not in (b"{", "{"):
        return None
    try:
        return _FRAME.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"the frame {excerpt(raw)} is not understood: {error}") from error


def decode_request(raw: bytes | str) -> Subscribe | Unsubscribe | Ping | Post:
    """The server's reading of a client's frame; ``WireError`` where the venue sends its ``error`` channel."""
    try:
        return _REQUEST.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        shown = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
        raise WireError(f"Error parsing JSON into valid websocket request: {shown}") from error


class AllMidsData(msgspec.Struct, frozen=True, omit_defaults=True):
    """Mids by coin."""

    mids: dict[str, str]
    dex: str | None = None


class Bbo(msgspec.Struct, frozen=True):
    """Best bid and ask, either of which may be missing; sent only when one changed in a block."""

    coin: str
    time: int
    bbo: tuple[market.L2Level | None, market.L2Level | None]


class ActiveAssetCtx(msgspec.Struct, frozen=True):
    """The live figures of one coin."""

    coin: str
    ctx: market.AssetCtx


class FundingEvent(msgspec.Struct, frozen=True, rename="camel"):
    """A funding payment on a stream; ``usdc`` negative when paid."""

    time: int
    coin: str
    usdc: str
    szi: str
    funding_rate: str
    n_samples: int | None = None


class LiquidationEvent(msgspec.Struct, frozen=True):
    """A liquidation of ``liquidated_user``; these names are the venue's."""

    lid: int
    liquidator: str
    liquidated_user: str
    liquidated_ntl_pos: str
    liquidated_account_value: str


class NonUserCancel(msgspec.Struct, frozen=True):
    """An order that the venue cancelled by itself."""

    coin: str
    oid: int


class UserEvent(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The ``user`` channel: exactly one field is set; kinds that are not listed here leave all empty."""

    fills: list[account.FillWire] | None = None
    funding: FundingEvent | None = None
    liquidation: LiquidationEvent | None = None
    non_user_cancel: list[NonUserCancel] | None = None


class UserFills(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Fills; the first message after subscribing is a snapshot that repeats history."""

    user: str
    fills: list[account.FillWire]
    is_snapshot: bool = False


class UserFundings(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Funding payments, first a snapshot."""

    user: str
    fundings: list[FundingEvent]
    is_snapshot: bool = False


class UserLedgerUpdates(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Deposits, withdrawals, transfers and liquidations, first a snapshot."""

    user: str
    non_funding_ledger_updates: list[account.LedgerUpdate]
    is_snapshot: bool = False


class OpenOrdersData(msgspec.Struct, frozen=True):
    """All open orders, each time."""

    dex: str
    user: str
    orders: list[account.FrontendOrder]


class ClearinghouseData(msgspec.Struct, frozen=True, rename="camel"):
    """The whole account, each time."""

    dex: str
    user: str
    clearinghouse_state: account.ClearinghouseState


class Notification(msgspec.Struct, frozen=True):
    """A text for the user."""

    notification: str


class SubscriptionResponse(msgspec.Struct, frozen=True):
    """The acknowledgement, its echo normalised: compare by ``Subscription.key``. It may follow the first data."""

    method: str
    subscription: Subscription


class PostBody(msgspec.Struct, frozen=True):
    """``info`` (payload ``{type, data}``), ``action`` (payload for ``responses.decode_answer``), ``error`` (a text)."""

    type: str
    payload: msgspec.Raw


class PostAnswer(msgspec.Struct, frozen=True):
    """The answer to the request ``id``."""

    id: int
    response: PostBody


class InfoPayload(msgspec.Struct, frozen=True):
    """The payload of an ``info`` answer: ``data`` is what ``POST /info`` would have answered."""

    type: str
    data: msgspec.Raw


class Channel(Generic[T]):
    """A channel's name and the decoder of its data, built once."""

    __slots__ = ("_decoder", "name")

    def __init__(self, name: str, data: Any) -> None:
        self.name = name
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(data)

    def decode(self, frame: Frame) -> T:
        """The typed data of ``frame``; raises ``WireError`` when it has another shape."""
        try:
            return self._decoder.decode(frame.data)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            shown = excerpt(bytes(frame.data))
            raise WireError(f"data of channel {self.name} is not understood: {error}; it begins {shown}") from error

    def frame(self, data: T) -> bytes:
        """The server's side: the JSON bytes of a frame on this channel."""
        return _ENCODER.encode({"channel": self.name, "data": data})


ALL_MIDS: Final[Channel[AllMidsData]] = Channel("allMids", AllMidsData)
L2_BOOK: Final[Channel[market.L2Book]] = Channel("l2Book", market.L2Book)
BBO: Final[Channel[Bbo]] = Channel("bbo", Bbo)
TRADES: Final[Channel[list[market.Trade]]] = Channel("trades", list[market.Trade])
CANDLE: Final[Channel[market.CandleWire]] = Channel("candle", market.CandleWire)
ACTIVE_ASSET_CTX: Final[Channel[ActiveAssetCtx]] = Channel("activeAssetCtx", ActiveAssetCtx)
ACTIVE_ASSET_DATA: Final[Channel[account.ActiveAssetData]] = Channel("activeAssetData", account.ActiveAssetData)
ORDER_UPDATES: Final[Channel[list[account.OrderUpdate]]] = Channel("orderUpdates", list[account.OrderUpdate])
USER_EVENTS: Final[Channel[UserEvent]] = Channel("user", UserEvent)
USER_FILLS: Final[Channel[UserFills]] = Channel("userFills", UserFills)
USER_FUNDINGS: Final[Channel[UserFundings]] = Channel("userFundings", UserFundings)
USER_LEDGER: Final[Channel[UserLedgerUpdates]] = Channel("userNonFundingLedgerUpdates", UserLedgerUpdates)
OPEN_ORDERS: Final[Channel[OpenOrdersData]] = Channel("openOrders", OpenOrdersData)
CLEARINGHOUSE_STATE: Final[Channel[ClearinghouseData]] = Channel("clearinghouseState", ClearinghouseData)
NOTIFICATION: Final[Channel[Notification]] = Channel("notification", Notification)
SUBSCRIPTION_RESPONSE: Final[Channel[SubscriptionResponse]] = Channel("subscriptionResponse", SubscriptionResponse)
ERROR: Final[Channel[str]] = Channel("error", str)
POST: Final[Channel[PostAnswer]] = Channel("post", PostAnswer)
PONG: Final = b'{"channel":"pong"}'

_CHANNEL_OF: Final = {"userEvents": "user"}
_INFO_PAYLOAD = msgspec.json.Decoder(InfoPayload)
_TEXT = msgspec.json.Decoder(str)


def channel_of(subscription: Subscription) -> str:
    """The name of the channel on which a subscription's data comes: its type, but ``user`` for ``userEvents``."""
    return _CHANNEL_OF.get(subscription.type, subscription.type)


def info_data(body: PostBody) -> msgspec.Raw:
    """What ``POST /info`` would have answered, for the ``decode`` of an ``info`` call; ``WireError`` holds an error's
    text.
    """
    try:
        if body.type == "info":
            return _INFO_PAYLOAD.decode(body.payload).data
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"the answer {excerpt(bytes(body.payload))} is not understood: {error}") from error
    raise WireError(f"the venue answered a read with {body.type}: {error_text(body)}")


def error_text(body: PostBody) -> str:
    """The text of an ``error`` answer, whatever its shape; it is no proof that an action was not executed."""
    try:
        return _TEXT.decode(body.payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return excerpt(bytes(body.payload))
