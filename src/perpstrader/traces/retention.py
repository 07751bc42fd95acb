"""Retention: the record stays within age and size, in slices that never hold the writer longer than a commit (S64).

Steps, each where it is due. The *payload* of a routine decision goes first: its summary and its digest stay, so that it
is still listed and the chain stays whole. Decisions that led to an order or failed keep theirs longer. In the end whole
traces go, the oldest first, as a prefix of the chain that is sealed (``traces.chain``); the sums a day stay for ever.
Bars that no decision names any more go after them. Freed pages are given back to the disk. Nothing younger than
``MIN_RETENTION_MS`` before the newest trace is touched, whatever the size. While the record is shipped elsewhere, what
waits for that does not go for its age, only for the size of the file (``traces.outbox``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import takewhile
from typing import Any, Final

import apsw

from perpstrader.traces import chain, cold, outbox
from perpstrader.traces.bars import Sweep
from perpstrader.traces.codec import DROPPED
from perpstrader.traces.records import MIN_RETENTION_MS, Retained, Retention

SLICE: Final = 100
"""Traces of one transaction; 200 were measured to hold a writer for a hundred milliseconds on a slow disk."""
_PAGES: Final = 256

_DROP = f"UPDATE payload SET codec = {DROPPED}, data = x'' WHERE seq = ? AND codec <> {DROPPED}"
_OFF_THE_QUEUE = "UPDATE trace SET analyzed = 1, batch = '' WHERE seq = ? AND analyzed = 0"
_LAST_BEFORE = "SELECT seq FROM trace WHERE accepted_ms < ? ORDER BY accepted_ms DESC, seq DESC LIMIT 1"
_ROUTINE = "executed = 0 AND error = ''"


Slice = Callable[[apsw.Connection], tuple[int, bool]]
"""One transaction's work: what it removed, and whether more is due."""


def slices(policy: Retention) -> Iterator[tuple[str, Slice]]:
    """The steps of a pass in their order, each to be repeated, a transaction each time, until nothing more is due."""
    if policy.payload_ms is not None:
        yield "payloads", _payloads(policy, policy.payload_ms, routine=True)
    if policy.kept_payload_ms is not None:
        yield "payloads", _payloads(policy, policy.kept_payload_ms, routine=False)
    yield "traces", lambda connection: _traces(connection, policy)
    yield "bars", Sweep().slice


async def keep_within(
    policy: Retention, transacted: Callable[[Slice], Awaitable[tuple[int, bool]]],
    plainly: Callable[[Slice], Awaitable[tuple[int, bool]]],
) -> Retained:  # fmt: skip
    """One pass: every step a slice at a time, so that other work of the same writer goes on between them."""
    removed = {"payloads": 0, "traces": 0, "bars": 0}
    for kind, work in slices(policy):
        more = True
        while more:
            count, more = await transacted(work)
            removed[kind] += count
    freed, more = 0, True
    while more:
        count, more = await plainly(vacuum)
        freed += count
    return Retained(
        payloads=removed["payloads"], traces=removed["traces"], bars=removed["bars"], freed_bytes=freed
    )


async def sweep_bars(transacted: Callable[[Slice], Awaitable[tuple[int, bool]]]) -> int:
    """Remove the bars that no decision names any more, a slice at a time; how many."""
    sweep, removed, more = Sweep(), 0, True
    while more:
        count, more = await transacted(sweep.slice)
        removed += count
    return removed


def vacuum(connection: apsw.Connection) -> tuple[int, bool]:
    """Give some free pages back, outside a transaction: (bytes, whether there are more)."""
    size = int(connection.pragma("page_size"))
    before = int(connection.pragma("freelist_count"))
    if before == 0:
        return 0, False
    connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
    after = int(connection.pragma("freelist_count"))
    return (before - after) * size, 0 < after < before


def _newest_ms(connection: apsw.Connection, policy: Retention) -> int | None:
    """What ages are counted from; ``None`` for an empty record."""
    newest_ms: int | None = connection.execute("SELECT max(accepted_ms) FROM trace").get
    return newest_ms if newest_ms is None or policy.now_ms is None else min(newest_ms, policy.now_ms)


def _payloads(policy: Retention, age_ms: int, *, routine: bool) -> Slice:
    key = "dropped_routine" if routine else "dropped_all"
    condition = f"AND {_ROUTINE}" if routine else ""

    def work(connection: apsw.Connection) -> tuple[int, bool]:
        newest_ms = _newest_ms(connection, policy)
        if newest_ms is None:
            return 0, False
        done = int(connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).get or 0)
        # found by time, so that nobody reads through all that is too young to be due
        last = connection.execute(_LAST_BEFORE, (newest_ms - age_ms,)).get or 0
        found: list[tuple[Any, ...]] = connection.execute(
            f"SELECT seq, entry FROM trace WHERE seq > ? AND seq <= ? AND accepted_ms < ? {condition}"
            f" ORDER BY seq LIMIT {SLICE}",
            (done, last, newest_ms - age_ms),
        ).fetchall()
        shipped = outbox.shipped(connection)
        due = list(takewhile(lambda row: shipped is None or row[1] <= shipped, found))
        removed = 0
        for seq, _ in due:
            connection.execute(_DROP, (seq,))
            removed += connection.changes()
            connection.execute(_OFF_THE_QUEUE, (seq,))
        if due:
            connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, str(due[-1][0])))
        return removed, len(due) == SLICE

    return work


def _traces(connection: apsw.Connection, policy: Retention) -> tuple[int, bool]:
    """A slice of the oldest traces, where there are too old, too many or too large ones."""
    newest_ms = _newest_ms(connection, policy)
    if newest_ms is None:
        return 0, False
    limit, oldest = 0, connection.execute("SELECT min(entry) FROM payload").get or 0
    if policy.trace_ms is not None and not cold.is_thawed(connection):
        limit = chain.prune_limit(connection, newest_ms - policy.trace_ms, within=SLICE)
    if _is_too_much(connection, policy):
        youngest = chain.prune_limit(connection, newest_ms - MIN_RETENTION_MS, unshipped=True, within=SLICE)
        limit = max(limit, min(oldest + SLICE, youngest))
    if limit <= oldest:
        return 0, False
    removed, _ = chain.prune_slice(connection, limit)
    return removed, True


def _is_too_much(connection: apsw.Connection, policy: Retention) -> bool:
    if policy.max_rows is not None:
        # numbers are given without gaps and removed from the front; each end is asked for alone, which reads no row
        first = connection.execute("SELECT min(seq) FROM trace").get
        last = connection.execute("SELECT max(seq) FROM trace").get
        if first is not None and last - first + 1 > policy.max_rows:
            return True
    if policy.max_bytes is None:
        return False
    used = int(connection.pragma("page_count")) - int(connection.pragma("freelist_count"))
    return used * int(connection.pragma("page_size")) > policy.max_bytes
