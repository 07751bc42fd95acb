"""Isolated margin: a position with money of its own, which it may lose and nothing else."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.unit.engine.box import ALICE, BOB, BTC, SOL, Box, levels, lots, price, stop, usd

from perpstrader.paper.engine import (
    AccountEvent,
    Done,
    EngineAsset,
    Exchange,
    Grouping,
    LiquidationEvent,
    MarketUpdate,
    PositionView,
    RejectCode,
    Rejected,
)


def isolated(times: int = 10, *, funds: int = 10_000) -> Box:
    """A box in which Alice's SOL is isolated."""
    box = Box(funds=funds)
    assert box.exchange.update_leverage(ALICE, "SOL", times, False, box.tick()) == Done()
    return box


def held(box: Box) -> PositionView:
    (position,) = box.exchange.account_state(ALICE).positions
    return position


def code(answer: object) -> RejectCode:
    assert isinstance(answer, Rejected), answer
    return answer.reject.code


def test_an_opened_position_takes_its_initial_margin_along_and_pays_its_fee_from_it() -> None:
    """10 SOL at 101: notional 1010, a tenth of it 101, fee 0.045 % = 0.4545; marked at 100 it has lost 10."""
    box = isolated()
    box.buy(10)
    position, view = held(box), box.exchange.account_state(ALICE)
    assert position.raw_usd == usd("101") - usd("1010") - usd("0.4545")
    assert position.margin_used == usd("101") - usd("0.4545") - usd("10")
    assert view.cross_raw_usd == view.cross_value == usd("10000") - usd("101")
    assert view.account_value == usd("10000") - usd("10") - usd("0.4545")
    assert (view.maintenance_margin, view.cross_notional, view.cross_margin_used) == (0, 0, 0)
    assert view.total_margin_used == position.margin_used
    assert view.withdrawable == view.cross_value


@pytest.mark.parametrize(
    ("side", "entry", "collateral", "expected"),
    [("buy", "145.83", "24.045107", "74.83696193"), ("sell", "155.89", "24.924941", "228.07847866")],
)
def test_the_liquidation_price_is_the_one_that_the_venue_reported_for_recorded_positions(
    side: str, entry: str, collateral: str, expected: str
) -> None:
    """0.33 SOL long and 0.32 SOL short (API sheet 7.3); the long one's margin is half its notional less 0.035 %."""
    box = isolated(2)
    size = "0.33" if side == "buy" else "0.32"
    other = Decimal(entry) + (-1 if side == "buy" else 1)
    book = {
        "asks" if side == "buy" else "bids": levels((entry, 5)),
        "bids" if side == "buy" else "asks": levels((str(other), 5)),
    }
    box.apply(mark=price(entry), oracle=price(entry), **book)
    box.take(side, size, ALICE)
    notional = lots(size) * price(entry)
    fee = notional * 350_000 // 10**9 if side == "buy" else notional // 2 - usd(collateral)
    # Our fee is of today's schedule: what differs is put in or taken out by hand.
    (position,) = box.exchange._state.accounts[ALICE].positions.values()
    position.raw_usd += notional * 450_000 // 10**9 - fee
    assert abs(held(box).margin_used - usd(collateral)) <= 1
    shown = held(box).liquidation_px
    assert shown is not None
    assert abs(Decimal(shown).scaleb(-10) - Decimal(expected)) < Decimal("0.00001")


def test_margin_goes_in_up_to_what_is_free_and_out_down_to_the_larger_of_initial_margin_and_a_tenth() -> None:
    box = isolated(20)
    box.buy(10)
    box.events()
    assert box.exchange.update_isolated_margin(ALICE, "SOL", usd(200), box.tick()) == Done()
    assert box.events() == [AccountEvent(ALICE)]
    assert held(box).margin_used == usd("50.5") - usd("0.4545") - usd(10) + usd(200)
    removable = held(box).margin_used - usd(100)
    refused = box.exchange.update_isolated_margin(ALICE, "SOL", -removable - 1, box.tick())
    assert code(refused) is RejectCode.ISOLATED_REMOVAL
    assert box.exchange.update_isolated_margin(ALICE, "SOL", -removable, box.tick()) == Done()
    free = box.exchange.account_state(ALICE).withdrawable
    assert code(box.exchange.update_isolated_margin(ALICE, "SOL", free + 1, box.tick())) is RejectCode.ISOLATED_FUNDS
    assert box.exchange.update_isolated_margin(ALICE, "SOL", free, box.tick()) == Done()


def test_only_an_isolated_position_takes_margin() -> None:
    box = Box()
    assert code(box.exchange.update_isolated_margin(ALICE, "SOL", 1, box.tick())) is RejectCode.NOT_ISOLATED
    box.buy(10)
    assert code(box.exchange.update_isolated_margin(ALICE, "SOL", 1, box.tick())) is RejectCode.NOT_ISOLATED
    assert code(box.exchange.top_up_isolated(ALICE, "SOL", 1_000, box.tick())) is RejectCode.NOT_ISOLATED


def test_topping_up_brings_the_position_down_to_a_leverage() -> None:
    box = isolated(20)
    box.buy(10)
    assert box.exchange.top_up_isolated(ALICE, "SOL", 2_500, box.tick()) == Done()
    assert held(box).margin_used == usd(400)
    assert box.exchange.top_up_isolated(ALICE, "SOL", 5_000, box.tick()) == Done()
    assert held(box).margin_used == usd(400), "it has more than that already"


def test_the_mode_does_not_change_under_a_position_and_its_leverage_does() -> None:
    box = isolated(10)
    box.buy(10)
    assert code(box.exchange.update_leverage(ALICE, "SOL", 10, True, box.tick())) is RejectCode.LEVERAGE_SWITCH
    before = held(box).margin_used
    assert box.exchange.update_leverage(ALICE, "SOL", 20, False, box.tick()) == Done()
    assert held(box).margin_used == before, "a higher leverage gives nothing back"
    assert box.exchange.update_leverage(ALICE, "SOL", 2, False, box.tick()) == Done()
    assert held(box).margin_used == usd(500), "a lower one asks for more"
    box.sell(10)
    assert box.exchange.update_leverage(ALICE, "SOL", 10, True, box.tick()) == Done()


def test_a_cross_position_does_not_become_isolated_and_a_lower_leverage_needs_the_money() -> None:
    box = Box(funds=1_000)
    box.buy(100)
    assert code(box.exchange.update_leverage(ALICE, "SOL", 20, False, box.tick())) is RejectCode.LEVERAGE_SWITCH
    poor = isolated(20, funds=1_000)
    poor.buy(100)
    assert code(poor.exchange.update_leverage(ALICE, "SOL", 5, False, poor.tick())) is RejectCode.PERP_MARGIN
    assert poor.exchange.asset_account(ALICE, "SOL").leverage == 20


def test_closing_a_part_gives_back_its_share_and_closing_all_gives_back_all() -> None:
    box = isolated(10)
    box.buy(10)
    equity_at_bid = held(box).raw_usd
    assert equity_at_bid is not None
    equity_at_bid += lots(10) * price(99)
    cash = box.exchange.account_state(ALICE).cross_raw_usd
    box.sell(4)
    left = equity_at_bid - lots(4) * price(99) * 450_000 // 10**9
    assert box.exchange.account_state(ALICE).cross_raw_usd == cash + left * 4 // 10
    box.sell(6)
    view = box.exchange.account_state(ALICE)
    assert view.positions == ()
    assert view.cross_raw_usd == view.account_value == view.total_raw_usd


def test_a_flip_closes_with_all_its_margin_and_opens_with_new() -> None:
    box = isolated(10)
    box.buy(10)
    box.sell(15)
    position = held(box)
    assert position.size == -lots(5)
    assert position.raw_usd == usd("495") + usd("49.5") - lots(15) * price(99) * 450_000 // 10**9
    assert box.exchange.imbalance() == 0


def test_it_is_liquidated_alone_and_the_account_keeps_its_cash_its_positions_and_their_orders() -> None:
    box = isolated(20, funds=2_000)
    box.quote(60_000, coin="BTC")
    box.exchange.place(ALICE, [box.order("buy", "0.001", 61_000, coin="BTC")], Grouping.NA, box.tick())
    keeps = box.place(box.order("buy", "0.001", 40_000, coin="BTC"))
    box.buy(100)
    goes = box.place(box.order("sell", 100, 80, reduce_only=True, trigger=stop(85)))
    cash = box.exchange.account_state(ALICE).cross_raw_usd
    box.events()
    box.apply(mark=price("96.8"), bids=levels((96, 500)))
    (report,) = [e for e in box.events() if isinstance(e, LiquidationEvent)]
    assert report.is_isolated
    assert report.positions == (("SOL", lots(100)),)
    view = box.exchange.account_state(ALICE)
    assert [p.coin for p in view.positions] == ["BTC"]
    assert view.cross_raw_usd >= cash
    assert [o.oid for o in box.exchange.open_orders(ALICE)] == [keeps.oid]  # type: ignore[union-attr]
    assert goes.oid not in {o.oid for o in box.exchange.open_orders(ALICE)}  # type: ignore[union-attr]


def test_a_loss_beyond_its_margin_is_not_the_accounts() -> None:
    box = isolated(20, funds=2_000)
    box.buy(100)
    cash = box.exchange.account_state(ALICE).cross_raw_usd
    box.apply(mark=price(96), bids=levels((80, 500)))
    view = box.exchange.account_state(ALICE)
    assert view.positions == ()
    assert view.account_value == cash
    assert box.exchange.imbalance() == 0


def test_with_nothing_to_hit_the_liquidator_takes_the_position_and_its_margin_alone() -> None:
    box = isolated(20, funds=2_000)
    box.buy(100)
    cash = box.exchange.account_state(ALICE).cross_raw_usd
    box.events()
    box.apply(mark=price("96.2"), bids=())
    reports = [e for e in box.events() if isinstance(e, LiquidationEvent)]
    assert [(r.method, r.is_isolated) for r in reports] == [("backstop", True)]
    assert box.exchange.account_state(ALICE).account_value == cash
    assert box.exchange.fills(ALICE)[-1].dir == "Liquidated Isolated Long"


def test_funding_is_paid_from_its_own_margin() -> None:
    box = isolated(10)
    box.buy(10)
    cash, raw = box.exchange.account_state(ALICE).cross_raw_usd, held(box).raw_usd
    box.exchange.set_funding_rate("SOL", 10**9)
    box.exchange.funding_tick(box.tick())
    assert raw is not None
    assert held(box).raw_usd == raw - usd(1)
    assert box.exchange.account_state(ALICE).cross_raw_usd == cash


def test_what_isolated_positions_hold_cannot_be_used_twice() -> None:
    box = isolated(10, funds=1_000)
    box.apply(asks=levels((101, 1_000)))
    box.buy(80)
    assert box.exchange.account_state(ALICE).cross_value == usd(1000) - usd(808)
    assert code(box.place(box.order("buy", 30, 100))) is RejectCode.PERP_MARGIN
    assert code(box.exchange.withdraw(ALICE, usd(193), box.tick())) is RejectCode.INSUFFICIENT_WITHDRAWAL


def test_a_resting_order_that_finds_no_margin_is_cancelled_at_the_match() -> None:
    box = isolated(10, funds=1_000)
    box.place(box.order("buy", 90, 99))
    assert box.exchange.withdraw(ALICE, usd(100), box.tick()) == Done()
    box.exchange.update_leverage(ALICE, "BTC", 1, True, box.tick())
    box.events()
    box.print(98, 500, buy=False)
    assert box.size() == lots(90)
    assert box.exchange.account_state(ALICE).cross_value == usd(900) - usd(891)


@pytest.mark.parametrize("mode", ["noCross", "strictIsolated"])
def test_a_coin_may_offer_isolated_margin_only_and_then_a_strict_one_lets_nothing_out(mode: str) -> None:
    only = EngineAsset(coin="SOL", index=0, size_decimals=2, max_leverage=20, margin_mode=mode)  # type: ignore[arg-type]
    box = Box()
    box.exchange = Exchange((only, BTC))
    for user in (ALICE, BOB):
        box.exchange.fund(user, usd(10_000), box.tick())
    box.exchange.apply(
        MarketUpdate(coin="SOL", time_ms=box.tick(), mark=price(100), bids=levels((99, 9)), asks=levels((101, 9)))
    )
    assert code(box.exchange.update_leverage(ALICE, "SOL", 5, True, box.tick())) is RejectCode.NO_CROSS
    box.take("buy", 5, ALICE)
    assert held(box).raw_usd is not None
    assert box.exchange.update_isolated_margin(ALICE, "SOL", usd(300), box.tick()) == Done()
    answer = box.exchange.update_isolated_margin(ALICE, "SOL", -usd(1), box.tick())
    assert (answer == Done()) is (mode == "noCross")
    assert SOL.margin_mode is None
