"""Named loops with a heartbeat: nothing is fired and forgotten, and when ``stop`` returns nothing runs any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from perpstrader.runtime.clock import Clock

_RESTART_BASE_S: Final = 0.5
_RESTART_CAP_S: Final = 30.0
_DOUBLINGS: Final = 16
_WELL_S: Final = 60.0
"""A loop that ran so long had recovered: its next failure is a first one again."""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """What one loop last said of itself; ``late`` once it has been silent for longer than its deadline."""

    name: str
    beat_age_ms: int
    deadline_ms: int
    restarts: int
    last_error: str

    @property
    def late(self) -> bool:
        """True when the loop has missed its deadline."""
        return self.beat_age_ms > self.deadline_ms


class FailureSink(Protocol):
    """Told of every loop that failed; must not raise."""

    def __call__(self, name: str, error: Exception) -> None:
        """``name`` is the loop's."""
        ...


class _Loop:
    __slots__ = ("beat_ns", "body", "deadline_ms", "error", "name", "restarts", "task")

    def __init__(
        self, name: str, body: Callable[[Callable[[], None]], Awaitable[None]], deadline_ms: int, now_ns: int
    ) -> None:
        self.name = name
        self.body = body
        self.deadline_ms = deadline_ms
        self.beat_ns = now_ns
        self.restarts = 0
        self.error = ""
        self.task: asyncio.Task[None] | None = None


class Supervisor:
    """Runs loops until ``stop``. A loop that raises is reported, and restarted after a growing pause; one that returns
    is done.
    """

    def __init__(self, clock: Clock, on_failure: FailureSink) -> None:
        self._clock = clock
        self._on_failure = on_failure
        self._loops: dict[str, _Loop] = {}

    def start(self, name: str, body: Callable[[Callable[[], None]], Awaitable[None]], *, deadline_ms: int) -> None:
        """Start ``body(beat)`` under a unique name; it calls ``beat()`` at least every ``deadline_ms``."""
        if name in self._loops:
            raise ValueError(f"a loop named {name!r} runs already")
        loop = _Loop(name, body, deadline_ms, self._clock.monotonic_ns())
        self._loops[name] = loop
        loop.task = asyncio.create_task(self._run(loop), name=name)

    def heartbeats(self) -> list[Heartbeat]:
        """All loops, in the order of their start."""
        now = self._clock.monotonic_ns()
        return [
            Heartbeat(name=loop.name, beat_age_ms=(now - loop.beat_ns) // 1_000_000, deadline_ms=loop.deadline_ms,
                      restarts=loop.restarts, last_error=loop.error)
            for loop in self._loops.values() if loop.task is not None and not loop.task.done()
        ]  # fmt: skip

    async def stop(self) -> None:
        """Cancel all loops, the youngest first, and wait for each; afterwards none of them does anything."""
        for loop in reversed(list(self._loops.values())):
            if loop.task is not None and not loop.task.done():
                loop.task.cancel()
                await asyncio.gather(loop.task, return_exceptions=True)
        self._loops.clear()

    async def _run(self, loop: _Loop) -> None:
        def beat() -> None:
            loop.beat_ns = self._clock.monotonic_ns()

        failures = 0
        while True:
            began_ns = self._clock.monotonic_ns()
            try:
                await loop.body(beat)
                return
            except Exception as error:  # a loop of the trader must not die of anything but cancellation
                loop.error = f"{type(error).__name__}: {error}"
                self._on_failure(loop.name, error)
            failures = 0 if self._clock.monotonic_ns() - began_ns > _WELL_S * 1e9 else failures
            pause = min(_RESTART_CAP_S, _RESTART_BASE_S * 2.0 ** min(failures, _DOUBLINGS))
            failures += 1
            loop.restarts += 1
            beat()
            await self._clock.sleep(pause)
            beat()
