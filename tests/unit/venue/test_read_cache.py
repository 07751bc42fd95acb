"""Answers are shared while they are young enough, and never when they could be wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perpstrader.domain import VenueError
from perpstrader.runtime import VirtualClock, run_virtual
from perpstrader.venue.reads import Kind, Lives, ReadCache

KEY = (Kind.ACCOUNT, "")
TRIP_S = 0.02


class Source:
    """Answers with the number of the request, after a round trip; fails as long as it is told to."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.asked = 0
        self.cancelled = 0
        self.fails = False

    async def load(self) -> int:
        self.asked += 1
        number = self.asked
        try:
            await self.clock.sleep(TRIP_S)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fails:
            raise VenueError("the venue is away")
        return number


Story = Callable[[ReadCache, Source, VirtualClock], Awaitable[Any]]


def play(story: Story, *, max_entries: int = 256, lives: Lives | None = None) -> Any:
    async def main(clock: VirtualClock) -> Any:
        source = Source(clock)
        return await story(ReadCache(clock, lives, max_entries=max_entries), source, clock)

    return run_virtual(main, start_ms=1_760_000_000_000)


def test_a_hundred_readers_at_once_cost_one_request_and_get_one_answer() -> None:
    async def story(cache: ReadCache, source: Source, clock: VirtualClock) -> None:
        answers = await asyncio.gather(*(cache.get(KEY, source.load, None) for _ in range(100)))
        assert (set(answers), source.asked) == ({1}, 1)
        assert (cache.total("asked"), cache.total("joined")) == (1, 99)

    play(story)


def test_an_answer_is_given_until_it_is_as_old_as_its_kind_may_be() -> None:
    async def story(cache: ReadCache, source: Source, clock: VirtualClock) -> None:
        assert await cache.get(KEY, source.load, None) == 1
        await clock.sleep(2.0 - TRIP_S)  # its age counts from when it was asked for
        assert await cache.get(KEY, source.load, None) == 1
        await clock.sleep(0.001)
        assert await cache.get(KEY, source.load, None) == 2
        assert (cache.total("hits"), cache.total("stale")) == (1, 1)

    play(story)


def test_a_reader_may_ask_for_less_age_but_never_for_more_than_the_settings_allow() -> None:
    async def story(cache: ReadCache, source: Source, clock: VirtualClock) -> None:
        assert await cache.get(KEY, source.load, 60_000) == 1
        await clock.sleep(0.5)
        assert await cache.get(KEY, source.load, 600) == 1
        assert await cache.get(KEY, source.load, 400) == 2
        await clock.sleep(2.5)
        assert await cache.get(KEY, source.load, 60_000) == 3

    play(story)


def test_a_reader_who_wants_it_from_the_venue_itself_shares_with_nobody_but_leaves_the_answer_to_others() -> None:
    async def story(cache: ReadCache, source: Source, clock: VirtualClock) -> None:
        assert await asyncio.gather(cache.get(KEY, source.load, 0), cache.get(KEY, source.load, 0)) == [1, 2]
        assert await cache.get(KEY, source.load, 1_000) == 2
        assert await cache.get(KEY, source.load, 0) == 3

    play(story)


def test_a_life_of_zero_turns_the_keeping_of_a_kind_off() -> None:
    async def story(cache: ReadCache, source: Source, clock: VirtualClock) -> None:
        assert [await cache.get(KEY, source.load, None) for _ in range(3)] == [1, 2, 3]

    play(story, lives=Lives(account_ms=0))


def test_a_failure_reaches_all_who_wait_and_nobody_after_them() -> None:
    async def story(cache: ReadCache, source: Source, clock: VirtualClock) -> None:
        source.fails = True
        ends = await asyncio.gather(*(cache.get(KEY, source.load, None) for _ in range(20)), return_exceptions=True)
        assert all(isinstance(end, VenueError) for end in ends)
        assert source.asked == 1
        source.fails = False
        assert await cache.get(KEY, source.load, None) == 2

    play(story)


@pytest.mark.parametrize("leaver", range(5))
def test_whoever_is_cancelled_the_others_get_the_answer_of_the_one_request(leaver: int) -> None:
    async def story(cache: ReadCache, source: Source, clock: VirtualClock) -> None:
        waiters = [asyncio.create_task(cache.get(KEY, source.load, None)) for _ in range(5)]
        await clock.sleep(TRIP_S / 2)
        waiters[leaver].cancel()
        ends = await asyncio.gather(*waiters, return_exceptions=True)
        assert isinstance(ends.pop(leaver), asyncio.CancelledError)
        assert (ends, source.asked, source.cancelled) == ([1] * 4, 1, 0)

    play(story)


def test_when_all_are_cancelled_the_request_is_too_and_the_next_reader_asks_anew() -> None:
    async def story(cache: ReadCache, source: Source, clock: VirtualClock) -> None:
        waiters = [asyncio.create_task(cache.get(KEY, source.load, None)) for _ in range(3)]
        await clock.sleep(TRIP_S / 2)
        for waiter in waiters:
            waiter.cancel()
        late = asyncio.create_task(cache.get(KEY, source.load, None))  # the request has not met its end yet
        ends = await asyncio.gather(*waiters, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        assert (await late, source.asked, source.cancelled) == (2, 2, 1)

    play(story)


def test_what_was_asked_before_an_action_is_given_to_nobody_who_asks_after_it() -> None:
    async def story(cache: ReadCache, source: Source, clock: VirtualClock) -> None:
        early = asyncio.create_task(cache.get(KEY, source.load, None))
        await clock.sleep(TRIP_S / 2)
        cache.outdate([Kind.ACCOUNT], by_action=True)
        late = asyncio.create_task(cache.get(KEY, source.load, None))
        assert await asyncio.gather(early, late) == [1, 2]
        assert await cache.get(KEY, source.load, None) == 2
        cache.outdate([Kind.ACCOUNT], by_action=True)
        assert await cache.get(KEY, source.load, None) == 3
        assert cache.total("outdated") == 1
        assert cache.counts[Kind.ORDERS].asked == 0

    play(story)


def test_an_action_outdates_only_the_kinds_that_it_may_have_changed() -> None:
    async def story(cache: ReadCache, source: Source, clock: VirtualClock) -> None:
        await cache.get((Kind.META, ""), source.load, None)
        cache.outdate([Kind.ACCOUNT, Kind.ORDERS], by_action=True)
        assert await cache.get((Kind.META, ""), source.load, None) == 1

    play(story)


def test_the_cache_holds_so_many_answers_and_gives_up_the_one_not_asked_for_the_longest() -> None:
    async def story(cache: ReadCache, source: Source, clock: VirtualClock) -> None:
        keys = [(Kind.BOOK, coin) for coin in ("BTC", "ETH", "SOL")]
        for key in keys[:2]:
            await cache.get(key, source.load, None)
        assert await cache.get(keys[0], source.load, None) == 1
        await cache.get(keys[2], source.load, None)
        assert (len(cache), cache.counts[Kind.BOOK].evicted) == (2, 1)
        assert await cache.get(keys[0], source.load, None) == 1
        assert await cache.get(keys[1], source.load, None) == 4

    play(story, max_entries=2)


def test_an_older_answer_that_comes_late_does_not_replace_a_younger_one() -> None:
    async def story(cache: ReadCache, source: Source, clock: VirtualClock) -> None:
        old = cache.begin(Kind.ACCOUNT)
        await clock.sleep(0.1)
        new = cache.begin(Kind.ACCOUNT)
        cache.keep(KEY, "new", *new)
        cache.keep(KEY, "old", *old)
        assert await cache.get(KEY, source.load, None) == "new"  # type: ignore[comparison-overlap]  # what was kept

    play(story)


def test_closing_ends_what_is_on_its_way_with_an_error_that_says_so() -> None:
    async def story(cache: ReadCache, source: Source, clock: VirtualClock) -> None:
        waiter = asyncio.create_task(cache.get(KEY, source.load, None))
        await clock.sleep(TRIP_S / 2)
        await cache.close()
        with pytest.raises(VenueError, match="closed"):
            await waiter

    play(story)
