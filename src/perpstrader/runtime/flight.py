"""One request for all who want its answer: it goes on while anybody waits, and ends the same way for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from perpstrader.domain.errors import VenueError

T = TypeVar("T")


class Flight(Generic[T]):
    """A request in a task of its own, so that no waiter's cancellation reaches the others; the last one's ends it.

    ``began_ns`` is before its first byte goes out: what comes back was true of the venue at some instant since.
    """

    def __init__(self, name: str, load: Coroutine[Any, Any, T], began_ns: int, generation: int) -> None:
        self.began_ns = began_ns
        self.generation = generation
        self._waiting = 0
        self.task = asyncio.create_task(load, name=name)
        self.task.add_done_callback(_look)

    @property
    def abandoned(self) -> bool:
        """True once the last waiter has left before the answer: nobody may join any more."""
        return self.task.cancelling() > 0

    async def wait(self) -> T:
        """The answer, or what the request raised; ``VenueError`` where the client was closed meanwhile."""
        self._waiting += 1
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self.task.cancelled() and (current is None or not current.cancelling()):
                raise VenueError("the client was closed while the venue was being asked") from None
            raise
        finally:
            self._waiting -= 1
            if not self._waiting and not self.task.done():
                self.task.cancel()


def _look(task: asyncio.Task[Any]) -> None:
    """A failure whose waiters have all left is nobody's news."""
    if not task.cancelled():
        task.exception()


