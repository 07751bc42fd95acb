"""Liquidation: to the book below maintenance margin, in two steps if large, to the liquidator when little is left."""

from __future__ import annotations

from tests.unit.engine.box import ALICE, BOB, Box, levels, lots, price, stop, usd

from perpstrader.paper.engine import EngineConfig, FillEvent, LedgerEvent, LiquidationEvent


def test_an_account_is_liquidated_at_its_published_liquidation_price_and_not_before() -> None:
    box = Box(funds=1_000)
    box.buy(100)
    (position,) = box.exchange.account_state(ALICE).positions
    assert position.liquidation_px is not None
    threshold = position.liquidation_px // 10**6
    box.apply(mark=threshold + 2)
    assert box.size() == lots(100)
    box.apply(mark=threshold - 2)
    assert box.size() == 0


def test_liquidation_sells_to_the_book_pays_the_taker_fee_and_cancels_all_orders() -> None:
    box = Box(funds=1_000)
    box.buy(100)
    box.place(box.order("buy", 1, 50))
    box.place(box.order("sell", 100, 80, reduce_only=True, trigger=stop(85)))
    box.events()
    box.apply(mark=price("93.3"), bids=levels((93, 500)))
    events = box.events()
    (fill,) = [e.fill for e in events if isinstance(e, FillEvent)]
    assert fill.liquidation is not None
    assert (fill.liquidation.liquidated_user, fill.liquidation.method) == (ALICE, "market")
    assert (fill.px, fill.dir, fill.fee) == (price(93), "Close Long", usd("4.185"))
    (liquidation,) = [e for e in events if isinstance(e, LiquidationEvent)]
    assert liquidation.notional == lots(100) * price("93.3")
    assert liquidation.positions == (("SOL", lots(100)),)
    statuses = [e.status for e in events if hasattr(e, "status")]
    assert statuses.count("liquidatedCanceled") == 2
    view = box.exchange.account_state(ALICE)
    assert view.account_value == view.total_raw_usd > 0
    assert box.exchange.ledger(ALICE)[-1].kind == "liquidation"


def test_a_large_position_goes_a_fifth_first_and_the_rest_after_the_cooldown() -> None:
    box = Box(funds=12_000)
    box.apply(asks=levels((101, 5_000)))
    box.buy(1_500)
    box.apply(mark=price("95.2"), bids=levels(("95.2", 5_000)))
    assert box.size() == lots(1_200)
    box.events()
    box.apply(mark=price("94.4"))
    assert box.size() == lots(1_200)
    assert box.events() == [], "in the cooldown nothing is tried and nothing is reported"
    box.now_ms += 29_000
    box.apply(mark=price("94.3"), bids=levels(("94.3", 5_000)))
    assert box.size() == 0


def test_with_nothing_to_hit_the_liquidator_takes_over_below_two_thirds() -> None:
    box = Box(funds=1_000)
    box.buy(100)
    box.events()
    box.apply(bids=(), mark=price("93.0"))
    assert box.size() == lots(100), "below maintenance margin but above two thirds of it, and no bid"
    box.apply(mark=price("92.4"))
    events = box.events()
    assert box.size() == 0
    assert box.exchange.account_state(ALICE).account_value == 0
    (report,) = [e for e in events if isinstance(e, LiquidationEvent)]
    assert report.method == "backstop"
    assert 0 < report.account_value < report.notional // 40
    mine = [e.fill for e in events if isinstance(e, FillEvent) and e.user == ALICE]
    assert mine[0].dir == "Liquidated Cross Long"
    assert mine[0].liquidation is not None
    assert mine[0].liquidation.method == "backstop"
    assert box.exchange.imbalance() == 0


def test_a_deficit_is_shown_as_it_is_and_stays_in_the_books() -> None:
    box = Box(funds=1_000)
    box.buy(100)
    box.events()
    box.apply(bids=(), mark=price(80))
    events = box.events()
    (report,) = [e for e in events if isinstance(e, LiquidationEvent)]
    assert report.account_value < 0
    assert [e.liquidation for e in events if isinstance(e, LedgerEvent)] == [report]
    assert box.exchange.imbalance() == 0


def test_a_gap_with_a_thin_book_may_leave_an_account_below_zero_and_nobody_hides_it() -> None:
    box = Box(funds=1_000)
    box.buy(100)
    box.apply(mark=price("93.3"), bids=levels((85, 500)))
    assert box.size() == 0
    assert box.exchange.account_state(ALICE).account_value < 0
    assert box.exchange.account_state(ALICE).withdrawable == 0


def test_on_a_path_a_stop_before_the_liquidation_price_saves_the_account() -> None:
    box = Box(funds=1_000)
    box.buy(100)
    box.place(box.order("sell", 100, 80, reduce_only=True, trigger=stop(95)))
    box.events()
    box.quote(80, size=500, continuous=True)
    assert [f.liquidation for f in box.fills()] == [None]


def test_on_a_path_a_stop_beyond_the_liquidation_price_comes_too_late() -> None:
    box = Box(funds=1_000)
    box.buy(100)
    box.place(box.order("sell", 100, 80, reduce_only=True, trigger=stop(92)))
    box.events()
    box.quote(90, size=500, continuous=True)
    assert all(fill.liquidation is not None for fill in box.fills())


def test_who_is_short_is_liquidated_by_a_rise_and_the_other_side_of_a_trade_sees_it() -> None:
    box = Box(funds=1_000)
    box.sell(100)
    box.place(box.order("sell", 100, 107), BOB)
    box.events()
    box.apply(mark=price(107), asks=())
    fills = {e.user: e.fill for e in box.events() if isinstance(e, FillEvent)}
    assert fills[BOB].liquidation == fills[ALICE].liquidation
    assert (fills[BOB].crossed, fills[ALICE].crossed) == (False, True)
    assert fills[ALICE].is_buy


def test_the_share_of_the_first_step_follows_the_configured_threshold() -> None:
    box = Box(EngineConfig(partial_liquidation_above=usd(1_000)), funds=1_000)
    box.buy(100)
    box.apply(mark=price("93.3"), bids=levels(("93.3", 500)))
    assert box.size() == lots(80)
