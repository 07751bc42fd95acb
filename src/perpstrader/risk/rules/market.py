"""Market quality: is this a market that can be entered and, above all, left again?"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from perpstrader.domain import Check, Reason
from perpstrader.risk.case import Case, is_positive
from perpstrader.risk.rules.checks import at_least, at_most, missing, unjudged
from perpstrader.risk.volatility import REFERENCE

_BPS: Final = Decimal(10_000)


def check_volatility(case: Case) -> Iterator[Check]:
    """No entry while the whole market moves fast (S41)."""
    rule, move, limit = Reason.VOLATILITY, case.state.market_move_fraction, case.limits.volatility_stop_fraction
    unit = f"move of {REFERENCE} within an hour"
    yield unjudged(rule, limit, unit) if move is None else at_most(rule, move, limit, unit)


def check_market(case: Case) -> Iterator[Check]:
    """Spread, agreement of mid, mark and oracle, funding, volume. Asks for known prices (``case.knows_prices``)."""
    market, limits = case.market, case.limits
    mid, spread, mark = market.mid, market.spread_fraction, market.mark
    if mid is None or spread is None or mark is None:
        return
    yield at_most(Reason.SPREAD_TOO_WIDE, spread * _BPS, case.spread_cap_bps, "bps of mid")
    gap = limits.max_price_gap_fraction
    yield at_most(Reason.MARK_AWAY_FROM_MID, abs(mid / mark - 1), gap, "of mark")
    if market.oracle is None or not is_positive(market.oracle):
        yield missing(Reason.ORACLE_AWAY_FROM_MID, gap, "of oracle")
    else:
        yield at_most(Reason.ORACLE_AWAY_FROM_MID, abs(mid / market.oracle - 1), gap, "of oracle")
    cap, rate = limits.max_adverse_funding_fraction, market.funding_rate
    if rate is None or not rate.is_finite():
        yield missing(Reason.ADVERSE_FUNDING, cap, "of notional an hour")
    else:
        yield at_most(Reason.ADVERSE_FUNDING, rate * case.signal.side.sign, cap, "of notional an hour")
    volume, least = market.day_volume_usd, limits.min_symbol_volume_usd
    if volume is None or not volume.is_finite():
        yield unjudged(Reason.VOLUME_TOO_SMALL, least, "USD in 24 h")
    else:
        yield at_least(Reason.VOLUME_TOO_SMALL, volume, least, "USD in 24 h")
