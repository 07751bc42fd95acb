"""Halts: on disk before the call that made them returns, in force until somebody releases them with a reason."""

from __future__ import annotations

from typing import Final

import apsw
import msgspec

from perpstrader.domain.errors import UnsafeError
from perpstrader.domain.risk_state import Halt, HaltKind
from perpstrader.state._codec import Row, member

_COLUMNS: Final = "kind, since_ms, reason, actor, until_ms, flatten"
_RELEASE: Final = (
    "UPDATE halts SET released_ms = ?, released_by = ?, release_reason = ? WHERE kind = ? AND released_ms IS NULL"
)


class HaltRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A halt with its end; ``released_ms`` is ``None`` while it is in force."""

    halt: Halt
    released_ms: int | None
    released_by: str | None
    release_reason: str | None


class HaltsRepository:
    """At most one halt of a kind in force; use it only inside ``StateStore.transact`` or ``StateStore.read``."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def activate(self, halt: Halt) -> bool:
        """Entries are halted when the transaction has committed; True when that is news (S40).

        A kind already in force is only ever made stricter (flatten added, its end later or left to an operator); it
        keeps its ``since_ms``, and the milder one stays in the history as superseded.
        """
        current = self._in_force(halt.kind)
        if current is not None:
            stricter = _stricter(current, halt)
            if stricter is None:
                return False
            self._connection.execute(
                _RELEASE, (halt.since_ms, halt.actor, "superseded by a stricter one", halt.kind.value)
            )
            halt = stricter
        row = (halt.kind.value, halt.since_ms, halt.reason, halt.actor, halt.until_ms, int(halt.flatten))
        self._connection.execute(f"INSERT INTO halts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", row)
        return True

    def release(self, kind: HaltKind, actor: str, reason: str, now_ms: int) -> bool:
        """The halt is no longer in force; False when none was. Raises ``UnsafeError`` without an actor and a reason."""
        if not actor.strip() or not reason.strip():
            raise UnsafeError(f"the {kind} halt is released only with an actor and a reason; say who resumes and why")
        self._connection.execute(_RELEASE, (now_ms, actor, reason, kind.value))
        return self._connection.changes() == 1

    def active(self) -> tuple[Halt, ...]:
        """The halts in force, oldest first; raises ``StateError`` when one cannot be read, which means halted."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM halts WHERE released_ms IS NULL ORDER BY seq"
        ).fetchall()
        return tuple(_halt(row) for row in rows)

    def history(self, limit: int) -> tuple[HaltRecord, ...]:
        """The newest halts with their ends, newest first, at most ``limit``."""
        sql = f"SELECT {_COLUMNS}, released_ms, released_by, release_reason FROM halts ORDER BY seq DESC LIMIT ?"
        rows: list[Row] = self._connection.execute(sql, (max(limit, 0),)).fetchall()
        return tuple(
            HaltRecord(halt=_halt(row[:6]), released_ms=row[6], released_by=row[7], release_reason=row[8])
            for row in rows
        )

    def prune(self, before_ms: int) -> int:
        """Forget halts released before a time; one in force is never forgotten."""
        self._connection.execute("DELETE FROM halts WHERE released_ms < ?", (before_ms,))
        return self._connection.changes()

    def _in_force(self, kind: HaltKind) -> Halt | None:
        sql = f"SELECT {_COLUMNS} FROM halts WHERE kind = ? AND released_ms IS NULL"
        row: Row | None = self._connection.execute(sql, (kind.value,)).fetchone()
        return None if row is None else _halt(row)


def _stricter(current: Halt, new: Halt) -> Halt | None:
    until_ms = None if current.until_ms is None or new.until_ms is None else max(current.until_ms, new.until_ms)
    flatten = current.flatten or new.flatten
    if (until_ms, flatten) == (current.until_ms, current.flatten):
        return None
    return msgspec.structs.replace(new, since_ms=current.since_ms, until_ms=until_ms, flatten=flatten)


def _halt(row: Row) -> Halt:
    kind, since_ms, reason, actor, until_ms, flatten = row
    return Halt(
        kind=member(HaltKind, kind, "halt"),
        since_ms=since_ms,
        reason=reason,
        actor=actor,
        until_ms=until_ms,
        flatten=bool(flatten),
    )
