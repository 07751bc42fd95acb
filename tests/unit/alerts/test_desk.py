"""The desk's queues and channels: a channel that fails, hangs or lies hurts neither the trader nor the others (S45)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from tests.unit.alerts.support import SECRET, Recorded, incident

from perpstrader.alerts import AlertDesk, Channel, RingChannel, Severity
from perpstrader.alerts.lane import Lane
from perpstrader.runtime import Supervisor, VirtualClock, run_virtual

T = TypeVar("T")


def with_desk(
    act: Callable[[AlertDesk, VirtualClock], Awaitable[T]], make: Callable[[VirtualClock], list[Channel]]
) -> T:
    """Run ``act`` beside a desk whose loop the supervisor runs; the loop must not have failed."""

    async def main(clock: VirtualClock) -> T:
        failures: list[str] = []
        supervisor = Supervisor(clock, lambda name, error: failures.append(f"{name}: {error}"))
        desk = AlertDesk(make(clock), clock, timeout_ms=10_000)
        supervisor.start("alerts", desk.run, deadline_ms=60_000)
        result = await act(desk, clock)
        assert not any(beat.late for beat in supervisor.heartbeats())
        await supervisor.stop()
        assert failures == []
        return result

    return run_virtual(main, start_ms=0)


def test_S45_an_incident_goes_out_by_every_channel_and_so_does_its_end() -> None:
    one, other = Recorded("one"), Recorded("other")

    async def act(desk: AlertDesk, clock: VirtualClock) -> None:
        desk.report(incident("a"))
        desk.report(incident("a", time_ms=1_000))
        desk.recovered("a", "over")
        desk.recovered("a", "over")
        await clock.sleep(1)

    with_desk(act, lambda clock: [one, other])
    assert one.told() == other.told() == [("a", "new"), ("a", "over")]


def test_S45_a_channel_that_hangs_delays_no_other_and_is_tried_again() -> None:
    other, ring = Recorded("other"), RingChannel()

    async def act(desk: AlertDesk, clock: VirtualClock) -> None:
        desk.report(incident("a"))
        await clock.sleep(0.1)
        assert other.told() == [("a", "new")]
        await clock.sleep(15)
        [hanging, *_] = desk.channels()
        assert hanging.error == "no answer within 10 s"
        assert [alert.incident.title for alert in ring.alerts] == ["a is wrong", "alerts do not go out"]

    with_desk(act, lambda clock: [Recorded("hanging", clock=clock, takes_s=10_000), other, ring])


def test_S45_a_channel_that_fails_is_tried_with_growing_pauses_and_then_the_next_alert_has_its_turn() -> None:
    failing = Recorded("failing", fails=lambda alert: alert.incident.key == "a")

    async def act(desk: AlertDesk, clock: VirtualClock) -> None:
        desk.report(incident("a"))
        desk.report(incident("b"))
        await clock.sleep(14)
        assert failing.tries == 4
        await clock.sleep(60)
        [state] = desk.channels()
        assert (state.delivered, state.failed, state.error, state.waiting) == (1, 1, "", 0)

    with_desk(act, lambda clock: [failing])
    assert failing.told() == [("b", "new")]


def test_S45_channels_that_fail_in_turn_do_not_keep_each_other_busy() -> None:
    turns = iter(range(10_000))
    flapping = [Recorded(f"flapping-{n}", fails=lambda alert: next(turns) % 2 == 0, is_local=n == 0) for n in range(3)]

    async def act(desk: AlertDesk, clock: VirtualClock) -> None:
        for n in range(4):
            desk.report(incident(f"k{n}"))
            await clock.sleep(400)
        before = next(turns)
        await clock.sleep(10_000)
        assert next(turns) == before + 1

    with_desk(act, lambda clock: list(flapping))


def test_S45_a_channel_may_fail_for_ever() -> None:
    async def act(desk: AlertDesk, clock: VirtualClock) -> int:
        for n in range(300):
            desk.report(incident(f"k{n}"))
            await clock.sleep(300)
        return desk.channels()[0].failed

    assert with_desk(act, lambda clock: [Recorded(fails=lambda alert: True)]) > 250


@pytest.mark.parametrize("error", [RuntimeError(SECRET), ValueError(f"bad {SECRET}"), OSError(5, SECRET)])
def test_S45_no_secret_of_an_error_is_shown(error: Exception) -> None:
    ring = RingChannel()

    async def act(desk: AlertDesk, clock: VirtualClock) -> str:
        desk.report(incident("a"))
        await clock.sleep(3)
        return repr(desk.channels()) + repr(desk.shown())

    shown = with_desk(act, lambda clock: [Recorded("bad", fails=lambda alert: True, error=error), ring])
    assert type(error).__name__ in shown
    assert "SECRET" not in shown


def test_S45_a_report_never_waits_and_the_queue_is_bounded() -> None:
    async def main(clock: VirtualClock) -> None:
        channel = Recorded(clock=clock, takes_s=1)
        lane = Lane(channel, clock, lambda channel, error: None, timeout_s=10, capacity=4)
        book = AlertDesk([RingChannel()], clock, timeout_ms=1).book
        for key, severity in [("c1", 3), ("i1", 1), ("w1", 2), ("i2", 1), ("w2", 2), ("c2", 3), ("c3", 3), ("c4", 3)]:
            alert = book.report(incident(key, Severity(severity)), 0)
            assert alert is not None
            lane.put(alert)
        assert lane.state().dropped == 4
        assert lane.state().waiting == 4
        task = asyncio.get_running_loop().create_task(lane.run())
        await lane.idle()
        task.cancel()
        assert [key for key, _ in channel.told()] == ["c1", "c2", "c3", "c4"]

    run_virtual(main, start_ms=0)


def test_S45_a_stop_waits_for_what_is_queued_but_not_for_ever() -> None:
    good = Recorded("good")

    async def act(desk: AlertDesk, clock: VirtualClock) -> None:
        began = clock.monotonic_ns()
        desk.report(incident("a"))
        await desk.finish(5)
        assert good.told() == [("a", "new")]
        assert clock.monotonic_ns() - began == 5_000_000_000

    with_desk(act, lambda clock: [good, Recorded("hanging", clock=clock, takes_s=10_000)])


def test_S45_a_stop_with_nothing_queued_does_not_wait() -> None:
    async def act(desk: AlertDesk, clock: VirtualClock) -> int:
        desk.report(incident("a"))
        await clock.sleep(1)
        began = clock.monotonic_ns()
        await desk.finish(5)
        return clock.monotonic_ns() - began

    assert with_desk(act, lambda clock: [Recorded()]) == 0
