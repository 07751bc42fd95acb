"""Position episodes, from flat to flat: who owns them, what they made, and how often somebody tried to end them."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import apsw
import msgspec

from perpstrader.domain.errors import StateError
from perpstrader.domain.money import ZERO
from perpstrader.domain.signals import Side
from perpstrader.state._codec import Row, member, number, number_or_none, text, text_or_none

_COLUMNS: Final = (
    "id, symbol, side, owner, opened_ms, ended_ms, end_reason, entry_price, exit_price, peak_size, peak_price,"
    " stop_price, target_price, realized_usd, fees_usd, funding_usd, exit_attempts, recovery_attempts"
)
_OPEN: Final = f"INSERT INTO episodes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UPDATE: Final = (
    "UPDATE episodes SET owner = ?, entry_price = ?, exit_price = ?, peak_size = ?, peak_price = ?, stop_price = ?,"
    " target_price = ?, realized_usd = ?, fees_usd = ?, funding_usd = ? WHERE id = ?"
)


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """One position of one symbol from flat to flat.

    ``entry_price`` and ``exit_price`` are size-weighted means, ``peak_size`` the largest size it had in base units,
    ``peak_price`` the most favourable mark seen, ``realized_usd`` net of fees and without funding. ``end_reason`` is
    empty while it lives.
    """

    id: str
    symbol: str
    side: Side
    owner: str
    opened_ms: int
    ended_ms: int | None = None
    end_reason: str = ""
    entry_price: Decimal | None = None
    exit_price: Decimal | None = None
    peak_size: Decimal = ZERO
    peak_price: Decimal | None = None
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    realized_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    funding_usd: Decimal = ZERO
    exit_attempts: int = 0
    recovery_attempts: int = 0

    @property
    def is_active(self) -> bool:
        """True until it has ended."""
        return self.ended_ms is None

    @property
    def net_usd(self) -> Decimal:
        """Realised net of fees and funding."""
        return self.realized_usd + self.funding_usd


class EpisodesRepository:
    """At most one living episode a symbol; use it only inside ``StateStore.transact`` or ``StateStore.read``."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def open(self, episode: Episode) -> None:
        """Store a new episode; raises ``StateError`` when its id is taken or its symbol has a living one."""
        row = (
            episode.id, episode.symbol, episode.side.value, episode.owner, episode.opened_ms, episode.ended_ms,
            episode.end_reason, text_or_none(episode.entry_price), text_or_none(episode.exit_price),
            text(episode.peak_size), text_or_none(episode.peak_price), text_or_none(episode.stop_price),
            text_or_none(episode.target_price), text(episode.realized_usd), text(episode.fees_usd),
            text(episode.funding_usd), episode.exit_attempts, episode.recovery_attempts,
        )  # fmt: skip
        try:
            self._connection.execute(_OPEN, row)
        except apsw.ConstraintError as error:
            raise StateError(
                f"episode {episode.id} cannot open: its id is taken or {episode.symbol} has a living one;"
                " end that one first"
            ) from error

    def update(self, episode: Episode) -> None:
        """Store owner, prices, sizes and sums; the end and the counters have methods of their own and are not touched.

        An ended episode still takes sums, since fees and funding may arrive late. Raises ``StateError`` when it is
        unknown.
        """
        row = (
            episode.owner, text_or_none(episode.entry_price), text_or_none(episode.exit_price), text(episode.peak_size),
            text_or_none(episode.peak_price), text_or_none(episode.stop_price), text_or_none(episode.target_price),
            text(episode.realized_usd), text(episode.fees_usd), text(episode.funding_usd), episode.id,
        )  # fmt: skip
        self._connection.execute(_UPDATE, row)
        self._require_one(episode.id)

    def end(self, episode_id: str, ended_ms: int, reason: str) -> bool:
        """The episode has ended; False when it had before, and its first end stays."""
        sql = "UPDATE episodes SET ended_ms = ?, end_reason = ? WHERE id = ? AND ended_ms IS NULL"
        self._connection.execute(sql, (ended_ms, reason, episode_id))
        return self._connection.changes() == 1

    def count_exit_attempt(self, episode_id: str) -> int:
        """One more exit was submitted; how many that makes (S52)."""
        return self._count(
            "UPDATE episodes SET exit_attempts = exit_attempts + 1 WHERE id = ? RETURNING exit_attempts", episode_id
        )

    def count_recovery_attempt(self, episode_id: str) -> int:
        """One more recovery was submitted; how many that makes (S52)."""
        return self._count(
            "UPDATE episodes SET recovery_attempts = recovery_attempts + 1 WHERE id = ? RETURNING recovery_attempts",
            episode_id,
        )

    def reset_recovery_attempts(self, episode_id: str) -> None:
        """Recoveries of the episode count from zero again; an unknown one is left as it is."""
        self._connection.execute("UPDATE episodes SET recovery_attempts = 0 WHERE id = ?", (episode_id,))

    def get(self, episode_id: str) -> Episode | None:
        """The episode with this id."""
        return self._first("WHERE id = ?", (episode_id,))

    def active(self) -> tuple[Episode, ...]:
        """The living episodes, oldest first."""
        return self._episodes("WHERE ended_ms IS NULL ORDER BY seq", ())

    def active_of(self, symbol: str) -> Episode | None:
        """The living episode of a symbol."""
        return self._first("WHERE symbol = ? AND ended_ms IS NULL", (symbol,))

    def history(self, limit: int) -> tuple[Episode, ...]:
        """The ended episodes, the one that ended last first, at most ``limit``."""
        return self._episodes("WHERE ended_ms IS NOT NULL ORDER BY ended_ms DESC, seq DESC LIMIT ?", (max(limit, 0),))

    def ended_since(self, since_ms: int) -> tuple[Episode, ...]:
        """The episodes that ended at or after a time, the one that ended first first."""
        return self._episodes("WHERE ended_ms >= ? ORDER BY ended_ms, seq", (since_ms,))

    def prune(self, before_ms: int) -> int:
        """Forget episodes that ended before a time; a living one is never forgotten."""
        self._connection.execute("DELETE FROM episodes WHERE ended_ms < ?", (before_ms,))
        return self._connection.changes()

    def _count(self, sql: str, episode_id: str) -> int:
        count = self._connection.execute(sql, (episode_id,)).get
        if count is None:
            raise StateError(f"episode {episode_id} is not in the state file; open it before counting its attempts")
        return int(count)

    def _require_one(self, episode_id: str) -> None:
        if self._connection.changes() != 1:
            raise StateError(f"episode {episode_id} is not in the state file; open it before updating it")

    def _first(self, where: str, bindings: tuple[str | int, ...]) -> Episode | None:
        found = self._episodes(where, bindings)
        return found[0] if found else None

    def _episodes(self, where: str, bindings: tuple[str | int, ...]) -> tuple[Episode, ...]:
        return tuple(
            _episode(row)
            for row in self._connection.execute(f"SELECT {_COLUMNS} FROM episodes {where}", bindings).fetchall()
        )


def _episode(row: Row) -> Episode:
    (
        key, symbol, side, owner, opened_ms, ended_ms, end_reason, entry_price, exit_price, peak_size, peak_price,
        stop_price, target_price, realized, fees, funding, exit_attempts, recovery_attempts,
    ) = row  # fmt: skip
    return Episode(
        id=key, symbol=symbol, side=member(Side, side, "side"), owner=owner, opened_ms=opened_ms, ended_ms=ended_ms,
        end_reason=end_reason, entry_price=number_or_none(entry_price, "entry price"),
        exit_price=number_or_none(exit_price, "exit price"), peak_size=number(peak_size, "peak size"),
        peak_price=number_or_none(peak_price, "peak price"), stop_price=number_or_none(stop_price, "stop price"),
        target_price=number_or_none(target_price, "target price"),
        realized_usd=number(realized, "realised profit"), fees_usd=number(fees, "fees"),
        funding_usd=number(funding, "funding"), exit_attempts=exit_attempts, recovery_attempts=recovery_attempts,
    )  # fmt: skip
