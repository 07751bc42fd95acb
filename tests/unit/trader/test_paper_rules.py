"""Each rule of the paper exchange that is a setting reaches the engine or the server, and the defaults are theirs."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.unit.settings.test_every_setting import other_text

from perpstrader.paper import PaperPlan
from perpstrader.paper.engine import EngineConfig, FeeTier
from perpstrader.paper.server import VenueConfig
from perpstrader.settings import Settings, load
from perpstrader.settings.catalog import CATALOG
from perpstrader.trader.app import paper_plan
from perpstrader.trader.paper_rules import engine_config, venue_config

RULES = [spec for spec in CATALOG.values() if spec.section == "paper_rules"]


def _with(name: str, value: str) -> PaperPlan:
    return paper_plan(load(None, {"HOME": "/nowhere", f"PERPSTRADER_PAPER_RULES__{name.upper()}": value}))


@pytest.mark.parametrize("spec", RULES, ids=lambda spec: spec.name)
def test_a_rule_that_is_set_changes_how_the_exchange_judges(spec) -> None:  # type: ignore[no-untyped-def]
    plan, default = _with(spec.name, other_text(spec)), paper_plan(Settings())
    assert (plan.engine, plan.venue) != (default.engine, default.venue)


def test_the_defaults_are_those_of_engine_and_server() -> None:
    assert engine_config(Settings().paper_rules) == EngineConfig()
    assert venue_config(Settings().paper_rules) == VenueConfig()


def test_amounts_are_scaled_exactly() -> None:
    plan = _with("fee_tiers", "0:0.0005:0.0002,1000000.5:0.0004:-0.00001")
    assert plan.engine.fee_tiers == (FeeTier(-1, 500_000, 200_000), FeeTier(1_000_000_500_000, 400_000, -10_000))
    assert _with("open_interest_caps", "BTC=1000000.25").engine.open_interest_caps == (("BTC", 1_000_000_250_000),)
    assert _with("fee_discount_fraction", "0.04").engine.fee_discount == 40_000
    assert _with("idle_close_ms", "0").venue.idle_close_ms is None
    assert Settings().paper_rules.min_notional_usd == Decimal(10)
