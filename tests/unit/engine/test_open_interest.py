"""Open interest caps, and the other rules of a venue that is full or picky (API sheet 2.6, 7.8, 11)."""

from __future__ import annotations

import pytest
from tests.unit.engine.box import ALICE, BOB, Box, levels, lots, price, stop, target, usd

from perpstrader.paper.engine import (
    EngineConfig,
    Grouping,
    Reject,
    RejectCode,
    Rejected,
    Resting,
    Tif,
    WaitingForTrigger,
)


def code(answer: object) -> RejectCode:
    assert isinstance(answer, Rejected), answer
    return answer.reject.code


def capped() -> Box:
    """Bob holds 10 SOL, which is all that there may be; Alice is short 2."""
    box = Box(EngineConfig(open_interest_caps=(("SOL", usd(1_000)),)))
    box.sell(2)
    box.buy(10, BOB)
    assert box.exchange.at_open_interest_cap() == ("SOL",)
    box.events()
    return box


def test_below_the_cap_nothing_is_refused() -> None:
    box = Box(EngineConfig(open_interest_caps=(("SOL", usd(1_000)),)))
    box.buy(9)
    assert box.exchange.at_open_interest_cap() == ()
    box.buy(50)
    assert box.size() == lots(59), "the order that reaches it passes"


def test_at_the_cap_a_position_neither_grows_nor_flips_and_may_shrink() -> None:
    box = capped()
    assert code(box.sell(1)) is RejectCode.OI_CAP_INCREASE
    assert code(box.buy(5)) is RejectCode.OI_CAP_FLIP
    box.buy(2)
    assert box.size() == 0
    statuses = [status.status for status in box.exchange.historical_orders(ALICE)]
    assert "positionIncreaseAtOpenInterestCapRejected" in statuses
    assert "positionFlipAtOpenInterestCapRejected" in statuses


def test_at_the_cap_no_order_rests_beyond_the_oracle_and_a_milder_one_does() -> None:
    box = capped()
    box.apply(asks=levels((105, 10)), bids=levels((95, 10)))
    assert code(box.place(box.order("buy", 1, "100.5"), BOB)) is RejectCode.OI_CAP_AGGRESSIVE
    assert isinstance(box.place(box.order("buy", 1, "99.5"), BOB), Resting)


def test_what_rests_is_cancelled_at_its_match_when_it_would_open_something_at_the_cap() -> None:
    box = Box()
    box.place(box.order("buy", 20, 99), BOB)
    box.exchange.set_open_interest_cap("SOL", 0)
    box.events()
    box.print(98, 100, buy=False)
    assert [status for _, status in box.statuses(BOB)] == ["openInterestCapCanceled"]
    assert box.size(BOB) == 0
    box.exchange.set_open_interest_cap("SOL", None)
    assert box.exchange.at_open_interest_cap() == ()


def test_a_trigger_that_would_open_something_at_the_cap_dies_when_it_fires() -> None:
    box = Box()
    box.place(box.order("buy", 1, 110, trigger=stop(103)))
    box.exchange.set_open_interest_cap("SOL", 0)
    box.events()
    box.quote(104)
    assert [status for _, status in box.statuses()] == ["triggered", "openInterestCapCanceled"]


def test_one_order_raises_the_open_interest_by_no_more_than_the_step() -> None:
    box = Box(EngineConfig(open_interest_step=usd(500)))
    assert code(box.buy(6)) is RejectCode.OI_INCREASE
    box.buy(5)
    assert box.size() == lots(5)
    box.sell(5)
    assert box.size() == 0


@pytest.mark.parametrize("whole", [True, False])
def test_one_unreadable_order_refuses_its_batch_with_one_error_or_itself_alone(whole: bool) -> None:
    box = Box(EngineConfig(format_error_fails_batch=whole))
    good, bad = box.order("buy", 1, 90), Reject(code=RejectCode.TICK, asset=5)
    results = box.exchange.place(ALICE, [good, bad, good], Grouping.NA, box.tick())
    assert len(results) == (1 if whole else 3)
    assert len(box.exchange.open_orders(ALICE)) == (0 if whole else 2)


def test_a_refusal_by_market_or_account_refuses_no_other_order_of_its_batch() -> None:
    box = Box()
    orders = [box.order("buy", 1, 90), box.order("buy", 1, 102, Tif.ALO), box.order("buy", "0.01", 90)]
    results = box.exchange.place(ALICE, orders, Grouping.NA, box.tick())
    assert isinstance(results[0], Resting)
    assert [code(result) for result in results[1:]] == [RejectCode.BAD_ALO_PX, RejectCode.MIN_TRADE_NTL]


def test_a_new_stop_of_the_whole_position_takes_the_place_of_the_old_one_and_leaves_the_target() -> None:
    box = Box()
    box.buy(5)

    def protect(trigger: object, limit: str) -> int:
        order = box.order("sell", 0, limit, reduce_only=True, trigger=trigger)  # type: ignore[arg-type]
        (result,) = box.exchange.place(ALICE, [order], Grouping.POSITION_TPSL, box.tick())
        assert isinstance(result, WaitingForTrigger)
        return result.oid

    first, goal = protect(stop(95), "85"), protect(target(110), "100")
    box.events()
    second = protect(stop(96), "86")
    assert (first, "canceled") in box.statuses()
    assert {order.oid for order in box.exchange.open_orders(ALICE)} == {goal, second}


def test_both_stops_stay_where_the_setting_says_so() -> None:
    box = Box(EngineConfig(one_position_tpsl=False))
    box.buy(5)
    for level in (95, 96):
        order = box.order("sell", 0, 85, reduce_only=True, trigger=stop(level))
        box.exchange.place(ALICE, [order], Grouping.POSITION_TPSL, box.tick())
    assert len(box.exchange.open_orders(ALICE)) == 2


def test_a_cloid_is_free_again_when_its_order_is_done_where_open_ones_are_refused() -> None:
    cloid = f"0x{7:032x}"
    box = Box(EngineConfig(refuse_open_cloid=True))
    placed = box.place(box.order("buy", 1, 90, cloid=cloid))
    assert code(box.place(box.order("buy", 1, 91, cloid=cloid))) is RejectCode.DUPLICATE_CLOID
    assert isinstance(placed, Resting)
    box.exchange.cancel(ALICE, "SOL", placed.oid, box.tick())
    assert isinstance(box.place(box.order("buy", 1, 91, cloid=cloid)), Resting)
    free = Box()
    for _ in range(2):
        assert isinstance(free.place(free.order("buy", 1, 90, cloid=cloid)), Resting)


def test_the_outside_books_price_is_not_part_of_it() -> None:
    box = capped()
    assert box.exchange.market("SOL").open_interest == lots(10)
    assert price(100) == box.exchange.market("SOL").mark
