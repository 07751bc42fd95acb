"""Who commanded what, when, why, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping

import apsw
import msgspec

from perpstrader.domain.errors import StateError
from perpstrader.state._codec import encode, unreadable

_arguments = msgspec.json.Decoder(dict[str, str])


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One command; ``arguments`` are as given, without secrets."""

    seq: int
    time_ms: int
    actor: str
    command: str
    arguments: dict[str, str]
    result: str
    reason: str


class AuditRepository:
    """The audit trail; use it only inside ``StateStore.transact`` or ``StateStore.read``."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def add(
        self, *, time_ms: int, actor: str, command: str, arguments: Mapping[str, str], result: str, reason: str
    ) -> int:
        """Record a command; its number in the trail, growing."""
        sql = (
            "INSERT INTO audit (time_ms, actor, command, arguments, result, reason) VALUES (?, ?, ?, ?, ?, ?)"
            " RETURNING seq"
        )
        return int(
            self._connection.execute(sql, (time_ms, actor, command, encode(dict(arguments)), result, reason)).get
        )

    def recent(self, limit: int) -> tuple[AuditEntry, ...]:
        """The newest commands, newest first, at most ``limit``."""
        sql = "SELECT seq, time_ms, actor, command, arguments, result, reason FROM audit ORDER BY seq DESC LIMIT ?"
        entries = []
        for seq, time_ms, actor, command, arguments, result, reason in self._connection.execute(sql, (max(limit, 0),)):
            try:
                given = _arguments.decode(arguments)
            except msgspec.DecodeError as error:
                raise StateError(unreadable("audit entry", arguments)) from error
            entries.append(
                AuditEntry(
                    seq=seq,
                    time_ms=time_ms,
                    actor=actor,
                    command=command,
                    arguments=given,
                    result=result,
                    reason=reason,
                )
            )
        return tuple(entries)

    def prune(self, keep: int) -> int:
        """Forget all but the newest ``keep`` (at least one, so that numbers never repeat); how many went."""
        self._connection.execute("DELETE FROM audit WHERE seq <= (SELECT max(seq) FROM audit) - ?", (max(keep, 1),))
        return self._connection.changes()
