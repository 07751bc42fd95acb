"""Margin arithmetic of a cross account as pure functions on integers: micro-USD, price units, lots (API sheet 7.1 to
7.3).

Every USD amount is truncated toward zero to the micro-USD, as the venue does. Sizes are signed: positive is long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perpstrader.paper.engine.assets import MAX_PRICE_DECIMALS, MarginTier

TENTH_PLACES: Final = 10
"""Ratios and liquidation prices are published with ten decimals."""


def truncated(numerator: int, denominator: int) -> int:
    """``numerator / denominator`` cut toward zero; ``denominator`` is positive."""
    return numerator // denominator if numerator >= 0 else -(-numerator // denominator)


def position_value(size: int, mark: int) -> int:
    """``|size| x mark``, exact."""
    return abs(size) * mark


def unrealized_pnl(size: int, entry_notional: int, mark: int) -> int:
    """What closing at ``mark`` would gain, from the exact entry notional (positive) and not from the published entry
    price.
    """
    return size * mark - (entry_notional if size > 0 else -entry_notional)


def entry_price(size: int, entry_notional: int) -> int:
    """The published entry price: truncated to a price unit. 0 when flat."""
    return entry_notional // abs(size) if size else 0


def closed_pnl(closed: int, entry_px: int, px: int) -> int:
    """Gross profit of closing ``closed`` signed lots of a position at ``px``, from the truncated entry price as the
    venue counts it.
    """
    return closed * (px - entry_px)


def margin_used(value: int, leverage: int) -> int:
    """Initial margin of a cross position: value over leverage."""
    return value // leverage


def maintenance_margin(value: int, tiers: Sequence[MarginTier]) -> int:
    """Half the initial margin at each band's highest leverage, band by band; equal to ``value x mmr - deduction`` of
    the docs.
    """
    if len(tiers) == 1:
        return value // (2 * tiers[0].max_leverage)
    numerator, denominator = 0, 1
    for place, tier in enumerate(tiers):
        if value <= tier.lower_bound:
            break
        top = value if place + 1 == len(tiers) else min(value, tiers[place + 1].lower_bound)
        rate = 2 * tier.max_leverage
        numerator, denominator = numerator * rate + (top - tier.lower_bound) * denominator, denominator * rate
    return numerator // denominator


def tier_at(value: int, tiers: Sequence[MarginTier]) -> MarginTier:
    """The tier in which a notional of ``value`` lies."""
    found = tiers[0]
    for tier in tiers[1:]:
        if value < tier.lower_bound:
            break
        found = tier
    return found


def account_value(total_raw_usd: int, positions_at_mark: int) -> int:
    """Cash plus the signed worth of all positions at mark; negative is shown as it is."""
    return total_raw_usd + positions_at_mark


def withdrawable(value: int, total_margin_used: int, total_notional: int, reserved: int) -> int:
    """What may leave: value less the larger of initial margin and 10 % of notional, less what resting orders hold;
    never below 0.
    """
    return max(value - max(total_margin_used, truncated(total_notional, 10)) - reserved, 0)


def return_on_equity(pnl: int, entry_notional: int, leverage: int) -> int:
    """Unrealized PnL over the margin that the entry needed at today's leverage, in 1e-10."""
    return truncated(pnl * leverage * 10**TENTH_PLACES, entry_notional) if entry_notional else 0


def liquidation_price(
    size: int, mark: int, margin_available: int, tiers: Sequence[MarginTier], price_decimals: int = MAX_PRICE_DECIMALS
) -> int | None:
    """The mark, in 1e-10 USD, at which this position alone would bring the account under its maintenance margin;
    ``None`` if none would.

    ``margin_available`` is account value less maintenance margin for cross, and (collateral + unrealized PnL) less own
    maintenance margin for isolated positions. The rate is that of the tier at today's notional, as the venue's
    published formula has it.
    """
    if size == 0:
        return None
    side = 1 if size > 0 else -1
    lots = abs(size)
    rate = 2 * tier_at(lots * mark, tiers).max_leverage
    below = lots * (rate - side)
    above = mark * below - side * margin_available * rate
    return above * int(10 ** (TENTH_PLACES - price_decimals)) // below if above > 0 else None


def fee(notional: int, rate_nano: int, discount: int = 0) -> int:
    """``notional`` x ``rate_nano`` x 1e-9, truncated; a rebate is negative.

    A ``discount`` (in 1e-6; 4 % for the referred) is taken off the truncated fee and what is left is truncated again:
    so do 4,700 recorded fills say.
    """
    full = truncated(notional * rate_nano, 1_000_000_000)
    return truncated(full * (1_000_000 - discount), 1_000_000) if discount else full


def builder_fee(notional: int, tenths_of_bp: int) -> int:
    """The builder's share of a fill: tenths of a basis point of the notional, truncated."""
    return notional * tenths_of_bp // 100_000
