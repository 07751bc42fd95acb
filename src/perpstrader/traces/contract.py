"""The contract of the trace store; ``tests/contract/traces`` holds every implementation to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Final, Protocol

from perpstrader.domain.traces import Trace, TraceKind
from perpstrader.traces.outcomes import Bin, Outcome
from perpstrader.traces.records import (
    Counters,
    CycleNote,
    DeadLetter,
    Marked,
    Nearby,
    Page,
    Retained,
    Retention,
    TraceStats,
    TraceSummary,
    Verification,
)

MAX_LIMIT: Final = 10_000
"""The most rows that one call returns; a limit is clamped to 1..MAX_LIMIT (TS-19)."""

NEAR_MS: Final = 60_000
"""``near`` looks at one minute, because that is what a person names."""


class TraceStore(Protocol):
    """The decision record of one account: what ``store`` acknowledged survives kill -9 and is read (S60).

    Every method raises a ``TraceError`` when it fails, and stays usable after it; an empty answer means that there is
    nothing (TS-16). Returned values are frozen. Times are UTC milliseconds. Newest first means by acceptance time,
    then by the order of storing (TS-10).
    """

    on_trouble: Callable[[str], None]
    """May be set; hears once of a disk that is full, or locked, while a store tries that again."""

    def store(self, trace: Trace, *, urgent: bool = True) -> Awaitable[None]:
        """Record a decision; the awaitable resolves when it is committed, fully synchronised if it led to an order.

        A store that gathers commits an urgent trace as soon as it is awaited, another one with the next batch.
        The same id with the same content is done once and acknowledged again. Raises ``TraceRejectedError`` for a
        trace that cannot be read back or whose id stands for other content; it lies in the dead letter then (S61,
        TS-21).
        """
        ...

    def update(self, trace: Trace, *, urgent: bool = True) -> Awaitable[None]:
        """Record the later life of a decision: reads return the newest revision, the earlier ones stay in the chain.

        Orders, fills, steps, errors, episode, completion and outcome may change; what was decided and on what may not
        (S63), such a trace is rejected. An id that is not there yet is stored.
        """
        ...

    async def get(self, trace_id: str) -> Trace | None:
        """The trace in its newest revision, or ``None``."""
        ...

    async def recent(self, limit: int = 50, *, strategy: str | None = None) -> list[Trace]:
        """The newest traces, newest first."""
        ...

    async def summaries(
        self, limit: int = 50, *, symbol: str | None = None, strategy: str | None = None, kind: TraceKind | None = None
    ) -> list[TraceSummary]:
        """The newest summaries, newest first; no payload is read."""
        ...

    async def between(
        self, start_ms: int, end_ms: int, symbol: str | None = None, *, limit: int = MAX_LIMIT
    ) -> list[Trace]:
        """The traces accepted from ``start_ms`` to ``end_ms``, both inclusive, oldest first."""
        ...

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
        """Summaries that match all that is given, newest first; a page's ``cursor`` gives the next one.

        ``min_risk`` and ``max_risk`` bound the risk score of what was approved. ``text`` is looked for, in any case,
        in all that a trace says; a page of such a search may be short of ``limit`` and yet have a next one.
        """
        ...

    async def after(self, seq: int, limit: int = 500) -> list[TraceSummary]:
        """The summaries stored after ``seq``, in the order of storing; revisions are not told."""
        ...

    async def near(self, time_ms: int, symbol: str, *, within_ms: int = NEAR_MS) -> Nearby:
        """What is recorded of a symbol from ``time_ms`` on for ``within_ms``, else of the newest bar before it."""
        ...

    async def unanalyzed(self, limit: int = 100) -> list[Trace]:
        """The oldest traces that nobody has analysed."""
        ...

    async def mark_analyzed(self, ids: Sequence[str], batch_id: str) -> Marked:
        """Mark traces as analysed in a batch; all of them or, after an error, none."""
        ...

    async def claim(self, limit: int, *, by: str, now_ms: int, lease_ms: int) -> list[Trace]:
        """The oldest traces that nobody has analysed, for ``by`` alone until the lease is over or they are marked.

        Several analysers never get the same; who asks again under the same name gets its own again.
        """
        ...

    async def attach_outcome(self, trace_id: str, outcome_usd: Decimal, outcome_ms: int) -> None:
        """Record what came of a decision, net in USD, as a revision; raises ``UnknownTraceError``."""
        ...

    async def store_notes(self, notes: Sequence[CycleNote]) -> None:
        """Record cycles without a decision, in one commit.

        A note of the same symbol, bar and strategy is replaced; beyond the store's bound the oldest bars make room.
        """
        ...

    async def stats(self) -> TraceStats:
        """Totals by kind, verdict, reason, symbol and strategy, and the counters."""
        ...

    async def outcomes(
        self, by: Sequence[str] = (), *, since_ms: int | None = None, until_ms: int | None = None
    ) -> tuple[Outcome, ...]:
        """What came of the decisions, one row for each value of ``by``, in their order; see ``traces.outcomes``.

        Of whole UTC days, from that of ``since_ms`` to that of ``until_ms``, pruned ones included. ``by`` may name day,
        symbol, strategy, regime, kind, verdict, reason; ``TraceError`` for another name.
        """
        ...

    async def calibration(self, *, since_ms: int | None = None, until_ms: int | None = None) -> tuple[Bin, ...]:
        """Confidence against outcome, in tenths, of the kept decisions that ended, accepted in that (inclusive) time.
        """
        ...

    async def dead_letters(self, limit: int = 50) -> list[DeadLetter]:
        """What could not be recorded, newest first."""
        ...

    async def verify(self) -> Verification:
        """Check every digest of the chain and every summary against its payload."""
        ...

    async def prune(self, *, before_ms: int) -> int:
        """Remove what was accepted before ``before_ms``, analysed or not (TS-12); gives the number of traces removed.

        Traces that were revised after a younger one was stored stay until that one may go, so that the chain stays
        whole. Raises ``TraceError`` when less than ``MIN_RETENTION_MS`` before the newest trace would remain.
        """
        ...

    async def retain(self, policy: Retention) -> Retained:
        """Keep the file within its bounds; see ``traces.retention``. Other work goes on meanwhile."""
        ...

    @property
    def counters(self) -> Counters:
        """What this process stored and failed to store."""
        ...

    async def flush(self) -> None:
        """Have all that was accepted so far committed, urgent or not; its awaitables tell what could not be."""
        ...

    async def close(self) -> None:
        """Commit what was accepted and release the file; a second call does nothing."""
        ...
