"""How large and where the stop lies: cases worked by hand, and the example of docs/risk.md computed again."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.risk.risk_samples import (
    ASSETS,
    NOW,
    D,
    approved,
    execution,
    judged,
    manager,
    market,
    portfolio,
    reasons,
    signal,
    state,
)

from perpstrader.domain import Reason, Side
from perpstrader.risk.exposure import market_order_cap_usd

DOCS = Path(__file__).resolve().parents[3] / "docs" / "risk.md"


def test_the_size_is_the_risk_budget_over_what_one_unit_can_lose() -> None:
    # Worst entry 100,000 x 1.002 = 100,200. Stop 97,000. Slip 0.3 % of 97,000 = 291. Fees 0.00045 x 197,200 = 88.74.
    # One BTC loses 3,200 + 291 + 88.74 = 3,579.74. Budget 5 x (0.5 + 0.5 x 0.6) = 4. 4 / 3,579.74 = 0.0011174.
    verdict = approved(judged(signal(stop_price=D(97_000))))
    assert (verdict.size, verdict.size_bound) == (D("0.00111"), "risk_budget")
    assert verdict.risk_usd == D("0.00111") * D("3579.74")
    assert (verdict.worst_price, verdict.stop_limit_price) == (D(100_200), D(87_300))


def test_a_short_is_the_mirror_image() -> None:
    # Worst 99,800; stop 103,000; slip 309; fees 0.00045 x 202,800 = 91.26; loss 3,600.26; 4 / 3,600.26 = 0.0011110.
    verdict = approved(judged(signal(side=Side.SHORT, stop_price=D(103_000))))
    assert (verdict.size, verdict.worst_price, verdict.stop_limit_price) == (D("0.00111"), D(99_800), D(113_300))
    assert verdict.target_price is not None
    assert verdict.target_price < verdict.worst_price
    # Counted at the dearest price it may be counted at: the mark.
    assert verdict.notional_usd == D("0.00111") * 100_000


def test_the_example_of_the_documentation_is_what_the_program_computes() -> None:
    text = DOCS.read_text()
    said = dict(re.findall(r"^\| (size|worst price|stop|stop limit|target|risk|notional) \| ([\d.,]+)", text, re.M))
    verdict = approved(judged())
    computed = {
        "size": verdict.size, "worst price": verdict.worst_price, "stop": verdict.stop_price,
        "stop limit": verdict.stop_limit_price, "target": verdict.target_price, "risk": verdict.risk_usd,
        "notional": verdict.notional_usd,
    }  # fmt: skip
    assert {name: D(number.replace(",", "")) for name, number in said.items()} == computed


@pytest.mark.parametrize(("confidence", "budget"), [(0.5, "2.5"), (0.75, "3.75"), (1.0, "5")])
def test_confidence_scales_the_budget_from_half_to_all_of_it(confidence: float, budget: str) -> None:
    verdict = approved(judged(signal(confidence=confidence)))
    check = next(c for c in verdict.checks if c.rule is Reason.RISK_PER_TRADE)
    assert D(check.limit) == D(budget)


@pytest.mark.parametrize(
    ("bound", "changes", "account", "wish", "size"),
    [
        ("order_notional", {"max_order_notional_fraction": D("0.05")}, {}, {}, "0.00049"),
        ("order_notional", {"max_order_notional_usd": D(60)}, {}, {}, "0.00059"),
        ("symbol_notional", {"max_position_usd": D(60)}, {}, {}, "0.00059"),
        ("gross_notional", {"max_gross_notional_usd": D(60)}, {}, {}, "0.00059"),
        ("net_notional", {"max_net_notional_usd": D(60)}, {}, {}, "0.00059"),
        ("cluster_notional", {"max_cluster_notional_ratio": D("0.06")}, {}, {}, "0.00059"),
        ("margin", {"max_margin_fraction": D("0.02")}, {}, {}, "0.00059"),
        ("available_margin", {}, {"available_usd": D(20)}, {}, "0.00059"),
        ("size_hint", {}, {}, {"size_hint": D("0.0005999")}, "0.00059"),
        ("risk_budget", {"risk_per_trade_usd": D("2.4")}, {}, {}, "0.00053"),
    ],
)
def test_the_smallest_room_bounds_the_size_and_the_verdict_names_it(
    bound: str, changes: dict[str, Any], account: dict[str, Any], wish: dict[str, Any], size: str
) -> None:
    verdict = approved(judged(signal(**wish), account=portfolio(**account), **changes))
    assert (verdict.size_bound, verdict.size) == (bound, D(size))


def test_S25_crash_exposure_bounds_what_is_in_flight_at_once() -> None:
    risk = manager(orders=execution(max_crash_exposure_usd=D(150)))
    first = risk.approve(signal(), portfolio(), market(), ASSETS["BTC"], state(), NOW)
    assert approved(first).size_bound == "risk_budget"
    second = risk.approve(signal("ETH", id="s2"), portfolio(), market("ETH"), ASSETS["ETH"], state(), NOW)
    assert approved(second).size_bound == "crash_exposure"
    assert sum(held.notional_usd for held in risk.reservations) <= 150


def test_sizes_are_halved_beyond_the_first_drawdown_and_not_at_it() -> None:
    at_edge = approved(judged(account=portfolio(equity_usd=D(940)), memory=state(day_start_equity_usd=D(940))))
    beyond = approved(
        judged(account=portfolio(equity_usd=D("939.99")), memory=state(day_start_equity_usd=D("939.99")))
    )
    assert at_edge.size == D("0.00105")
    assert beyond.size == D("0.00052")
    assert "size x 0.5: in a drawdown" in beyond.warnings


def test_S39_a_deposit_of_today_does_not_raise_a_size() -> None:
    usual = approved(judged())
    rich = portfolio(equity_usd=D(9_000), available_usd=D(9_000))
    memory = state(cash_flows_usd=D(8_000), peak_equity_usd=D(9_000), limits_equity_usd=D(1_000))
    assert approved(judged(account=rich, memory=memory)).size == usual.size


def test_S33_a_size_below_the_minimum_is_refused_and_never_rounded_up() -> None:
    edge = approved(judged(signal(size_hint=D("0.00020"))))
    assert edge.size == D("0.00020")
    below = judged(signal(size_hint=D("0.00019999")))
    assert reasons(below) == [Reason.SIZE_BELOW_MINIMUM]
    poor = portfolio(available_usd=D(0))
    assert reasons(judged(account=poor)) == [Reason.SIZE_BELOW_MINIMUM]


def test_S06_the_stops_own_limit_price_keeps_its_notional_above_the_venues_minimum() -> None:
    # p lies half below the stop: 97,000 x 0.5 = 48,500. Least entry 12 x 100,001 / 48,500 = 24.74 USD.
    risk = manager(orders=execution(stop_limit_beyond_fraction=D("0.5")))
    assert reasons(judged(signal(size_hint=D("0.00024")), by=risk)) == [Reason.SIZE_BELOW_MINIMUM]
    verdict = approved(judged(signal(size_hint=D("0.00025")), by=risk))
    assert verdict.size * verdict.stop_limit_price >= 12


def test_without_a_stop_the_wider_of_default_and_atr_is_taken_from_the_nearer_of_entry_and_mark() -> None:
    assert approved(judged()).stop_price == D(97_000)
    assert approved(judged(prices=market(mark=D(99_900)))).stop_price == D(96_903)
    wide = approved(judged(prices=market(atr=D(5_000))))
    assert wide.stop_price == D(95_000)
    assert wide.target_price == D(106_002)
    assert Reason.STOP_TOO_FAR in reasons(judged(prices=market(atr=D(9_000))))


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("fraction", ["0.005", "0.03", "0.08"])
@pytest.mark.parametrize("mark", [99_600, 100_000, 100_400])
def test_a_derived_stop_is_within_the_distances_that_are_allowed(side: Side, fraction: str, mark: int) -> None:
    verdict = judged(
        signal("BTC", side=side), prices=market(mark=D(mark), oracle=D(100_000)), default_stop_fraction=D(fraction),
        default_target_fraction=D("0.16"),
    )  # fmt: skip
    assert not {Reason.STOP_TOO_CLOSE, Reason.STOP_WRONG_SIDE, Reason.REWARD_TO_RISK} & set(reasons(verdict))
    assert Reason.STOP_TOO_FAR not in reasons(verdict)


def test_a_given_stop_is_rounded_toward_the_entry_and_never_away_from_it() -> None:
    assert approved(judged(signal(stop_price=D("97000.4")))).stop_price == D(97_001)
    assert approved(judged(signal(side=Side.SHORT, stop_price=D("103000.4")))).stop_price == D(103_000)


def test_S22_the_stops_limit_lies_beyond_its_trigger_on_the_executing_side() -> None:
    for side in Side:
        verdict = approved(judged(signal(side=side)))
        assert (verdict.stop_price - verdict.stop_limit_price) * side.sign > 0
        assert ASSETS["BTC"].is_price(verdict.stop_limit_price)


def test_S14_the_worst_price_is_within_the_slip_cap_of_a_major_and_of_others() -> None:
    assert approved(judged()).worst_price == D(100_200)
    assert approved(judged(signal("SOL"))).worst_price == D(201)
    short = approved(judged(signal("SOL", side=Side.SHORT)))
    assert short.worst_price == D(199)


def test_a_resting_entry_is_bounded_by_its_own_price() -> None:
    verdict = approved(judged(signal(entry_price=D("98000.7"))))
    assert (verdict.resting, verdict.worst_price, verdict.reference_price) == (True, D(98_000), D(98_000))
    assert verdict.stop_price == D(95_060)
    # It counts at the mark, which is dearer, from now on.
    assert verdict.notional_usd == verdict.size * 100_000


@pytest.mark.parametrize(
    ("leverage", "cap"), [(40, 15_000_000), (25, 15_000_000), (20, 5_000_000), (10, 2_000_000), (3, 500_000)]
)
def test_what_one_market_order_may_carry_hangs_on_the_coins_leverage(leverage: int, cap: int) -> None:
    assert market_order_cap_usd(replace(ASSETS["BTC"], max_leverage=leverage)) == Decimal(cap)


def test_S22_a_position_is_at_most_half_of_what_one_market_order_may_carry() -> None:
    rich = portfolio(equity_usd=D(10**9), available_usd=D(10**9))
    memory = state(day_start_equity_usd=D(10**9), peak_equity_usd=D(10**9))
    verdict = approved(judged(signal("SOL"), account=rich, memory=memory))
    assert verdict.size_bound == "market_order_cap"
    assert verdict.notional_usd <= 2_500_000
