"""An executor for code that may never come back: its thread can be left behind, so that neither a stop nor an exit
waits for it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class DetachedExecutor:
    """One daemon thread with a name, started with the first work; for functions of others that hold nothing which
    must be closed.

    Otherwise like ``ThreadedExecutor``: a timeout raises ``TimeoutError`` and leaves the thread at its task.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, fn: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """The function's result from the thread, or what it raises."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()
        done: Future[T] = Future()
        self._work.put(lambda: _settle(done, fn))
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(asyncio.wrap_future(done))

    def close(self) -> None:
        """Take the thread out when it is next idle, and do not wait for that."""
        self._work.put(None)

    def _serve(self) -> None:
        while (task := self._work.get()) is not None:
            task()


def _settle(done: Future[T], fn: Callable[[], T]) -> None:
    try:
        result = fn()
    except BaseException as error:
        done.set_exception(error)
    else:
        done.set_result(result)
