"""The plain trace store: one INSERT and one commit a trace, no cache, no batch, no queue; the executable specification.

SQLite comes through ``apsw``, whose bundled version is free of the WAL-reset race (fixed in 3.51.3), and one
connection, used only through the executor, does all writing and checkpointing. With ``synchronous=NORMAL`` an
acknowledged trace survives kill -9 but may be lost in a power cut; a decision that led to an order is always
committed with ``FULL``, and a ``FULL`` commit carries all before it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeVar

import apsw

from perpstrader.domain.traces import Trace, TraceKind
from perpstrader.runtime.executor import Executor, InlineExecutor
from perpstrader.traces import chain, queries, rows, schema
from perpstrader.traces.codec import encode
from perpstrader.traces.contract import MAX_LIMIT, NEAR_MS
from perpstrader.traces.errors import TraceError, TraceFileError, TraceRejectedError, UnknownTraceError
from perpstrader.traces.records import (
    Counters,
    CycleNote,
    DeadLetter,
    Marked,
    Nearby,
    Page,
    TraceStats,
    TraceSummary,
    Verification,
)

T = TypeVar("T")
Synchronous = Literal["NORMAL", "FULL", "OFF"]


class TraceStore:
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
        name = ":memory:" if path is None else str(path)
        connection = await runner.run(lambda: _connect(name, synchronous, read_only, busy_ms))
        store = cls(connection, name, runner, synchronous, max_notes)
        try:
            yield store
        finally:
            await store.close()

    async def store(self, trace: Trace) -> None:
        """Commit a decision; see the contract."""
        await self._run(lambda: self._write_trace(trace, revise=False))

    async def update(self, trace: Trace) -> None:
        """Commit a later revision of a decision; see the contract."""
        await self._run(lambda: self._write_trace(trace, revise=True))

    async def get(self, trace_id: str) -> Trace | None:
        """The trace in its newest revision, or ``None``."""
        return await self._run(lambda: queries.one(self._connection, trace_id))

    async def recent(self, limit: int = 50, *, strategy: str | None = None) -> list[Trace]:
        """The newest traces, newest first."""
        return await self._run(lambda: queries.recent(self._connection, limit, strategy))

    async def summaries(
        self, limit: int = 50, *, symbol: str | None = None, strategy: str | None = None, kind: TraceKind | None = None
    ) -> list[TraceSummary]:
        """The newest summaries, newest first."""
        filters = {"symbol": symbol, "strategy": strategy, "kind": kind}
        page = await self._run(lambda: queries.find(self._connection, filters, limit, None))
        return list(page.rows)

    async def between(
        self, start_ms: int, end_ms: int, symbol: str | None = None, *, limit: int = MAX_LIMIT
    ) -> list[Trace]:
        """The traces of an inclusive range, oldest first."""
        return await self._run(lambda: queries.between(self._connection, start_ms, end_ms, symbol, limit))

    async def find(
        self,
        *,
        symbol: str | None = None,
        strategy: str | None = None,
        kind: TraceKind | None = None,
        regime: str | None = None,
        verdict: str | None = None,
        reason: str | None = None,
        executed: bool | None = None,
        error: bool | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """A page of matching summaries, newest first."""
        filters = {
            "symbol": symbol, "strategy": strategy, "kind": kind, "regime": regime, "verdict": verdict,
            "reason": reason, "executed": executed, "error": error, "since_ms": since_ms, "until_ms": until_ms,
        }  # fmt: skip
        return await self._run(lambda: queries.find(self._connection, filters, limit, cursor))

    async def near(self, time_ms: int, symbol: str, *, within_ms: int = NEAR_MS) -> Nearby:
        """What is recorded of a symbol around an instant."""
        return await self._run(lambda: queries.near(self._connection, time_ms, symbol, within_ms))

    async def unanalyzed(self, limit: int = 100) -> list[Trace]:
        """The oldest traces that nobody has analysed."""
        return await self._run(lambda: queries.unanalyzed(self._connection, limit))

    async def mark_analyzed(self, ids: Sequence[str], batch_id: str) -> Marked:
        """Mark traces as analysed in a batch."""
        return await self._run(lambda: self._transact(lambda: rows.mark(self._connection, ids, batch_id)))

    async def attach_outcome(self, trace_id: str, outcome_usd: Decimal, outcome_ms: int) -> None:
        """Record what came of a decision, as a revision."""
        await self._run(lambda: self._attach_outcome(trace_id, outcome_usd, outcome_ms))

    async def store_notes(self, notes: Sequence[CycleNote]) -> None:
        """Record cycles without a decision, in one commit."""
        await self._run(lambda: self._put_notes(notes))

    async def stats(self) -> TraceStats:
        """Totals over the file, and the counters."""
        return await self._run(lambda: queries.stats(self._connection, self.counters))

    async def dead_letters(self, limit: int = 50) -> list[DeadLetter]:
        """What could not be recorded, newest first."""
        return await self._run(lambda: queries.dead_letters(self._connection, limit))

    async def verify(self) -> Verification:
        """Check the chain and the summaries."""
        return await self._run(lambda: chain.verify(self._connection))

    async def prune(self, *, before_ms: int) -> int:
        """Remove what is older, slice by slice; other work goes on between the slices."""
        limit = await self._run(lambda: chain.prune_limit(self._connection, before_ms))
        removed, more = 0, True
        while more:
            count, more = await self._run(lambda: self._transact(lambda: chain.prune_slice(self._connection, limit)))
            removed += count
        return removed

    @property
    def counters(self) -> Counters:
        """What this process stored and could not store; there is no queue: ``pending`` is at most the one in work."""
        stored, dead, dropped, accepted = self._stored, self._dead, self._dropped, self._accepted
        return Counters(
            accepted=accepted, stored=stored, dead=dead, dropped=dropped, pending=accepted - stored - dead - dropped,
            duplicates=self._duplicates, updates=self._updates,
        )  # fmt: skip

    async def close(self) -> None:
        """Release the file; a second call does nothing."""
        if self._open:
            self._open = False
            await self._executor.run(self._connection.close)

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._open:
            raise TraceError(f"the trace store {self._name} is closed")

        def guarded() -> T:
            with _as_trace_error(self._name):
                return work()

        return await self._executor.run(guarded)

    def _write_trace(self, trace: Trace, *, revise: bool) -> None:
        """Encode, write, commit; what cannot be recorded goes to the dead letter, whatever else fails is a drop."""
        self._accepted += 1
        try:
            try:
                encoded = encode(trace)
                write = rows.revise_trace if revise else rows.insert_trace
                new = self._transact(lambda: write(self._connection, encoded), full=trace.led_to_order)
            except TraceRejectedError as error:
                reason = str(error)
                self._transact(lambda: rows.bury(self._connection, trace, reason))
                self._dead += 1
                raise
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
        def revise() -> None:
            trace = queries.one(self._connection, trace_id)
            if trace is None:
                raise UnknownTraceError(f"there is no trace {trace_id!r}; its outcome was not recorded")
            rows.revise_trace(self._connection, encode(rows.with_outcome(trace, format(outcome_usd, "f"), outcome_ms)))

        self._transact(revise)

    def _transact(self, work: Callable[[], T], *, full: bool = False) -> T:
        """Run ``work`` in one transaction; ``full`` syncs the commit to the disk whatever the setting is."""
        upgrade = full and self._synchronous == "NORMAL"
        if upgrade:
            self._connection.execute("PRAGMA synchronous = FULL")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work()
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            return result
        finally:
            if upgrade:
                self._connection.execute(f"PRAGMA synchronous = {self._synchronous}")


def _connect(name: str, synchronous: Synchronous, read_only: bool, busy_ms: int) -> apsw.Connection:
    with _as_file_error(name):
        if read_only:
            connection = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READWRITE)
        else:
            if name != ":memory:":
                Path(name).parent.mkdir(parents=True, exist_ok=True)
            connection = apsw.Connection(name)
        try:
            connection.set_busy_timeout(busy_ms)
            if read_only:
                _check_readable(connection, name)
            else:
                schema.prepare_file(connection, name)
            schema.apply_pragmas(connection, synchronous=synchronous, busy_ms=busy_ms)
            connection.execute(f"PRAGMA query_only = {int(read_only)}")
        except BaseException:
            connection.close()
            raise
    return connection


def _check_readable(connection: apsw.Connection, name: str) -> None:
    if schema.check_file(connection, name) != schema.VERSION:
        raise TraceFileError(
            f"{name} is from an older program; let the trader open it once, which brings it up to date"
        )


@contextmanager
def _as_file_error(name: str) -> Iterator[None]:
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise TraceFileError(
            f"the trace store {name} cannot be opened: {error}; if it is damaged, move it aside and a new one is made"
        ) from error


@contextmanager
def _as_trace_error(name: str) -> Iterator[None]:
    try:
        yield
    except apsw.FullError as error:
        raise TraceError(
            f"the disk of the trace store {name} is full; free space or prune, recording goes on by itself then"
        ) from error
    except apsw.BusyError as error:
        raise TraceError(f"the trace store {name} is locked by another process; the trace was not recorded") from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise TraceFileError(
            f"the trace store {name} is damaged: {error}; move it aside, a new one is made at the next start"
        ) from error
    except (apsw.Error, OverflowError, UnicodeEncodeError) as error:
        raise TraceError(f"the trace store {name} failed: {error}") from error
