"""Liquidation prices by our own calculation: the venue's vectors, and equity equal to maintenance margin at them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.risk.risk_samples import ASSETS, D, judged, portfolio, position, reasons, signal

from perpstrader.domain import ZERO, AssetSpec, MarginTier, Portfolio, Reason, Side
from perpstrader.risk.liquidation import (
    Exposure,
    distances,
    liquidation_price,
    liquidation_prices,
    maintenance_usd,
)

COINS = {
    **ASSETS,
    "LOW": AssetSpec(name="LOW", index=9, size_decimals=0, max_leverage=3),
    "STEP": AssetSpec(name="STEP", index=10, size_decimals=2, max_leverage=10,
                      tiers=(MarginTier(D(0), 10), MarginTier(D(10_000), 5), MarginTier(D(50_000), 2))),
}  # fmt: skip
exposures = st.builds(
    Exposure, symbol=st.sampled_from(sorted(COINS)), side=st.sampled_from(Side),
    size=st.decimals("0.01", "100000", places=2), price=st.decimals("0.01", "5000", places=2),
    leverage=st.just(3), stop_fraction=st.just(D("0.03")),
)  # fmt: skip


def _equity_at(own: Exposure, price: Decimal, equity: Decimal) -> Decimal:
    return equity + own.size * (price - own.price) * own.side.sign


@pytest.mark.parametrize(
    ("size", "price", "value", "maintenance", "leverage", "expected"),
    [("100480.9", "0.120830", "3001412.122254", "38312.328233", 50, "29.318042")],
)
def test_the_venues_cross_vector_is_reproduced(
    size: str, price: str, value: str, maintenance: str, leverage: int, expected: str
) -> None:
    """API sheet 7.3: DYDX short, position value 12,141.107147, other positions' margin as one number."""
    asset = AssetSpec(name="DYDX", index=1, size_decimals=1, max_leverage=leverage)
    own = Exposure("DYDX", Side.SHORT, D(size), D("12141.107147") / D(size), 3, ZERO)
    own_margin = asset.maintenance_margin(own.notional_usd)
    kept = D(value) - (D(maintenance) - own_margin)
    found = liquidation_price(own, [], kept, {"DYDX": asset})
    assert found is not None
    assert abs(found - D(expected)) < D("0.000001")


@given(exposures, st.lists(exposures, max_size=3), st.decimals("-1000000", "10000000", places=2))
def test_S22_at_the_liquidation_price_equity_is_maintenance_margin_across_all_tiers(
    own: Exposure, others: list[Exposure], equity: Decimal
) -> None:
    price = liquidation_price(own, others, equity, COINS)
    if price is None or price == 0:
        # A long that nothing liquidates is safe at zero; a short without a price is under its margin at every one.
        at_zero = _equity_at(own, ZERO, equity) - maintenance_usd(others, COINS)
        assert at_zero >= 0 if own.side is Side.LONG else at_zero <= 0
        return
    moved = Exposure(own.symbol, own.side, own.size, price, 3, ZERO)
    margin = maintenance_usd([moved, *others], COINS)
    assert abs(_equity_at(own, price, equity) - margin) <= D("0.000001") * max(1, abs(margin))


@given(exposures, st.lists(exposures, max_size=3), st.decimals("1", "10000000", places=2))
def test_S22_less_equity_never_lengthens_a_distance(
    own: Exposure, others: list[Exposure], equity: Decimal
) -> None:
    everything = [own, *others]
    mild, poor = (list(distances(everything, usd, COINS, D("0.20"))) for usd in (equity, equity / 2))
    for rich, poorer in zip(mild, poor, strict=True):
        for before, after in ((rich.alone, poorer.alone), (rich.shocked, poorer.shocked)):
            assert before is None or (after is not None and after <= before + D("1e-12"))


@given(
    st.lists(exposures, min_size=2, max_size=4, unique_by=lambda e: e.symbol), st.decimals("1", "10000000", places=2)
)
def test_S22_the_joint_shock_of_longs_shortens_every_distance(found: list[Exposure], usd: Decimal) -> None:
    everything = [replace(exposure, side=Side.LONG) for exposure in found]
    for distance in distances(everything, usd, COINS, D("0.20")):
        if distance.alone is not None:
            assert distance.shocked is not None
            assert distance.shocked < distance.alone


def test_positions_get_the_prices_that_the_account_shows() -> None:
    held = {"ETH": position("ETH", notional=D(2_000)), "SOL": position("SOL", notional=D(1_000), side=Side.SHORT)}
    prices = liquidation_prices(held, D(500), ASSETS)
    # Long ETH: 0.5 x (p - 4000) + 500 - 25 = 0.5 p x 0.02 -> p = (2000 - 475) / 0.49
    assert prices["ETH"] == (D(2_000) - 475) / D("0.49")
    # Short SOL: 500 - 40 - 5 x (p - 200) = 5 p x 0.025 -> p = 1460 / 5.125
    assert prices["SOL"] == D(1_460) / D("5.125")
    assert liquidation_prices(held, D(500), {"ETH": ASSETS["ETH"]}) == {}
    assert liquidation_prices(held, D(5_000), ASSETS)["ETH"] is None


LOOSE = {"max_gross_notional_ratio": D(10), "max_net_notional_ratio": D(10), "max_cluster_notional_ratio": D(10),
         "max_position_fraction": D(1), "max_margin_fraction": D(1), "max_order_notional_fraction": D(1)}  # fmt: skip


def _short_of_4000(stop: str) -> Portfolio:
    held = position("ETH", notional=D(4_000), side=Side.SHORT, stop=D(stop), leverage=20)
    return portfolio(positions={"ETH": held})


def test_S22_an_entry_that_brings_another_position_near_liquidation_is_refused() -> None:
    # Equity 1,000, short 4,000 USD: liquidated at (4,000 + 1,000) / 1.02 of it, 22.5 % away. A new long of 112 USD that
    # falls by 20 % takes 0.5 % of that, one of 1,000 USD 4.9 %: then 17.6 % are left, and 20 % are asked for.
    assert Reason.LIQUIDATION_DISTANCE not in reasons(judged(account=_short_of_4000("0.03"), **LOOSE))
    large = judged(signal(confidence=1.0), account=_short_of_4000("0.03"), risk_per_trade_fraction=D("0.05"), **LOOSE)
    assert Reason.LIQUIDATION_DISTANCE in reasons(large)


def test_S22_liquidation_is_three_stop_distances_away_or_the_entry_is_refused() -> None:
    assert Reason.LIQUIDATION_DISTANCE in reasons(judged(account=_short_of_4000("0.075"), **LOOSE))


def test_S22_a_position_without_a_listed_stop_counts_with_the_widest_one() -> None:
    held = position("ETH", notional=D(4_000), side=Side.SHORT, stop=None, leverage=20)
    assert Reason.LIQUIDATION_DISTANCE in reasons(judged(account=portfolio(positions={"ETH": held}), **LOOSE))
