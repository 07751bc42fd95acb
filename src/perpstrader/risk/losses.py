"""Losses of the day and drawdown: the one definition that the keeper's halts and the entry rules share (S41, RM-26).

Everything is in USD of equity at mark. A cash flow is neither a profit nor a loss (S39).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from perpstrader.domain import ZERO, RiskState
from perpstrader.settings.limits import RiskSettings

ONE: Final = Decimal(1)
HALF: Final = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class DayBounds:
    """The loss of the day beyond which entries stop, and the one beyond which everything is closed."""

    entry_stop_usd: Decimal
    flatten_usd: Decimal


def day_bounds(limits: RiskSettings, state: RiskState) -> DayBounds | None:
    """The stricter of fraction and USD; ``None`` while the equity at 00:00 UTC is unknown.

    The fraction is of that equity less what was withdrawn since: withdrawals lower limits at once, deposits do not
    raise them.
    """
    if state.day_start_equity_usd is None:
        return None
    base_usd = max(ZERO, state.day_start_equity_usd + min(ZERO, state.cash_flows_usd))
    return DayBounds(
        stricter(limits.daily_loss_entry_stop_fraction * base_usd, limits.daily_loss_entry_stop_usd),
        stricter(limits.max_daily_loss_fraction * base_usd, limits.max_daily_loss_usd),
    )


def day_loss_usd(state: RiskState, equity_usd: Decimal | None) -> Decimal:
    """The worse of realised net loss and loss of equity since 00:00 UTC, zero on a winning day (RM-22)."""
    loss_usd = max(ZERO, -state.realized_usd)
    if equity_usd is None or state.day_start_equity_usd is None:
        return loss_usd
    return max(loss_usd, state.day_start_equity_usd + state.cash_flows_usd - equity_usd)


def drawdown_fraction(peak_usd: Decimal | None, equity_usd: Decimal | None) -> Decimal | None:
    """How far the equity lies under its peak, 0 at or above it; ``None`` while either is unknown."""
    if peak_usd is None or equity_usd is None or peak_usd <= 0:
        return None
    return max(ZERO, (peak_usd - equity_usd) / peak_usd)


def size_multiplier(limits: RiskSettings, peak_usd: Decimal | None, equity_usd: Decimal | None) -> Decimal:
    """Half beyond the first drawdown limit (or while the drawdown is unknown), else 1."""
    drawdown = drawdown_fraction(peak_usd, equity_usd)
    return ONE if drawdown is not None and drawdown <= limits.drawdown_halve_fraction else HALF


def stricter(fraction_usd: Decimal, cap_usd: Decimal | None) -> Decimal:
    """The smaller of a fraction's worth and a cap in USD, where there is one."""
    return fraction_usd if cap_usd is None else min(fraction_usd, cap_usd)
