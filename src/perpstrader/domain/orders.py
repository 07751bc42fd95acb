"""Orders and fills: an intent is ours, an order is what the venue knows, a fill is what happened."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain.money import ZERO
from perpstrader.domain.signals import Side


class Purpose(enum.StrEnum):
    """What an order is for; everything but an entry is reduce-only on the wire (S02)."""

    ENTRY = "entry"
    STOP = "stop"
    TARGET = "target"
    EXIT = "exit"


class TimeInForce(enum.StrEnum):
    """The venue's words (API sheet 2.1); there is no market order, it is an IOC with a worst price (S14)."""

    GTC = "Gtc"
    IOC = "Ioc"
    ALO = "Alo"


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger on the mark price; ``is_market`` executes as IOC capped at the order's limit price."""

    price: Decimal
    is_stop: bool
    is_market: bool = True


class OrderIntent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing we want done at the venue, committed to disk before it is sent; it leads to at most one live order
    (S10).

    ``number`` is unique in the store. ``full_close`` marks an exit that may be repeated under a new cloid while its
    outcome is unknown, because the venue clamps it (S03). ``group`` ties an entry to the stop and target sent in the
    same action.
    """

    number: int
    purpose: Purpose
    symbol: str
    side: Side
    buy: bool
    size: Decimal
    limit_price: Decimal
    tif: TimeInForce
    reduce_only: bool
    strategy: str
    created_ms: int
    signal_id: str = ""
    episode: str = ""
    trigger: Trigger | None = None
    full_close: bool = False
    group: int = 0
    reason: str = ""
    digest: str = ""


class OrderStatus(enum.StrEnum):
    """The life of an order here; the last seven are terminal."""

    PENDING = "pending"
    UNKNOWN = "unknown"
    RESTING = "resting"
    TRIGGERED = "triggered"
    FILLED = "filled"
    PARTIAL = "partial"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    NEVER_ARMED = "never_armed"
    ABANDONED = "abandoned"

    @property
    def is_terminal(self) -> bool:
        """True when the venue can no longer execute it."""
        return self not in _LIVE


_LIVE = frozenset({OrderStatus.PENDING, OrderStatus.UNKNOWN, OrderStatus.RESTING, OrderStatus.TRIGGERED})


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of an intent at the venue, found by its ``cloid``; ``filled`` is the sum of its fills."""

    intent: OrderIntent
    attempt: int
    cloid: str
    status: OrderStatus
    sent_ms: int
    expires_ms: int | None = None
    oid: int | None = None
    filled: Decimal = ZERO
    average_price: Decimal | None = None
    detail: str = ""
    updated_ms: int = 0

    @property
    def remaining(self) -> Decimal:
        """What has not been filled, in base units."""
        return self.intent.size - self.filled

    @property
    def is_live(self) -> bool:
        """True while the venue may still execute it."""
        return not self.status.is_terminal


FORCED: Final = {"Auto-Deleveraging": "auto-deleveraged", "Settlement": "settled"}
"""Directions of fills that nobody ordered: the venue closed against us, or ended the coin (API sheet 1.2, 7.7)."""


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One trade of ours, keyed by ``(symbol, tid)`` and applied once; ``closed_pnl_usd`` is gross as the venue reports
    it.

    ``fee_usd`` is positive when paid. ``start_position`` is the signed position before it. ``liquidation`` marks one
    that the venue forced.
    """

    tid: int
    oid: int
    symbol: str
    buy: bool
    price: Decimal
    size: Decimal
    time_ms: int
    fee_usd: Decimal
    closed_pnl_usd: Decimal
    start_position: Decimal
    crossed: bool
    cloid: str | None = None
    direction: str = ""
    fee_token: str = "USDC"
    liquidation: bool = False

    @property
    def forced(self) -> str:
        """What the venue did to the position by force, in a word; empty for an ordinary trade."""
        return "liquidated" if self.liquidation else FORCED.get(self.direction, "")

    @property
    def signed_size(self) -> Decimal:
        """Size with the sign of the trade."""
        return self.size if self.buy else -self.size


class FundingPayment(msgspec.Struct, frozen=True, kw_only=True):
    """One hourly funding row; ``usd`` is negative when we paid (API sheet 1.2)."""

    symbol: str
    time_ms: int
    usd: Decimal
    size: Decimal
    rate: Decimal


class CashFlow(msgspec.Struct, frozen=True, kw_only=True):
    """Money that came or went without trading; ``usd`` is positive when it came in (S39)."""

    time_ms: int
    kind: str
    usd: Decimal
    key: str
