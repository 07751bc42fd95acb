"""What the risk manager remembers between decisions: the day, the losses, the halts; all of it is on disk."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from perpstrader.domain.money import ZERO


class HaltKind(enum.StrEnum):
    """Who stopped entries; ``daily_loss`` ends with the UTC day, ``cooldown`` with its time, the others by an operator
    (S40, S41).
    """

    OPERATOR = "operator"
    EMERGENCY = "emergency"
    DAILY_LOSS = "daily_loss"
    DRAWDOWN = "drawdown"
    LOSS_STREAK = "loss_streak"
    RECONCILIATION = "reconciliation"
    CASH_FLOW = "cash_flow"
    LIQUIDATION = "liquidation"
    VENUE = "venue"
    STATE = "state"
    IMPLAUSIBLE = "implausible"


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """Entries are stopped since ``since_ms`` because of ``reason``; ``until_ms`` only where time alone releases it."""

    kind: HaltKind
    since_ms: int
    reason: str
    actor: str
    until_ms: int | None = None
    flatten: bool = False


class RiskState(msgspec.Struct, frozen=True, kw_only=True):
    """The day so far and the halts in force; ``version`` grows with each change.

    ``day`` is the UTC date. ``realized_usd`` is net of fees and funding for that day. ``day_start_equity_usd`` and
    ``cash_flows_usd`` give the equity-based daily loss; ``peak_equity_usd`` is adjusted for cash flows (S41).
    ``market_move_fraction`` is BTC's within an hour, known where a decision is judged; it is not stored.
    """

    version: int
    day: str
    realized_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    funding_usd: Decimal = ZERO
    day_start_equity_usd: Decimal | None = None
    cash_flows_usd: Decimal = ZERO
    peak_equity_usd: Decimal | None = None
    loss_streak: int = 0
    entries: int = 0
    entries_by_symbol: Mapping[str, int] = msgspec.field(default_factory=dict)
    recent_entries_ms: tuple[int, ...] = ()
    limits_equity_usd: Decimal | None = None
    market_move_fraction: Decimal | None = None
    halts: tuple[Halt, ...] = ()

    @property
    def is_halted(self) -> bool:
        """True while any halt is in force."""
        return bool(self.halts)
