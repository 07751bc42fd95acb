"""Cash, leverage, fees, funding and the dead man's switch of an account."""

from __future__ import annotations

import pytest
from tests.unit.engine.box import ALICE, BOB, CAROL, Box, levels, lots, price, stop, usd

from perpstrader.domain.errors import MoneyError
from perpstrader.paper.engine import (
    Done,
    EngineConfig,
    FeeTier,
    FundingEvent,
    RejectCode,
    Rejected,
    Resting,
    Tif,
)
from perpstrader.paper.engine.account import DAY_MS
from perpstrader.paper.engine.orders import Builder, Grouping


def code(answer: object) -> RejectCode:
    assert isinstance(answer, Rejected), answer
    return answer.reject.code


def test_an_unknown_user_is_empty_and_a_deposit_opens_the_account() -> None:
    box = Box()
    assert not box.exchange.has_account(CAROL)
    assert box.exchange.account_state(CAROL).account_value == 0
    box.exchange.fund(CAROL, usd(5), box.tick())
    assert box.exchange.has_account(CAROL)
    assert [(e.kind, e.usdc) for e in box.exchange.ledger(CAROL)] == [("deposit", usd(5))]
    with pytest.raises(MoneyError, match="not positive"):
        box.exchange.fund(CAROL, 0, box.tick())


def test_only_what_is_withdrawable_leaves() -> None:
    box = Box()
    box.buy(10)
    view = box.exchange.account_state(ALICE)
    assert view.withdrawable == view.account_value - max(view.total_margin_used, view.total_notional // 10)
    assert code(box.exchange.withdraw(ALICE, view.withdrawable + 1, box.tick())) is RejectCode.INSUFFICIENT_WITHDRAWAL
    assert box.exchange.withdraw(ALICE, view.withdrawable, box.tick()) == Done()
    assert box.exchange.account_state(ALICE).withdrawable == 0


def test_resting_orders_hold_margin_and_triggers_do_not() -> None:
    box = Box()
    box.place(box.order("buy", 100, 90))
    free = box.exchange.account_state(ALICE).withdrawable
    assert free == usd(10_000) - usd(9_000) // 20
    box.place(box.order("buy", 100, 120, trigger=stop(110)))
    assert box.exchange.account_state(ALICE).withdrawable == free


def test_an_order_that_only_closes_holds_no_margin() -> None:
    box = Box()
    box.buy(100)
    free = box.exchange.account_state(ALICE).withdrawable
    box.place(box.order("sell", 100, 120))
    assert box.exchange.account_state(ALICE).withdrawable == free
    box.place(box.order("sell", 100, 120))
    assert box.exchange.account_state(ALICE).withdrawable == free - usd(12_000) // 20


def test_an_untouched_coin_has_twenty_or_its_maximum_and_leverage_is_set_within_it() -> None:
    box = Box()
    assert box.exchange.asset_account(ALICE, "BTC").leverage == 20
    assert box.exchange.update_leverage(ALICE, "BTC", 40, True, box.tick()) == Done()
    assert box.exchange.asset_account(ALICE, "BTC").leverage == 40
    assert code(box.exchange.update_leverage(ALICE, "SOL", 21, True, box.tick())) is RejectCode.INVALID_LEVERAGE
    assert code(box.exchange.update_leverage(ALICE, "SOL", 0, True, box.tick())) is RejectCode.INVALID_LEVERAGE


def test_a_lower_leverage_must_be_covered() -> None:
    box = Box(funds=1_000)
    box.buy(100)
    assert code(box.exchange.update_leverage(ALICE, "SOL", 2, True, box.tick())) is RejectCode.PERP_MARGIN
    assert box.exchange.asset_account(ALICE, "SOL").leverage == 20
    assert box.exchange.update_leverage(ALICE, "SOL", 12, True, box.tick()) == Done()
    (position,) = box.exchange.account_state(ALICE).positions
    assert position.margin_used == lots(100) * price(100) // 12


def test_the_published_room_to_trade_is_what_the_venue_takes() -> None:
    box = Box(funds=1_000)
    view = box.exchange.asset_account(ALICE, "SOL")
    assert view.max_trade_sizes == (lots(200), lots(200))
    assert code(box.place(box.order("buy", "200.01", 100))) is RejectCode.PERP_MARGIN
    box.buy(50)
    buy, sell = box.exchange.asset_account(ALICE, "SOL").available_to_trade
    assert sell > buy


def test_fees_are_charged_at_once_on_both_sides_of_a_round_trip() -> None:
    box = Box()
    box.buy(10)
    box.sell(10)
    fees = [f.fee for f in box.exchange.fills(ALICE)]
    assert fees == [usd("0.4545"), usd("0.4455")]
    assert box.exchange.account_state(ALICE).account_value == usd(10_000) - usd(20) - sum(fees)
    assert box.exchange.user_volume(ALICE) == usd(2_000)


def test_a_builder_is_paid_on_top_and_inside_the_fee() -> None:
    box = Box()
    order = box.order("buy", 10, 105, Tif.IOC)
    box.exchange.place(ALICE, [order], Grouping.NA, box.tick(), Builder("0xbb", 10))
    (fill,) = box.exchange.fills(ALICE)
    assert (fill.fee, fill.builder_fee) == (usd("0.4545") + usd("0.101"), usd("0.101"))


def test_a_fee_tier_holds_from_the_next_day_and_for_fourteen() -> None:
    tiers = (FeeTier(-1, 450_000, 150_000), FeeTier(usd(1_000), 400_000, 120_000))
    box = Box(EngineConfig(fee_tiers=tiers))
    box.buy(20)
    assert box.exchange.fee_rates(ALICE) == (450_000, 150_000)
    for days, expected in ((1, 400_000), (13, 400_000), (1, 450_000)):
        box.exchange.advance(box.tick(days * DAY_MS))
        assert box.exchange.fee_rates(ALICE)[0] == expected


def test_funding_is_paid_on_oracle_by_longs_to_shorts_at_a_rate_handed_in() -> None:
    box = Box()
    box.buy(10)
    box.sell(10, BOB)
    box.quote(100, oracle=99)
    box.events()
    box.exchange.set_funding_rate("SOL", 125 * 10**5)
    box.exchange.funding_tick(box.tick())
    payments = {e.user: e.usdc for e in box.events() if isinstance(e, FundingEvent)}
    assert payments == {ALICE: -12_375, BOB: 12_375}
    assert box.exchange.account_state(ALICE).positions[0].funding_since_open == 12_375
    assert box.exchange.funding_history("SOL")[-1].rate == 125 * 10**5
    assert box.exchange.imbalance() == 0


def test_without_a_rate_funding_comes_from_the_sampled_premium() -> None:
    box = Box()
    box.buy(10)
    box.apply(bids=levels((101, 1_000)), asks=levels((102, 1_000)), oracle=price(100))
    assert box.exchange.market("SOL").premium == 10**10
    for _ in range(3):
        box.exchange.premium_sample(box.tick(5_000))
    box.exchange.funding_tick(box.tick())
    assert box.exchange.funding_history("SOL")[-1].rate == (10**10 - 5 * 10**8) // 8
    assert box.exchange.funding(ALICE)[-1].samples == 3


def test_without_any_sample_the_baseline_rate_is_charged() -> None:
    box = Box()
    box.exchange.funding_tick(box.tick())
    assert box.exchange.funding_history("SOL")[-1].rate == 12_500_000


def test_the_dead_mans_switch_has_a_volume_gate_a_least_delay_and_takes_the_stops_too() -> None:
    box = Box()
    box.buy(2)
    box.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop(95)))
    assert code(box.exchange.schedule_cancel(ALICE, box.now_ms + 60_000, box.tick())) is RejectCode.SCHEDULE_VOLUME
    assert code(box.exchange.schedule_cancel(ALICE, None, box.tick())) is RejectCode.SCHEDULE_VOLUME
    box = Box(EngineConfig(schedule_cancel_min_volume=0))
    box.buy(2)
    box.place(box.order("sell", 2, 80, reduce_only=True, trigger=stop(95)))
    assert code(box.exchange.schedule_cancel(ALICE, box.now_ms + 5_999, box.tick())) is RejectCode.SCHEDULE_TOO_EARLY
    assert box.exchange.schedule_cancel(ALICE, box.now_ms + 60_000, box.tick()) == Done()
    box.events()
    box.exchange.advance(box.tick(60_000))
    assert [status for _, status in box.statuses()] == ["scheduledCancel"]
    assert box.size() == lots(2)


def test_the_switch_fires_ten_times_a_day_and_can_be_cleared() -> None:
    box = Box(EngineConfig(schedule_cancel_min_volume=0))
    for _ in range(10):
        assert box.exchange.schedule_cancel(ALICE, box.now_ms + 10_000, box.tick()) == Done()
        box.exchange.advance(box.tick(10_000))
    assert code(box.exchange.schedule_cancel(ALICE, box.now_ms + 10_000, box.tick())) is RejectCode.SCHEDULE_FIRES
    box.exchange.advance(box.tick(DAY_MS))
    assert box.exchange.schedule_cancel(ALICE, box.now_ms + 10_000, box.tick()) == Done()
    assert box.exchange.schedule_cancel(ALICE, None, box.tick()) == Done()
    box.place(box.order("buy", 1, 90))
    box.exchange.advance(box.tick(60_000))
    assert len(box.exchange.open_orders(ALICE)) == 1


def test_quiet_means_no_position_and_no_order() -> None:
    box = Box()
    assert box.exchange.is_quiet()
    resting = box.place(box.order("buy", 1, 90))
    assert isinstance(resting, Resting)
    assert not box.exchange.is_quiet()
    box.exchange.cancel(ALICE, "SOL", resting.oid, box.tick())
    assert box.exchange.is_quiet()
    box.buy(1)
    assert not box.exchange.is_quiet()
    assert box.exchange.net_position_sign("SOL") == 1
    box.sell(1)
    assert box.exchange.is_quiet()


def test_the_version_grows_with_the_account_and_not_with_marks() -> None:
    box = Box()
    version = box.exchange.state_version(ALICE)
    box.quote(101)
    assert box.exchange.state_version(ALICE) == version
    box.place(box.order("buy", 1, 90))
    assert box.exchange.state_version(ALICE) > version


def test_a_stranger_can_do_nothing_and_the_liquidator_is_not_for_funding() -> None:
    box = Box()
    answers = (
        box.exchange.withdraw(CAROL, 1, box.tick()),
        box.exchange.update_leverage(CAROL, "SOL", 2, True, box.tick()),
        box.exchange.schedule_cancel(CAROL, None, box.tick()),
        box.exchange.modify(CAROL, 1, box.order("buy", 1, 90), box.tick()),
    )
    assert {code(answer) for answer in answers} == {RejectCode.MUST_DEPOSIT}
    assert code(box.exchange.update_leverage(ALICE, "NONE", 2, True, box.tick())) is RejectCode.UNKNOWN_ASSET
    with pytest.raises(MoneyError, match="liquidator"):
        box.exchange.fund(box.exchange.config.liquidator, usd(1), box.tick())
    assert box.exchange.users() == (ALICE, BOB)


def test_a_position_beyond_a_margin_tier_needs_its_lower_leverage() -> None:
    box = Box(funds=100_000_000)
    box.quote(100_000, size=3_000, coin="BTC")
    box.exchange.update_leverage(ALICE, "BTC", 40, True, box.tick())
    box.place(box.order("buy", 1_490, 100_001, coin="BTC"))
    assert box.size(coin="BTC") == lots(1_490, "BTC")
    more = box.order("buy", 20, 100_001, coin="BTC")
    assert code(box.place(more)) is RejectCode.PERP_MAX_POSITION
    box.exchange.update_leverage(ALICE, "BTC", 20, True, box.tick())
    box.place(more)
    view = box.exchange.account_state(ALICE)
    assert view.total_notional > usd(150_000_000)
    assert view.maintenance_margin > view.total_notional // 80


def test_a_lower_leverage_must_cover_resting_orders_too() -> None:
    box = Box(funds=1_000)
    box.place(box.order("buy", 100, 90))
    assert code(box.exchange.update_leverage(ALICE, "SOL", 8, True, box.tick())) is RejectCode.PERP_MARGIN
    assert box.exchange.update_leverage(ALICE, "SOL", 9, True, box.tick()) == Done()


def test_the_least_delay_of_the_switch_is_inclusive_and_a_fee_threshold_is_not() -> None:
    box = Box(EngineConfig(schedule_cancel_min_volume=0, fee_tiers=(FeeTier(-1, 2, 1), FeeTier(usd(202), 1, 1))))
    assert box.exchange.schedule_cancel(ALICE, box.now_ms + 6_000, box.tick()) == Done()
    box.buy(2)
    assert box.exchange.user_volume(ALICE) == usd(202)
    box.exchange.advance(box.tick(DAY_MS))
    assert box.exchange.fee_rates(ALICE) == (2, 1)
