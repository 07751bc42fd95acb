"""Circuit breakers over restarts: one row a name, the newest (CB-21)."""

from __future__ import annotations

from typing import Final

import apsw

from perpstrader.domain.breakers import BreakerRow, BreakerState
from perpstrader.state._codec import Row, member

_COLUMNS: Final = "name, state, since_ms, until_ms, failed_probes, failure, actor, reason"


class BreakersRepository:
    """The state of each breaker; use it only inside ``StateStore.transact`` or ``StateStore.read``."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def put(self, row: BreakerRow) -> None:
        """The next process begins with this when the transaction has committed."""
        self._connection.execute(
            f"INSERT OR REPLACE INTO breakers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row.name, row.state.value, row.since_ms, row.until_ms, row.failed_probes, row.failure, row.actor,
                row.reason,
            ),
        )  # fmt: skip

    def all(self) -> tuple[BreakerRow, ...]:
        """What is known, by name; raises ``StateError`` for a state that cannot be read, never guesses one."""
        rows: list[Row] = self._connection.execute(f"SELECT {_COLUMNS} FROM breakers ORDER BY name").fetchall()
        return tuple(
            BreakerRow(
                name=name, state=member(BreakerState, state, "breaker"), since_ms=since_ms, until_ms=until_ms,
                failed_probes=failed_probes, failure=failure, actor=actor, reason=reason,
            )
            for name, state, since_ms, until_ms, failed_probes, failure, actor, reason in rows
        )  # fmt: skip
