"""Reading traces, and shipping them: what both stores do in the same words, on whatever connection they have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

import apsw
import msgspec

from perpstrader.domain.traces import Trace, TraceKind
from perpstrader.traces import archive, chain, cold, outbox, outcomes, queries
from perpstrader.traces.contract import MAX_LIMIT, NEAR_MS
from perpstrader.traces.errors import TraceError
from perpstrader.traces.outbox import Backlog, Origin, Parcel
from perpstrader.traces.outcomes import Bin, Outcome
from perpstrader.traces.records import (
    Counters,
    DeadLetter,
    Nearby,
    Page,
    Retained,
    Retention,
    TraceStats,
    TraceSummary,
    Verification,
)
from perpstrader.traces.retention import keep_within

T = TypeVar("T")


class Reads(ABC):
    """The reading half of the contract, see ``traces.contract``, and the outbox, see ``traces.outbox``."""

    @property
    @abstractmethod
    def counters(self) -> Counters:
        """What this process stored and failed to store."""

    @abstractmethod
    async def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        """The answer of ``work``, which sees every acknowledged write."""

    @abstractmethod
    async def _transacted(self, work: Callable[[apsw.Connection], T]) -> T:
        """The result of ``work`` in one transaction of the writing connection."""

    @abstractmethod
    async def _plainly(self, work: Callable[[apsw.Connection], T]) -> T:
        """The result of ``work`` on the writing connection, outside of a transaction."""

    @abstractmethod
    async def _apart(self, work: Callable[[], T]) -> T:
        """The result of ``work`` on other files, off the event loop where the caller has threads for that."""

    async def get(self, trace_id: str) -> Trace | None:
        """The trace in its newest revision, or ``None``."""
        return await self._read(lambda connection: queries.one(connection, trace_id))

    async def recent(self, limit: int = 50, *, strategy: str | None = None) -> list[Trace]:
        """The newest traces, newest first."""
        return await self._read(lambda connection: queries.recent(connection, limit, strategy))

    async def summaries(
        self, limit: int = 50, *, symbol: str | None = None, strategy: str | None = None, kind: TraceKind | None = None
    ) -> list[TraceSummary]:
        """The newest summaries, newest first."""
        filters = {"symbol": symbol, "strategy": strategy, "kind": kind}
        page = await self._read(lambda connection: queries.find(connection, filters, limit, None))
        return list(page.rows)

    async def between(
        self, start_ms: int, end_ms: int, symbol: str | None = None, *, limit: int = MAX_LIMIT
    ) -> list[Trace]:
        """The traces of an inclusive range, oldest first."""
        return await self._read(lambda connection: queries.between(connection, start_ms, end_ms, symbol, limit))

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
        min_risk: float | None = None,
        max_risk: float | None = None,
        text: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """A page of matching summaries, newest first."""
        filters = {
            "symbol": symbol, "strategy": strategy, "kind": kind, "regime": regime, "verdict": verdict,
            "reason": reason, "executed": executed, "error": error, "since_ms": since_ms, "until_ms": until_ms,
            "min_risk": min_risk, "max_risk": max_risk,
        }  # fmt: skip

        def found(connection: apsw.Connection) -> Page:
            if text:
                page = queries.search(connection, filters, text, limit, cursor)
            else:
                page = queries.find(connection, filters, limit, cursor)
            return msgspec.structs.replace(page, archived=tuple(cold.months(connection)))

        return await self._read(found)

    async def after(self, seq: int, limit: int = 500) -> list[TraceSummary]:
        """The summaries stored after ``seq``, in the order of storing."""
        return await self._read(lambda connection: queries.after(connection, seq, limit))

    async def near(self, time_ms: int, symbol: str, *, within_ms: int = NEAR_MS) -> Nearby:
        """What is recorded of a symbol around an instant."""
        return await self._read(lambda connection: queries.near(connection, time_ms, symbol, within_ms))

    async def unanalyzed(self, limit: int = 100) -> list[Trace]:
        """The oldest traces that nobody has analysed."""
        return await self._read(lambda connection: queries.unanalyzed(connection, limit))

    async def stats(self) -> TraceStats:
        """Totals over the file, and the counters."""
        return await self._read(lambda connection: queries.stats(connection, self.counters))

    async def outcomes(
        self, by: Sequence[str] = (), *, since_ms: int | None = None, until_ms: int | None = None
    ) -> tuple[Outcome, ...]:
        """What came of the decisions, by the named columns."""
        return await self._read(lambda connection: outcomes.outcomes(connection, by, since_ms, until_ms))

    async def calibration(self, *, since_ms: int | None = None, until_ms: int | None = None) -> tuple[Bin, ...]:
        """Confidence against outcome, in tenths."""
        return await self._read(lambda connection: outcomes.calibration(connection, since_ms, until_ms))

    async def dead_letters(self, limit: int = 50) -> list[DeadLetter]:
        """What could not be recorded, newest first."""
        return await self._read(lambda connection: queries.dead_letters(connection, limit))

    async def verify(self) -> Verification:
        """Check the chain, the summaries, and the files of archived months."""
        found = await self._read(_verified)
        away = await self._read(cold.lost_file) if found.ok else None
        return found if away is None else msgspec.structs.replace(found, bad_entry=away[0], problem=away[1])

    # --- old months ---

    async def archive(
        self, age_ms: int, *, thawed: bool = False, progress: Callable[[float], None] | None = None
    ) -> list[str]:
        """Move whole months to files; see ``traces.archive``. Other work goes on between the slices."""
        return await archive.archive(_Hands(self), age_ms, thawed=thawed, progress=progress)

    async def restore_month(self, month: str, *, progress: Callable[[float], None] | None = None) -> list[str]:
        """Have an archived month, and those after it, in the record again; which they are."""
        return await archive.bring_back(_Hands(self), month, progress=progress)

    async def _retain(self, policy: Retention) -> Retained:
        """One pass; what keeps months from being archived does not keep the rest from being done."""
        trouble: TraceError | None = None
        archived: list[str] = []
        if policy.cold_ms is not None:
            try:
                archived = await self.archive(policy.cold_ms)
            except TraceError as error:
                trouble = error
        kept = await keep_within(policy, self._transacted, self._plainly)
        if trouble is not None:
            raise trouble
        return msgspec.structs.replace(kept, archived=tuple(archived))

    # --- the outbox ---

    async def begin_shipping(self, new_file: str) -> Origin:
        """Hold what is not shipped from now on; where the file, numbered ``new_file`` if it has none, stands."""
        return await self._transacted(lambda connection: outbox.begin(connection, new_file))

    async def is_history_of(self, entry: int, digest: bytes | None) -> bool:
        """Whether this can be the file that was shipped up to an entry with this digest."""
        return await self._read(lambda connection: outbox.is_history_of(connection, entry, digest))

    async def renumber(self, new_file: str) -> Origin:
        """Ship as another file from now on."""
        return await self._transacted(lambda connection: outbox.renumber(connection, new_file))

    async def ship_for(self, bot: str, entry: int) -> None:
        """Ship for ``bot``, whose server holds everything up to the entry."""
        await self._transacted(lambda connection: outbox.adopt(connection, bot, entry))

    async def end_shipping(self) -> None:
        """Hold nothing back any more; nothing is done where nothing is held."""
        if await self._read(outbox.is_on):
            await self._transacted(outbox.end)

    async def unshipped(self, after: int, limit: int, max_bytes: int) -> Parcel:
        """What is committed after the entry ``after``."""
        return await self._read(lambda connection: outbox.parcel(connection, after, limit, max_bytes))

    async def shipped(self, entry: int, changes: int) -> None:
        """Everything up to the entry, and up to that mark or note, has arrived."""
        await self._transacted(lambda connection: outbox.advance(connection, entry, changes))

    async def backlog(self) -> Backlog:
        """What waits to be shipped; marks and notes are kept within their bound."""
        await self._transacted(outbox.trim)
        return await self._read(outbox.backlog)

    async def dictionaries(self) -> dict[int, bytes]:
        """What the payloads were packed with, by number."""
        return await self._read(outbox.dictionaries)


class _Hands:
    """What a store lends to ``traces.archive``."""

    def __init__(self, store: Reads) -> None:
        self._store = store

    async def read(self, work: Callable[[apsw.Connection], T]) -> T:
        return await self._store._read(work)

    async def transacted(self, work: Callable[[apsw.Connection], T]) -> T:
        return await self._store._transacted(work)

    async def plainly(self, work: Callable[[apsw.Connection], T]) -> T:
        return await self._store._plainly(work)

    async def apart(self, work: Callable[[], T]) -> T:
        return await self._store._apart(work)


def _verified(connection: apsw.Connection) -> Verification:
    """All of it as it was at one instant, whatever another process writes meanwhile."""
    connection.execute("BEGIN")
    try:
        found = chain.verify(connection)
        away = cold.misfit(connection) if found.ok else None
        if away is not None:
            found = msgspec.structs.replace(found, bad_entry=away[0], problem=away[1])
        return msgspec.structs.replace(found, archived=tuple(cold.months(connection)))
    finally:
        connection.execute("ROLLBACK")
