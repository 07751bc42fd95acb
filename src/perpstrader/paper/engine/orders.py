"""Orders: what is sent, what the engine keeps of it, what it shows, and what it answers."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

from perpstrader.paper.engine.rejects import Reject

if TYPE_CHECKING:
    from perpstrader.paper.engine.book import Market


class Tif(enum.Enum):
    """Time in force, by its name on the wire; ``LIQUIDATION_MARKET`` is the venue's own."""

    GTC = "Gtc"
    IOC = "Ioc"
    ALO = "Alo"
    FRONTEND_MARKET = "FrontendMarket"
    LIQUIDATION_MARKET = "LiquidationMarket"


IMMEDIATE = frozenset((Tif.IOC, Tif.FRONTEND_MARKET, Tif.LIQUIDATION_MARKET))
"""What never rests."""


class Tpsl(enum.Enum):
    """Take-profit or stop-loss."""

    TP = "tp"
    SL = "sl"


class Grouping(enum.Enum):
    """How the orders of one action belong together."""

    NA = "na"
    NORMAL_TPSL = "normalTpsl"
    POSITION_TPSL = "positionTpsl"


class Where(enum.Enum):
    """Where a live order is: in the book, waiting for mark, waiting for its parent's fill; ``NOWHERE`` when done or on
    its way.
    """

    RESTING = "resting"
    TRIGGER = "trigger"
    HELD = "held"
    NOWHERE = "nowhere"


class Trigger(msgspec.Struct, frozen=True):
    """Fires when mark reaches ``trigger_px``; a market trigger then executes like an IOC capped at the order's limit
    price.
    """

    is_market: bool
    trigger_px: int
    tpsl: Tpsl


class Builder(msgspec.Struct, frozen=True):
    """Who gets an extra fee of ``fee`` tenths of a basis point on each fill of an action."""

    address: str
    fee: int


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order as a user sends it: price in units of the coin, size in lots (0 with ``positionTpsl``: the whole
    position).
    """

    coin: str
    is_buy: bool
    limit_px: int
    size: int
    reduce_only: bool = False
    tif: Tif = Tif.GTC
    trigger: Trigger | None = None
    cloid: str | None = None


class Order(msgspec.Struct, kw_only=True, eq=False):
    """The engine's own record of an order; ``size`` is what remains, ``seq`` its place in time."""

    user: str
    oid: int
    market: Market
    coin: str
    is_buy: bool
    limit_px: int
    size: int
    orig_size: int
    reduce_only: bool
    tif: Tif
    trigger: Trigger | None
    cloid: str | None
    time_ms: int
    seq: int
    builder: Builder | None = None
    is_position_tpsl: bool = False
    where: Where = Where.NOWHERE
    triggered: bool = False
    queue_ahead: int = 0
    filled: int = 0
    filled_notional: int = 0
    status: str = ""
    status_ms: int = 0
    view_at_status: OrderView | None = None
    parent: Order | None = None
    children: tuple[Order, ...] = ()
    twap_id: int | None = None

    @property
    def fires_above(self) -> bool:
        """Whether the trigger waits for a mark at or above it: the stop of a short, the target of a long."""
        assert self.trigger is not None
        return self.is_buy == (self.trigger.tpsl is Tpsl.SL)

    def view(self) -> OrderView:
        """The order as it is now."""
        trigger = self.trigger
        return OrderView(
            coin=self.coin,
            is_buy=self.is_buy,
            limit_px=self.limit_px,
            size=self.size,
            orig_size=self.orig_size,
            oid=self.oid,
            time_ms=self.time_ms,
            cloid=self.cloid,
            reduce_only=self.reduce_only,
            tif=None if trigger is not None and not self.triggered else self.tif,
            trigger=trigger,
            fires_above=None if trigger is None else self.fires_above,
            triggered=self.triggered,
            is_position_tpsl=self.is_position_tpsl,
            held=self.where is Where.HELD,
            parent_oid=None if self.parent is None else self.parent.oid,
            children=tuple([child.oid for child in self.children]) if self.children else (),
            is_twap_slice=self.twap_id is not None,
        )


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order at one instant. ``tif`` is ``None`` for a trigger that has not fired; ``held``: it waits for its
    parent's whole fill.
    """

    coin: str
    is_buy: bool
    limit_px: int
    size: int
    orig_size: int
    oid: int
    time_ms: int
    cloid: str | None
    reduce_only: bool
    tif: Tif | None
    trigger: Trigger | None
    fires_above: bool | None
    triggered: bool
    is_position_tpsl: bool
    held: bool
    parent_oid: int | None
    children: tuple[int, ...]
    is_twap_slice: bool = False


class OrderStatus(msgspec.Struct, frozen=True):
    """What ``orderStatus`` tells: the order **as it was at its last change of status** (a part fill does not show, API
    sheet 1.2).
    """

    order: OrderView
    status: str
    status_ms: int


class TwapView(msgspec.Struct, frozen=True, kw_only=True):
    """A TWAP at one instant; sizes in lots, notional in micro-USD."""

    twap_id: int
    user: str
    coin: str
    is_buy: bool
    size: int
    reduce_only: bool
    minutes: int
    randomize: bool
    time_ms: int
    executed: int
    executed_notional: int


class Resting(msgspec.Struct, frozen=True):
    """The order rests in the book, or waits as a stand-alone trigger."""

    oid: int
    cloid: str | None


class Filled(msgspec.Struct, frozen=True):
    """The order filled at once, perhaps in part. ``avg_px`` is ``notional`` (micro-USD) over ``total_size``, rounded to
    a price unit.
    """

    oid: int
    cloid: str | None
    total_size: int
    notional: int
    avg_px: int


class WaitingForFill(msgspec.Struct, frozen=True):
    """A child whose parent has not filled; the wire shows no oid."""

    oid: int


class WaitingForTrigger(msgspec.Struct, frozen=True):
    """A child or position TP/SL that is armed; the wire shows no oid."""

    oid: int


class Done(msgspec.Struct, frozen=True):
    """The request took effect."""


class Rejected(msgspec.Struct, frozen=True):
    """The request did nothing; ``oid`` where the refused order is on record."""

    reject: Reject
    oid: int | None = None


PlaceResult = Resting | Filled | WaitingForFill | WaitingForTrigger | Rejected
Answer = Done | Rejected
