"""The plain trace store: one INSERT and one commit a trace, no cache, no batch, no queue; the executable specification.

SQLite comes through ``apsw``, whose bundled version is free of the WAL-reset race (fixed in 3.51.3), and one
connection, used only through the executor, does all writing and checkpointing. With ``synchronous=NORMAL`` an
acknowledged trace survives kill -9 but may be lost in a power cut; a decision that led to an order is always
committed with ``FULL``, and a ``FULL`` commit carries all before it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeVar

import apsw

from perpstrader.domain.traces import Trace
from perpstrader.runtime.executor import Executor, InlineExecutor
from perpstrader.traces import chain, queries, rows
from perpstrader.traces.attach import attach_outcome
from perpstrader.traces.codec import encode
from perpstrader.traces.errors import TraceError, TraceRejectedError
from perpstrader.traces.files import MEMORY, Synchronous, as_trace_error, connect, transact
from perpstrader.traces.reading import Reads
from perpstrader.traces.records import Counters, CycleNote, Marked, Retained, Retention
from perpstrader.traces.retention import sweep_bars

T = TypeVar("T")
_PAGE_BYTES: Final = 4_096


class TraceStore(Reads):
    """The decision record in one SQLite file; keeps the contract of ``perpstrader.traces.contract.TraceStore``."""

    def __init__(
        self, connection: apsw.Connection, name: str, executor: Executor, synchronous: Synchronous, max_notes: int
    ) -> None:
        self._connection = connection
        self._name = name
        self._executor = executor
        self._synchronous = synchronous
        self._max_notes = max_notes
        self._note_room = 0
        self._open = True
        self.on_trouble: Callable[[str], None] = lambda text: None  # nothing is tried again here
        # only ever touched by the functions that the executor runs, one after the other
        self._accepted = self._stored = self._dead = self._dropped = self._duplicates = self._updates = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path | str | None,
        *,
        executor: Executor | None = None,
        synchronous: Synchronous = "NORMAL",
        read_only: bool = False,
        busy_ms: int = 1_000,
        max_notes: int = 1_000_000,
    ) -> AsyncIterator[TraceStore]:
        """The store at ``path`` (``None``: in memory), closed at the end of the block.

        ``executor`` runs the SQLite calls, in place without one; it stays the caller's. ``read_only`` looks at an
        existing file beside its writer. ``busy_ms`` bounds the wait for another process. Raises ``TraceFileError``
        when the file cannot serve.
        """
        runner = executor if executor is not None else InlineExecutor()
        name = MEMORY if path is None else str(path)
        connection = await runner.run(
            lambda: connect(name, synchronous, read_only=read_only, busy_ms=busy_ms, page_size=_PAGE_BYTES)
        )
        store = cls(connection, name, runner, synchronous, max_notes)
        try:
            yield store
        finally:
            await store.close()

    async def store(self, trace: Trace, *, urgent: bool = True) -> None:
        """Commit a decision; see the contract. Nothing gathers here: all are urgent."""
        await self._run(lambda: self._write_trace(trace, revise=False))

    async def update(self, trace: Trace, *, urgent: bool = True) -> None:
        """Commit a later revision of a decision; see the contract."""
        await self._run(lambda: self._write_trace(trace, revise=True))

    async def mark_analyzed(self, ids: Sequence[str], batch_id: str) -> Marked:
        """Mark traces as analysed in a batch."""
        return await self._run(lambda: self._transact(lambda: rows.mark(self._connection, ids, batch_id)))

    async def claim(self, limit: int, *, by: str, now_ms: int, lease_ms: int) -> list[Trace]:
        """Lease what nobody has analysed; see the contract."""
        return await self._run(
            lambda: self._transact(
                lambda: queries.some(
                    self._connection, rows.claim(self._connection, queries.clamp(limit), by, now_ms, lease_ms)
                )
            )
        )

    async def attach_outcome(self, trace_id: str, outcome_usd: Decimal, outcome_ms: int) -> None:
        """Record what came of a decision, as a revision."""
        await self._run(lambda: self._attach_outcome(trace_id, outcome_usd, outcome_ms))

    async def store_notes(self, notes: Sequence[CycleNote]) -> None:
        """Record cycles without a decision, in one commit."""
        await self._run(lambda: self._put_notes(notes))

    async def prune(self, *, before_ms: int) -> int:
        """Remove what is older, slice by slice; other work goes on between the slices."""
        limit = await self._run(lambda: chain.prune_limit(self._connection, before_ms))
        removed, more = 0, True
        while more:
            count, more = await self._run(lambda: self._transact(lambda: chain.prune_slice(self._connection, limit)))
            removed += count
        await sweep_bars(lambda work: self._run(lambda: self._transact(lambda: work(self._connection))))
        return removed

    async def retain(self, policy: Retention) -> Retained:
        """Keep the file within its bounds, slice by slice; other work goes on between the slices."""
        return await self._retain(policy)

    @property
    def counters(self) -> Counters:
        """What this process stored and could not store; there is no queue: ``pending`` is at most the one in work."""
        stored, dead, dropped, accepted = self._stored, self._dead, self._dropped, self._accepted
        return Counters(
            accepted=accepted, stored=stored, dead=dead, dropped=dropped, pending=accepted - stored - dead - dropped,
            duplicates=self._duplicates, updates=self._updates,
        )  # fmt: skip

    async def flush(self) -> None:
        """Nothing ever waits here."""

    async def close(self) -> None:
        """Release the file; a second call does nothing."""
        if self._open:
            self._open = False
            await self._executor.run(self._connection.close)

    async def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        return await self._run(lambda: work(self._connection))

    async def _transacted(self, work: Callable[[apsw.Connection], T]) -> T:
        return await self._run(lambda: self._transact(lambda: work(self._connection)))

    async def _plainly(self, work: Callable[[apsw.Connection], T]) -> T:
        return await self._run(lambda: work(self._connection))

    async def _apart(self, work: Callable[[], T]) -> T:
        return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._open:
            raise TraceError(f"the trace store {self._name} is closed")

        def guarded() -> T:
            with as_trace_error(self._name):
                return work()

        return await self._executor.run(guarded)

    def _write_trace(self, trace: Trace, *, revise: bool) -> None:
        """Encode, write, commit; what cannot be recorded goes to the dead letter, whatever else fails is a drop."""
        self._accepted += 1
        try:
            try:
                encoded = encode(trace)
                write = rows.revise_trace if revise else rows.insert_trace
                new = self._transact(
                    lambda: write(self._connection, encoded, rows.Tail.read(self._connection)),
                    full=trace.led_to_order,
                )
            except (TraceRejectedError, *rows.SPOILT) as error:
                reason = str(error)
                if not isinstance(error, TraceRejectedError):
                    reason = f"the trace store {self._name} cannot take it: {error}; it was put in the dead letter"
                self._transact(lambda: rows.bury(self._connection, trace, reason))
                self._dead += 1
                raise TraceRejectedError(reason) from error
        except TraceRejectedError:
            raise
        except BaseException:
            self._dropped += 1
            raise
        self._stored += 1
        self._duplicates += not new
        self._updates += revise and new

    def _put_notes(self, notes: Sequence[CycleNote]) -> None:
        """Count only when those that fitted at the last count are used up."""
        self._note_room -= len(notes)
        if self._note_room >= 0:
            self._transact(lambda: rows.add_notes(self._connection, notes))
        else:
            self._note_room = self._transact(lambda: rows.put_notes(self._connection, notes, keep=self._max_notes))

    def _attach_outcome(self, trace_id: str, outcome_usd: Decimal, outcome_ms: int) -> None:
        text = format(outcome_usd, "f")
        self._transact(lambda: attach_outcome(self._connection, trace_id, text, outcome_ms))

    def _transact(self, work: Callable[[], T], *, full: bool = False) -> T:
        """Run ``work`` in one transaction; ``full`` syncs the commit to the disk whatever the setting is."""
        return transact(self._connection, work, upgrade_from=self._synchronous if full else None)
