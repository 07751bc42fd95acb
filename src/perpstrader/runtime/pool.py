"""Short-lived tasks with an owner: each has a name, its failure is reported, and ``stop`` waits for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from perpstrader.runtime.tasks import FailureSink


class TaskPool:
    """Holds every task that it starts until it ends; none is fired and forgotten."""

    def __init__(self, on_failure: FailureSink) -> None:
        self._on_failure = on_failure
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._stopped = False

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any] | None:
        """Start the coroutine; after ``stop`` it is closed unstarted and ``None`` returned."""
        if self._stopped:
            coroutine.close()
            return None
        task = asyncio.create_task(coroutine, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    async def stop(self) -> None:
        """Cancel what runs, the youngest first, and wait for it; a task of the pool may call it and is left to end."""
        self._stopped = True
        tasks = list(reversed(self._others()))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def drain(self) -> None:
        """Wait until everything that was started has ended by itself; who gives up waiting cancels nothing of it."""
        while others := self._others():
            await asyncio.wait(others)

    async def settle(self, timeout_s: float) -> None:
        """Wait until what runs now has ended, at most so long; what has not ended goes on."""
        others = self._others()
        if others:
            await asyncio.wait(others, timeout=timeout_s)

    def _others(self) -> list[asyncio.Task[Any]]:
        """All but the caller, who would wait for himself."""
        current = asyncio.current_task()
        return [task for task in self._tasks if task is not current]

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            error = task.exception()
            if isinstance(error, Exception):
                self._on_failure(task.get_name(), error)
