"""Maintenance margin: continuous over tiers, the rate of each, and what the venue states of recorded accounts."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.domain import AssetSpec, MarginTier

D = Decimal
DUST = D("1e-12")
BTC = AssetSpec(
    name="BTC", index=0, size_decimals=5, max_leverage=40,
    tiers=(MarginTier(D(0), 40), MarginTier(D(150_000_000), 20)),
)  # fmt: skip
notionals = st.integers(1, 10**12).map(D)


@given(notional=notionals)
def test_margin_grows_with_notional_and_lies_between_the_first_and_the_last_tiers_rate(
    universe: list[AssetSpec], notional: Decimal
) -> None:
    for asset in universe:
        margin, more = asset.maintenance_margin(notional), asset.maintenance_margin(notional + 1)
        last = asset.tiers[-1].max_leverage if asset.tiers else asset.max_leverage
        assert notional / (2 * asset.max_leverage) - DUST <= margin <= notional / (2 * last) + DUST
        assert more - margin <= D(1) / (2 * last) + DUST
        assert more > margin


def test_margin_is_continuous_where_a_tier_begins(universe: list[AssetSpec]) -> None:
    tiered = [asset for asset in universe if len(asset.tiers) > 1]
    assert len(tiered) == 41
    for asset in tiered:
        for tier in asset.tiers[1:]:
            below = asset.maintenance_margin(tier.lower_bound_usd)
            above = asset.maintenance_margin(tier.lower_bound_usd + D("0.000001"))
            assert D(0) < above - below < D("0.000001")
            assert asset.max_leverage_at(tier.lower_bound_usd) > asset.max_leverage_at(tier.lower_bound_usd + 1)


@pytest.mark.parametrize(
    ("notional", "margin", "leverage"),
    [("100000000", "1250000", 40), ("150000000", "1875000", 40), ("200000000", "3125000", 20)],
)
def test_btcs_tiers_give_the_documented_margins(notional: str, margin: str, leverage: int) -> None:
    assert BTC.maintenance_margin(D(notional)) == D(margin)
    assert BTC.max_leverage_at(D(notional)) == leverage
    assert BTC.maintenance_rate(D(notional)) == D(1) / (2 * leverage)


def test_the_recorded_accounts_maintenance_margin_is_the_sum_of_its_positions(test_data: Path) -> None:
    data = json.loads((test_data / "hl_account_and_book_samples_2026-06" / "clearinghouse_small.json").read_text())
    total = D(0)
    for row in (entry["position"] for entry in data["assetPositions"]):
        tiers = BTC.tiers if row["coin"] == "BTC" and row["maxLeverage"] == 40 else ()
        asset = AssetSpec(name=row["coin"], index=0, size_decimals=5, max_leverage=row["maxLeverage"], tiers=tiers)
        total += asset.maintenance_margin(D(row["positionValue"]))
    assert abs(total - D(data["crossMaintenanceMarginUsed"])) <= D("0.000001") * len(data["assetPositions"])
