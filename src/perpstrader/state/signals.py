"""Which signals were seen, so that each is acted on at most once, restarts included."""

from __future__ import annotations

import apsw


class SignalsRepository:
    """Signals by (strategy, id); use it only inside ``StateStore.transact`` or ``StateStore.read``."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def first_seen(self, strategy: str, signal_id: str, now_ms: int) -> bool:
        """True exactly once for a (strategy, id), on disk when the transaction has committed (S36)."""
        self._connection.execute(
            "INSERT INTO signals VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (strategy, signal_id, now_ms)
        )
        return self._connection.changes() == 1

    def seen_ms(self, strategy: str, signal_id: str) -> int | None:
        """When it was first seen, ``None`` when it never was; changes nothing."""
        sql = "SELECT seen_ms FROM signals WHERE strategy = ? AND signal_id = ?"
        stored = self._connection.execute(sql, (strategy, signal_id)).get
        return None if stored is None else int(stored)

    def prune(self, before_ms: int) -> int:
        """Forget those seen before a time, which must be older than any signal's age bound; how many went."""
        self._connection.execute("DELETE FROM signals WHERE seen_ms < ?", (before_ms,))
        return self._connection.changes()
