"""The chain of the shared record: each row follows from the digest before it, and nothing is missing unsaid."""

from __future__ import annotations

from typing import Any, Final

from perpstrader.traces.codec import DROPPED, decode
from perpstrader.traces.errors import TraceFileError
from perpstrader.traces.postgres.queries import Bots, Where
from perpstrader.traces.postgres.schema import storable
from perpstrader.traces.records import Verification
from perpstrader.traces.rows import link
from perpstrader.traces.schema import SUMMARY_COLUMNS, summary_values

_PAGE: Final = 200
_ROWS: Final = (
    "SELECT payload.entry, payload.codec, payload.raw_len, payload.data, payload.digest, payload.previous,"
    f" trace.entry AS newest, {', '.join(f'trace.{name}' for name in SUMMARY_COLUMNS)} FROM perpstrader.payload"
    " LEFT JOIN perpstrader.trace ON trace.bot = payload.bot AND trace.seq = payload.seq"
    " AND trace.accepted_ms = payload.accepted_ms WHERE payload.bot = $1 ORDER BY payload.entry"
)
_MISSING: Final = (
    "SELECT first_entry, last_entry FROM perpstrader.gap WHERE bot = $1"
    " UNION ALL SELECT entry, entry FROM perpstrader.dead_letter WHERE bot = $1 ORDER BY 1"
)


async def verify(connection: Any, bots: Bots) -> Verification:
    """Walk each bot's chain from its first entry to the last that it shipped; the first bad row of all."""
    where = Where(None)
    if bots is not None:
        where.add("bot.id = ANY({}::integer[])", list(bots))
    checked = 0
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for bot, upto in await connection.fetch(
            f"SELECT id, entry FROM perpstrader.bot {where} ORDER BY id", *where.values
        ):
            found = await _verify_bot(connection, bot, upto)
            checked += found.checked
            if not found.ok:
                return Verification(
                    checked=checked, bad_entry=found.bad_entry, bad_id=found.bad_id,
                    problem=f"of bot {bot}: {found.problem}",
                )  # fmt: skip
    return Verification(checked=checked)


async def _verify_bot(connection: Any, bot: int, upto: int) -> Verification:
    missing = [tuple(row) for row in await connection.fetch(_MISSING, bot)]
    last, digest, checked = 0, b"", 0
    async for row in connection.cursor(_ROWS, bot, prefetch=_PAGE):
        entry, codec, raw_len, data, own, previous, newest, *summary = row
        # a bot begins where the one before it on the same file ended
        lost = _unsaid(last + 1 if checked else entry, entry, missing)
        if lost is not None:
            return Verification(checked=checked, bad_entry=lost, problem=f"entry {lost} is missing")
        if last + 1 == entry and checked and previous != digest:
            problem = "it does not follow on the entry before it"
        else:
            problem = _problem(codec, raw_len, data, own, previous, entry == newest, summary)
        if problem:
            uid = summary[0]
            return Verification(checked=checked, bad_entry=entry, bad_id=uid, problem=problem)
        last, digest, checked = entry, own, checked + 1
    lost = _unsaid(last + 1, upto + 1, missing) if checked else None
    if lost is not None:
        return Verification(checked=checked, bad_entry=lost, problem=f"entry {lost} is missing")
    return Verification(checked=checked)


def _unsaid(first: int, end: int, missing: list[tuple[int, int]]) -> int | None:
    """The first entry from ``first`` to before ``end`` that nothing says is missing."""
    for low, high in missing:
        if low <= first <= high:
            first = high + 1
    return first if first < end else None


def _problem(
    codec: int, raw_len: int, data: bytes, digest: bytes, previous: bytes, is_newest: bool, summary: list[Any]
) -> str:
    uid = summary[0]
    if uid is None:
        return "its summary is missing"
    if codec == DROPPED:
        return "" if not data else "its bot's retention removed it, and yet it has content"
    try:
        trace = decode(codec, raw_len, data)
    except TraceFileError as error:
        return str(error)
    if link(previous, trace.id, data) != digest:
        return "its digest does not follow from the one before it, its id and its content"
    if is_newest and list(storable(summary_values(trace))) != summary:
        return "its summary differs from its content"
    return ""
