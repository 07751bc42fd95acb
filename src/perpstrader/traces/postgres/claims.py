"""The claim queue of the shared record, and its clean-up: the only things that a reader changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perpstrader.domain.traces import Trace
from perpstrader.domain.wording import moment_text
from perpstrader.traces.codec import DROPPED
from perpstrader.traces.errors import TraceError
from perpstrader.traces.postgres.queries import PAYLOAD, Bots, Where, whole
from perpstrader.traces.postgres.schema import MIGRATE_LOCK
from perpstrader.traces.records import MIN_RETENTION_MS, Marked

_KEY: Final = "trace.bot, trace.seq, trace.accepted_ms"
_ISLANDS: Final = """
    INSERT INTO perpstrader.gap (bot, first_entry, last_entry, reason)
    SELECT bot, min(entry), max(entry), 'removed with its month' FROM (SELECT bot, entry,
    entry - row_number() OVER (PARTITION BY bot ORDER BY entry) AS island FROM {0}) AS numbered GROUP BY bot, island
    ON CONFLICT (bot, first_entry) DO UPDATE SET last_entry = greatest(gap.last_entry, excluded.last_entry)"""


async def claim(connection: Any, bots: Bots, limit: int, *, by: str, now_ms: int, lease_ms: int) -> list[Trace]:
    """Lease the oldest that nobody has analysed and nobody holds; rows that another one is leasing are passed over."""
    where = Where(bots)
    where.add("NOT trace.analyzed")
    where.add("(trace.leased_until_ms <= {} OR trace.leased_by = {})", now_ms, by)
    # what was emptied before it was shipped, nobody can analyse
    where.add(
        "EXISTS (SELECT 1 FROM perpstrader.payload WHERE payload.bot = trace.bot AND payload.entry = trace.entry"
        f" AND payload.accepted_ms = trace.accepted_ms AND payload.codec <> {DROPPED})"
    )
    free = (
        f"SELECT {_KEY} FROM perpstrader.trace {where} ORDER BY trace.number LIMIT {where.place(limit)}"
        " FOR UPDATE OF trace SKIP LOCKED"
    )
    until, holder = where.place(now_ms + lease_ms), where.place(by)
    rows = await connection.fetch(
        f"WITH free AS ({free}), leased AS (UPDATE perpstrader.trace SET leased_until_ms = {until},"
        f" leased_by = {holder} FROM free"
        " WHERE (trace.bot, trace.seq, trace.accepted_ms) = (free.bot, free.seq, free.accepted_ms)"
        " RETURNING trace.number, trace.bot, trace.entry, trace.accepted_ms, trace.bars)"
        f" SELECT {PAYLOAD} FROM leased AS trace JOIN perpstrader.payload"
        " ON payload.bot = trace.bot AND payload.entry = trace.entry AND payload.accepted_ms = trace.accepted_ms"
        f" AND payload.codec <> {DROPPED} ORDER BY trace.number",
        *where.values,
    )
    return await whole(connection, [tuple(row) for row in rows])


async def mark(connection: Any, bots: Bots, ids: Sequence[str], batch_id: str) -> Marked:
    """Mark as analysed what is not yet; an id that bots of several accounts have is no name of one decision."""
    wanted = list(dict.fromkeys(ids))
    async with connection.transaction():
        where = Where(bots)
        where.add("trace.uid = ANY({}::text[])", wanted)
        found = await connection.fetch(
            "SELECT trace.uid, count(DISTINCT (bot.account, bot.network)) FROM perpstrader.trace"
            f" JOIN perpstrader.bot ON bot.id = trace.bot {where} GROUP BY trace.uid",
            *where.values,
        )
        known = {row[0]: row[1] for row in found}
        shared = next((uid for uid in wanted if known.get(uid, 0) > 1), None)
        if shared is not None:
            raise TraceError(f"bots of several accounts have a trace {shared}; nothing was marked, name one of them")
        batch = where.place(batch_id)
        done = await connection.fetch(
            f"UPDATE perpstrader.trace SET analyzed = true, batch = {batch}, leased_until_ms = 0 {where}"
            " AND NOT trace.analyzed RETURNING 1",
            *where.values,
        )
    return Marked(len(done), tuple(uid for uid in wanted if uid not in known))


async def prune(connection: Any, before_ms: int) -> int:
    """Drop the months that end before ``before_ms``; what they held of each chain is noted as rightly missing."""
    newest_ms = await connection.fetchval("SELECT max(accepted_ms) FROM perpstrader.trace")
    if newest_ms is None:
        return 0
    if before_ms > newest_ms - MIN_RETENTION_MS:
        raise TraceError(
            f"pruning before {moment_text(before_ms)} would keep less than a day up to the newest trace; choose at most"
            f" {moment_text(newest_ms - MIN_RETENTION_MS)} UTC"
        )
    removed = 0
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATE_LOCK)
        for part in await _months_before(connection, before_ms):
            table = f"perpstrader.trace_{part}"
            removed += int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
            await connection.execute(_ISLANDS.format(f"perpstrader.payload_{part}"))
            for name in ("trace", "payload", "cycle_note"):
                await connection.execute(f"DROP TABLE perpstrader.{name}_{part}")
        if removed:
            await connection.execute(
                "DELETE FROM perpstrader.bar WHERE open_ms < (SELECT min(bars_ms) FROM perpstrader.trace)"
            )
    return removed


async def _months_before(connection: Any, before_ms: int) -> list[str]:
    rows = await connection.fetch(
        "SELECT substr(child.relname, 7) AS part, substring(pg_get_expr(child.relpartbound, child.oid) from"
        " $$TO \\('?(\\d+)'?\\)$$)::bigint AS end_ms FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid"
        " WHERE inhparent = 'perpstrader.trace'::regclass AND child.relname <> 'trace_other' ORDER BY 1"
    )
    return [row["part"] for row in rows if row["end_ms"] is not None and row["end_ms"] <= before_ms]
