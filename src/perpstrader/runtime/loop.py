"""Virtual time: an asyncio loop that jumps to the next deadline instead of waiting for it.

Resolution is one microsecond, equal deadlines run first in, first out, and a loop with nothing left to wait for raises
``Deadlock`` instead of hanging. Threads, sockets and foreign callbacks are refused, because their timing is not the
loop's: the same program with the same seed therefore does the same thing, to the last byte.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Every task waits for something that can no longer happen."""


class _Timer(events.TimerHandle):
    """A timer that orders by deadline, then by the order in which it was set; the heap alone would permute ties."""

    __slots__ = ("_sequence",)

    def __init__(self, when: float, sequence: int, callback: Callable[..., object], args: tuple[Any, ...],
                 loop: asyncio.AbstractEventLoop, context: Context | None) -> None:  # fmt: skip
        super().__init__(when, callback, args, loop, context)
        self._sequence = sequence

    def __lt__(self, other: events.TimerHandle) -> bool:
        if self._when != other._when:  # type: ignore[attr-defined]  # asyncio's own field, not in its stubs
            return bool(self._when < other._when)  # type: ignore[attr-defined]
        return self._sequence < getattr(other, "_sequence", 0)


class _JumpingSelector:
    """Stands where the loop expects a selector: waiting moves the virtual clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        """Advance by ``timeout``; nothing scheduled at all is a deadlock."""
        if timeout is None:
            raise Deadlock("nothing is scheduled and every task waits: the virtual time cannot go on")
        if timeout > 0:
            self._loop.advance(timeout)
        return []

    def close(self) -> None:
        """Nothing is open."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose clock starts at zero and advances only when nothing is ready to run."""

    def __init__(self) -> None:
        super().__init__()
        self._now_us = 0
        self._timers = 0
        self._clock_resolution = 1e-6
        self._selector = _JumpingSelector(self)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now_us / 1e6

    @property
    def now_us(self) -> int:
        """Virtual microseconds since the loop was made."""
        return self._now_us

    def advance(self, seconds: float) -> None:
        """Move the clock to the deadline that the loop waits for."""
        self._now_us = max(self._now_us, round((self.time() + seconds) * 1e6))

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> events.TimerHandle:  # type: ignore[override]  # asyncio's own is generic over the arguments
        """As asyncio's, with ties in the order of their calls."""
        self._timers += 1
        timer = _Timer(round(when * 1e6) / 1e6, self._timers, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]  # asyncio's own heap, not in its stubs
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> events.TimerHandle:  # type: ignore[override]  # asyncio's own is generic over the arguments
        """As asyncio's, through :meth:`call_at`."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> NoReturn:  # type: ignore[override]  # asyncio's own is generic over the arguments
        """Refused: another thread's timing would decide the order of events."""
        raise RuntimeError("a virtual loop takes no callbacks from other threads; hand the work an inline executor")

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> NoReturn:  # type: ignore[override]  # asyncio's own is generic over the arguments
        """Refused, as threads are."""
        raise RuntimeError("a virtual loop runs no threads; hand the work an inline executor")

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncio calls it by this name
        """There is none."""

    def _process_events(self, event_list: list[object]) -> None:
        """There is no I/O to process."""

    def _write_to_self(self) -> None:
        """There is nobody to wake."""


class VirtualClock:
    """The clock of a virtual loop: its wall time starts at ``start_ms`` UTC."""

    def __init__(self, loop: VirtualLoop, start_ms: int) -> None:
        self._loop = loop
        self._start_us = start_ms * 1000

    def now_ms(self) -> int:
        """UTC milliseconds of the virtual world."""
        return (self._start_us + self._loop.now_us) // 1000

    def monotonic_ns(self) -> int:
        """Virtual nanoseconds since the start."""
        return self._loop.now_us * 1000

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time."""
        await asyncio.sleep(seconds)


def run_virtual(main: Callable[[VirtualClock], Coroutine[Any, Any, T]], *, start_ms: int = 0) -> T:
    """Run ``main(clock)`` to its end in virtual time and give its result; leftover tasks are cancelled first.

    Raises what ``main`` raises, and ``Deadlock`` when it waits for what cannot come.
    """
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main(VirtualClock(loop, start_ms)))
    finally:
        try:
            _cancel_leftovers(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _cancel_leftovers(loop: asyncio.AbstractEventLoop) -> None:
    leftovers = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    for task in leftovers:
        task.cancel()
    if leftovers:
        loop.run_until_complete(asyncio.gather(*leftovers, return_exceptions=True))
