"""Many new traces in few statements: what a batch saves besides its commit.

A statement of its own for each row costs more than the row. Whoever reads a file cannot tell which way it was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw

from perpstrader.traces import bars
from perpstrader.traces.codec import PLAIN, ZSTD, Encoded
from perpstrader.traces.rows import Pack, Tail, link
from perpstrader.traces.schema import SUMMARY_COLUMNS, summary_values

SIZES: Final = (64, 16, 4)
"""Rows of one statement: few sizes, so that each is prepared once and kept."""

_TRACE = f"({', '.join('?' * (3 + len(SUMMARY_COLUMNS)))})"
_INSERT: Final = {
    size: f"INSERT INTO trace (seq, first_entry, entry, {', '.join(SUMMARY_COLUMNS)})"
    f" VALUES {', '.join([_TRACE] * size)}"
    for size in SIZES
}
_APPEND: Final = {
    size: "INSERT INTO payload (entry, seq, codec, raw_len, data, digest)"
    f" VALUES {', '.join(['(?, ?, ?, ?, ?, ?)'] * size)}"
    for size in SIZES
}


def insert_many(
    connection: apsw.Connection, listed: Sequence[Encoded], tail: Tail, pack: Pack, shelf: bars.Shelf
) -> bool:
    """Add traces, as many as one of ``SIZES``, in their order; inside the caller's transaction.

    ``False``, with nothing done, where one is there already or cannot be held: ``rows.insert_trace`` tells which.
    """
    seqs = range(tail.seq + 1, tail.seq + 1 + len(listed))
    summaries: list[object] = []
    for place, (seq, one) in enumerate(zip(seqs, listed, strict=True), start=1):
        summaries += (seq, tail.entry + place, tail.entry + place, *summary_values(one.trace))
    try:
        connection.execute(_INSERT[len(listed)], summaries)
    except (apsw.ConstraintError, OverflowError, TypeError, UnicodeEncodeError):
        return False  # SQLite has taken the whole statement back, and only that
    payloads: list[object] = []
    named: list[tuple[int | str, ...]] = []
    entry, digest = tail.entry, tail.digest
    for seq, one in zip(seqs, listed, strict=True):
        if one.bars is not None:
            named.append(bars.placed(connection, seq, one.bars, shelf))
        packed = pack(one.json)
        codec, data = (PLAIN, one.json) if packed is None else (ZSTD, packed)
        entry, digest = entry + 1, link(digest, one.trace.id, data)
        payloads += (entry, seq, codec, len(one.json), data, digest)
    if named:
        connection.executemany(bars.NAME, named)
    connection.execute(_APPEND[len(listed)], payloads)
    tail.seq, tail.entry, tail.digest = seqs[-1], entry, digest
    return True
