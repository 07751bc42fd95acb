"""Group commit: what has gathered is written in one transaction, at once when somebody waits for it (S60-S64).

Traces wait in a bounded queue until a batch is full, the flush time is over, or an acknowledgement is awaited; then
all that has gathered goes to the writer together. A disk that is full, or a lock that another process holds, is tried
again with growing pauses for ``patience_ms``; nobody who trades waits for that. When the queue is full, routine
decisions make room, oldest first, and are counted; a decision that led to an order is never shed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import Any, Final

import apsw
import msgspec

from perpstrader.runtime.clock import Clock
from perpstrader.runtime.executor import Executor
from perpstrader.runtime.pool import TaskPool
from perpstrader.traces import bulk, rows
from perpstrader.traces.bars import Shelf
from perpstrader.traces.checkpoints import Checkpoints
from perpstrader.traces.codec import Encoded
from perpstrader.traces.errors import TraceError, TraceRejectedError
from perpstrader.traces.files import Synchronous, as_trace_error, transact
from perpstrader.traces.records import Counters

MAX_ROWS: Final = 256
"""Rows of one transaction; larger ones were measured to hold the interpreter longer and to win little."""
_MAX_BYTES: Final = 4 * 1024 * 1024
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 5.0


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """``batch_size`` traces, or ``flush_ms``, end the wait for more; ``max_pending`` traces and ``max_pending_bytes``
    of JSON may wait at most; ``patience_ms`` is how long a disk that is full, or locked, is tried again.
    """

    batch_size: int = 100
    flush_ms: int = 5_000
    max_pending: int = 10_000
    max_pending_bytes: int = 64 * 1024 * 1024
    patience_ms: int = 30_000


class Written(msgspec.Struct, frozen=True):
    """One trace in the file: whether it was news, and its ``seq`` where it was inserted (0 for a revision)."""

    seq: int
    new: bool


class Item(msgspec.Struct, kw_only=True):
    """A trace on its way: ``encoded`` is ``None`` where it was rejected for ``reason`` and goes to the dead letter."""

    trace: object
    encoded: Encoded | None
    reason: str
    revise: bool
    routine: bool
    future: asyncio.Future[None]

    @property
    def size(self) -> int:
        """Bytes of JSON that it holds in memory."""
        return len(self.encoded.json) if self.encoded is not None else 1_024


class Receipt:
    """The acknowledgement of a trace; awaiting an urgent one has it committed at once."""

    __slots__ = ("_batches", "_future", "_urgent")

    def __init__(self, batches: Batches, future: asyncio.Future[None], urgent: bool) -> None:
        self._batches = batches
        self._future = future
        self._urgent = urgent

    def __await__(self) -> Generator[Any, None, None]:
        if self._future.done():
            return self._future.__await__()
        if self._urgent:
            self._batches.hurry()
        return asyncio.shield(self._future).__await__()


class Batches:
    """The queue before the one writing connection; used on the event loop, writes through ``executor``."""

    def __init__(
        self,
        connection: apsw.Connection,
        name: str,
        executor: Executor,
        clock: Clock,
        synchronous: Synchronous,
        limits: BatchLimits,
        pack: rows.Pack,
        on_written: Callable[[Item, Written], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._name = name
        self._executor = executor
        self._clock = clock
        self._synchronous = synchronous
        self._limits = limits
        self.pack = pack
        self._shelf = Shelf()
        self._checkpoints = Checkpoints(connection)
        self._on_written = on_written
        self._on_trouble = on_trouble
        self._pool = TaskPool(lambda name, error: self._broken(error))
        self._queue: deque[Item] = deque()
        self._work: list[Item] = []
        self._bytes = 0
        self._wake = asyncio.Event()
        self._hurried = False
        self._closing = False
        self._draining = False
        self._accepted = self._stored = self._dead = self._dropped = self._duplicates = self._updates = 0

    @property
    def counters(self) -> Counters:
        """What was accepted and what became of it."""
        return Counters(
            accepted=self._accepted, stored=self._stored, dead=self._dead, dropped=self._dropped,
            pending=len(self._queue) + len(self._work), duplicates=self._duplicates, updates=self._updates,
        )  # fmt: skip

    def put(self, trace: object, encoded: Encoded | None, reason: str, *, revise: bool, urgent: bool) -> Receipt:
        """Take a trace; never blocks. Whoever finds no room is told by the receipt."""
        self._accepted += 1
        future = _future()
        routine = encoded is not None and not encoded.trace.led_to_order
        item = Item(trace=trace, encoded=encoded, reason=reason, revise=revise, routine=routine, future=future)
        if not self._make_room(item):
            self._drop([item], TraceError(self._no_room()))
            return Receipt(self, future, urgent)
        self._queue.append(item)
        self._bytes += item.size
        if len(self._queue) >= self._limits.batch_size:
            self._wake.set()
        if not self._draining:
            self._draining = True
            self._pool.spawn("trace-batches", self._drain())
        return Receipt(self, future, urgent)

    def refuse(self, error: TraceError) -> Receipt:
        """The receipt of a trace that was not accepted at all."""
        future = _future()
        future.set_exception(error)
        return Receipt(self, future, urgent=False)

    def hurry(self) -> None:
        """Write all that waits now, without waiting for more."""
        if self._queue:
            self._hurried = True
            self._wake.set()

    async def flush(self) -> None:
        """Everything that was accepted so far is written, or its receipt says why not; what comes later is not
        waited for.
        """
        waiting = [item.future for item in (*self._work, *self._queue)]
        self.hurry()
        if waiting:
            await asyncio.wait(waiting)

    async def close(self) -> None:
        """All that was accepted is written, or told; nothing gathers any more, and trouble with the disk is waited for
        no longer.
        """
        self._closing = True
        self.hurry()
        await self._pool.drain()

    # --- the one task that writes ---

    async def _drain(self) -> None:
        try:
            while self._queue:
                await self._write_what_waits()
                if not self._queue and self._checkpoints.is_due:
                    await self._executor.run(self._checkpoints.run)
        except Exception as error:
            self._broken(error)
        finally:
            self._draining = False

    async def _write_what_waits(self) -> None:
        if not self._hurried and not self._closing and len(self._queue) < self._limits.batch_size:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.flush_ms / 1000):
                    await self._wake.wait()
        self._wake.clear()
        self._hurried = False
        upto = len(self._queue)
        while upto > 0 and self._queue:  # room may have been made meanwhile
            upto -= await self._write_some(upto)

    async def _write_some(self, upto: int) -> int:
        """One transaction; how many it took."""
        work = self._work = self._take(upto)
        try:
            results = await self._tried(work)
        finally:
            self._work = []
        for item, result in zip(work, results, strict=True):
            self._settle(item, result)
        return len(work)

    def _take(self, upto: int) -> list[Item]:
        taken: list[Item] = []
        size = 0
        while self._queue and len(taken) < min(upto, MAX_ROWS) and size < _MAX_BYTES:
            item = self._queue.popleft()
            taken.append(item)
            size += item.size
        self._bytes -= size
        return taken

    async def _tried(self, work: list[Item]) -> Sequence[Written | Exception]:
        """What became of each; a full disk or a lock is waited for within the patience."""
        pause_s, told = _FIRST_PAUSE_S, False
        until_ns = self._clock.monotonic_ns() + self._limits.patience_ms * 1_000_000
        while True:
            try:
                return await self._executor.run(lambda: self._write(work))
            except _LaterError as later:
                if self._closing or self._clock.monotonic_ns() >= until_ns:
                    return [later.error] * len(work)
                if not told:
                    self._on_trouble(f"{later.error}; {len(work) + len(self._queue)} traces wait")
                    told = True
            except TraceError as error:
                return [error] * len(work)
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _settle(self, item: Item, result: Written | Exception) -> None:
        if isinstance(result, TraceRejectedError):
            self._dead += 1
        elif isinstance(result, Exception):
            self._dropped += 1
        else:
            self._stored += 1
            self._duplicates += not result.new
            self._updates += item.revise and result.new
            self._on_written(item, result)
        if not item.future.done():
            if isinstance(result, Exception):
                item.future.set_exception(result)
            else:
                item.future.set_result(None)

    # --- room ---

    def _make_room(self, item: Item) -> bool:
        if item.routine and item.size > self._limits.max_pending_bytes:
            return False  # whatever were dropped for it, it would never fit
        while self._is_full(item):
            oldest = next((waiting for waiting in self._queue if waiting.routine), None)
            if oldest is None:
                return not item.routine
            self._queue.remove(oldest)
            self._bytes -= oldest.size
            self._drop([oldest], TraceError(self._no_room()))
        return True

    def _is_full(self, item: Item) -> bool:
        limits = self._limits
        return len(self._queue) >= limits.max_pending or self._bytes + item.size > limits.max_pending_bytes

    def _no_room(self) -> str:
        return (
            f"the trace store {self._name} has {len(self._queue)} traces waiting, at most {self._limits.max_pending}"
            " (and their bytes) may: routine decisions are dropped until the disk keeps up"
        )

    def _drop(self, items: Sequence[Item], error: Exception) -> None:
        for item in items:
            self._dropped += 1
            if not item.future.done():
                item.future.set_exception(error)

    def _broken(self, error: Exception) -> None:
        """The task itself failed, which nothing should make it do: everybody who waits is told."""
        waiting = [*self._work, *self._queue]
        self._work, self._bytes = [], 0
        self._queue.clear()
        self._drop(waiting, TraceError(f"the writer of {self._name} failed: {type(error).__name__}: {error}"))
        self._on_trouble(f"the writer of {self._name} failed: {type(error).__name__}: {error}")

    # --- on the writer's thread ---

    def _write(self, work: list[Item]) -> list[Written | Exception]:
        try:
            return self._together(work)
        except (apsw.BusyError, apsw.LockedError, apsw.FullError, apsw.IOError) as error:
            try:
                with as_trace_error(self._name):
                    raise error
            except TraceError as told:
                raise _LaterError(told) from error
        except (apsw.CorruptError, apsw.NotADBError) as error:
            with as_trace_error(self._name):
                raise error
            raise
        except Exception as error:
            if len(work) == 1:
                return [self._buried(work[0], error)]
        # one of them spoils the transaction: each has its own, so that the others are kept (S61)
        return [result for item in work for result in self._write([item])]

    def _buried(self, item: Item, error: Exception) -> Exception:
        """What became of one that spoils its own transaction."""
        told = _told(self._name, error)
        if not isinstance(error, rows.SPOILT):
            return told
        rejected = TraceRejectedError(f"{told}; it was put in the dead letter")
        try:
            transact(self._connection, lambda: rows.bury(self._connection, item.trace, str(rejected)))
        except Exception as failure:
            return _told(self._name, failure)
        return rejected

    def _together(self, work: list[Item]) -> list[Written | Exception]:
        needs_full = any(not item.routine for item in work)
        try:
            return transact(
                self._connection, lambda: self._apply_all(work), upgrade_from=self._synchronous if needs_full else None
            )
        except BaseException:
            self._shelf.clear()  # bars that the transaction added are gone with it
            raise

    def _apply_all(self, work: list[Item]) -> list[Written | Exception]:
        tail = rows.Tail.read(self._connection)
        self._shelf.begin(self._connection)
        results: list[Written | Exception] = []
        while len(results) < len(work):
            ahead = _new_ones(work[len(results) :])
            first = tail.seq + 1
            if ahead and bulk.insert_many(self._connection, ahead, tail, self.pack, self._shelf):
                results += [Written(first + place, True) for place in range(len(ahead))]
            else:
                some = work[len(results) : len(results) + max(1, len(ahead))]
                results += [self._apply(item, tail) for item in some]
        return results

    def _apply(self, item: Item, tail: rows.Tail) -> Written | Exception:
        encoded, reason = item.encoded, item.reason
        if encoded is not None:
            write = rows.revise_trace if item.revise else rows.insert_trace
            before = tail.seq
            try:
                new = write(self._connection, encoded, tail, self.pack, self._shelf)
                return Written(tail.seq if tail.seq > before else 0, new)
            except TraceRejectedError as error:
                reason = str(error)
        rows.bury(self._connection, item.trace, reason)
        return TraceRejectedError(reason)


def _new_ones(work: Sequence[Item]) -> list[Encoded]:
    """The first ones, as many as one statement takes, if all of them are new decisions; else none."""
    ahead: list[Encoded] = []
    for item in work[: bulk.SIZES[0]]:
        if item.encoded is None or item.revise:
            break
        ahead.append(item.encoded)
    return ahead[: next((size for size in bulk.SIZES if size <= len(ahead)), 0)]


class _LaterError(Exception):
    """The disk is full or locked: the same may succeed later."""

    def __init__(self, error: TraceError) -> None:
        super().__init__(str(error))
        self.error = error


def _told(name: str, error: Exception) -> TraceError:
    try:
        with as_trace_error(name):
            raise error
    except TraceError as told:
        return told
    except Exception as other:
        return TraceError(f"the trace store {name} failed: {type(other).__name__}: {other}")


def _future() -> asyncio.Future[None]:
    """Nobody has to await it: what it raises is counted elsewhere, too."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.add_done_callback(_heard)
    return future


def _heard(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()

