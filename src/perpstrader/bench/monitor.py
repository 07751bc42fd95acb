"""The performance monitor: what measuring adds to what is measured."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from perpstrader.bench.harness import Arm, Case, Subject
from perpstrader.bench.lab import Lab
from perpstrader.monitor import Figures, PerformanceMonitor, Timer
from perpstrader.runtime import SystemClock

COMPONENT: Final = "monitor"
_CALLS: Final = 2_000


def cases(lab: Lab) -> list[Case]:
    """The rows of this component; it has one build only."""
    return [
        Case(
            COMPONENT, "measure-overhead", "us/measure", _CALLS, partial(_measuring, _with_scope),
            note="`with timer.measure()` around nothing: what each measured stage costs more",
        ),
        Case(
            COMPONENT, "measure-by-hand", "us/measure", _CALLS, partial(_measuring, _by_hand),
            note="the same by `now()` and `since()`, as the hottest stages do",
        ),
        Case(
            COMPONENT, "snapshot", "us/call", 1, _snapshot,
            note="all figures of 20 timers with a thousand calls each: what one look at the monitor costs the loop",
        ),
        Case(
            COMPONENT, "limit-clock-read", "us/measure", _CALLS, _clock_reads,
            note="reading the monotonic clock twice: no measurement of a duration costs less",
        ),
    ]  # fmt: skip


def _with_scope(timer: Timer) -> None:
    for _ in range(_CALLS):
        with timer.measure():
            pass


def _by_hand(timer: Timer) -> None:
    for _ in range(_CALLS):
        timer.since(timer.now())


@asynccontextmanager
async def _measuring(work: Callable[[Timer], None]) -> AsyncIterator[Subject]:
    timer = PerformanceMonitor(SystemClock()).timer("measured")

    def answer() -> int:
        timer.clear()
        work(timer)
        return timer.figures().count

    yield Subject(Arm(run=partial(work, timer), answer=answer), expected=_CALLS)


@asynccontextmanager
async def _snapshot() -> AsyncIterator[Subject]:
    monitor = PerformanceMonitor(SystemClock())
    timers = [monitor.timer(f"stage-{number}") for number in range(20)]
    for timer in timers:
        for ns in range(1_000):
            timer.record(ns * 1_000)

    def run() -> list[Figures]:
        return [timer.figures() for timer in timers]

    yield Subject(Arm(run=run, answer=lambda: [figures.count for figures in run()]), expected=[1_000] * len(timers))


@asynccontextmanager
async def _clock_reads() -> AsyncIterator[Subject]:
    clock = SystemClock()

    def run() -> int:
        backwards = 0
        for _ in range(_CALLS):
            started = clock.monotonic_ns()
            if clock.monotonic_ns() < started:
                backwards += 1
        return backwards

    yield Subject(Arm(run=run, answer=run), expected=0)
