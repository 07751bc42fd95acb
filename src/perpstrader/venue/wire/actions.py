"""Actions of ``POST /exchange``, fields in signing order, and their canonical MessagePack (API sheet 2.1, 2.2, 3.1).

The order of the fields in a class here is part of the signature: the venue hashes its own serialisation of what it
received, so must we, on both sides. Absent optionals are absent, never nil. Numbers are wire text (``numbers``).
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from perpstrader.venue.wire.faults import WireError, excerpt
from perpstrader.venue.wire.numbers import normalize

TimeInForceWire: TypeAlias = Literal["Gtc", "Ioc", "Alo", "FrontendMarket"]
TpslWire: TypeAlias = Literal["tp", "sl"]
GroupingName: TypeAlias = Literal["na", "normalTpsl", "positionTpsl"]


class LimitType(msgspec.Struct, frozen=True):
    """A limit order's time in force; a market order is ``Ioc`` at an aggressive price."""

    tif: TimeInForceWire


class TriggerType(msgspec.Struct, frozen=True, rename="camel"):
    """A trigger on the mark price; when ``is_market`` the order's price is the cap of an IOC."""

    is_market: bool
    trigger_px: str
    tpsl: TpslWire


class OrderType(msgspec.Struct, frozen=True, omit_defaults=True):
    """Exactly one of ``limit`` and ``trigger``."""

    limit: LimitType | None = None
    trigger: TriggerType | None = None

    def __post_init__(self) -> None:
        if (self.limit is None) == (self.trigger is None):
            raise ValueError("an order type is either limit or trigger")


GTC: Final = OrderType(limit=LimitType("Gtc"))
IOC: Final = OrderType(limit=LimitType("Ioc"))
ALO: Final = OrderType(limit=LimitType("Alo"))


class OrderWire(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    rename={"asset": "a", "is_buy": "b", "price": "p", "size": "s", "reduce_only": "r", "type": "t", "cloid": "c"},
):
    """One order: asset id, side, price and size as wire text, and the cloid as ``0x`` + 32 hex digits."""

    asset: int
    is_buy: bool
    price: str
    size: str
    reduce_only: bool
    type: OrderType
    cloid: str | None = None


class PriorityGrouping(msgspec.Struct, frozen=True):
    """A priority fee of ``p / 1e8`` instead of a grouping."""

    p: int


class Builder(msgspec.Struct, frozen=True):
    """A builder's address (lower-case) and fee in tenths of a basis point."""

    b: str
    f: int


class _Action(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", tag_field="type"):
    """Base of the actions: the tag comes first on the wire."""


class Order(_Action, frozen=True, tag="order"):
    """Places orders; in ``normalTpsl`` the first is the parent of the others."""

    orders: list[OrderWire]
    grouping: GroupingName | PriorityGrouping
    builder: Builder | None = None


class CancelWire(msgspec.Struct, frozen=True, rename={"asset": "a", "oid": "o"}):
    """One cancel by the venue's order id."""

    asset: int
    oid: int


class Cancel(_Action, frozen=True, tag="cancel"):
    """Cancels by oid; ``f`` is the fast form and absent otherwise."""

    cancels: list[CancelWire]
    f: bool | None = None


class CancelByCloidWire(msgspec.Struct, frozen=True):
    """One cancel by client order id; the names are long here."""

    asset: int
    cloid: str


class CancelByCloid(_Action, frozen=True, tag="cancelByCloid"):
    """Cancels by cloid."""

    cancels: list[CancelByCloidWire]
    f: bool | None = None


class Modify(_Action, frozen=True, tag="modify"):
    """Replaces one order, found by oid or cloid: the new one has a new oid and its full size."""

    oid: int | str
    order: OrderWire
    a: bool | None = None


class ModifyWire(msgspec.Struct, frozen=True):
    """One replacement within ``BatchModify``."""

    oid: int | str
    order: OrderWire


class BatchModify(_Action, frozen=True, tag="batchModify"):
    """Replaces several orders."""

    modifies: list[ModifyWire]
    a: bool | None = None


class ScheduleCancel(_Action, frozen=True, tag="scheduleCancel"):
    """Sets the dead man's switch to ``time`` (ms), or clears it without one."""

    time: int | None = None


class UpdateLeverage(_Action, frozen=True, tag="updateLeverage"):
    """Sets a coin's leverage (integer) and margin mode."""

    asset: int
    is_cross: bool
    leverage: int


class UpdateIsolatedMargin(_Action, frozen=True, tag="updateIsolatedMargin"):
    """Adds (or removes, negative) ``ntli`` millionths of USD of isolated margin."""

    asset: int
    is_buy: bool
    ntli: int


class TopUpIsolatedOnlyMargin(_Action, frozen=True, tag="topUpIsolatedOnlyMargin"):
    """Adds margin until the position has the target leverage (wire text)."""

    asset: int
    leverage: str


class TwapWire(msgspec.Struct, frozen=True):
    """Asset, side, size, reduce-only, minutes, randomise."""

    a: int
    b: bool
    s: str
    r: bool
    m: int
    t: bool


class TwapOrder(_Action, frozen=True, tag="twapOrder"):
    """Starts a TWAP."""

    twap: TwapWire


class TwapCancel(_Action, frozen=True, tag="twapCancel"):
    """Stops the TWAP ``t`` of asset ``a``."""

    a: int
    t: int


class ReserveRequestWeight(_Action, frozen=True, tag="reserveRequestWeight"):
    """Buys request weight for this address, 0.0005 USDC each; with ``destination`` for another's, which our signer
    refuses.
    """

    weight: int
    destination: str | None = None


class Noop(_Action, frozen=True, tag="noop"):
    """Does nothing but use its nonce."""


class SetReferrer(_Action, frozen=True, tag="setReferrer"):
    """Sets the referrer's code; known for the exchange's side only."""

    code: str


Action: TypeAlias = (
    Order | Cancel | CancelByCloid | Modify | BatchModify | ScheduleCancel | UpdateLeverage | UpdateIsolatedMargin
    | TopUpIsolatedOnlyMargin | TwapOrder | TwapCancel | ReserveRequestWeight | Noop | SetReferrer
)  # fmt: skip


class UserSigned(msgspec.Struct, frozen=True):
    """An action of API sheet 2.2, signed as EIP-712 typed data; its fields by wire name."""

    type: str
    fields: dict[str, object]


class UnknownAction(msgspec.Struct, frozen=True):
    """An action that this build has no class for; hashed in the key order that was received."""

    type: str
    fields: dict[str, object]


USER_SIGNED_TYPES: Final = frozenset(
    {
        "usdSend", "spotSend", "withdraw3", "usdClassTransfer", "sendAsset", "approveAgent", "approveBuilderFee",
        "userDexAbstraction", "userSetAbstraction", "tokenDelegate", "convertToMultiSigUser",
    }
)  # fmt: skip

_KNOWN: Final = frozenset(
    {
        "order", "cancel", "cancelByCloid", "modify", "batchModify", "scheduleCancel", "updateLeverage",
        "updateIsolatedMargin", "topUpIsolatedOnlyMargin", "twapOrder", "twapCancel", "reserveRequestWeight", "noop",
        "setReferrer",
    }
)  # fmt: skip


class _Typed(msgspec.Struct):
    type: str


_PEEK = msgspec.json.Decoder(_Typed)
_DECODE: msgspec.json.Decoder[Action] = msgspec.json.Decoder(Action)
_DECODE_DICT = msgspec.json.Decoder(dict[str, object])
_PACK = msgspec.msgpack.Encoder()


def pack(action: Action | UnknownAction | dict[str, object]) -> bytes:
    """The canonical MessagePack that is hashed: fields in signing order, smallest integers, absent optionals absent.

    Raises ``WireError`` for an integer beyond 64 bits.
    """
    try:
        return _PACK.encode(action.fields if isinstance(action, UnknownAction) else action)
    except OverflowError as error:
        raise WireError(f"the action cannot be packed: {error}") from error


def decode_action(raw: bytes | str | msgspec.Raw) -> Action | UserSigned | UnknownAction:
    """The action that ``raw`` JSON spells, whatever its key order; unknown keys of a known type are dropped, as the
    venue does.

    Raises ``WireError`` where the venue answers 422: no object, no ``type``, or a field of the wrong type.
    """
    try:
        kind = _PEEK.decode(raw).type
        if kind in _KNOWN:
            return _DECODE.decode(raw)
        fields = _DECODE_DICT.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        shown = excerpt(bytes(raw) if isinstance(raw, msgspec.Raw) else raw)
        raise WireError(f"the action {shown} is not understood: {error}") from error
    return UserSigned(kind, fields) if kind in USER_SIGNED_TYPES else UnknownAction(kind, fields)


def canonical(action: Action) -> Action:
    """The action as the venue re-serialises it before hashing: numbers shortest, cloids and builder lower-case.

    A client that signed ``"100.0"`` or an upper-case cloid thus recovers to a stranger's address, as it does at the
    venue. Raises ``WireError`` for a price or size that is no number.
    """
    if isinstance(action, Order):
        builder = action.builder and Builder(action.builder.b.lower(), action.builder.f)
        return Order([_canonical_order(order) for order in action.orders], action.grouping, builder)
    if isinstance(action, CancelByCloid):
        return CancelByCloid([CancelByCloidWire(c.asset, c.cloid.lower()) for c in action.cancels], action.f)
    if isinstance(action, Modify):
        return Modify(_canonical_oid(action.oid), _canonical_order(action.order), action.a)
    if isinstance(action, BatchModify):
        modifies = [ModifyWire(_canonical_oid(m.oid), _canonical_order(m.order)) for m in action.modifies]
        return BatchModify(modifies, action.a)
    if isinstance(action, TwapOrder):
        return TwapOrder(msgspec.structs.replace(action.twap, s=normalize(action.twap.s, "size")))
    return action


def _canonical_oid(oid: int | str) -> int | str:
    return oid.lower() if isinstance(oid, str) else oid


def _canonical_order(order: OrderWire) -> OrderWire:
    kind = order.type
    if kind.trigger is not None:
        price = normalize(kind.trigger.trigger_px, "trigger price")
        kind = OrderType(trigger=TriggerType(kind.trigger.is_market, price, kind.trigger.tpsl))
    cloid = order.cloid and order.cloid.lower()
    price, size = normalize(order.price, "price"), normalize(order.size, "size")
    return OrderWire(order.asset, order.is_buy, price, size, order.reduce_only, kind, cloid)
