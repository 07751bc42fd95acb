"""A healthy position with all its evidence, and the settings; each test says what is different."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from perpstrader.domain import Position, Protection, Side
from perpstrader.recovery import Case, Limits
from perpstrader.risk.contract import PositionRisk
from perpstrader.settings import ExecutionSettings, RecoverySettings, RiskSettings

D = Decimal
NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def limits(**recovery: Any) -> Limits:
    """The shipped settings but for those of recovery that are given; ``execution`` are fields of that section."""
    execution = recovery.pop("execution", {})
    return Limits(
        RecoverySettings().model_copy(update=recovery), RiskSettings(),
        ExecutionSettings().model_copy(update=execution), request_timeout_ms=10_000,
    )  # fmt: skip


def position(side: Side = Side.LONG, **changes: Any) -> Position:
    """One hour old, 2 coins at a cost of 100 USD each, with a confirmed stop."""
    fields: dict[str, Any] = {
        "symbol": "BTC", "side": side, "size": D(2), "entry_price": D(100), "mark_price": D(100), "episode": "BTC-1",
        "owner": "alpha", "opened_ms": NOW_MS - HOUR_MS, "leverage": 3, "protection": Protection.CONFIRMED,
    }  # fmt: skip
    return Position(**(fields | changes))


def risk_of(side: Side = Side.LONG, **changes: Any) -> PositionRisk:
    """Liquidation is 50 % away."""
    fields: dict[str, Any] = {
        "symbol": "BTC", "notional_usd": D(200), "equity_fraction": D("0.2"), "profit_fraction": D(0),
        "stop_fraction": D("0.03"), "risk_usd": D(6), "liquidation_price": D(50) if side is Side.LONG else D(150),
        "liquidation_fraction": D("0.5"), "least_liquidation_fraction": D("0.2"),
    }  # fmt: skip
    return PositionRisk(**(fields | changes))


def case(side: Side = Side.LONG, *, held: dict[str, Any] | None = None, **changes: Any) -> Case:
    """The position at a fresh mark of 100 USD in an account of 1,000 USD; ``held`` changes the position."""
    fields: dict[str, Any] = {
        "position": position(side, **(held or {})), "now_ms": NOW_MS, "loaded": frozenset({"alpha"}),
        "once_loaded": frozenset({"alpha", "beta"}), "is_foreign": False, "mark": D(100), "mark_age_ms": 1_000,
        "equity_usd": D(1_000), "account_age_ms": 1_000, "risk": risk_of(side), "exceeded": (), "venue_leverage": 3,
        "range_fraction": D("0.03"),
    }  # fmt: skip
    return Case(**(fields | changes))


def other(known: Case, **changes: Any) -> Case:
    """The same with changes."""
    return msgspec.structs.replace(known, **changes)
