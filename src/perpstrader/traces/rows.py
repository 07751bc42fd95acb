"""Writing rows: traces, revisions, dead letters, marks and notes, each inside the caller's transaction.

Both implementations write through here, so that the chain, idempotence and the rule of what a revision may change are
stated once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import apsw
import msgspec

from perpstrader.traces import bars
from perpstrader.traces.codec import (
    DROPPED,
    PLAIN,
    ZSTD,
    Encoded,
    as_shared,
    decode,
    salvage,
    same_decision,
    unpack,
)
from perpstrader.traces.errors import TraceRejectedError
from perpstrader.traces.records import CycleNote, Marked
from perpstrader.traces.schema import GENESIS, SUMMARY_COLUMNS, summary_values

MAX_DEAD_LETTERS: Final = 10_000
SPOILT: Final = (
    apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError, OverflowError, TypeError, ValueError, AttributeError,
)  # fmt: skip
"""What SQLite, or the way to it, says of a row that it cannot take, whatever the state of the disk."""

_COLUMNS = ", ".join(SUMMARY_COLUMNS)
_INSERT = (
    f"INSERT INTO trace (seq, first_entry, entry, {_COLUMNS}) VALUES (?, ?, ?, {', '.join('?' * len(SUMMARY_COLUMNS))})"
)
_REVISE = f"UPDATE trace SET entry = ?, {', '.join(f'{column} = ?' for column in SUMMARY_COLUMNS)} WHERE seq = ?"
_APPEND = "INSERT INTO payload (entry, seq, codec, raw_len, data, digest) VALUES (?, ?, ?, ?, ?, ?)"
_MARK = "UPDATE trace SET analyzed = 1, batch = ?, leased_until_ms = 0 WHERE uid = ? AND analyzed = 0"
_CLAIMABLE = (
    "SELECT trace.seq, trace.uid, payload.codec FROM trace JOIN payload ON payload.entry = trace.entry"
    " WHERE trace.analyzed = 0 AND (trace.leased_until_ms <= ?1 OR trace.leased_by = ?2) ORDER BY trace.seq LIMIT ?3"
)
_FOUND = "SELECT seq, first_entry, entry FROM trace WHERE uid = ?"
_PAYLOAD = "SELECT codec, raw_len, data FROM payload WHERE entry = ?"


class Tail(msgspec.Struct):
    """Where the record ends: the last ``seq`` and the newest entry of the chain; it moves with each row.

    Read it inside the transaction that writes: between transactions another process may have written.
    """

    seq: int
    entry: int
    digest: bytes

    @classmethod
    def read(cls, connection: apsw.Connection) -> Tail:
        """The end as the file shows it."""
        return cls(connection.execute("SELECT max(seq) FROM trace").get or 0, *chain_head(connection))


Pack = Callable[[bytes], bytes | None]
"""Packs the JSON of a payload in codec 1; ``None`` keeps it plain."""


def keep_plain(json: bytes) -> bytes | None:
    """The packing of codec 0: none."""
    return None


def insert_trace(
    connection: apsw.Connection, encoded: Encoded, tail: Tail, pack: Pack = keep_plain, shelf: bars.Shelf | None = None
) -> bool:
    """Add a trace; ``False`` when the same content is there already. ``shelf`` knows what bars are there.

    Raises ``TraceRejectedError`` when its id stands for other content.
    """
    found = connection.execute(_FOUND, (encoded.trace.id,)).fetchone()
    if found is not None:
        _, first_entry, entry = found
        if any(_holds(connection, number, encoded) for number in (entry, first_entry)):
            return False
        raise TraceRejectedError(
            f"trace {encoded.trace.id} is already recorded with other content; it was put in the dead letter"
        )
    entry = tail.entry + 1
    values = summary_values(encoded.trace)
    try:
        connection.execute(_INSERT, (tail.seq + 1, entry, entry, *values))
    except (OverflowError, TypeError, UnicodeEncodeError) as error:
        raise TraceRejectedError(
            f"trace {encoded.trace.id} has a value that no column can hold: {error}; it was put in the dead letter"
        ) from error
    tail.seq += 1
    if encoded.bars is not None:
        bars.keep(connection, tail.seq, encoded.bars, shelf)
    _append(connection, tail, tail.seq, encoded, pack)
    return True


def revise_trace(
    connection: apsw.Connection, encoded: Encoded, tail: Tail, pack: Pack = keep_plain, shelf: bars.Shelf | None = None
) -> bool:
    """Append a revision, or insert an unknown trace; ``False`` when the newest revision is the same.

    Raises ``TraceRejectedError`` when it would change what was decided (S63).
    """
    found = connection.execute(_FOUND, (encoded.trace.id,)).fetchone()
    if found is None:
        if encoded.trace.accepted_ms <= gone_ms(connection):
            raise TraceRejectedError(
                f"trace {encoded.trace.id} is of a time that was archived or pruned, where it may lie; the update is in"
                " the dead letter"
            )
        return insert_trace(connection, encoded, tail, pack, shelf)
    seq, _, newest = found
    stored: tuple[Any, ...] = connection.execute(_PAYLOAD, (newest,)).fetchall()[0]
    if stored[0] == DROPPED:
        raise TraceRejectedError(
            f"the record of trace {encoded.trace.id} is older than traces are kept; the update is in the dead letter"
        )
    json = as_shared(unpack(*stored))
    if json == encoded.json:
        return False
    if not same_decision(decode(PLAIN, len(json), json), encoded.trace):
        raise TraceRejectedError(
            f"the update of trace {encoded.trace.id} would change what was decided on; it was put in the dead letter"
        )
    connection.execute(_REVISE, (tail.entry + 1, *summary_values(encoded.trace), seq))
    if encoded.bars is not None and not bars.are_kept(connection, seq):  # an older program kept them in the trace
        bars.keep(connection, seq, encoded.bars, shelf)
    _append(connection, tail, seq, encoded, pack)
    return True


def bury(connection: apsw.Connection, trace: object, reason: str) -> None:
    """Put what cannot be recorded into the dead letter; beyond ``MAX_DEAD_LETTERS`` the oldest make room (S64)."""
    uid, accepted_ms = getattr(trace, "id", ""), getattr(trace, "accepted_ms", 0)
    uid = uid.encode("utf-8", "backslashreplace").decode() if isinstance(uid, str) else repr(uid)
    fits = isinstance(accepted_ms, int) and abs(accepted_ms) < 2**63
    number = (connection.execute("SELECT max(number) FROM dead_letter").get or 0) + 1
    connection.execute(
        "INSERT INTO dead_letter (number, uid, accepted_ms, reason, data) VALUES (?, ?, ?, ?, ?)",
        (
            number,
            uid,
            int(accepted_ms) if fits else 0,
            reason.encode("utf-8", "backslashreplace").decode(),
            salvage(trace),
        ),
    )
    connection.execute("DELETE FROM dead_letter WHERE number <= ?", (number - MAX_DEAD_LETTERS,))


def mark(connection: apsw.Connection, ids: Sequence[str], batch_id: str) -> Marked:
    """Mark as analysed what is not yet."""
    changed, unknown = 0, []
    for uid in dict.fromkeys(ids):
        if connection.execute("SELECT 1 FROM trace WHERE uid = ?", (uid,)).get is None:
            unknown.append(uid)
            continue
        connection.execute(_MARK, (batch_id, uid))
        changed += connection.changes()
    return Marked(changed, tuple(unknown))


def claim(connection: apsw.Connection, limit: int, by: str, now_ms: int, lease_ms: int) -> list[str]:
    """Lease the oldest traces that nobody has analysed and nobody holds, to ``by``; their ids.

    What retention has emptied is taken off the queue: nobody can analyse it.
    """
    while True:
        found: list[tuple[Any, ...]] = connection.execute(_CLAIMABLE, (now_ms, by, limit)).fetchall()
        emptied = [(seq,) for seq, _, codec in found if codec == DROPPED]
        if not emptied:
            break
        connection.executemany("UPDATE trace SET analyzed = 1, batch = '' WHERE seq = ?", emptied)
    connection.executemany(
        "UPDATE trace SET leased_until_ms = ?, leased_by = ? WHERE seq = ?",
        [(now_ms + lease_ms, by, seq) for seq, _, _ in found],
    )
    return [uid for _, uid, _ in found]


def put_notes(connection: apsw.Connection, notes: Sequence[CycleNote], *, keep: int) -> int:
    """Write notes and keep at most the newest ``keep``, dropping whole bars from the oldest on; how many more fit."""
    add_notes(connection, notes)
    room: int = keep - connection.execute("SELECT count(*) FROM cycle_note").get
    if room < 0:
        # a tenth more than needed, so that this sort is rare
        offset = keep // 10 - room - 1
        last = connection.execute(
            "SELECT bar_close_ms FROM cycle_note ORDER BY bar_close_ms LIMIT 1 OFFSET ?", (offset,)
        ).get
        connection.execute("DELETE FROM cycle_note WHERE bar_close_ms <= ?", (last,))
        room += connection.changes()
    return room


def add_notes(connection: apsw.Connection, notes: Sequence[CycleNote]) -> None:
    """Write notes without counting those that are there, which would take longer with each of them."""
    connection.executemany(
        "INSERT OR REPLACE INTO cycle_note (symbol, bar_close_ms, strategy, interval, code, text)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [(note.symbol, note.bar_close_ms, note.strategy, note.interval, note.code.value, note.text) for note in notes],
    )


def chain_head(connection: apsw.Connection) -> tuple[int, bytes]:
    """Number and digest of the newest entry; of the seal when all were pruned; ``(0, GENESIS)`` in a new file."""
    newest = connection.execute("SELECT entry, digest FROM payload ORDER BY entry DESC LIMIT 1").fetchone()
    return (newest[0], newest[1]) if newest is not None else chain_seal(connection)


def chain_seal(connection: apsw.Connection) -> tuple[int, bytes]:
    """Number and digest of the last pruned entry; ``(0, GENESIS)`` before the first pruning."""
    seal = connection.execute("SELECT value FROM meta WHERE key = 'sealed'").get
    if seal is None:
        return 0, GENESIS
    entry, digest = seal.split(":")
    return int(entry), bytes.fromhex(digest)


def gone_ms(connection: apsw.Connection) -> int:
    """When the newest of the decisions was accepted that have left the file; -1 where none has."""
    return int(connection.execute("SELECT value FROM meta WHERE key = 'gone_ms'").get or -1)


def note_gone(connection: apsw.Connection, accepted_ms: int | None) -> None:
    """Decisions up to ``accepted_ms`` leave the file: what comes for one of them later finds none."""
    if accepted_ms is not None and accepted_ms > gone_ms(connection):
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('gone_ms', ?)", (str(accepted_ms),))


def note_back(connection: apsw.Connection, accepted_ms: int | None, *, is_whole: bool) -> None:
    """Decisions from ``accepted_ms`` on are in the file again; with ``is_whole`` all that there ever were."""
    if is_whole:
        connection.execute("DELETE FROM meta WHERE key = 'gone_ms'")
    elif accepted_ms is not None and accepted_ms <= gone_ms(connection):
        connection.execute("UPDATE meta SET value = ? WHERE key = 'gone_ms'", (str(accepted_ms - 1),))


def link(previous: bytes, uid: str, data: bytes) -> bytes:
    """The digest of an entry, as ``schema`` defines it."""
    return hashlib.sha256(previous + uid.encode() + data).digest()


def _append(connection: apsw.Connection, tail: Tail, seq: int, encoded: Encoded, pack: Pack) -> None:
    packed = pack(encoded.json)
    codec, data = (PLAIN, encoded.json) if packed is None else (ZSTD, packed)
    digest = link(tail.digest, encoded.trace.id, data)
    connection.execute(_APPEND, (tail.entry + 1, seq, codec, len(encoded.json), data, digest))
    tail.entry, tail.digest = tail.entry + 1, digest


def _holds(connection: apsw.Connection, entry: int, encoded: Encoded) -> bool:
    """True when the entry (unless pruned) has this content, in whatever codec, or when nobody can tell any more."""
    row: tuple[Any, ...] | None = connection.execute(_PAYLOAD, (entry,)).fetchone()
    return row is not None and (row[0] == DROPPED or as_shared(unpack(*row)) == encoded.json)
