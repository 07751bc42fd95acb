"""How long messages take: seeded distributions for the way to the exchange and the way back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from random import Random
from typing import Final

import msgspec

_Z99: Final = 2.3263478740408408
"""The 99 % quantile of the normal distribution."""


class LatencyModel(msgspec.Struct, frozen=True, kw_only=True):
    """Round trips are lognormal with this median and 99 % quantile in seconds (API sheet 7.8). Of each draw
    ``entry_fraction`` is the way to the exchange, the rest of another the way back.
    """

    median_s: float = 0.2
    p99_s: float = 0.9
    entry_fraction: float = 0.5

    def entry_s(self, rng: Random) -> float:
        """How long a message to the exchange takes."""
        return self._draw(rng) * self.entry_fraction

    def response_s(self, rng: Random) -> float:
        """How long an answer, or a frame of a stream, takes."""
        return self._draw(rng) * (1.0 - self.entry_fraction)

    def _draw(self, rng: Random) -> float:
        sigma = math.log(self.p99_s / self.median_s) / _Z99
        return rng.lognormvariate(math.log(self.median_s), sigma)


class Way:
    """One direction of a WebSocket: each frame takes its time, and none overtakes another."""

    def __init__(self, seconds: Callable[[], float], deliver: Callable[[bytes], None]) -> None:
        self._seconds = seconds
        self._deliver = deliver
        self._last_at = 0.0

    def carry(self, frame: bytes) -> None:
        """Hand the frame over later."""
        loop = asyncio.get_running_loop()
        self._last_at = max(self._last_at, loop.time() + self._seconds())
        loop.call_at(self._last_at, self._deliver, frame)
