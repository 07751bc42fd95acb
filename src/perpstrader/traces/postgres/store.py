"""The shared record as a trace store: what bots shipped to a PostgreSQL server, read, and claimed for analysis.

Only bots write decisions, through their own record; what would write one here says so. Marks of analysis are the
server's own: a decision that its bot has analysed counts as analysed, one that is marked here stays open in its file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from perpstrader.domain.traces import Trace, TraceKind
from perpstrader.traces.contract import MAX_LIMIT, NEAR_MS
from perpstrader.traces.errors import TraceError, TraceFileError
from perpstrader.traces.outcomes import Bin, Outcome
from perpstrader.traces.packing import KNOWN
from perpstrader.traces.postgres import claims, queries, schema, sums, verifying
from perpstrader.traces.postgres.address import Address
from perpstrader.traces.postgres.link import connect, server_errors
from perpstrader.traces.queries import clamp
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

T = TypeVar("T")
TIMEOUT_S: Final = 60.0


class Bot(msgspec.Struct, frozen=True, kw_only=True):
    """One bot of the shared record: the last ``entry`` that it shipped, and when it was seen first and last."""

    id: int
    name: str
    account: str
    network: str
    entry: int
    first_ms: int
    seen_ms: int


class SharedStore:
    """The shared record of all bots, or of some; keeps the reading half of ``traces.contract``, and the claim queue."""

    def __init__(self, address: Address, connection: Any, bots: tuple[int, ...] | None) -> None:
        self._address = address
        self._connection = connection
        self._bots = bots
        self._turn = asyncio.Lock()
        self._known: set[int] = set()
        self._open = True
        self.on_trouble: Callable[[str], None] = lambda text: None  # nothing is tried again here

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, bot: str | None = None, timeout_s: float = TIMEOUT_S
    ) -> AsyncIterator[SharedStore]:
        """The record at ``url`` (``postgresql://…``), of the bots whose name or account begins with ``bot``.

        Raises ``TraceError`` where it cannot be reached, is not there yet, comes from a newer program, or has no such
        bot; no error shows the password.
        """
        address = Address(url)
        with server_errors(address):
            connection = await connect(address, timeout_s=timeout_s)
        store = cls(address, connection, None)
        try:
            with server_errors(address):
                if await schema.version_of(connection, str(address)) != schema.VERSION:
                    raise TraceFileError(
                        f"{address} holds no shared record of this program's version yet; a trader whose"
                        " traces.postgres_url names it makes it"
                    )
                if bot is not None:
                    store._bots = await store._named(bot)
                await store._learn()
            yield store
        finally:
            await store.close()

    async def bots(self) -> list[Bot]:
        """Every bot that ever shipped here, in the order in which they came."""
        rows = await self._do(
            lambda link: link.fetch(
                "SELECT id, name, account, network, entry, first_ms, seen_ms FROM perpstrader.bot ORDER BY id"
            )
        )
        return [Bot(**dict(row)) for row in rows]

    # --- reading, see traces.contract ---

    async def get(self, trace_id: str) -> Trace | None:
        """The trace in its newest revision, or ``None``; ``TraceError`` where bots of several accounts have one."""
        return await self._read(lambda link, bots: queries.one(link, bots, trace_id))

    async def recent(self, limit: int = 50, *, strategy: str | None = None) -> list[Trace]:
        """The newest traces, newest first."""
        return await self._read(lambda link, bots: queries.recent(link, bots, limit, strategy))

    async def summaries(
        self, limit: int = 50, *, symbol: str | None = None, strategy: str | None = None, kind: TraceKind | None = None
    ) -> list[TraceSummary]:
        """The newest summaries, newest first."""
        return list((await self.find(symbol=symbol, strategy=strategy, kind=kind, limit=limit)).rows)

    async def between(
        self, start_ms: int, end_ms: int, symbol: str | None = None, *, limit: int = MAX_LIMIT
    ) -> list[Trace]:
        """The traces of an inclusive range, oldest first."""
        return await self._read(lambda link, bots: queries.between(link, bots, start_ms, end_ms, symbol, limit))

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
        if text:
            return await self._read(lambda link, bots: queries.search(link, bots, filters, text, limit, cursor))
        return await self._read(lambda link, bots: queries.find(link, bots, filters, limit, cursor))

    async def after(self, seq: int, limit: int = 500) -> list[TraceSummary]:
        """The summaries that arrived after ``seq``, in the order of arrival."""
        return await self._read(lambda link, bots: queries.after(link, bots, seq, limit))

    async def near(self, time_ms: int, symbol: str, *, within_ms: int = NEAR_MS) -> Nearby:
        """What is recorded of a symbol around an instant."""
        return await self._read(lambda link, bots: queries.near(link, bots, time_ms, symbol, within_ms))

    async def unanalyzed(self, limit: int = 100) -> list[Trace]:
        """The oldest traces that nobody has analysed."""
        return await self._read(lambda link, bots: queries.unanalyzed(link, bots, limit))

    async def stats(self) -> TraceStats:
        """Totals of what is kept; the counters of a store that writes nothing are zero."""
        return await self._read(queries.stats)

    async def outcomes(
        self, by: Sequence[str] = (), *, since_ms: int | None = None, until_ms: int | None = None
    ) -> tuple[Outcome, ...]:
        """What came of the decisions that are kept, by the named columns."""
        return await self._read(lambda link, bots: sums.outcomes(link, bots, by, since_ms, until_ms))

    async def calibration(self, *, since_ms: int | None = None, until_ms: int | None = None) -> tuple[Bin, ...]:
        """Confidence against outcome, in tenths."""
        return await self._read(lambda link, bots: sums.calibration(link, bots, since_ms, until_ms))

    async def dead_letters(self, limit: int = 50) -> list[DeadLetter]:
        """What the server refused, newest first."""
        return await self._read(lambda link, bots: queries.dead_letters(link, bots, limit))

    async def verify(self) -> Verification:
        """Check every bot's chain, and the summaries."""
        return await self._read(verifying.verify)

    # --- the claim queue ---

    async def claim(self, limit: int, *, by: str, now_ms: int, lease_ms: int) -> list[Trace]:
        """The oldest traces that nobody has analysed, for ``by`` alone; several analysers may ask at once."""
        return await self._read(
            lambda link, bots: claims.claim(link, bots, clamp(limit), by=by, now_ms=now_ms, lease_ms=lease_ms)
        )

    async def mark_analyzed(self, ids: Sequence[str], batch_id: str) -> Marked:
        """Mark traces as analysed in a batch; all of them or, after an error, none."""
        return await self._read(lambda link, bots: claims.mark(link, bots, ids, batch_id))

    async def prune(self, *, before_ms: int) -> int:
        """Remove whole months, of all bots, that end before ``before_ms``; the number of traces removed.

        Raises ``TraceError`` when less than a day before the newest trace would remain.
        """
        return await self._do(lambda link: claims.prune(link, before_ms))

    # --- what only a bot's own record does ---

    def store(self, trace: Trace, *, urgent: bool = True) -> Awaitable[None]:
        """Raises ``TraceError``: bots record in their own file."""
        self._not_here()

    def update(self, trace: Trace, *, urgent: bool = True) -> Awaitable[None]:
        """Raises ``TraceError``: bots record in their own file."""
        self._not_here()

    async def attach_outcome(self, trace_id: str, outcome_usd: Decimal, outcome_ms: int) -> None:
        """Raises ``TraceError``: bots record in their own file."""
        self._not_here()

    async def store_notes(self, notes: Sequence[CycleNote]) -> None:
        """Raises ``TraceError``: bots record in their own file."""
        self._not_here()

    async def retain(self, policy: Retention) -> Retained:
        """Raises ``TraceError``: the shared record is pruned by hand, by the month."""
        self._not_here()

    @property
    def counters(self) -> Counters:
        """All zero: nothing is stored by this process."""
        return Counters()

    async def flush(self) -> None:
        """Nothing ever waits here."""

    async def close(self) -> None:
        """Release the connection; a second call does nothing."""
        if self._open:
            self._open = False
            with suppress(Exception):
                await self._connection.close(timeout=1)

    # --- inside ---

    def _not_here(self) -> NoReturn:
        raise TraceError(f"the shared record {self._address} is written by its bots alone, each from its own record")

    async def _read(self, ask: Callable[[Any, queries.Bots], Awaitable[T]]) -> T:
        """The answer; where it needs a dictionary that came since, it is asked again."""
        try:
            return await self._do(lambda link: ask(link, self._bots))
        except TraceFileError:
            if not await self._do(lambda link: self._learn()):
                raise
            return await self._do(lambda link: ask(link, self._bots))

    async def _do(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """One question at a time: a connection takes no more."""
        if not self._open:
            raise TraceError(f"the shared record {self._address} is closed")
        async with self._turn:
            with server_errors(self._address):
                return await work(self._connection)

    async def _learn(self) -> bool:
        """Know the dictionaries that payloads were packed with; whether there were new ones."""
        rows = await self._connection.fetch(
            "SELECT number, content FROM perpstrader.dictionary WHERE number <> ALL($1::bigint[])", list(self._known)
        )
        for number, content in rows:
            KNOWN.add(content)
            self._known.add(number)
        return bool(rows)

    async def _named(self, bot: str) -> tuple[int, ...]:
        rows = await self._connection.fetch(
            "SELECT id FROM perpstrader.bot WHERE starts_with(name, $1) ORDER BY id", bot.lower()
        )
        if not rows:
            known = await self._connection.fetch("SELECT name FROM perpstrader.bot ORDER BY id LIMIT 5")
            names = ", ".join(row["name"] for row in known) or "none yet"
            raise TraceError(f"{self._address} has no bot {bot!r}; there are: {names}")
        return tuple(row["id"] for row in rows)
