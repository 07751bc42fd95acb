"""Auto-deleveraging: who lost more than he had is closed against the best placed of the other side (API sheet 7.7)."""

from __future__ import annotations

from fractions import Fraction

from tests.unit.engine.box import ALICE, BOB, CAROL, Box, levels, lots, price, stop, usd

from perpstrader.paper.engine import EngineConfig, LiquidationEvent, OrderUpdate
from perpstrader.paper.engine.deleveraging import queue, rank


def three(config: EngineConfig | None = None) -> Box:
    """Alice is long 100 SOL with 1,000 USD; Bob (10,000) is short 60 of them, Carol (1,000) short 40."""
    box = Box(config, funds=1_000)
    box.exchange.fund(BOB, usd(9_000), box.tick())
    box.exchange.fund(CAROL, usd(1_000), box.tick())
    box.place(box.order("sell", 60, "100.5"), BOB)
    box.place(box.order("sell", 40, "100.5"), CAROL)
    box.buy(100)
    assert (box.size(), box.size(BOB), box.size(CAROL)) == (lots(100), -lots(60), -lots(40))
    box.events()
    return box


def test_the_queue_is_profit_times_leverage_of_the_account() -> None:
    """At 80: both shorts gained 100.5 / 80; Carol's notional is 3,200 of 1,820 and Bob's 4,800 of 11,230, less fees."""
    box = three()
    market = box.exchange._state.markets["SOL"]
    market.set_mark(price(80))
    bob, carol = (box.exchange._state.accounts[user] for user in (BOB, CAROL))
    assert rank(carol, carol.positions["SOL"]) == Fraction(lots(40) * price("100.5"), lots(40) * price(80)) * Fraction(
        usd(3_200), carol.value()
    )
    assert queue(market, longs=False) == [carol, bob]
    assert [account.user for account in queue(market, longs=True)] == [ALICE]


def test_a_deficit_is_taken_from_them_at_the_mark_before_the_move_and_nobody_pays_a_fee() -> None:
    """The mark falls from 100 to 80 with nothing to hit: Alice's 1,000 are gone, and she is closed at 100."""
    box = three()
    box.apply(mark=price(80), bids=())
    assert (box.size(), box.size(BOB), box.size(CAROL)) == (0, 0, 0)
    for user, size in ((CAROL, 40), (BOB, 60)):
        fill = box.exchange.fills(user)[-1]
        assert (fill.dir, fill.px, fill.size, fill.fee) == ("Auto-Deleveraging", price(100), lots(size), 0)
        assert fill.liquidation is not None
        assert fill.liquidation.liquidated_user == ALICE
        assert fill.liquidation.mark_px == price(80)
    assert [fill.dir for fill in box.exchange.fills(ALICE)][-2:] == ["Auto-Deleveraging"] * 2
    # 40 and 60 SOL sold at 100.5 and bought back at 100, less the maker's fee of 0.015 % on the sale.
    assert box.exchange.account_state(CAROL).account_value == usd("1000") + usd(20) - usd("0.603")
    assert box.exchange.account_state(BOB).account_value == usd("10000") + usd(30) - usd("0.9045")
    assert box.exchange.account_state(ALICE).account_value == 0
    assert box.exchange._state.liquidator.value() >= 0, "nobody else bears her loss"
    assert box.exchange.imbalance() == 0


def test_the_liquidated_account_is_reported_as_it_was() -> None:
    box = three()
    box.apply(mark=price(80), bids=())
    (report,) = [e for e in box.events() if isinstance(e, LiquidationEvent)]
    assert report.method == "backstop"
    assert report.account_value < 0
    assert report.positions == (("SOL", lots(100)),)


def test_above_zero_nobody_is_deleveraged() -> None:
    box = three()
    box.apply(mark=price(92), bids=())
    assert box.size() == 0
    assert (box.size(BOB), box.size(CAROL)) == (-lots(60), -lots(40))
    assert box.exchange.fills(ALICE)[-1].dir == "Liquidated Cross Long"


def test_with_the_setting_off_the_liquidator_bears_it() -> None:
    box = three(EngineConfig(auto_deleverage=False))
    box.apply(mark=price(80), bids=())
    assert (box.size(BOB), box.size(CAROL)) == (-lots(60), -lots(40))
    assert box.exchange._state.liquidator.value() < 0
    assert box.exchange.imbalance() == 0


def test_reduce_only_orders_follow_what_deleveraging_left() -> None:
    box = three()
    box.place(box.order("buy", 40, 90, reduce_only=True), CAROL)
    box.place(box.order("buy", 40, 120, reduce_only=True, trigger=stop(110)), CAROL)
    box.events()
    box.exchange.auto_deleverage("SOL", lots(15), box.tick())
    resting = [o for o in box.exchange.open_orders(CAROL) if o.trigger is None]
    assert [order.size for order in resting] == [lots(25)]
    box.exchange.auto_deleverage("SOL", lots(500), box.tick())
    assert (box.size(CAROL), box.size(BOB)) == (0, 0)
    gone = [e.order.oid for e in box.events() if isinstance(e, OrderUpdate) and e.status == "reduceOnlyCanceled"]
    assert gone == [resting[0].oid]


def test_a_bankrupt_trader_outside_takes_from_the_best_placed_first_and_says_how_much() -> None:
    box = three()
    box.apply(mark=price(90), bids=levels((89, 500)))
    box.exchange.fund(ALICE, usd(5_000), box.tick())
    assert box.exchange.auto_deleverage("SOL", lots(50), box.tick()) == lots(50)
    assert (box.size(CAROL), box.size(BOB)) == (0, -lots(50))
    fill = box.exchange.fills(CAROL)[-1]
    assert (fill.dir, fill.px, fill.liquidation) == ("Auto-Deleveraging", price(100), None)
    assert box.exchange.auto_deleverage("SOL", lots(500), box.tick()) == lots(50), "there is no more"
    assert box.exchange.auto_deleverage("SOL", lots(1), box.tick()) == 0
    assert box.exchange.imbalance() == 0
    assert box.exchange.open_interest_imbalance("SOL") == 0


def test_an_isolated_loss_is_deleveraged_too_and_costs_the_account_its_margin_alone() -> None:
    box = Box(funds=2_000)
    box.exchange.update_leverage(ALICE, "SOL", 20, False, box.tick())
    box.place(box.order("sell", 100, "100.5"), BOB)
    box.buy(100)
    cash = box.exchange.account_state(ALICE).cross_raw_usd
    box.apply(mark=price(80), bids=())
    assert (box.size(), box.size(BOB)) == (0, 0)
    assert box.exchange.account_state(ALICE).account_value == cash
    assert box.exchange.fills(BOB)[-1].dir == "Auto-Deleveraging"
    assert box.exchange.imbalance() == 0
