"""TWAP: a size in small orders, one every thirty seconds, the first at once and the last at the end."""

from __future__ import annotations

import pytest
from tests.unit.engine.box import ALICE, BOB, Box, levels, lots, price, usd

from perpstrader.paper.engine import (
    AccountRows,
    Done,
    EngineConfig,
    Exchange,
    FillEvent,
    RejectCode,
    Rejected,
    TwapEvent,
)
from perpstrader.paper.engine.twap import Twap, _lots

MINUTE = 60_000


def start(box: Box, size: int = 55, minutes: int = 5, *, side: str = "buy", **more: bool) -> int | Rejected:
    return box.exchange.start_twap(
        ALICE, "SOL", lots(size), minutes, box.tick(), is_buy=side == "buy", **more  # type: ignore[arg-type]
    )  # fmt: skip


def code(answer: object) -> RejectCode:
    assert isinstance(answer, Rejected), answer
    return answer.reject.code


def ended(box: Box) -> list[str]:
    return [event.status for event in box.exchange.twap_history(ALICE)]


def test_five_minutes_are_eleven_slices_of_equal_size_and_the_first_goes_at_once() -> None:
    box = Box()
    twap_id = start(box)
    assert isinstance(twap_id, int)
    assert box.size() == lots(5)
    for done in range(2, 12):
        assert box.exchange.twaps(ALICE)[0].executed == lots(5) * (done - 1)
        box.exchange.advance(box.tick(29_000))
        box.quote(100)
        assert box.size() == lots(5) * done
    assert box.exchange.twaps(ALICE) == ()
    assert ended(box) == ["activated", "finished"]
    last = box.exchange.twap_history(ALICE)[-1].twap
    assert (last.executed, last.executed_notional) == (lots(55), lots(55) * price(101))


def test_its_fills_bear_its_id_and_no_action() -> None:
    box = Box()
    twap_id = start(box)
    (fill,) = box.fills()
    assert (fill.twap_id, fill.action, fill.crossed) == (twap_id, 0, True)


def test_a_slice_goes_no_further_than_three_percent_beyond_mark() -> None:
    box = Box()
    box.apply(asks=levels((103, 2), ("103.01", 100)))
    start(box)
    assert box.size() == lots(2)


def test_what_a_slice_missed_later_ones_catch_up_with_at_most_three_times_the_size() -> None:
    box = Box()
    box.apply(asks=())
    start(box)
    for _ in range(5):
        box.exchange.advance(box.tick(30_000))
    assert box.size() == 0
    box.quote(100)
    box.exchange.advance(box.tick(29_000))
    assert box.size() == lots(15), "35 lots are due, of which three slices' worth may go at once"
    box.quote(100)
    box.exchange.advance(box.tick(29_000))
    assert box.size() == lots(30)


def test_time_that_jumps_over_slices_sends_one_and_not_all() -> None:
    box = Box()
    start(box)
    box.exchange.advance(box.tick(3 * 30_000))
    assert len(box.exchange.fills(ALICE)) == 2
    assert box.size() == lots(20)


@pytest.mark.parametrize(("minutes", "fits"), [(4, False), (5, True), (1_440, True), (1_441, False)])
def test_its_duration_is_bounded(minutes: int, fits: bool) -> None:
    box = Box(funds=10_000_000)
    answer = start(box, 3_000, minutes)
    assert isinstance(answer, int) if fits else code(answer) is RejectCode.TWAP_DURATION


def test_a_slice_must_be_worth_ten_usd_and_the_bound_is_a_setting() -> None:
    assert code(start(Box(), 1)) is RejectCode.MIN_TRADE_NTL
    assert isinstance(start(Box(EngineConfig(twap_min_slice=usd(9))), 1), int)


def test_a_reduce_only_one_needs_a_position_and_ends_with_it() -> None:
    box = Box()
    assert code(start(box, side="sell", reduce_only=True)) is RejectCode.TWAP_REDUCE_ONLY
    box.buy(8)
    start(box, side="sell", reduce_only=True)
    assert box.size() == lots(3)
    box.exchange.advance(box.tick(30_000))
    assert box.size() == 0, "clamped to what is left"
    box.exchange.advance(box.tick(30_000))
    assert ended(box) == ["activated", "terminated"]


def test_it_is_cancelled_once_by_its_owner_only_and_what_it_did_stays() -> None:
    box = Box()
    twap_id = start(box)
    assert isinstance(twap_id, int)
    assert code(box.exchange.cancel_twap(BOB, "SOL", twap_id, box.tick())) is RejectCode.TWAP_MISSING
    assert code(box.exchange.cancel_twap(ALICE, "BTC", twap_id, box.tick())) is RejectCode.TWAP_MISSING
    assert box.exchange.cancel_twap(ALICE, "SOL", twap_id, box.tick()) == Done()
    assert code(box.exchange.cancel_twap(ALICE, "SOL", twap_id, box.tick())) is RejectCode.TWAP_MISSING
    box.exchange.advance(box.tick(MINUTE))
    assert box.size() == lots(5)
    assert ended(box) == ["activated", "terminated"]


def test_a_slice_without_margin_is_skipped_and_the_twap_goes_on() -> None:
    box = Box(funds=100)
    box.buy(17)
    start(box)
    assert box.size() == lots(17)
    box.exchange.fund(ALICE, usd(5_000), box.tick())
    box.exchange.advance(box.tick(30_000))
    assert box.size() > lots(17)


def test_a_liquidation_ends_it() -> None:
    box = Box(funds=1_000)
    box.buy(100)
    start(box, 60)
    box.apply(mark=price("93.3"), bids=levels((93, 900)))
    assert ended(box) == ["activated", "terminated"]


def test_nothing_is_sent_while_the_market_is_halted_or_takes_post_only_orders() -> None:
    box = Box()
    start(box)
    box.quote(100, halted=True)
    box.exchange.advance(box.tick(30_000))
    assert box.size() == lots(5)
    box.quote(100)
    box.exchange.set_post_only(True)
    box.exchange.advance(box.tick(30_000))
    assert box.size() == lots(5)


def test_a_running_one_is_no_quiet_exchange() -> None:
    box = Box()
    assert box.exchange.is_quiet()
    box.apply(asks=())
    start(box)
    assert not box.exchange.is_quiet()


def test_a_randomised_one_varies_its_slices_by_a_fifth_and_still_does_its_size() -> None:
    twap = Twap(
        twap_id=3, user=ALICE, coin="SOL", is_buy=True, size=11_000, reduce_only=False, minutes=5, randomize=True,
        time_ms=0,
    )  # fmt: skip
    sizes = []
    for due in range(1, 12):
        sizes.append(_lots(twap, due))
        twap.executed += sizes[-1]
    assert len(set(sizes)) > 5
    assert sum(sizes) == 11_000
    assert 800 <= sizes[0] <= 1_200


def test_it_goes_on_after_a_restart_with_its_id_its_progress_and_its_history() -> None:
    box = Box()
    twap_id = start(box)
    former = box.exchange
    box.exchange = Exchange(former.assets)
    rows = _rows(former)
    box.exchange.recall(former.remember_venue(), [(former.remember(u), rows[u]) for u in former.users()])
    assert [one.twap_id for one in box.exchange.twaps(ALICE)] == [twap_id]
    box.quote(100)
    box.exchange.advance(box.tick(29_000))
    assert box.size() == lots(10)
    assert [e.fill.twap_id for e in box.events() if isinstance(e, FillEvent)] == [twap_id]
    other = box.exchange.start_twap(BOB, "SOL", lots(55), 5, box.tick(), is_buy=True)
    assert isinstance(other, int)
    assert isinstance(twap_id, int)
    assert other > twap_id
    assert isinstance(box.exchange.twap_history(ALICE)[0], TwapEvent)


def _rows(former: Exchange) -> dict[str, AccountRows]:
    return {
        user: AccountRows(
            fills=list(former.fills(user)), statuses=list(former.historical_orders(user))[::-1],
            funding=[], ledger=list(former.ledger(user)), twaps=list(former.twap_history(user)),
        )
        for user in former.users()
    }  # fmt: skip
