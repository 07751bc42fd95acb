"""The chain of the shared record: each row follows from the digest before it, and nothing is missing unsaid."""

from __future__ import annotations

from typing import Any, Final

from perpstrader.traces.bars import COLUMNS, first_changed
from perpstrader.traces.codec import DROPPED, decode
from perpstrader.traces.errors import TraceFileError
from perpstrader.traces.postgres.queries import Bots, Where, whole
from perpstrader.traces.postgres.schema import storable
from perpstrader.traces.records import Verification
from perpstrader.traces.rows import link
from perpstrader.traces.schema import SUMMARY_COLUMNS, summary_values

_PAGE: Final = 200
_BAR_PAGE: Final = 2_000
_ROWS: Final = (
    "SELECT payload.entry, payload.digest, payload.previous, trace.entry AS newest, payload.codec, payload.raw_len,"
    f" payload.data, payload.bot, trace.bars, {', '.join(f'trace.{name}' for name in SUMMARY_COLUMNS)}"
    " FROM perpstrader.payload LEFT JOIN perpstrader.trace ON trace.bot = payload.bot AND trace.seq = payload.seq"
    " AND trace.accepted_ms = payload.accepted_ms WHERE payload.bot = $1 AND payload.entry > $2"
    f" ORDER BY payload.entry LIMIT {_PAGE}"
)
_BARS: Final = (
    f"SELECT symbol, interval, {', '.join(COLUMNS)} FROM perpstrader.bar WHERE bot = $1"
    f" AND (symbol, interval, open_ms, version) > ($2, $3, $4, $5) ORDER BY 1, 2, 3, 4 LIMIT {_BAR_PAGE}"
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
    while rows := await connection.fetch(_ROWS, bot, last):
        for entry, own, previous, newest, *rest in rows:
            payload, summary = tuple(rest[:5]), list(rest[5:])
            # a bot begins where the one before it on the same file ended
            lost = _unsaid(last + 1 if checked else entry, entry, missing)
            if lost is not None:
                return Verification(checked=checked, bad_entry=lost, problem=f"entry {lost} is missing")
            if last + 1 == entry and checked and previous != digest:
                problem = "it does not follow on the entry before it"
            else:
                problem = await _problem(connection, payload, own, previous, summary, is_newest=entry == newest)
            if problem:
                return Verification(checked=checked, bad_entry=entry, bad_id=summary[0], problem=problem)
            last, digest, checked = entry, own, checked + 1
    lost = _unsaid(last + 1, upto + 1, missing) if checked else None
    if lost is not None:
        return Verification(checked=checked, bad_entry=lost, problem=f"entry {lost} is missing")
    return Verification(checked=checked, problem=await _changed_bar(connection, bot))


async def _changed_bar(connection: Any, bot: int) -> str:
    """The first bar that is not as it was shipped; empty where none is."""
    place: tuple[Any, ...] = ("", "", -1, -1)
    while rows := [tuple(row) for row in await connection.fetch(_BARS, bot, *place)]:
        problem = first_changed(rows)
        if problem:
            return problem
        place = rows[-1][:4]
    return ""


def _unsaid(first: int, end: int, missing: list[tuple[int, int]]) -> int | None:
    """The first entry from ``first`` to before ``end`` that nothing says is missing."""
    for low, high in missing:
        if low <= first <= high:
            first = high + 1
    return first if first < end else None


async def _problem(
    connection: Any, payload: tuple[Any, ...], digest: bytes, previous: bytes, summary: list[Any], *, is_newest: bool
) -> str:
    codec, raw_len, data, _, versions = payload
    if summary[0] is None:
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
    if is_newest and versions is not None:
        (told,) = await whole(connection, [payload])
        if told.view is not None and told.view.stored is not None:
            return "the bars that it saw are missing or changed"
    return ""
