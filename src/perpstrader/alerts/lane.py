"""One channel's own queue and deliverer: whatever a channel does, the others and the trader do not notice (S45)."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import msgspec

from perpstrader.alerts.channels import Channel, ChannelError
from perpstrader.alerts.incidents import Alert
from perpstrader.runtime import Clock

_CAPACITY: Final = 100
_TRIES: Final = 5
_PAUSE_BASE_S: Final = 1.0
_PAUSE_CAP_S: Final = 60.0
_DOUBLINGS: Final = 6


class ChannelState(msgspec.Struct, frozen=True, kw_only=True):
    """How one channel does: ``waiting`` alerts, ``dropped`` when the queue was full, ``failed`` after all tries.

    ``error`` is why its last try failed, and empty after one that succeeded.
    """

    name: str
    delivered: int
    failed: int
    dropped: int
    waiting: int
    error: str


class HealthSink(Protocol):
    """Told when a channel begins to fail and when it delivers again; must not raise."""

    def __call__(self, channel: str, error: str) -> None:
        """``error`` is empty for a channel that delivers again."""
        ...


async def deliver(channel: Channel, alert: Alert, timeout_s: float) -> str:
    """Try once, for at most ``timeout_s``; the reason of a failure in a sentence without secrets, else nothing."""
    try:
        async with asyncio.timeout(timeout_s):
            await channel.send(alert)
    except ChannelError as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except Exception as error:  # its text may hold an address, and no channel may end the loop
        return f"the delivery failed: {type(error).__name__}"
    return ""


class Lane:
    """Delivers in order, one alert at a time; tries a few times with growing pauses, then goes on with the next."""

    def __init__(
        self, channel: Channel, clock: Clock, on_health: HealthSink, *, timeout_s: float, capacity: int = _CAPACITY
    ) -> None:
        self.channel = channel
        self._clock = clock
        self._on_health = on_health
        self._timeout_s = timeout_s
        self._capacity = capacity
        self._waiting: list[Alert] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._delivered = self._failed = self._dropped = 0
        self._failures = 0
        self._error = ""

    def put(self, alert: Alert) -> None:
        """Queue it and return at once; of a full queue the oldest of the least grave is dropped and counted."""
        self._waiting.append(alert)
        if len(self._waiting) > self._capacity:
            self._waiting.remove(min(self._waiting, key=lambda waiting: waiting.incident.severity))
            self._dropped += 1
        self._idle.clear()
        self._wake.set()

    def state(self) -> ChannelState:
        """How the channel does."""
        return ChannelState(
            name=self.channel.name, delivered=self._delivered, failed=self._failed, dropped=self._dropped,
            waiting=len(self._waiting), error=self._error,
        )  # fmt: skip

    async def run(self) -> None:
        """Deliver what is queued, for ever."""
        while True:
            await self._wake.wait()
            while self._waiting:
                await self._send(self._waiting.pop(0))
            self._wake.clear()
            self._idle.set()

    async def idle(self) -> None:
        """Return when nothing is queued and nothing is being delivered."""
        await self._idle.wait()

    async def _send(self, alert: Alert) -> None:
        for _ in range(_TRIES):
            error = await deliver(self.channel, alert, self._timeout_s)
            self._note(error)
            if not error:
                self._delivered += 1
                return
            await self._clock.sleep(min(_PAUSE_CAP_S, _PAUSE_BASE_S * 2 ** min(self._failures - 1, _DOUBLINGS)))
        self._failed += 1

    def _note(self, error: str) -> None:
        was_failing, self._error = bool(self._error), error
        self._failures = self._failures + 1 if error else 0
        if bool(error) != was_failing:
            self._on_health(self.channel.name, error)
