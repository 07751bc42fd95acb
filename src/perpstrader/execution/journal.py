"""Bookkeeping that nothing waits for: written in order, tried again until it is on disk, and never lost while the
process lives.

Entries await :meth:`Journal.commit`, because an intent must be on disk before its first byte goes out. Protection and
exits use :meth:`Journal.within`, which gives up waiting (not writing) at a deadline. Everything else is queued with
:meth:`Journal.later`; what a crash takes from the queue, reconciliation reads again from the venue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from perpstrader.monitor import Timer
from perpstrader.runtime import Clock
from perpstrader.runtime.tasks import FailureSink
from perpstrader.state import StateStore, Transaction

T = TypeVar("T")
_RETRY_S: Final = 0.5
_BATCH: Final = 256

Write = Callable[[Transaction], object]


class Journal:
    """The one queue into ``state.db``; ``pending`` says how much is not yet on disk."""

    def __init__(self, store: StateStore, clock: Clock, on_failure: FailureSink, commits: Timer) -> None:
        self._store = store
        self._clock = clock
        self._on_failure = on_failure
        self._commits = commits
        self._queue: deque[Write] = deque()
        self._wake = asyncio.Event()
        self._draining = asyncio.Lock()
        self.refused = 0

    @property
    def pending(self) -> int:
        """Writes that are not on disk yet."""
        return len(self._queue)

    async def commit(self, write: Callable[[Transaction], T], *, timeout_s: float | None = None) -> T:
        """Everything queued before, then ``write``, on disk when it returns; raises ``StateError`` when it cannot be
        written.
        """
        await self.flush()
        with self._commits.measure():
            return await self._store.transact(write, timeout_s=timeout_s)

    async def within(self, write: Write, deadline_ms: int) -> bool:
        """Queue ``write`` and wait for the disk until the deadline, no longer; False leaves it in the queue.

        Whatever goes wrong here is reported and never raised: an exit waits for no bookkeeping.
        """
        self.later(write)
        try:
            async with asyncio.timeout(deadline_ms / 1000):
                await self.flush()
        except Exception as error:
            self._on_failure("journal", error)
            return False
        return True

    def later(self, write: Write) -> None:
        """Queue a write; it reaches the disk in order."""
        self._queue.append(write)
        self._wake.set()

    async def flush(self) -> None:
        """Have everything that is queued on disk, in order.

        Raises ``StateError`` when the store cannot be written. A write that the store refuses although it can be
        written is put aside in ``refused`` and reported, so that one bad row never holds up the books.
        """
        async with self._draining:
            while self._queue:
                batch = tuple(self._queue[n] for n in range(min(_BATCH, len(self._queue))))
                try:
                    with self._commits.measure():
                        await self._store.transact(partial(_write_all, batch))
                except Exception:  # whatever one write raises, those behind it are written
                    batch = batch[:1]
                    await self._write_one(batch[0])
                for _ in batch:
                    self._queue.popleft()

    async def _write_one(self, write: Write) -> None:
        try:
            await self._store.transact(write)
        except Exception as error:
            await self._store.transact(lambda tx: tx.meta.put_int("journal_refused", self.refused + 1))
            try:
                await self._store.transact(write)  # the store works now; a passing trouble must not cost a row
            except Exception:
                self.refused += 1
                self._on_failure("journal", error)

    async def run(self, beat: Callable[[], None]) -> None:
        """Write whatever is queued, for ever; after a failure again in half a second, the order kept."""
        while True:
            beat()
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
            try:
                await self.flush()
            except Exception as error:
                self._on_failure("journal", error)
                await self._clock.sleep(_RETRY_S)


def _write_all(batch: tuple[Write, ...], tx: Transaction) -> None:
    for write in batch:
        write(tx)
