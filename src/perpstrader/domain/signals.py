"""Signals: what a strategy, a person or another program wants, before anybody has judged it."""

from __future__ import annotations

import enum
from decimal import Decimal

import msgspec


class Side(enum.StrEnum):
    """The side of a position."""

    LONG = "long"
    SHORT = "short"

    @property
    def sign(self) -> int:
        """+1 for long, -1 for short."""
        return 1 if self is Side.LONG else -1

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SHORT if self is Side.LONG else Side.LONG

    @property
    def opens_with_buy(self) -> bool:
        """True when a buy increases a position of this side."""
        return self is Side.LONG


class Action(enum.StrEnum):
    """What a signal asks for; ``hold`` exists so that it can be refused by name (S36)."""

    OPEN = "open"
    CLOSE = "close"
    REDUCE = "reduce"
    HOLD = "hold"


class Signal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wish to ``open``, ``close`` or ``reduce`` a position; acted on at most once by (strategy, id).

    ``side`` is the side of the position, also for exits. ``confidence`` lies in 0..1. ``entry_price`` asks for a
    resting limit order, without it the entry goes to market within the slip cap. ``stop_price`` and ``target_price``
    are prices in USD; without a stop the risk manager derives one. ``size_hint`` is an upper bound in base units (for
    ``reduce``: the size). ``episode`` names the position that an exit means: an exit for an ended episode does nothing
    (S38).
    """

    id: str
    action: Action
    symbol: str
    side: Side
    confidence: float
    strategy: str
    created_ms: int
    ttl_ms: int = 60_000
    entry_price: Decimal | None = None
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    size_hint: Decimal | None = None
    episode: str | None = None
    reason: str = ""

    @property
    def is_exit(self) -> bool:
        """True for what can only make a position smaller."""
        return self.action in (Action.CLOSE, Action.REDUCE)
