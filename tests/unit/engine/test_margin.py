"""Margin arithmetic: the docs' tiers, liquidation prices where equity really meets maintenance, truncation."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from perpstrader.paper.engine import MarginTier, margin
from perpstrader.paper.engine.assets import MICRO

TIERS = (MarginTier(0, 40), MarginTier(150_000_000 * MICRO, 20), MarginTier(400_000_000 * MICRO, 5))


def by_the_docs(value: int) -> Fraction:
    """MM = notional x mmr(n) - ded(n), ded(n) = ded(n-1) + lowerBound(n) x (mmr(n) - mmr(n-1))."""
    deduction, previous, found = Fraction(0), Fraction(0), (Fraction(1, 80), Fraction(0))
    for tier in TIERS:
        rate = Fraction(1, 2 * tier.max_leverage)
        deduction += tier.lower_bound * (rate - previous) if tier.lower_bound else 0
        previous = rate
        if value >= tier.lower_bound:
            found = (rate, deduction)
    return value * found[0] - found[1]


@given(value=st.integers(0, 10**15))
def test_banded_maintenance_margin_is_the_docs_rate_less_deduction(value: int) -> None:
    assert margin.maintenance_margin(value, TIERS) == int(by_the_docs(value))


def test_amounts_are_truncated_not_rounded() -> None:
    assert margin.fee(8_097_000, 450_000) == 3_643
    assert margin.margin_used(47_662_350, 20) == 2_383_117
    assert margin.fee(-8_097_000, 450_000) == -3_643
    assert margin.fee(797_078_134, 350_000, 40_000) == 267_817


@given(
    size=st.integers(-10_000, 10_000).filter(bool),
    mark=st.integers(1_000, 10**7),
    cash_share=st.fractions(Fraction(1, 50), 2),
    leverage=st.integers(3, 50),
)
def test_at_the_liquidation_price_equity_equals_maintenance_margin(
    size: int, mark: int, cash_share: Fraction, leverage: int
) -> None:
    tiers = (MarginTier(0, leverage),)
    value = margin.position_value(size, mark)
    equity = int(value * cash_share)
    maintenance = margin.maintenance_margin(value, tiers)
    price = margin.liquidation_price(size, mark, equity - maintenance, tiers, price_decimals=4)
    if price is None:
        assert size > 0
        assert equity >= value - 1
        return
    at = Fraction(price, 10**6)
    equity_there = equity + size * (at - mark)
    maintenance_there = abs(size) * at / (2 * leverage)
    assert abs(equity_there - maintenance_there) <= 2 + abs(size) * Fraction(1, 10**6)


def test_a_flat_position_has_neither_entry_nor_liquidation_price() -> None:
    assert margin.entry_price(0, 0) == 0
    assert margin.liquidation_price(0, 100, 5, TIERS) is None


def test_what_may_leave_is_never_negative() -> None:
    assert margin.withdrawable(-5, 0, 0, 0) == 0
    assert margin.withdrawable(1_000, 10, 5_000, 100) == 400
