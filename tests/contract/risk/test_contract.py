"""What every risk manager promises, whatever it caches: the same suite for each implementation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from tests.unit.risk.risk_samples import (
    ASSETS,
    LEVERAGE,
    NOW,
    D,
    approved,
    execution,
    limits,
    market,
    portfolio,
    position,
    reasons,
    signal,
    state,
)

from perpstrader import risk
from perpstrader.domain import Action, MoneyError, Reason, Side
from perpstrader.risk import baseline
from perpstrader.risk.contract import RiskManager

Make = Callable[..., RiskManager]
IMPLEMENTATIONS = {"baseline": baseline.RiskManager, "perpstrader.risk": risk.RiskManager}


@pytest.fixture(params=IMPLEMENTATIONS)
def make(request: pytest.FixtureRequest) -> Make:
    """A maker of the implementation under test."""
    kind = IMPLEMENTATIONS[request.param]
    return lambda **changes: kind(limits(**changes), execution(), LEVERAGE, ASSETS)


def test_evaluate_reserves_nothing_and_approve_does(make: Make) -> None:
    manager = make()
    looked = approved(manager.evaluate(signal(), portfolio(), market(), ASSETS["BTC"], state(), NOW))
    assert (looked.reservation, manager.reservations) == (0, ())
    taken = approved(manager.approve(signal(), portfolio(), market(), ASSETS["BTC"], state(), NOW))
    [held] = manager.reservations
    assert replace(taken, reservation=0) == looked
    assert (held.number, held.symbol, held.side, held.size) == (taken.reservation, "BTC", Side.LONG, taken.size)
    assert (held.notional_usd, held.risk_usd) == (taken.notional_usd, taken.risk_usd)


def test_a_refusal_reserves_nothing(make: Make) -> None:
    manager = make(emergency_stop=True)
    verdict = manager.approve(signal(), portfolio(), market(), ASSETS["BTC"], state(), NOW)
    assert (reasons(verdict), manager.reservations) == ([Reason.EMERGENCY_STOP], ())


def test_S32_a_reservation_counts_until_it_is_released(make: Make) -> None:
    manager = make(max_positions=1)
    first = approved(manager.approve(signal(), portfolio(), market(), ASSETS["BTC"], state(), NOW))
    second = signal("ETH", id="s2")
    assert Reason.POSITION_COUNT in reasons(
        manager.approve(second, portfolio(), market("ETH"), ASSETS["ETH"], state(), NOW)
    )
    manager.release(first.reservation)
    manager.release(first.reservation)
    again = approved(manager.approve(second, portfolio(), market("ETH"), ASSETS["ETH"], state(), NOW))
    assert again.reservation != first.reservation, "a number is never used twice"


def test_S32_the_portfolios_own_copy_of_reservations_is_not_read(make: Make) -> None:
    manager = make()
    approved(manager.approve(signal(), portfolio(), market(), ASSETS["BTC"], state(), NOW))
    shown = portfolio(reservations=manager.reservations)
    manager.release(manager.reservations[0].number)
    approved(manager.evaluate(signal(), shown, market(), ASSETS["BTC"], state(), NOW))


def test_a_reservation_shrinks_with_what_filled(make: Make) -> None:
    manager = make()
    verdict = approved(manager.approve(signal(), portfolio(), market(), ASSETS["BTC"], state(), NOW))
    manager.settle(verdict.reservation, D("0.00011"), D(100_100))
    [held] = manager.reservations
    assert held.size == verdict.size - D("0.00011")
    assert held.risk_usd == verdict.risk_usd * held.size / verdict.size
    with pytest.raises(MoneyError):
        manager.settle(verdict.reservation, D("NaN"), D(1))
    manager.settle(verdict.reservation, D(1), D(100_100))
    assert manager.reservations == ()
    manager.settle(verdict.reservation, D(1), D(100_100))


def test_S32_a_batch_is_judged_one_after_the_other(make: Make) -> None:
    manager = make(max_positions=2)
    wishes = [signal(symbol, id=symbol) for symbol in ("BTC", "ETH", "SOL")]
    items = [(wish, market(wish.symbol), ASSETS[wish.symbol]) for wish in wishes]
    verdicts = manager.evaluate_batch(items, portfolio(), state(), NOW)
    assert [reasons(verdict) for verdict in verdicts[:2]] == [[], []]
    assert Reason.POSITION_COUNT in reasons(verdicts[2])
    assert [held.symbol for held in manager.reservations] == ["BTC", "ETH"]


def test_S32_a_batch_does_not_enter_one_symbol_twice(make: Make) -> None:
    manager = make()
    items = [(signal(id=name), market(), ASSETS["BTC"]) for name in ("a", "b")]
    first, second = manager.evaluate_batch(items, portfolio(), state(), NOW)
    assert reasons(first) == []
    assert reasons(second) == [Reason.ENTRY_IN_FLIGHT]


def test_S01_an_exit_raises_and_a_batch_with_one_reserves_nothing(make: Make) -> None:
    manager = make()
    leave = signal(action=Action.CLOSE)
    with pytest.raises(ValueError, match="exit"):
        manager.approve(leave, portfolio(), market(), ASSETS["BTC"], state(), NOW)
    items = [(signal(), market(), ASSETS["BTC"]), (leave, market(), ASSETS["BTC"])]
    with pytest.raises(ValueError, match="exit"):
        manager.evaluate_batch(items, portfolio(), state(), NOW)
    assert manager.reservations == ()


def test_an_unknown_coin_is_refused_by_name(make: Make) -> None:
    verdict = make().approve(signal("DOGE"), portfolio(), market(), None, state(), NOW)
    assert Reason.UNKNOWN_SYMBOL in reasons(verdict)


def test_portfolio_risk_counts_what_is_in_flight(make: Make) -> None:
    manager = make()
    held = {"ETH": position("ETH", notional=D(250)), "SOL": position("SOL", notional=D(100), side=Side.SHORT)}
    quiet = manager.portfolio_risk(portfolio(positions=held), ASSETS)
    assert (quiet.gross_leverage, quiet.net_leverage, quiet.concentration_fraction) == (D("0.35"), D("0.15"), D("0.25"))
    # Maintenance: 250 / 50 + 100 / 40 = 7.50 of 1,000.
    assert quiet.margin_ratio == D("0.0075")
    assert quiet.nearest_liquidation_symbol == "SOL"
    assert quiet.score == 0.5, "250 of 500 in one coin is the greatest share of a limit"
    verdict = approved(manager.approve(signal(), portfolio(), market(), ASSETS["BTC"], state(), NOW))
    busy = manager.portfolio_risk(portfolio(positions=held), ASSETS)
    assert busy.gross_notional_usd == 350 + verdict.notional_usd
    empty = make().portfolio_risk(portfolio(equity_usd=D(0)), ASSETS)
    assert (empty.gross_leverage, empty.score) == (None, 1.0)


def test_position_risk_says_what_is_wrong_with_a_position(make: Make) -> None:
    safe, naked = position("ETH"), position("ETH", notional=D(4_500), side=Side.SHORT, stop=None)
    seen = make().position_risk(safe, portfolio(positions={"ETH": safe}), ASSETS)
    assert (seen.warnings, seen.equity_fraction, seen.stop_fraction) == ((), D("0.2"), D("0.03"))
    assert seen.risk_usd == 6
    found = make().position_risk(naked, portfolio(positions={"ETH": naked}), ASSETS)
    assert found.liquidation_price == D(4_000) + (1_000 - D(4_500) / 50) * 4_000 / D(4_500) / D("1.02")
    assert found.warnings[0] == "no stop is listed at the venue"
    assert "liquidation is 0.19" in found.warnings[1]


def test_within_limits_names_each_limit_of_the_portfolio_as_it_stands(make: Make) -> None:
    held = portfolio(positions={"ETH": position("ETH", notional=D(501))})
    failed = [check.rule for check in make().within_limits(held, state(), ASSETS) if not check.passed]
    assert failed == [Reason.SYMBOL_NOTIONAL]
    assert all(check.passed for check in make().within_limits(portfolio(), state(), ASSETS))


def test_a_profit_uses_nothing_of_the_daily_loss(make: Make) -> None:
    won = make().metrics(state(realized_usd=D(25)), D(1_025))
    assert (won.loss_usd, won.loss_utilisation) == (0, 0)
    lost = make().metrics(state(realized_usd=D(-6)), D(985))
    assert (lost.loss_usd, lost.entry_stop_usd, lost.flatten_usd, lost.loss_utilisation) == (15, 30, 50, D("0.5"))
    assert lost.drawdown_fraction == D("0.015")
