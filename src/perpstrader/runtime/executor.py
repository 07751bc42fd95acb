"""Where blocking work runs: in one worker thread in real time, in place under the virtual clock; the callers are the
same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


class Executor(Protocol):
    """Runs functions one after the other, in the order in which they were handed in."""

    async def run(self, fn: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """The function's result, or what it raises; ``TimeoutError`` when it takes longer (it may still complete
        later).
        """
        ...

    def close(self) -> None:
        """Take no more work; what was handed in is finished first."""
        ...


class InlineExecutor:
    """Calls at once and never suspends; the only executor that a virtual loop may use."""

    async def run(self, fn: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """The function's result."""
        return fn()

    def close(self) -> None:
        """Nothing is open."""


class ThreadedExecutor:
    """One worker thread with a name; SQLite connections that it opens are used by it alone."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, fn: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """The function's result from the worker; a timeout leaves the worker at its task."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, fn)
        if timeout_s is None:
            return await future
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(future)

    def close(self) -> None:
        """Waits for the work that was handed in."""
        self._pool.shutdown(wait=True)
