"""What the risk manager remembers between decisions: the day, the losses, the halts; all of it is on disk."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from perpstrader.domain.money import ZERO
from perpstrader.domain.signals import Side
from perpstrader.domain.wording import moment_text


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

    @property
    def words(self) -> str:
        """Why entries are stopped, and until when where time ends it."""
        until = f", until {moment_text(self.until_ms)} UTC" if self.until_ms is not None else ""
        return f"{self.reason}{until}"


class PastEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that was sent: its worst price, and when it ended without a fill, if it did."""

    time_ms: int
    symbol: str
    side: Side
    strategy: str
    price: Decimal
    failed_ms: int | None = None


class PastExit(msgspec.Struct, frozen=True, kw_only=True):
    """A position that ended, with its whole net profit."""

    time_ms: int
    symbol: str
    net_usd: Decimal


class PastSignal(msgspec.Struct, frozen=True, kw_only=True):
    """A signal to open, whatever became of it."""

    time_ms: int
    symbol: str
    strategy: str


class Conduct(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried lately, oldest first: what the rules against churn read (S01: entries alone ask them)."""

    entries: tuple[PastEntry, ...] = ()
    exits: tuple[PastExit, ...] = ()
    signals: tuple[PastSignal, ...] = ()


class RiskState(msgspec.Struct, frozen=True, kw_only=True):
    """The day so far and the halts in force; ``version`` grows with each change.

    ``day`` is the UTC date. ``realized_usd`` is net of fees and funding for that day. ``day_start_equity_usd`` and
    ``cash_flows_usd`` give the equity-based daily loss; ``peak_equity_usd`` is adjusted for cash flows (S41).
    ``market_move_fraction`` is BTC's within an hour and ``conduct`` what was tried lately, both known where a decision
    is judged and not stored here.
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
    conduct: Conduct = Conduct()
    halts: tuple[Halt, ...] = ()
