"""Every implementation of the circuit breakers keeps the same contract (S42-S45, CB-01 to CB-22)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

import msgspec
import pytest
from tests.unit.breakers.support import NAME, SPEC, Draws, Hands, Kept, away, well

from perpstrader.breakers import BreakerChange, BreakerOpenError, CircuitBreakers, UnavailableError
from perpstrader.breakers.baseline import CircuitBreakers as BaselineBreakers
from perpstrader.domain.breakers import BreakerState
from perpstrader.domain.errors import PerpsTraderError, StateError, VenueError
from perpstrader.runtime import VirtualClock, run_virtual

T = TypeVar("T")

BUILDS = {"optimized": CircuitBreakers, "baseline": BaselineBreakers}


@pytest.fixture(params=sorted(BUILDS))
def build(request: pytest.FixtureRequest) -> Any:
    """The implementation under test."""
    return BUILDS[request.param]


def go(work: Awaitable[T]) -> T:
    async def main() -> T:
        return await work

    return asyncio.run(main())


def virtual(main: Callable[[VirtualClock], Awaitable[T]]) -> T:
    return run_virtual(main, start_ms=1_700_000_000_000)


# --- tripping: a rate over a window with a minimum volume, of classified failures (S44) ---


def test_S44_CB_07_the_threshold_trips_at_its_edge_and_not_before(build: Any) -> None:
    kept = Kept(build=build)
    kept.fail(4)
    assert kept.state == "closed"
    kept.fail()
    assert kept.state == "open"


def test_S44_CB_07_half_of_all_calls_trips_and_less_does_not(build: Any) -> None:
    kept = Kept(build=build)
    kept.succeed(5)
    kept.fail(4)
    assert kept.state == "closed"
    kept.fail()  # 5 of 10
    assert kept.state == "open"
    few = Kept(build=build)
    few.succeed(6)
    few.fail(5)  # 5 of 11
    assert few.state == "closed"
    few.fail()  # 6 of 12
    assert few.state == "open"


def test_S44_the_rate_is_the_settings(build: Any) -> None:
    kept = Kept(build=build, failure_rate_fraction="0.2")
    kept.succeed(20)
    kept.fail(4)
    assert kept.state == "closed"
    kept.fail()  # 5 of 25
    assert kept.state == "open"


def test_S44_CB_07_failures_older_than_the_window_are_forgotten_on_reading_and_on_writing(build: Any) -> None:
    kept = Kept(build=build)
    kept.fail(4)
    kept.clock.pass_ms(SPEC.window_ms)
    assert kept.breakers.status(NAME).failures == 0
    kept.fail(4)
    assert kept.state == "closed"
    assert kept.breakers.status(NAME).volume == 4


@pytest.mark.parametrize(
    "error",
    [VenueError("not enough margin"), PerpsTraderError("below the minimum"), ValueError("a mistake"), KeyError("typo"),
     asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_S44_CB_08_answers_mistakes_and_cancellation_trip_nothing(build: Any, error: BaseException) -> None:
    kept = Kept(build=build)
    kept.fail(50, error=error)
    assert kept.state == "closed"
    assert kept.breakers.status(NAME).failures == 0


def test_S44_CB_09_a_hung_call_fails_at_its_deadline_and_counts(build: Any) -> None:
    async def main(clock: VirtualClock) -> None:
        kept = Kept(build=build, clock=clock)  # type: ignore[arg-type]
        began = clock.now_ms()
        for _ in range(5):
            with pytest.raises(UnavailableError, match="dep did not answer within 2000 ms"):
                await kept.breakers.call(NAME, lambda: clock.sleep(3_600), deadline_ms=2_000)
        assert clock.now_ms() - began == 10_000
        assert kept.state == "open"

    virtual(main)


def test_S44_the_deadline_of_a_call_that_states_none_is_the_settings(build: Any) -> None:
    async def main(clock: VirtualClock) -> None:
        kept = Kept(build=build, clock=clock, call_deadline_ms=700)  # type: ignore[arg-type]
        began = clock.now_ms()
        with pytest.raises(UnavailableError, match="700 ms"):
            await kept.breakers.call(NAME, lambda: clock.sleep(3_600))
        assert clock.now_ms() - began == 700

    virtual(main)


def test_S44_the_callers_own_timeout_is_no_failure_of_the_dependency(build: Any) -> None:
    async def main(clock: VirtualClock) -> None:
        kept = Kept(build=build, clock=clock)  # type: ignore[arg-type]
        for _ in range(10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await kept.breakers.call(NAME, lambda: clock.sleep(3_600))
        assert kept.state == "closed"
        assert kept.breakers.status(NAME).volume == 0

    virtual(main)


# --- the open period and the probes (S42) ---


def _open(kept: Kept) -> None:
    kept.fail(5)
    assert kept.state == "open"


async def _admitted(kept: Kept, work: Any = well) -> bool:
    try:
        await kept.breakers.call(NAME, work)
    except BreakerOpenError:
        return False
    except OSError:
        return True
    return True


def test_S42_CB_01_nothing_is_admitted_before_the_registered_period(build: Any) -> None:
    async def main() -> None:
        kept = Kept(build=build)
        _open(kept)
        for _ in range(6):
            kept.clock.pass_ms(9_999)
            assert not await _admitted(kept)
        kept.clock.pass_ms(6)
        assert await _admitted(kept)

    go(main())


def test_S42_CB_02_CB_03_each_failed_probe_restarts_the_period_which_doubles_to_the_cap_and_never_shrinks(
    build: Any,
) -> None:
    async def main() -> None:
        short = msgspec.structs.replace(SPEC, period_ms=10_000)
        kept = Kept(short, build=build)
        _open(kept)
        waits = []
        for _ in range(8):
            waited = 0
            while not await _admitted(kept, away):
                kept.clock.pass_ms(1_000)
                waited += 1
            waits.append(waited)
        assert waits == [10, 20, 40, 60, 60, 60, 60, 60]

    go(main())


def test_S42_CB_19_the_jitter_is_drawn_once_a_period_however_many_ask(build: Any) -> None:
    async def main() -> None:
        draws = Draws(0.5)
        kept = Kept(build=build, rng=draws)
        _open(kept)
        for _ in range(100):
            assert not await _admitted(kept)
            kept.breakers.status(NAME)
        assert draws.count == 1
        kept.clock.pass_ms(65_999)
        assert not await _admitted(kept)
        kept.clock.pass_ms(1)
        assert await _admitted(kept, away)
        assert draws.count == 2

    go(main())


def test_S42_jitter_makes_a_period_longer_by_up_to_a_fifth_and_never_shorter(build: Any) -> None:
    periods = []
    for seed in range(200):
        kept = Kept(build=build, rng=Random(seed))
        _open(kept)
        status = kept.breakers.status(NAME)
        assert status.until_ms is not None
        periods.append(status.until_ms - kept.clock.now_ms())
    assert min(periods) >= 60_000
    assert max(periods) <= 72_000
    assert max(periods) - min(periods) > 10_000


def test_S42_CB_06_of_fifty_callers_one_reaches_what_is_half_open_and_the_rest_are_rejected(build: Any) -> None:
    async def main(clock: VirtualClock) -> None:
        kept, reached = Kept(build=build, clock=clock), []  # type: ignore[arg-type]

        async def still_down() -> None:
            reached.append(1)
            await clock.sleep(0.05)
            raise ConnectionResetError

        _open(kept)
        await clock.sleep(75)
        before = kept.breakers.status(NAME).metrics.rejected
        results = await asyncio.gather(
            *(kept.breakers.call(NAME, still_down) for _ in range(50)), return_exceptions=True
        )
        assert len(reached) == 1
        assert sum(isinstance(result, BreakerOpenError) for result in results) == 49
        assert kept.breakers.status(NAME).metrics.rejected - before == 49
        assert kept.state == "open"

    virtual(main)


def test_S42_as_many_probes_at_a_time_as_the_settings_say(build: Any) -> None:
    async def main(clock: VirtualClock) -> None:
        kept, reached = Kept(build=build, clock=clock, max_probes=3), []  # type: ignore[arg-type]

        async def slow() -> None:
            reached.append(1)
            await clock.sleep(0.05)

        _open(kept)
        await clock.sleep(75)
        await asyncio.gather(*(kept.breakers.call(NAME, slow) for _ in range(9)), return_exceptions=True)
        assert len(reached) == 3

    virtual(main)


def test_S42_CB_04_closing_takes_consecutive_successes_after_half_opening(build: Any) -> None:
    async def main() -> None:
        kept = Kept(build=build)
        _open(kept)
        for outcomes in ((well, away), (well, well, away)):
            kept.clock.pass_ms(60_000)
            for work in outcomes:
                assert await _admitted(kept, work)
            assert kept.state == "open"
        kept.clock.pass_ms(60_000)
        for left in (2, 1, 0):
            assert await _admitted(kept)
            assert kept.state == ("half_open" if left else "closed")

    go(main())


def test_S42_the_successes_that_close_are_the_settings(build: Any) -> None:
    async def main() -> None:
        kept = Kept(build=build, probes_to_close=1)
        _open(kept)
        kept.clock.pass_ms(60_000)
        assert await _admitted(kept)
        assert kept.state == "closed"

    go(main())


def test_S42_CB_04_a_late_answer_from_before_the_opening_closes_nothing_and_opens_nothing(build: Any) -> None:
    async def main() -> None:
        kept = Kept(build=build)
        late = [kept.breakers.watch(NAME)() for _ in range(20)]
        _open(kept)
        late.pop()(None)
        assert kept.state == "open"
        kept.clock.pass_ms(60_000)
        assert await _admitted(kept)
        assert kept.state == "half_open"
        for _ in range(5):
            late.pop()(None)
        assert kept.breakers.status(NAME).good_probes == 1
        assert await _admitted(kept)
        assert await _admitted(kept)
        for done in late:
            done(TimeoutError())
        assert kept.state == "closed"
        assert kept.breakers.status(NAME).failures == 0

    go(main())


def test_S42_a_cancelled_probe_gives_its_place_back_and_decides_nothing(build: Any) -> None:
    async def main(clock: VirtualClock) -> None:
        kept = Kept(build=build, clock=clock)  # type: ignore[arg-type]
        _open(kept)
        await clock.sleep(75)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await kept.breakers.call(NAME, lambda: clock.sleep(60))
            assert kept.state == "half_open"
            assert kept.breakers.status(NAME).probing == 0
        assert await _admitted(kept)

    virtual(main)


def test_S42_what_is_only_observed_is_no_probe(build: Any) -> None:
    kept = Kept(build=build)
    _open(kept)
    kept.clock.pass_ms(60_000)
    kept.succeed(10)
    kept.fail(10)
    assert kept.state == "open"
    assert kept.breakers.status(NAME).failed_probes == 0


def test_S43_CB_12_time_alone_leads_to_a_probe_and_probes_close_it(build: Any) -> None:
    async def main() -> None:
        kept = Kept(build=build)
        assert await kept.breakers.probe(NAME, well) is None
        _open(kept)
        assert await kept.breakers.probe(NAME, well) is None
        kept.clock.pass_ms(60_000)
        assert await kept.breakers.probe(NAME, away) is False
        assert await kept.breakers.probe(NAME, well) is None
        kept.clock.pass_ms(60_000)
        assert [await kept.breakers.probe(NAME, well) for _ in range(4)] == [True, True, True, None]
        assert kept.state == "closed"

    go(main())


def test_S42_a_probe_that_breaks_for_any_reason_is_a_failed_one(build: Any) -> None:
    async def main() -> None:
        async def mistaken() -> None:
            raise KeyError("typo")

        kept = Kept(build=build)
        _open(kept)
        kept.clock.pass_ms(60_000)
        assert await kept.breakers.probe(NAME, mistaken) is False
        assert kept.state == "open"

    go(main())


def test_CB_BASE_BACKOFF_MS_is_the_first_period_where_it_is_longer(build: Any) -> None:
    kept = Kept(build=build, base_backoff_ms=90_000, max_backoff_ms=120_000)
    _open(kept)
    assert kept.breakers.status(NAME).period_ms == 90_000


def test_CB_MAX_BACKOFF_MS_bounds_what_failed_probes_double(build: Any) -> None:
    async def main() -> None:
        for cap, expected in ((60_000, 60_000), (240_000, 240_000)):
            kept = Kept(build=build, max_backoff_ms=cap)
            _open(kept)
            for _ in range(4):
                kept.clock.pass_ms(cap)
                assert await kept.breakers.probe(NAME, away) is False
            assert kept.breakers.status(NAME).period_ms == expected

    go(main())


def test_CB_MAX_RECOVERY_ATTEMPTS_says_when_a_person_is_needed(build: Any) -> None:
    async def main() -> None:
        for limit in (1, 5):
            kept = Kept(build=build, max_recovery_attempts=limit)
            _open(kept)
            for number in range(1, 6):
                kept.clock.pass_ms(60_000)
                await kept.breakers.probe(NAME, away)
                assert kept.breakers.status(NAME).needs_a_person == (number >= limit)

    go(main())


# --- by hand (S43) ---


def test_S43_CB_05_what_an_operator_opened_only_an_operator_closes(build: Any) -> None:
    async def main() -> None:
        kept = Kept(build=build)
        await kept.breakers.open(NAME, actor="ann", reason="maintenance")
        kept.succeed(100)
        for _ in range(50):
            kept.clock.pass_ms(3_600_000)
            assert not await _admitted(kept)
            assert await kept.breakers.probe(NAME, well) is None
        status = kept.breakers.status(NAME)
        assert (status.state, status.until_ms) == (BreakerState.LATCHED, None)
        assert (status.actor, status.reason) == ("ann", "maintenance")
        await kept.breakers.reset(NAME, actor="bob", reason="done")
        assert kept.state == "closed"
        assert await _admitted(kept)

    go(main())


def test_S43_failures_and_late_probes_do_not_end_a_latch(build: Any) -> None:
    async def main() -> None:
        kept, gate = Kept(build=build), asyncio.Event()

        async def slow() -> None:
            await gate.wait()

        _open(kept)
        kept.clock.pass_ms(60_000)
        probe = asyncio.ensure_future(kept.breakers.call(NAME, slow))  # awaited below
        await asyncio.sleep(0)
        await kept.breakers.open(NAME, actor="ann", reason="hands off")
        gate.set()
        await probe
        kept.fail(20)
        assert kept.state == "latched"

    go(main())


@pytest.mark.parametrize(("actor", "reason"), [("", "why"), ("ann", " ")])
def test_S43_by_hand_needs_an_actor_and_a_reason(build: Any, actor: str, reason: str) -> None:
    kept = Kept(build=build)
    with pytest.raises(PerpsTraderError, match="an actor and a reason"):
        go(kept.breakers.open(NAME, actor=actor, reason=reason))
    with pytest.raises(PerpsTraderError, match="an actor and a reason"):
        go(kept.breakers.reset(NAME, actor=actor, reason=reason))
    assert kept.state == "closed"


def test_S43_opened_by_hand_holds_though_the_disk_is_full_and_a_reset_waits_for_the_disk(build: Any) -> None:
    kept = Kept(build=build)
    kept.disk_works = False
    with pytest.raises(StateError):
        go(kept.breakers.open(NAME, actor="ann", reason="stop"))
    assert kept.state == "latched"
    assert kept.queued[-1].state is BreakerState.LATCHED
    with pytest.raises(StateError):
        go(kept.breakers.reset(NAME, actor="ann", reason="go"))
    assert kept.state == "latched"
    kept.disk_works = True
    go(kept.breakers.reset(NAME, actor="ann", reason="go"))
    assert kept.state == "closed"
    assert kept.committed[-1].state is BreakerState.CLOSED


# --- over a restart (CB-21) ---


def test_CB_21_a_restart_keeps_the_latch_the_period_and_the_failed_probes(build: Any) -> None:
    async def main() -> None:
        short = msgspec.structs.replace(SPEC, period_ms=10_000)
        kept = Kept(short, build=build)
        _open(kept)
        kept.clock.pass_ms(10_000)
        assert await kept.breakers.probe(NAME, away) is False
        clock = kept.clock
        clock.pass_ms(5_000)
        again = Kept(short, clock=clock, build=build)
        again.breakers.restore(kept.queued[-1:])
        before, after = kept.breakers.status(NAME), again.breakers.status(NAME)
        assert (after.state, after.until_ms, after.failed_probes) == (before.state, before.until_ms, 1)
        assert after.last_failure == before.last_failure
        clock.pass_ms(14_999)
        assert not await _admitted(again)
        clock.pass_ms(1)
        assert await _admitted(again, away)
        assert again.breakers.status(NAME).period_ms == 40_000

        await again.breakers.open(NAME, actor="ann", reason="night")
        third = Kept(short, clock=clock, build=build)
        third.breakers.restore(again.committed[-1:])
        clock.pass_ms(10**9)
        assert not await _admitted(third)
        assert third.breakers.status(NAME).actor == "ann"

    go(main())


def test_CB_21_a_period_that_ended_while_nobody_ran_leads_to_a_probe_at_once(build: Any) -> None:
    kept = Kept(build=build)
    _open(kept)
    kept.clock.pass_ms(10**7)
    again = Kept(clock=kept.clock, build=build)
    again.breakers.restore(kept.queued[-1:])
    assert again.state == "open"
    assert go(again.breakers.probe(NAME, well)) is True


def test_CB_21_a_half_open_breaker_is_open_to_a_probe_after_the_restart(build: Any) -> None:
    async def main() -> None:
        kept = Kept(build=build)
        _open(kept)
        kept.clock.pass_ms(60_000)
        await kept.breakers.probe(NAME, well)
        assert kept.queued[-1].state is BreakerState.HALF_OPEN
        again = Kept(clock=kept.clock, build=build)
        again.breakers.restore(kept.queued[-1:])
        assert [await again.breakers.probe(NAME, well) for _ in range(3)] == [True] * 3
        assert again.state == "closed"

    go(main())


def test_CB_21_a_clock_that_was_set_back_makes_no_period_longer_than_it_may_be(build: Any) -> None:
    kept = Kept(build=build)
    _open(kept)
    back = Hands()
    back.wall_ms -= 86_400_000
    again = Kept(clock=back, build=build)
    again.breakers.restore(kept.queued[-1:])
    back.pass_ms(72_001)
    assert go(again.breakers.probe(NAME, well)) is True


# --- names, fallbacks, numbers, listeners ---


def test_CB_10_an_unknown_name_raises_wherever_it_is_used(build: Any) -> None:
    breakers = Kept(build=build).breakers
    with pytest.raises(PerpsTraderError, match="there is no breaker 'nope'; there are dep"):
        breakers.watch("nope")
    for call in (lambda: breakers.call("nope", well), lambda: breakers.call("nope", well, fallback=well)):
        with pytest.raises(PerpsTraderError, match="nope"):
            go(call())
    with pytest.raises(PerpsTraderError, match="nope"):
        breakers.status("nope")


def test_CBF_03_a_rejected_call_takes_the_fallback_or_says_what_is_open_and_until_when(build: Any) -> None:
    async def main() -> None:
        async def instead() -> str:
            return "instead"

        kept = Kept(build=build)
        assert await kept.breakers.call(NAME, well, fallback=instead) == "well"
        with pytest.raises(ConnectionResetError):
            await kept.breakers.call(NAME, away, fallback=instead)
        kept.fail(5)
        assert await kept.breakers.call(NAME, well, fallback=instead) == "instead"
        with pytest.raises(BreakerOpenError, match="the breaker dep is open: it answers; last failure") as caught:
            await kept.breakers.call(NAME, well)
        assert caught.value.until_ms == kept.breakers.status(NAME).until_ms

    go(main())


def test_CB_20_total_is_succeeded_failed_and_rejected_and_the_first_latency_sets_the_average(build: Any) -> None:
    async def main(clock: VirtualClock) -> None:
        kept = Kept(build=build, clock=clock)  # type: ignore[arg-type]
        assert kept.breakers.status(NAME).metrics.latency_ms is None

        async def takes(ms: int, error: Exception | None = None) -> None:
            await clock.sleep(ms / 1000)
            if error is not None:
                raise error

        await kept.breakers.call(NAME, lambda: takes(100))
        assert kept.breakers.status(NAME).metrics.latency_ms == pytest.approx(100)
        with pytest.raises(OSError, match="down"):
            await kept.breakers.call(NAME, lambda: takes(200, OSError("down")))
        assert kept.breakers.status(NAME).metrics.latency_ms == pytest.approx(110)
        with pytest.raises(ValueError, match="mistake"):
            await kept.breakers.call(NAME, lambda: takes(5, ValueError("mistake")))
        kept.fail(5)
        for _ in range(3):
            await _admitted(kept)
        metrics = kept.breakers.status(NAME).metrics
        assert (metrics.succeeded, metrics.failed, metrics.rejected, metrics.total) == (1, 6, 3, 10)

    virtual(main)


def test_CB_20_the_time_of_the_last_opening_is_not_that_of_a_closing(build: Any) -> None:
    async def main() -> None:
        kept = Kept(build=build)
        assert kept.breakers.status(NAME).last_opened_ms is None
        _open(kept)
        opened = kept.clock.now_ms()
        kept.clock.pass_ms(60_000)
        for _ in range(3):
            await kept.breakers.probe(NAME, well)
        status = kept.breakers.status(NAME)
        assert (status.last_opened_ms, status.openings, status.since_ms) == (opened, 1, opened + 60_000)

    go(main())


def test_CB_22_a_listener_that_fails_hurts_nothing_and_one_that_left_hears_nothing(build: Any) -> None:
    kept, heard, gone = Kept(build=build), [], []

    def broken(change: BreakerChange) -> None:
        raise RuntimeError("no")

    kept.breakers.on_change(broken)
    kept.breakers.on_change(lambda change: heard.append((change.before.value, change.status.state.value)))
    leave = kept.breakers.on_change(gone.append)
    leave()
    leave()
    _open(kept)
    assert heard == [("closed", "open")]
    assert gone == []
    assert [name for name, _ in kept.failures] == ["breaker-listener-dep"]
    assert kept.queued[-1].state is BreakerState.OPEN


def test_CB_22_what_is_handed_out_cannot_be_changed(build: Any) -> None:
    kept = Kept(build=build)
    status = kept.breakers.status(NAME)
    with pytest.raises(AttributeError):
        status.state = BreakerState.LATCHED  # type: ignore[misc]
    before = msgspec.json.encode(status)
    _open(kept)
    assert msgspec.json.encode(status) == before


def test_S46_reading_a_breaker_changes_nothing(build: Any) -> None:
    kept = Kept(build=build)
    _open(kept)
    kept.clock.pass_ms(60_000)
    first = kept.breakers.statuses()
    for _ in range(10):
        assert kept.breakers.statuses() == first
    assert (kept.state, len(kept.queued)) == ("open", 1)
