"""What is remembered of a circuit breaker."""

from __future__ import annotations

import enum

import msgspec


class BreakerState(enum.StrEnum):
    """``LATCHED`` is open by an operator's hand, and only an operator ends it (S43)."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    LATCHED = "latched"


class BreakerRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a breaker over a restart (CB-21); times are UTC milliseconds.

    ``until_ms`` is the earliest probe of an open one; ``failed_probes`` how often a probe has failed since it tripped;
    ``actor`` and ``reason`` belong to the last opening or reset by hand.
    """

    name: str
    state: BreakerState
    since_ms: int
    until_ms: int | None
    failed_probes: int
    failure: str
    actor: str
    reason: str
