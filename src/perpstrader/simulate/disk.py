"""A disk that does not take every write: each commit to ``state.db`` may fail, whole, as a plan says."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVar

from perpstrader.domain import StateError
from perpstrader.state import StateStore, Transaction

T = TypeVar("T")


class DiskFaults:
    """One draw a commit; ``landed`` counts those refused while an order or a position was open."""

    def __init__(self, rng: Random, rate: float, is_at_stake: Callable[[], bool]) -> None:
        self._rng = rng
        self._rate = rate
        self._is_at_stake = is_at_stake
        self.landed = 0

    def end(self) -> None:
        """Every write is taken from now on."""
        self._rate = 0.0

    def refuses(self) -> bool:
        """The fate of the next commit."""
        refused = self._rng.random() < self._rate
        if refused and self._is_at_stake():
            self.landed += 1
        return refused


class FailingStore(StateStore):
    """A ``StateStore`` whose commits meet ``faults``; what is refused leaves nothing behind."""

    faults: DiskFaults | None = None

    async def transact(self, fn: Callable[[Transaction], T], *, timeout_s: float | None = None) -> T:
        """See ``StateStore``."""
        if self.faults is not None and self.faults.refuses():
            raise StateError("state.db did not take a write: the disk of this world is failing")
        return await super().transact(fn, timeout_s=timeout_s)
