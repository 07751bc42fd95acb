"""What a start finds on disk: the stored row, the halts in force, and the day's totals from the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from perpstrader.domain import ZERO, Halt, RiskState
from perpstrader.state import LedgerTotals, Transaction, utc_day

DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Saved:
    """The stored state, and what the ledger says of the day.

    ``unabsorbed_usd`` are cash flows in the ledger that the row's peak does not know, ``delayed_usd`` deposits of the
    day that do not raise limits yet.
    """

    row: RiskState | None
    halts: tuple[Halt, ...]
    totals: LedgerTotals
    unabsorbed_usd: Decimal
    delayed_usd: Decimal


def read_saved(tx: Transaction, now_ms: int) -> Saved:
    """One consistent reading of it; raises ``StateError`` for what cannot be understood."""
    row, halts = tx.risk.load(), tx.halts.active()
    day = utc_day(now_ms) if row is None else max(row.day, utc_day(now_ms))
    delayed = ZERO
    for flow in tx.ledger.cash_flows_since(day_start_ms(day)):
        delayed = undelayed(delayed, flow.usd)
    unabsorbed = ZERO
    if row is not None:
        flows = tx.ledger.cash_flows_since(day_start_ms(row.day))
        unabsorbed = sum((flow.usd for flow in flows), ZERO) - row.cash_flows_usd
    return Saved(row, halts, tx.ledger.day(day), unabsorbed, delayed)


def undelayed(delayed_usd: Decimal, flow_usd: Decimal) -> Decimal:
    """The deposits that limits do not count yet, after one more flow: what is withdrawn comes out of them first."""
    return max(ZERO, delayed_usd + flow_usd)


def day_start_ms(day: str) -> int:
    """00:00 UTC of an ISO date, in milliseconds."""
    return (date.fromisoformat(day).toordinal() - _EPOCH) * DAY_MS
