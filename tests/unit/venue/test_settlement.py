"""S11: what became of an order whose answer was lost is settled by the venue's records and its own passed time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.venue.scripted import CLOID

from perpstrader.domain import Fill, VenueError
from perpstrader.runtime import VirtualClock, run_virtual
from perpstrader.venue import settlement
from perpstrader.venue.contract import HyperliquidClient, OpenOrder, OrderGroup, OrderRecord
from perpstrader.venue.settlement import EVICTED, Settled, settle
from perpstrader.venue.wire.limits import EXPIRY_SLACK_MS

START = 1_700_000_000_000
EXPIRES = START + 15_000
MISSING = OrderRecord(group=OrderGroup.MISSING, status="unknownOid")
FOREVER = 10**9


def record(group: OrderGroup, status: str) -> OrderRecord:
    return OrderRecord(group=group, status=status)


class Venue:
    """The reads that settling needs, each a function of seconds since the start; ``away`` raises for all of them."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.skew_s = 0.0
        self.halted_at_s = float(FOREVER)
        self.goes_on_at_s = float(FOREVER)
        self.record_from_s = float(FOREVER)
        self.record = MISSING
        self.open_from_s = self.open_until_s = float(FOREVER)
        self.fill_from_s = float(FOREVER)
        self.fill_venue_ms = START
        self.away: Callable[[float], bool] = lambda second: False
        self.broken: set[str] = set()

    @property
    def second(self) -> float:
        return (self.clock.now_ms() - START) / 1000

    def _reach(self, what: str) -> None:
        if self.away(self.second) or what in self.broken:
            raise VenueError(f"{what}: the venue answered 502")

    async def venue_time_ms(self) -> int:
        self._reach("exchangeStatus")
        second = self.second
        if second > self.halted_at_s:
            second = max(self.halted_at_s, second - (self.goes_on_at_s - self.halted_at_s))
        return START + round((second + self.skew_s) * 1000)

    async def order(self, cloid: str) -> OrderRecord:
        self._reach("orderStatus")
        return self.record if self.second >= self.record_from_s else MISSING

    async def open_orders(self) -> list[OpenOrder]:
        self._reach("frontendOpenOrders")
        if not self.open_from_s <= self.second < self.open_until_s:
            return []
        one = Decimal(1)
        return [OpenOrder(oid=1, cloid=CLOID, symbol="BTC", buy=True, size=one, original_size=one, limit_price=one,
                          reduce_only=False, time_ms=START)]  # fmt: skip

    async def fills(self, since_ms: int) -> list[Fill]:
        self._reach("userFillsByTime")
        if self.second < self.fill_from_s or self.fill_venue_ms < since_ms:
            return []
        one = Decimal(1)
        return [Fill(tid=1, oid=1, symbol="BTC", buy=True, price=one, size=one, time_ms=self.fill_venue_ms,
                     fee_usd=one, closed_pnl_usd=one, start_position=one, crossed=True, cloid=CLOID)]  # fmt: skip


def play(
    setting: Callable[[Venue], None], *, sent_ms: int = START, limit_s: float = 600.0
) -> tuple[Settled | None, float]:
    """The settlement and the second at which it came, or ``None`` when it had not come by ``limit_s``."""

    async def main(clock: VirtualClock) -> tuple[Settled | None, float]:
        venue = Venue(clock)
        setting(venue)
        client: Any = venue
        typed: HyperliquidClient = client
        try:
            async with asyncio.timeout(limit_s):
                return await settle(typed, clock, CLOID, expires_ms=EXPIRES, sent_ms=sent_ms), venue.second
        except TimeoutError:
            return None, venue.second

    return run_virtual(main, start_ms=START)


@pytest.mark.parametrize(
    ("group", "status"),
    [
        (OrderGroup.FILLED, "filled"), (OrderGroup.LIVE, "open"), (OrderGroup.LIVE, "triggered"),
        (OrderGroup.CANCELED, "marginCanceled"), (OrderGroup.REJECTED, "perpMarginRejected"),
    ],
)  # fmt: skip
def test_S11_a_record_settles_at_once(group: OrderGroup, status: str) -> None:
    def setting(venue: Venue) -> None:
        venue.record, venue.record_from_s = record(group, status), 0

    settled, second = play(setting)
    assert settled == Settled(record(group, status), 1)
    assert second == 0


def test_S11_a_record_that_lags_behind_is_waited_for() -> None:
    def setting(venue: Venue) -> None:
        venue.record, venue.record_from_s = record(OrderGroup.FILLED, "filled"), 9

    settled, second = play(setting)
    assert settled is not None
    assert settled.record.group is OrderGroup.FILLED
    assert 9 <= second <= 14


def test_S11_an_order_that_nobody_knows_is_dead_only_after_its_expiry_and_the_slack() -> None:
    settled, second = play(lambda venue: None)
    assert settled is not None
    assert settled.record.group is OrderGroup.MISSING
    assert second * 1000 > EXPIRES - START + EXPIRY_SLACK_MS
    assert second < 30


def test_S11_our_clock_past_the_expiry_proves_nothing_while_the_venues_is_behind() -> None:
    settled, second = play(executed_late)
    assert settled is not None
    assert settled.record.group is OrderGroup.FILLED
    assert second >= 100


def test_S11_a_chain_that_halts_and_goes_on_executes_late_and_is_believed() -> None:
    def setting(venue: Venue) -> None:
        venue.halted_at_s, venue.goes_on_at_s = 5, 205
        venue.record, venue.record_from_s = record(OrderGroup.FILLED, "filled"), 207

    settled, second = play(setting)
    assert settled is not None
    assert settled.record.group is OrderGroup.FILLED
    assert second >= 207


def test_S11_a_venue_that_is_away_is_asked_for_as_long_as_it_takes() -> None:
    def setting(venue: Venue) -> None:
        venue.away = lambda second: second < 300

    settled, second = play(setting)
    assert settled is not None
    assert settled.record.group is OrderGroup.MISSING
    assert 300 <= second < 306
    assert settled.asked < 80


@pytest.mark.parametrize("what", ["exchangeStatus", "orderStatus", "frontendOpenOrders", "userFillsByTime"])
def test_S11_without_one_of_the_four_answers_there_is_no_proof(what: str) -> None:
    settled, _ = play(lambda venue: venue.broken.add(what), limit_s=120)
    assert settled is None


def test_S11_answers_that_never_come_together_are_proof_one_by_one() -> None:
    def setting(venue: Venue) -> None:
        reach, refused = venue._reach, 0

        def every_second_read(what: str) -> None:
            nonlocal refused
            if what in ("frontendOpenOrders", "userFillsByTime"):
                refused += 1
                venue.broken = {what} if refused % 2 else set()
            reach(what)

        venue._reach = every_second_read  # type: ignore[method-assign]  # the venue of this test alone

    settled, second = play(setting)
    assert settled is not None
    assert settled.record.group is OrderGroup.MISSING
    assert second < 35


def test_S11_an_order_that_is_listed_open_is_not_dead_although_its_record_is_missing() -> None:
    def setting(venue: Venue) -> None:
        venue.open_from_s, venue.open_until_s = 0, FOREVER
        venue.record, venue.record_from_s = record(OrderGroup.LIVE, "open"), 60

    settled, second = play(setting)
    assert settled is not None
    assert settled.record.group is OrderGroup.LIVE
    assert second >= 60


def evicted(venue: Venue) -> None:
    venue.fill_from_s = 0


def test_S11_a_fill_whose_record_was_evicted_settles_as_ended_and_not_as_never() -> None:
    settled, second = play(evicted)
    assert settled is not None
    assert (settled.record.group, settled.record.status) == (OrderGroup.CANCELED, EVICTED)
    assert second * 1000 > EXPIRES - START + EXPIRY_SLACK_MS + 2_000


def test_S11_a_fill_whose_record_only_lags_waits_for_the_record() -> None:
    def setting(venue: Venue) -> None:
        venue.fill_from_s = 0
        venue.record, venue.record_from_s = record(OrderGroup.FILLED, "filled"), 20

    settled, _ = play(setting)
    assert settled is not None
    assert settled.record.group is OrderGroup.FILLED


def test_S11_a_fill_is_found_although_our_clock_is_minutes_ahead_of_the_venues() -> None:
    def setting(venue: Venue) -> None:
        venue.fill_from_s, venue.fill_venue_ms, venue.skew_s = 0, START - 300_000, 60

    settled, _ = play(setting)
    assert settled is not None
    assert settled.record.status == EVICTED


def executed_late(venue: Venue) -> None:
    """The venue's clock is two minutes behind ours; it executes before its own idea of the expiry."""
    venue.skew_s = -120
    venue.record, venue.record_from_s = record(OrderGroup.FILLED, "filled"), 100


def test_S11_mutant_that_trusts_the_local_clock_declares_a_live_order_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    async def local(venue: Venue) -> int:
        return venue.clock.now_ms()

    monkeypatch.setattr(Venue, "venue_time_ms", local)
    settled, _ = play(executed_late)
    assert settled is not None
    assert settled.record.group is OrderGroup.MISSING


def test_S11_mutant_without_the_slack_declares_an_order_dead_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "EXPIRY_SLACK_MS", -(10**9))
    _, second = play(lambda venue: None)
    assert second * 1000 < EXPIRES - START


def test_S11_mutant_that_looks_for_fills_from_the_moment_of_sending_misses_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def setting(venue: Venue) -> None:
        venue.fill_from_s, venue.fill_venue_ms = 0, START - 10_000

    monkeypatch.setattr(settlement, "_FILLS_BEFORE_MS", 3_000)
    settled, _ = play(setting)
    assert settled is not None
    assert settled.record.group is OrderGroup.MISSING


def test_S11_mutant_that_asks_no_fills_calls_an_executed_order_never_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(venue: Venue, since_ms: int) -> list[Fill]:
        return []

    monkeypatch.setattr(Venue, "fills", none)
    settled, _ = play(evicted)
    assert settled is not None
    assert settled.record.group is OrderGroup.MISSING
