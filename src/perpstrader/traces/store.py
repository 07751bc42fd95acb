"""The trace store for running traders: batches, packed payloads, cached reads; the record is the baseline's.

``store`` encodes on the caller, so that what is recorded is what was decided on whatever happens to the objects later,
and hands over to one writer, which owns the only writing connection. Reads go through a connection of their own where
the caller gives a second executor. What an acknowledgement promises: with ``synchronous=NORMAL`` the trace survives
kill -9 and a decision that led to an order a power cut too; with ``FULL`` every acknowledged one does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final, TypedDict, TypeVar, Unpack, overload

import apsw
import msgspec

from perpstrader.domain.traces import Trace, TraceKind
from perpstrader.runtime.clock import Clock, SystemClock
from perpstrader.runtime.executor import Executor, InlineExecutor
from perpstrader.traces import chain, dictionaries, queries, rows
from perpstrader.traces.attach import attach_outcome
from perpstrader.traces.bars import Histories, Memo
from perpstrader.traces.batches import Batches, BatchLimits, Item, Receipt, Written
from perpstrader.traces.cache import CacheCounters, Ring, TraceCache
from perpstrader.traces.codec import encode
from perpstrader.traces.contract import TraceStore as AnyStore
from perpstrader.traces.errors import TraceError, TraceRejectedError
from perpstrader.traces.files import MEMORY, Synchronous, as_trace_error, connect, transact
from perpstrader.traces.packing import Packer
from perpstrader.traces.postgres.address import is_address
from perpstrader.traces.postgres.store import SharedStore
from perpstrader.traces.reading import Reads
from perpstrader.traces.records import Counters, CycleNote, Marked, Retained, Retention, TraceSummary
from perpstrader.traces.retention import sweep_bars

T = TypeVar("T")
PAGE_BYTES: Final = 8_192
"""Holds a few packed payloads. A commit writes some ten pages whatever they hold: larger ones make one trace dearer."""
_RING: Final = 1_000
FOREIGN_MS: Final = 1_000
"""What another process committed shows in cached reads within this time."""


class CacheLimits(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``entries`` traces and about ``max_bytes`` of memory are kept decoded; 0 entries keep none."""

    entries: int = 500
    max_bytes: int = 32 * 1024 * 1024


class OpenOptions(TypedDict, total=False):
    """What a file may be opened with besides its path."""

    executor: Executor | None
    reader: Executor | None
    clock: Clock | None
    synchronous: Synchronous
    read_only: bool
    busy_ms: int
    max_notes: int
    batches: BatchLimits | None
    cache: CacheLimits | None


class TraceStore(Reads):
    """The decision record in one SQLite file; keeps the contract of ``perpstrader.traces.contract.TraceStore``.

    ``on_trouble`` may be set: it hears once of a disk that is full or locked while that is tried again.
    """

    def __init__(
        self, name: str, writer: apsw.Connection, write: Executor, reader: apsw.Connection, read: Executor,
        clock: Clock, synchronous: Synchronous, max_notes: int, batches: BatchLimits, cache: CacheLimits,
        packer: Packer,
        version: int,
    ) -> None:  # fmt: skip
        self._name = name
        self._writer = writer
        self._write = write
        self._reader = reader
        self._read_executor = read
        self._clock = clock
        self._max_notes = max_notes
        self._note_room = 0
        self._open = True
        self._cache = TraceCache(cache.entries, cache.max_bytes)
        self._ring = Ring(_RING)
        self._memo = Memo()
        self._histories = Histories()
        self._changes = 0
        self._foreign_version = version
        self._looked_ns: int | None = None
        self.on_trouble: Callable[[str], None] = lambda text: None
        self._batches = Batches(
            writer, name, write, clock, synchronous, batches, packer.pack, self._on_written, self._tell
        )

    @overload
    @classmethod
    def open(cls, path: Path | None, **options: Unpack[OpenOptions]) -> AbstractAsyncContextManager[TraceStore]: ...

    @overload
    @classmethod
    def open(
        cls, path: str, *, bot: str | None = None, **options: Unpack[OpenOptions]
    ) -> AbstractAsyncContextManager[AnyStore]: ...

    @classmethod
    def open(
        cls, path: Path | str | None, *, bot: str | None = None, **options: Unpack[OpenOptions]
    ) -> AbstractAsyncContextManager[AnyStore]:
        """The store at ``path`` (``None``: in memory), closed at the end of the block.

        ``executor`` runs what writes, ``reader`` what reads (without one both share the first; without that, in
        place); both stay the caller's. Otherwise as the baseline's. ``postgresql://…`` reads the record that bots
        share, of those whose name begins with ``bot``; the options are a file's.
        """
        if isinstance(path, str) and is_address(path):
            return SharedStore.open(path, bot=bot)
        return cls._open_file(path, **options)

    @classmethod
    @asynccontextmanager
    async def _open_file(
        cls,
        path: Path | str | None,
        *,
        executor: Executor | None = None,
        reader: Executor | None = None,
        clock: Clock | None = None,
        synchronous: Synchronous = "NORMAL",
        read_only: bool = False,
        busy_ms: int = 1_000,
        max_notes: int = 1_000_000,
        batches: BatchLimits | None = None,
        cache: CacheLimits | None = None,
    ) -> AsyncIterator[TraceStore]:
        write = executor if executor is not None else InlineExecutor()
        name = MEMORY if path is None else str(path)

        def make(*, read_only: bool) -> apsw.Connection:
            return connect(name, synchronous, read_only=read_only, busy_ms=busy_ms, page_size=PAGE_BYTES)

        writer = await write.run(lambda: make(read_only=read_only))
        read, reading = write, writer
        if reader is not None and path is not None:
            read, reading = reader, await reader.run(lambda: make(read_only=True))
        packer = await write.run(lambda: Packer(dictionaries.current(writer, may_write=not read_only)))
        version = await write.run(lambda: _data_version(writer))
        store = cls(
            name, writer, write, reading, read, clock or SystemClock(), synchronous, max_notes,
            batches or BatchLimits(), cache or CacheLimits(), packer, version,
        )  # fmt: skip
        try:
            yield store
        finally:
            await store.close()

    # --- writing ---

    def store(self, trace: Trace, *, urgent: bool = True) -> Receipt:
        """Hand over a decision; see the contract. An urgent one is committed as soon as its receipt is awaited."""
        return self._put(trace, revise=False, urgent=urgent)

    def update(self, trace: Trace, *, urgent: bool = True) -> Receipt:
        """Hand over a later revision of a decision; see the contract."""
        return self._put(trace, revise=True, urgent=urgent)

    async def flush(self) -> None:
        """Everything accepted so far is committed, or its receipt says why not."""
        await self._batches.flush()

    async def mark_analyzed(self, ids: Sequence[str], batch_id: str) -> Marked:
        """Mark traces as analysed in a batch; what is accepted and not yet written counts as there (TS-07)."""
        await self._batches.flush()
        marked = await self._transacted(lambda connection: rows.mark(connection, ids, batch_id))
        self._changes += 1
        self._ring.clear()
        return marked

    async def claim(self, limit: int, *, by: str, now_ms: int, lease_ms: int) -> list[Trace]:
        """Lease what nobody has analysed; see the contract."""
        await self._batches.flush()
        return await self._transacted(
            lambda connection: queries.some(
                connection, rows.claim(connection, queries.clamp(limit), by, now_ms, lease_ms)
            )
        )

    async def attach_outcome(self, trace_id: str, outcome_usd: Decimal, outcome_ms: int) -> None:
        """Record what came of a decision, as a revision."""
        await self._batches.flush()
        text, pack = format(outcome_usd, "f"), self._batches.pack
        revised = await self._transacted(
            lambda connection: attach_outcome(connection, trace_id, text, outcome_ms, pack)
        )
        self._changes += 1
        self._cache.put(revised.whole, queries.sized(revised.whole, len(revised.json)))
        self._ring.revise(queries.summary_of(0, revised.trace))

    async def store_notes(self, notes: Sequence[CycleNote]) -> None:
        """Record cycles without a decision, in one commit."""
        self._note_room -= len(notes)
        if self._note_room >= 0:
            await self._transacted(lambda connection: rows.add_notes(connection, notes))
        else:
            self._note_room = await self._transacted(
                lambda connection: rows.put_notes(connection, notes, keep=self._max_notes)
            )

    async def prune(self, *, before_ms: int) -> int:
        """Remove what is older, slice by slice; other work goes on between the slices."""
        await self._batches.flush()
        limit = await self._run(lambda: chain.prune_limit(self._writer, before_ms))
        removed, more = 0, True
        while more:
            count, more = await self._transacted(lambda connection: chain.prune_slice(connection, limit))
            removed += count
        await sweep_bars(self._transacted)
        self._forget()
        return removed

    async def retrain(self, *, samples: int = 2_000) -> int:
        """Train a dictionary on the newest traces and pack with it from the next opening on; its number."""
        await self._batches.flush()
        return await self._transacted(lambda connection: dictionaries.retrain(connection, samples))

    async def retain(self, policy: Retention) -> Retained:
        """Keep the file within its bounds, slice by slice; other work goes on between the slices."""
        await self._batches.flush()
        try:
            return await self._retain(policy)
        finally:
            self._forget()

    async def archive(
        self, age_ms: int, *, thawed: bool = False, progress: Callable[[float], None] | None = None
    ) -> list[str]:
        """Move whole months to files; see ``traces.archive``. Other work goes on between the slices."""
        await self._batches.flush()
        try:
            return await super().archive(age_ms, thawed=thawed, progress=progress)
        finally:
            self._forget()

    async def restore_month(self, month: str, *, progress: Callable[[float], None] | None = None) -> list[str]:
        """Have an archived month, and those after it, in the record again; which they are."""
        try:
            return await super().restore_month(month, progress=progress)
        finally:
            self._forget()

    @property
    def counters(self) -> Counters:
        """What this process stored and failed to store."""
        return self._batches.counters

    @property
    def cache_counters(self) -> CacheCounters:
        """What the cache of decoded traces was good for."""
        return self._cache.counters

    async def close(self) -> None:
        """Commit what was accepted and release the file; a second call does nothing."""
        if not self._open:
            return
        await self._batches.close()
        self._open = False
        if self._reader is not self._writer:
            await self._read_executor.run(self._reader.close)
        await self._write.run(self._writer.close)

    # --- reading what is kept ---

    async def get(self, trace_id: str) -> Trace | None:
        """The trace in its newest revision, or ``None``."""
        await self._look_for_others()
        found = self._cache.get(trace_id)
        if found is not None:
            return found
        changes, histories = self._changes, self._histories
        read = await self._read(lambda connection: queries.one_sized(connection, trace_id, histories))
        if read is None:
            return None
        if changes == self._changes:  # else a newer revision may be kept already
            self._cache.put(*read)
        return read[0]

    async def recent(self, limit: int = 50, *, strategy: str | None = None) -> list[Trace]:
        """The newest traces, newest first."""
        kept = await self._kept(queries.clamp(limit)) if strategy is None else None
        if kept is not None:
            return kept
        changes, histories = self._changes, self._histories
        read, summaries = await self._read(lambda connection: _newest(connection, limit, strategy, histories))
        if changes == self._changes:  # else a newer revision may be kept already
            for trace, size in reversed(read):
                self._cache.put(trace, size)
            wanted = min(queries.clamp(limit), _RING)
            if strategy is None and self._ring.newest(wanted) is None:
                self._ring.load(list(summaries), is_whole=len(summaries) < wanted)
        return [trace for trace, _ in read]

    async def summaries(
        self, limit: int = 50, *, symbol: str | None = None, strategy: str | None = None, kind: TraceKind | None = None
    ) -> list[TraceSummary]:
        """The newest summaries, newest first."""
        if symbol is None and strategy is None and kind is None:
            return await self._newest_summaries(queries.clamp(limit))
        return await super().summaries(limit, symbol=symbol, strategy=strategy, kind=kind)

    # --- inside ---

    def _put(self, trace: Trace, *, revise: bool, urgent: bool) -> Receipt:
        if not self._open:
            return self._batches.refuse(TraceError(f"the trace store {self._name} is closed"))
        try:
            encoded, reason = encode(trace, self._memo), ""
        except TraceRejectedError as error:
            encoded, reason = None, str(error)
        return self._batches.put(trace, encoded, reason, revise=revise, urgent=urgent)

    def _on_written(self, item: Item, written: Written) -> None:
        self._changes += 1
        if item.encoded is None or not written.new:
            return
        trace = item.encoded.trace
        if self._ring.is_loaded:
            summary = queries.summary_of(written.seq, trace)
            (self._ring.add if written.seq else self._ring.revise)(summary)
        whole = item.encoded.whole
        self._cache.put(whole, queries.sized(whole, len(item.encoded.json)))

    def _tell(self, text: str) -> None:
        self.on_trouble(text)

    async def _kept(self, limit: int) -> list[Trace] | None:
        """The newest traces where all of them are kept decoded."""
        await self._look_for_others()
        newest = self._ring.newest(limit)
        if newest is None:
            return None
        found = [trace for trace in (self._cache.get(row.id) for row in newest) if trace is not None]
        return found if len(found) == len(newest) else None

    async def _newest_summaries(self, limit: int) -> list[TraceSummary]:
        await self._look_for_others()
        newest = self._ring.newest(limit)
        if newest is not None:
            return newest
        changes = self._changes
        page = await self._read(lambda connection: queries.find(connection, {}, limit, None))
        if changes == self._changes and limit <= _RING:
            self._ring.load(list(page.rows), is_whole=page.cursor is None)
        return list(page.rows)

    async def _look_for_others(self) -> None:
        """Forget what is kept when another process has committed; asked at most once within the bound."""
        now = self._clock.monotonic_ns()
        if self._looked_ns is not None and now - self._looked_ns < FOREIGN_MS * 1_000_000:
            return
        # it changes with the commits of others alone, as seen by the connection that does all of ours
        version = await self._run(lambda: _data_version(self._writer))
        if version != self._foreign_version:
            self._forget()
        self._foreign_version, self._looked_ns = version, now

    def _forget(self) -> None:
        self._changes += 1
        self._histories = Histories()  # a read that goes on keeps its own
        self._cache.clear()
        self._ring.clear()

    async def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        return await self._guarded(self._read_executor, lambda: work(self._reader))

    async def _run(self, work: Callable[[], T]) -> T:
        return await self._guarded(self._write, work)

    async def _plainly(self, work: Callable[[apsw.Connection], T]) -> T:
        return await self._run(lambda: work(self._writer))

    async def _apart(self, work: Callable[[], T]) -> T:
        return await self._guarded(self._read_executor, work)

    async def _transacted(self, work: Callable[[apsw.Connection], T]) -> T:
        return await self._run(lambda: transact(self._writer, lambda: work(self._writer)))

    async def _guarded(self, executor: Executor, work: Callable[[], T]) -> T:
        if not self._open:
            raise TraceError(f"the trace store {self._name} is closed")

        def guarded() -> T:
            with as_trace_error(self._name):
                return work()

        return await executor.run(guarded)


def _data_version(connection: apsw.Connection) -> int:
    return int(connection.pragma("data_version") or 0)


def _newest(
    connection: apsw.Connection, limit: int, strategy: str | None, histories: Histories
) -> tuple[list[tuple[Trace, int]], tuple[TraceSummary, ...]]:
    """The newest traces with their sizes, and the newest summaries where no strategy is asked for."""
    # a commit between the two shows in the second alone, and is told to the ring again when it is noted
    read = queries.recent_sized(connection, limit, strategy, histories)
    summaries = queries.find(connection, {}, min(limit, _RING), None).rows if strategy is None else ()
    return read, summaries
