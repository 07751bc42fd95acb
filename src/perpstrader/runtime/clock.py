"""Time, handed in: the system's in production, a virtual one in replays and tests."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time in UTC milliseconds, monotonic time in nanoseconds, and sleeping; nothing else in the core asks for
    time.
    """

    def now_ms(self) -> int:
        """UTC milliseconds, as on the wire."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back; for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; at zero or less only yields."""
        ...


class SystemClock:
    """The machine's own time."""

    def now_ms(self) -> int:
        """UTC milliseconds of the machine; the venue's time is kept apart (``venue.skew``)."""
        return time.time_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        """Nanoseconds of the machine's monotonic clock."""
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running loop."""
        await asyncio.sleep(seconds)


async def sleep_until_ms(clock: Clock, when_ms: int) -> None:
    """Wait until the clock shows at least ``when_ms``; returns at once when it already does."""
    left_ms = when_ms - clock.now_ms()
    if left_ms > 0:
        await clock.sleep(left_ms / 1000)
