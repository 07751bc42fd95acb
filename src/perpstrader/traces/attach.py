"""What came of a decision, attached to the decision as it is in the file now."""

from __future__ import annotations

import apsw
import msgspec

from perpstrader.traces import queries, rows
from perpstrader.traces.codec import Encoded, encode
from perpstrader.traces.errors import UnknownTraceError


def attach_outcome(
    connection: apsw.Connection, trace_id: str, outcome_usd: str, outcome_ms: int, pack: rows.Pack = rows.keep_plain
) -> Encoded:
    """Append a revision with the outcome, read and written in the caller's transaction, so that no other is undone.

    Raises ``UnknownTraceError`` where there is no such trace.
    """
    trace = queries.one(connection, trace_id)
    if trace is None:
        raise UnknownTraceError(f"there is no trace {trace_id!r}; its outcome was not recorded")
    revised = encode(msgspec.structs.replace(trace, outcome_usd=outcome_usd, outcome_ms=outcome_ms))
    rows.revise_trace(connection, revised, rows.Tail.read(connection), pack)
    return revised
