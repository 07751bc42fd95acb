"""Who the file belongs to and what must never repeat: the cloid epoch, nonces, cursors, and small values by key."""

from __future__ import annotations

import apsw

from perpstrader.domain.errors import StateError

_LAST_FILL = "cursor:last_fill_ms"
_RESTORED = "restored"


class MetaRepository:
    """Facts about the store itself; use it only inside ``StateStore.transact`` or ``StateStore.read``."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def account(self) -> str:
        """The account that the file is bound to, in lower case."""
        return self._required("account")

    def network(self) -> str:
        """The network that the file is bound to."""
        return self._required("network")

    def epoch(self) -> int:
        """The 64-bit number that makes our cloids ours; it changes only on restore or clone (S11)."""
        return self.epochs()[-1]

    def epochs(self) -> tuple[int, ...]:
        """All epochs that this store ever used, oldest first: an order under any of them came from here."""
        rows = self._connection.execute("SELECT epoch FROM epochs ORDER BY seq").fetchall()
        if not rows:
            raise StateError("the state file holds no cloid epoch; restore a backup, or start with a new state file")
        return tuple(int(str(row[0])) for row in rows)

    def renew_epoch(self, epoch: int) -> None:
        """From now on cloids carry ``epoch``; ``StateError`` when it is not in 1 to 2**64 - 1 or was used before."""
        if not 0 < epoch < 2**64:
            raise StateError(f"the cloid epoch {epoch} is out of range 1 to 2**64 - 1; draw another")
        self._connection.execute("INSERT INTO epochs (epoch) VALUES (?) ON CONFLICT (epoch) DO NOTHING", (str(epoch),))
        if self._connection.changes() != 1:
            raise StateError(f"the cloid epoch {epoch} was used before; draw another, it must be random")

    def is_restored(self) -> bool:
        """True on a restored backup, which lacks what happened since, until ``acknowledge_restore``."""
        return self._get(_RESTORED) is not None

    def acknowledge_restore(self) -> None:
        """Somebody has acted on the restore (halted, or compared with the venue)."""
        self._connection.execute("DELETE FROM meta WHERE key = ?", (_RESTORED,))

    def nonce_high_water(self, signer: str) -> int:
        """The greatest nonce that may have been used by ``signer``, 0 when none was (S12)."""
        high = self._connection.execute("SELECT high FROM nonces WHERE signer = ?", (signer.lower(),)).get
        return 0 if high is None else int(high)

    def raise_nonce(self, signer: str, nonce: int) -> None:
        """The high-water mark is at least ``nonce``; it never sinks."""
        self._connection.execute(
            "INSERT INTO nonces VALUES (?, ?) ON CONFLICT (signer) DO UPDATE SET high = max(high, excluded.high)",
            (signer.lower(), nonce),
        )

    def last_fill_ms(self) -> int:
        """The venue time up to which fills were read, 0 when none were."""
        stored = self._get(_LAST_FILL)
        return 0 if stored is None else int(stored)

    def advance_last_fill_ms(self, time_ms: int) -> None:
        """Fills were read up to ``time_ms``; the cursor never goes back."""
        self._put(_LAST_FILL, str(max(time_ms, self.last_fill_ms())))

    def get_text(self, key: str) -> str | None:
        """A small value of the caller's own, ``None`` when it was never put."""
        return self._get(f"value:{key}")

    def put_text(self, key: str, value: str) -> None:
        """Remember a small value under ``key``."""
        self._put(f"value:{key}", value)

    def get_int(self, key: str) -> int | None:
        """As ``get_text`` for an integer; raises ``StateError`` when the value is none."""
        stored = self.get_text(key)
        try:
            return None if stored is None else int(stored)
        except ValueError as error:
            raise StateError(f"the stored value {key} is {stored!r}, which is no integer") from error

    def put_int(self, key: str, value: int) -> None:
        """As ``put_text`` for an integer."""
        self.put_text(key, str(value))

    def forget(self, key: str) -> None:
        """Remove a small value; nothing happens when there is none."""
        self._connection.execute("DELETE FROM meta WHERE key = ?", (f"value:{key}",))

    def _get(self, key: str) -> str | None:
        stored = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).get
        return None if stored is None else str(stored)

    def _put(self, key: str, value: str) -> None:
        self._connection.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
        )

    def _required(self, key: str) -> str:
        stored = self._get(key)
        if stored is None:
            raise StateError(f"the state file does not say its {key}; restore a backup, or start with a new state file")
        return stored
