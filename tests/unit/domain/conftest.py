"""The recorded universe, which the tests of the domain share."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from perpstrader.domain import AssetSpec, MarginTier


@pytest.fixture(scope="session")
def universe(test_data: Path) -> list[AssetSpec]:
    """The 229 perpetuals of March 2026, with their margin tiers."""
    meta, _ = json.loads((test_data / "hl_meta_funding_2026-03" / "metaAndAssetCtxs_2026-03.json").read_text())
    tables = dict(meta["marginTables"])
    found = []
    for index, row in enumerate(meta["universe"]):
        tiers = tables[row["marginTableId"]]["marginTiers"] if row["marginTableId"] in tables else []
        found.append(
            AssetSpec(
                name=row["name"],
                index=index,
                size_decimals=row["szDecimals"],
                max_leverage=row["maxLeverage"],
                tiers=tuple(MarginTier(Decimal(t["lowerBound"]), t["maxLeverage"]) for t in tiers),
            )
        )
    assert len(found) == 229
    return found
