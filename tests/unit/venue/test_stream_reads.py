"""What the streams told is given with the age that can be proven, and not at all where none can."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from tests.unit.venue.scripted import ACCOUNT

from perpstrader.runtime import VirtualClock, run_virtual
from perpstrader.venue.reads import Kind, StreamReads
from perpstrader.venue.reads.kinds import MOVED_BY_ACTIONS, MOVED_BY_EVENTS
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.wire import ws

START = 1_760_000_000_000
ORDERS, ACCOUNT_KEY, BOOK, MIDS = (Kind.ORDERS, ""), (Kind.ACCOUNT, ""), (Kind.BOOK, "BTC"), (Kind.MIDS, "")
MS = 1_000_000


class Told:
    """Stream reads on a venue clock that is exact to the millisecond, and frames to hand them."""

    def __init__(self, clock: VirtualClock, *, measured: bool = True) -> None:
        self.clock = clock
        venue_clock = VenueClock(clock)
        if measured:
            venue_clock.observe(clock.now_ms(), clock.now_ms(), clock.now_ms())
        self.reads = StreamReads(clock, venue_clock, ACCOUNT, trust_ms=1_000)

    def say(self, channel: str, data: Any) -> None:
        frame = ws.decode_frame(json.dumps({"channel": channel, "data": data}).encode())
        assert frame is not None
        take = {
            "allMids": self.reads.take_mids, "l2Book": self.reads.take_book,
            "clearinghouseState": self.reads.take_account, "openOrders": self.reads.take_orders,
        }  # fmt: skip
        take[channel](frame)

    def book(self, late_ms: int = 0) -> None:
        level = {"px": "100", "sz": "1", "n": 1}
        self.say("l2Book", {"coin": "BTC", "time": self.clock.now_ms() - late_ms, "levels": [[level], [level]]})

    def orders(self, user: str = ACCOUNT) -> None:
        self.say("openOrders", {"dex": "", "user": user, "orders": []})

    def touch(self, bid: str | None = "100", ask: str | None = "101") -> None:
        sides = [None if px is None else {"px": px, "sz": "1", "n": 1} for px in (bid, ask)]
        data = {"coin": "BTC", "time": self.clock.now_ms(), "bbo": sides}
        self.reads.take_bbo(ws.BBO.decode(ws.Frame("bbo", json.dumps(data).encode())))  # type: ignore[arg-type]  # raw

    def age_ms(self, key: Any) -> int | None:
        known = self.reads.find(key)
        return None if known is None else (self.clock.monotonic_ns() - known.as_of_ns) // MS


def play(story: Callable[[Told], Awaitable[None]], *, measured: bool = True) -> None:
    async def main(clock: VirtualClock) -> None:
        await clock.sleep(1)
        await story(Told(clock, measured=measured))

    run_virtual(main, start_ms=START)


def test_a_frame_with_a_time_is_as_old_as_that_says_and_a_little_more() -> None:
    async def story(told: Told) -> None:
        told.book(late_ms=40)
        assert told.age_ms(BOOK) == 41
        await told.clock.sleep(0.1)
        assert told.age_ms(BOOK) == 141

    play(story)


def test_before_the_venues_clock_was_measured_nothing_is_known_by_a_frame() -> None:
    async def story(told: Told) -> None:
        told.book()
        told.touch()
        told.orders()
        assert [told.age_ms(key) for key in (BOOK, ORDERS)] == [None, None]
        assert told.reads.mids(["BTC"], 0) is None

    play(story, measured=False)


def test_a_frame_without_a_time_is_no_older_than_the_newest_time_before_it() -> None:
    async def story(told: Told) -> None:
        told.say("allMids", {"mids": {"BTC": "1"}})
        assert told.age_ms(MIDS) is None
        told.book()
        await told.clock.sleep(0.2)
        told.say("allMids", {"mids": {"BTC": "1"}})
        assert told.age_ms(MIDS) == 201
        told.book()  # later frames make it no younger: mids are not sent at each change
        assert told.age_ms(MIDS) == 201

    play(story)


def test_open_orders_that_did_not_change_hold_as_of_the_newest_time_heard() -> None:
    async def story(told: Told) -> None:
        told.book()
        told.orders()
        await told.clock.sleep(0.5)
        assert told.age_ms(ORDERS) == 501
        told.book()
        assert told.age_ms(ORDERS) == 1

    play(story)


def test_that_is_believed_for_so_long_and_then_until_a_request_finds_it_right() -> None:
    async def story(told: Told) -> None:
        told.book()
        told.orders()
        await told.clock.sleep(1.001)
        told.book()
        assert told.age_ms(ORDERS) == 1_002
        told.reads.confirm(ORDERS, (), told.clock.monotonic_ns())
        assert told.age_ms(ORDERS) == 0
        await told.clock.sleep(0.5)
        told.book()
        assert told.age_ms(ORDERS) == 1

    play(story)


def test_a_stream_that_said_something_else_than_the_venue_is_not_carried_on() -> None:
    async def story(told: Told) -> None:
        told.book()
        told.orders()
        await told.clock.sleep(0.5)
        told.reads.confirm(ORDERS, ("an order",), told.clock.monotonic_ns())
        told.book()
        assert told.age_ms(ORDERS) == 501

    play(story)


def test_an_event_leaves_only_what_comes_after_it_and_an_action_only_what_is_proven_younger() -> None:
    async def story(told: Told) -> None:
        told.book()
        told.orders()
        told.reads.outdate(MOVED_BY_EVENTS, by_action=False)
        assert told.age_ms(ORDERS) is None
        assert told.age_ms(BOOK) is not None
        told.orders()
        assert told.age_ms(ORDERS) is not None
        told.reads.outdate(MOVED_BY_ACTIONS, by_action=True)
        told.orders()
        assert told.age_ms(ORDERS) is None  # it may have been under way before the action
        await told.clock.sleep(0.01)
        told.book()
        assert told.age_ms(ORDERS) == 1
        assert told.age_ms(BOOK) == 1

    play(story)


def test_mids_of_followed_coins_are_the_middle_of_their_best_prices() -> None:
    async def story(told: Told) -> None:
        told.touch()
        now = told.clock.monotonic_ns()
        assert told.reads.mids(["BTC"], now - 10 * MS) == {"BTC": Decimal("100.5")}
        assert told.reads.mids(["BTC"], now) is None  # not proven to be that young
        assert told.reads.mids(["BTC", "ETH"], 0) is None
        told.touch(ask=None)  # the venue's mid is another price then
        assert told.reads.mids(["BTC"], 0) is None

    play(story)


def test_another_accounts_frames_and_those_of_a_lost_connection_are_nothing() -> None:
    async def story(told: Told) -> None:
        told.book()
        told.orders("0x" + "cd" * 20)
        assert told.age_ms(ORDERS) is None
        told.reads.reset()
        told.orders()
        assert (told.age_ms(BOOK), told.age_ms(ORDERS)) == (None, None)

    play(story)


def test_a_frame_that_cannot_be_read_is_no_answer_and_harms_nobody() -> None:
    async def story(told: Told) -> None:
        told.say("l2Book", {"coin": "BTC", "time": told.clock.now_ms(), "levels": "nonsense"})
        assert told.age_ms(BOOK) is None
        told.say("clearinghouseState", {"user": ACCOUNT, "clearinghouseState": {"time": told.clock.now_ms()}})
        assert told.age_ms(ACCOUNT_KEY) is None
        await asyncio.sleep(0)

    play(story)
