"""Whether a file takes decisions: one is written where the next one would lie, read back, and taken back."""

from __future__ import annotations

import apsw

from perpstrader.domain.traces import Trace, TraceKind
from perpstrader.traces import queries, rows, schema
from perpstrader.traces.codec import encode
from perpstrader.traces.files import transact


class _TakenBackError(Exception):
    """Ends the trial without a commit."""


def check_writing(connection: apsw.Connection, now_ms: int) -> None:
    """Raises ``apsw.CorruptError`` or what else SQLite raises where the next decision cannot be written.

    Of a file of another version nothing is tried. It takes milliseconds whatever the size; pages that no next decision
    meets are not looked at, ``perpstrader traces verify`` looks at all.
    """
    if connection.pragma("user_version") != schema.VERSION:
        return
    newest = connection.execute("SELECT symbol, strategy, interval FROM trace ORDER BY seq DESC LIMIT 1").fetchone()
    symbol, strategy, interval = (str(name) for name in newest) if newest is not None else ("", "", "")
    trial = Trace(
        id=f"{now_ms:012x}-trial", sequence=0, kind=TraceKind.INCIDENT, accepted_ms=now_ms, symbol=symbol,
        strategy=strategy, interval=interval, settings_digest="", version="",
    )  # fmt: skip

    def write() -> None:
        rows.insert_trace(connection, encode(trial), rows.Tail.read(connection))
        queries.one(connection, trial.id)
        raise _TakenBackError

    try:
        transact(connection, write)
    except _TakenBackError:
        return
