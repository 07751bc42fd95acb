"""The account as decisions see it: positions with episodes, equity, and a version that grows with each change."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from perpstrader.domain.money import ZERO
from perpstrader.domain.signals import Side


class Protection(enum.StrEnum):
    """What is known of a position's stop; only ``confirmed`` counts (S20)."""

    CONFIRMED = "confirmed"
    PENDING = "pending"
    MISSING = "missing"
    EXEMPT = "exempt"


class ProtectiveStop(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A reduce-only stop that the venue lists: its oid, size and trigger were read there."""

    oid: int
    cloid: str
    trigger_price: Decimal
    limit_price: Decimal
    size: Decimal
    confirmed_ms: int


class Position(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """One net position of one symbol from flat to flat (its *episode*).

    ``size`` is positive base units, ``entry_price`` our own size-weighted cost, ``unrealized_usd`` at ``mark_price``
    without fees, ``liquidation_price`` our own calculation with tiers (``None`` when no positive price liquidates it).
    ``owner`` is the strategy that opened it.
    """

    symbol: str
    side: Side
    size: Decimal
    entry_price: Decimal
    mark_price: Decimal
    episode: str
    owner: str
    opened_ms: int
    leverage: int
    fees_usd: Decimal = ZERO
    funding_usd: Decimal = ZERO
    realized_usd: Decimal = ZERO
    liquidation_price: Decimal | None = None
    protection: Protection = Protection.MISSING
    stop: ProtectiveStop | None = None
    target_price: Decimal | None = None
    unprotected_since_ms: int | None = None

    @property
    def signed_size(self) -> Decimal:
        """Size with the sign of the side."""
        return self.size if self.side is Side.LONG else -self.size

    @property
    def notional_usd(self) -> Decimal:
        """Size at mark, in USD."""
        return self.size * self.mark_price

    @property
    def unrealized_usd(self) -> Decimal:
        """Gross profit at mark, in USD."""
        return (self.mark_price - self.entry_price) * self.signed_size

    @property
    def liquidation_distance_fraction(self) -> Decimal | None:
        """How far the mark is from the liquidation price, as a fraction of the mark; ``None`` where there is none."""
        if self.liquidation_price is None:
            return None
        return abs(self.mark_price - self.liquidation_price) / self.mark_price


class Reservation(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Exposure that is approved or in flight and not yet a position; it counts against every limit (S32)."""

    number: int
    symbol: str
    side: Side
    size: Decimal
    price: Decimal
    risk_usd: Decimal

    @property
    def notional_usd(self) -> Decimal:
        """Reserved size at its price, in USD."""
        return self.size * self.price


class Portfolio(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen view of the account; ``version`` grows with each change, so equal versions mean equal content.

    ``equity_usd`` is account value at mark from the source that the account's mode dictates, ``available_usd`` what the
    venue would let us use, ``as_of_ms`` the time of the newest account evidence.
    """

    version: int
    as_of_ms: int
    equity_usd: Decimal
    available_usd: Decimal
    maintenance_margin_usd: Decimal = ZERO
    positions: Mapping[str, Position] = msgspec.field(default_factory=dict)
    reservations: tuple[Reservation, ...] = ()
    leverage: Mapping[str, int] = msgspec.field(default_factory=dict)
    open_orders: int = 0
    exits_in_flight: frozenset[str] = frozenset()
    entries_in_flight: frozenset[str] = frozenset()
    frozen_symbols: Mapping[str, str] = msgspec.field(default_factory=dict)
    address_budget_left: int | None = None
    reconciled: bool = False

    @property
    def gross_notional_usd(self) -> Decimal:
        """The sum of all positions' notionals at mark."""
        return sum((p.notional_usd for p in self.positions.values()), ZERO)

    @property
    def net_notional_usd(self) -> Decimal:
        """Longs minus shorts at mark."""
        return sum((p.notional_usd * p.side.sign for p in self.positions.values()), ZERO)
