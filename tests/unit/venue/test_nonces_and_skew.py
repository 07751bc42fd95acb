"""Nonces never repeat, whatever clock and restarts do; the venue's clock is known as well as it was measured."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from perpstrader.venue.nonces import NonceSource
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.wire.limits import NONCE_MAX_AHEAD_MS
from perpstrader.venue.wire.nonces import NonceRule

START = 1_700_000_000_000


class HandClock:
    def __init__(self, now_ms: int = START) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now

    def monotonic_ns(self) -> int:
        return self.now * 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, 1_500)),
        st.tuples(st.just("pass"), st.integers(-5_000, 120_000)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=25,
)


@given(steps=STEPS)
def test_S12_nonces_are_unique_and_increasing_also_across_restarts_and_a_clock_set_back(
    steps: list[tuple[str, int]],
) -> None:
    clock, saved, given_out = HandClock(), [0], [0]
    source = NonceSource(clock, 0, saved.append)
    for what, amount in steps:
        if what == "take":
            given_out += [source.take() for _ in range(amount)]
        elif what == "pass":
            clock.now += amount
        else:
            source = NonceSource(clock, saved[-1], saved.append)
        assert saved[-1] >= given_out[-1]
    assert all(later > earlier for earlier, later in pairwise(given_out))


@given(tasks=st.integers(2, 20), each=st.integers(1, 30))
def test_S12_tasks_that_take_nonces_at_once_never_share_one(tasks: int, each: int) -> None:
    source = NonceSource(HandClock(), 0, lambda mark: None)

    async def take() -> list[int]:
        taken = []
        for _ in range(each):
            taken.append(source.take())
            await asyncio.sleep(0)
        return taken

    async def main() -> list[list[int]]:
        return await asyncio.gather(*(take() for _ in range(tasks)))

    taken = asyncio.run(main())
    assert len({nonce for some in taken for nonce in some}) == tasks * each
    assert all(some == sorted(some) for some in taken)


def test_S12_the_mark_is_saved_once_a_minute_and_not_once_an_order() -> None:
    clock, saved = HandClock(), [0]
    source = NonceSource(clock, 0, saved.append)
    for _ in range(600):
        source.take()
        clock.now += 1_000
    assert len(saved) <= 12


def test_S12_a_trader_that_restarts_a_thousand_times_in_a_row_stays_within_the_venues_window() -> None:
    clock, saved, rule = HandClock(), [0], NonceRule()
    for _ in range(1_000):
        source = NonceSource(clock, saved[-1], saved.append)
        for _ in range(3):
            assert rule.use(source.take(), clock.now) is None
        clock.now += 500
    assert saved[-1] - clock.now < NONCE_MAX_AHEAD_MS / 10


def test_S12_mutant_without_a_saved_mark_repeats_nonces_after_the_clock_was_set_back() -> None:
    clock = HandClock()
    first = NonceSource(clock, 0, lambda mark: None)
    used = {first.take() for _ in range(5)}
    assert NonceSource(clock, 0, lambda mark: None).take() in used


def test_the_venues_time_is_ours_until_it_was_measured() -> None:
    clock = HandClock()
    assert VenueClock(clock).now_ms() == START


def test_an_offset_beyond_the_round_trip_is_believed_and_one_within_it_counts_as_none() -> None:
    clock = HandClock()
    venue = VenueClock(clock)
    venue.observe(START + 60, START, START + 200)
    assert venue.skew_ms == 0
    venue.observe(START + 2_100, START, START + 200)
    assert venue.skew_ms == 2_000
    assert venue.now_ms() == START + 2_000


def test_a_slow_answer_does_not_spoil_a_good_measurement() -> None:
    venue = VenueClock(HandClock())
    venue.observe(START + 1_010, START, START + 20)
    assert venue.skew_ms == 1_000
    venue.observe(START + 2_900, START, START + 4_000)
    assert (venue.skew_ms, venue.round_trip_ms) == (1_000, 20)


def test_a_faster_answer_replaces_a_slower_one() -> None:
    venue = VenueClock(HandClock())
    venue.observe(START + 2_100, START, START + 400)
    venue.observe(START + 2_010, START, START + 20)
    assert (venue.skew_ms, venue.round_trip_ms) == (2_000, 20)


def test_a_clock_that_was_set_is_noticed_at_once() -> None:
    venue = VenueClock(HandClock())
    venue.observe(START + 10, START, START + 20)
    venue.observe(START + 30_100, START, START + 200)
    assert venue.skew_ms == 30_000


SAMPLES = st.lists(st.tuples(st.integers(0, 3_000), st.floats(0, 1)), min_size=1, max_size=30)


@given(skew=st.integers(-10_000, 10_000), samples=SAMPLES)
def test_the_estimate_is_never_wrong_by_more_than_the_best_round_trip(
    skew: int, samples: list[tuple[int, float]]
) -> None:
    clock = HandClock()
    venue = VenueClock(clock)
    for round_trip, share in samples:
        sent = clock.now
        stamped = sent + round(round_trip * share) + skew
        clock.now += round_trip
        venue.observe(stamped, sent, clock.now)
        assert abs(venue.skew_ms - skew) <= venue.round_trip_ms + 2


@given(skew_days=st.integers(-30, 30), seconds=st.lists(st.integers(0, 100), max_size=20))
def test_S12_a_machine_whose_clock_is_days_wrong_gives_nonces_that_the_venue_takes(
    skew_days: int, seconds: list[int]
) -> None:
    clock, rule = HandClock(), NonceRule()
    ahead_ms = skew_days * 86_400_000
    venue = VenueClock(clock)
    nonces = NonceSource(venue, 0, lambda mark: None)
    venue.observe(clock.now + ahead_ms, clock.now, clock.now)
    for pause in seconds:
        clock.now += pause * 1_000
        assert rule.use(nonces.take(), clock.now + ahead_ms) is None
