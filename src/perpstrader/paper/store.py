"""The paper exchange's accounts on disk: whoever was answered finds it so after a restart, a killed process included.

One SQLite file, ``paper.db``. Each change is committed before its answer or frame goes out: the touched accounts whole
(without history), their new history rows, signers' nonces and agents. Write-ahead log with ``synchronous=NORMAL``: a
killed process loses nothing; a machine that loses power may lose the last moments, and is consistent.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import apsw
import msgspec

from perpstrader.domain.errors import StateError
from perpstrader.paper.engine import (
    AccountMemory,
    AccountRows,
    Event,
    Exchange,
    Fill,
    FillEvent,
    FundingEvent,
    LedgerEvent,
    OrderStatus,
    OrderUpdate,
    TradeEvent,
    TwapEvent,
    VenueMemory,
)
from perpstrader.paper.server.agents import Agent
from perpstrader.paper.server.world import World
from perpstrader.venue.wire.nonces import NonceRule

T = TypeVar("T")
FILE_NAME: Final = "paper.db"
_LOCK: Final = "paper.lock"
_BUSY_MS: Final = 5_000
"""Who copies the file meanwhile holds it for a moment at most."""
PRUNE_EVERY: Final = 5_000
"""Rows of one account and kind after which those that nobody can read any more are deleted."""
SCHEMA_VERSION: Final = 1
_FILL, _STATUS, _FUNDING, _LEDGER, _TWAP = "fill", "status", "funding", "ledger", "twap"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS part (name TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS account (user TEXT PRIMARY KEY, place INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY, user TEXT NOT NULL, kind TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS history_of ON history (user, kind, id);
CREATE TABLE IF NOT EXISTS signer (address TEXT PRIMARY KEY, nonces BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS budget (user TEXT PRIMARY KEY, used INTEGER NOT NULL);
"""


class PaperStoreError(StateError):
    """The exchange's file cannot be used: damaged, newer, in use, or of another market."""


class PaperStore:
    """The file of one exchange in ``folder``; one process at a time. ``recall`` first, then ``keep`` each change."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._written: Counter[tuple[str, str]] = Counter()
        self._parts: dict[str, bytes] = {}
        self._encode = msgspec.msgpack.Encoder().encode
        self._lock = self._claim(folder)
        try:
            self._db = apsw.Connection(str(self.path))
            self._db.set_busy_timeout(_BUSY_MS)
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
                self._db.execute(f"PRAGMA {pragma}").fetchall()
            version = self._db.execute("PRAGMA user_version").get
            if version > SCHEMA_VERSION:
                raise PaperStoreError(f"{self.path} was written by a newer version of this program: use that one.")
            self._db.execute(f"{_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}")
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, apsw.Error):
                raise PaperStoreError(f"{self.path} cannot be used as the paper exchange's file: {error}") from None
            raise

    def _claim(self, folder: Path) -> int:
        """The lock that the kernel holds for this process; SQLite's own stay free for whoever copies the file."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise PaperStoreError(f"{self.path} cannot be used as the paper exchange's file: {error}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise PaperStoreError(f"{self.path} is in use by another paper exchange: stop that one first.") from None
        return lock

    def close(self) -> None:
        """Release the file."""
        self._db.close()
        os.close(self._lock)

    # --- out ---

    def last_prices(self) -> dict[str, float]:
        """The last mark of each coin in USD, for a feed that goes on near them."""
        venue = self._part("venue", VenueMemory)
        if venue is None:
            return {}
        return {row.coin: row.mark / 10 ** (6 - row.size_decimals) for row in venue.markets if row.mark}

    def recall(self, engine: Exchange, world: World) -> None:
        """Let a fresh exchange go on with what the file holds; raises ``PaperStoreError`` if it is of other coins."""
        venue = self._part("venue", VenueMemory)
        if venue is None:
            return
        try:
            accounts = [
                (msgspec.msgpack.decode(data, type=AccountMemory), self._rows(user, engine))
                for user, data in self._db.execute("SELECT user, data FROM account ORDER BY place")
            ]
        except msgspec.DecodeError as error:
            raise PaperStoreError(f"{self.path} is damaged: {error}") from None
        offered = {asset.coin: asset.size_decimals for asset in engine.assets}
        used = _coins_in_use(venue, accounts)
        for row in venue.markets:
            if row.coin in used and offered.get(row.coin) != row.size_decimals:
                raise PaperStoreError(
                    f"{self.path} has accounts in {row.coin}, which this market does not have as it was then: "
                    "start it with the same symbols, or with another data directory."
                )
        markets = [row for row in venue.markets if offered.get(row.coin) == row.size_decimals]
        engine.recall(msgspec.structs.replace(venue, markets=markets), accounts)
        world.agents.restore(self._part("agents", list[Agent]) or [])
        world.modes.update(self._part("modes", dict[str, str]) or {})
        for address, nonces in self._db.execute("SELECT address, nonces FROM signer"):
            world.nonces[address] = _rule(msgspec.msgpack.decode(nonces, type=list[int]))
        world.budget.used.update(dict(self._db.execute("SELECT user, used FROM budget")))

    # --- in ---

    def keep(self, world: World, events: Sequence[Event], users: Iterable[str], signer: str | None) -> None:
        """Commit what has changed: these events, these accounts as they are now, and that signer's nonces."""
        try:
            self._commit(world, events, users, signer)
        except BaseException:
            self._parts.clear()  # what was rolled back is not in the file
            raise

    def _commit(self, world: World, events: Sequence[Event], users: Iterable[str], signer: str | None) -> None:
        engine = world.exchange
        touched = dict.fromkeys([*users, *(event.user for event in events if not isinstance(event, TradeEvent))])
        with self._db:
            self._put_part("venue", engine.remember_venue())
            for place, user in enumerate(engine.users()):
                if user in touched:
                    self._db.execute(
                        "INSERT INTO account VALUES (?1, ?2, ?3) ON CONFLICT (user) DO UPDATE SET data = ?3",
                        (user, place, self._encode(engine.remember(user))),
                    )
            rows = [(user, kind, self._encode(row)) for user, kind, row in _history(events)]
            self._db.executemany("INSERT INTO history (user, kind, data) VALUES (?, ?, ?)", rows)
            for user, kind, _ in rows:
                self._count(user, kind, engine)
            if signer is not None:
                self._keep_signer(world, signer, touched)

    def _count(self, user: str, kind: str, engine: Exchange) -> None:
        """One row more; the file keeps what the exchange itself remembers, and some."""
        self._written[user, kind] += 1
        if self._written[user, kind] % PRUNE_EVERY or kind == _LEDGER:
            return
        kept = engine.config.order_history if kind in (_STATUS, _TWAP) else engine.config.fill_history
        self._db.execute(
            "DELETE FROM history WHERE user = ?1 AND kind = ?2 AND id <= "
            "(SELECT id FROM history WHERE user = ?1 AND kind = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
            (user, kind, kept),
        )

    def _keep_signer(self, world: World, signer: str, users: Mapping[str, None]) -> None:
        nonces = self._encode(world.nonces[signer].remembered())
        self._db.execute("INSERT OR REPLACE INTO signer VALUES (?, ?)", (signer, nonces))
        for user in users:
            self._db.execute("INSERT OR REPLACE INTO budget VALUES (?, ?)", (user, world.budget.used.get(user, 0)))
        self._put_part("agents", world.agents.all())
        self._put_part("modes", world.modes)

    def _put_part(self, name: str, value: object) -> None:
        data = self._encode(value)
        if self._parts.get(name) != data:
            self._db.execute("INSERT OR REPLACE INTO part VALUES (?, ?)", (name, data))
            self._parts[name] = data

    def _part(self, name: str, kind: type[T]) -> T | None:
        data = self._db.execute("SELECT data FROM part WHERE name = ?", (name,)).get
        try:
            return None if data is None else msgspec.msgpack.decode(data, type=kind)
        except msgspec.DecodeError as error:
            raise PaperStoreError(f"{self.path} is damaged: {error}") from None

    def _rows(self, user: str, engine: Exchange) -> AccountRows:
        fills, orders = engine.config.fill_history, engine.config.order_history
        return AccountRows(
            fills=self._newest(user, _FILL, fills, Fill),
            statuses=self._newest(user, _STATUS, orders, OrderStatus),
            funding=self._newest(user, _FUNDING, fills, FundingEvent),
            ledger=self._newest(user, _LEDGER, -1, LedgerEvent),
            twaps=self._newest(user, _TWAP, orders, TwapEvent),
        )

    def _newest(self, user: str, kind: str, limit: int, of: type[T]) -> list[T]:
        """The newest rows, oldest first; -1: all."""
        rows = self._db.execute(
            "SELECT data FROM history WHERE user = ? AND kind = ? ORDER BY id DESC LIMIT ?", (user, kind, limit)
        )
        return [msgspec.msgpack.decode(data, type=of) for (data,) in rows][::-1]


def _history(events: Sequence[Event]) -> Iterable[tuple[str, str, object]]:
    for event in events:
        if isinstance(event, FillEvent):
            yield event.user, _FILL, event.fill
        elif isinstance(event, OrderUpdate):
            yield event.user, _STATUS, OrderStatus(event.order, event.status, event.status_ms)
        elif isinstance(event, FundingEvent):
            yield event.user, _FUNDING, event
        elif isinstance(event, LedgerEvent):
            yield event.user, _LEDGER, event
        elif isinstance(event, TwapEvent):
            yield event.user, _TWAP, event


def _coins_in_use(venue: VenueMemory, accounts: Iterable[tuple[AccountMemory, AccountRows]]) -> set[str]:
    used = {row.coin for row in venue.markets if row.outside_size or row.outside_cash}
    for memory, rows in [*accounts, (venue.liquidator, None)]:
        used.update(row.coin for row in memory.positions)
        used.update(row.coin for row in memory.open_orders)
        used.update(row.coin for row in memory.twaps)
        if rows is not None:
            used.update(row.order.coin for row in rows.statuses)
            used.update(row.coin for row in rows.fills)
            used.update(row.twap.coin for row in rows.twaps)
    return used


def _rule(nonces: Sequence[int]) -> NonceRule:
    rule = NonceRule()
    for nonce in nonces:
        rule.use(nonce, nonce)
    return rule
