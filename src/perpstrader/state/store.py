"""The store: one function, one transaction, on disk before the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import apsw

from perpstrader.domain.errors import StateError
from perpstrader.runtime.executor import Executor
from perpstrader.state import database
from perpstrader.state.audit import AuditRepository
from perpstrader.state.breakers import BreakersRepository
from perpstrader.state.episodes import EpisodesRepository
from perpstrader.state.halts import HaltsRepository
from perpstrader.state.intents import IntentsRepository
from perpstrader.state.ledger import LedgerRepository
from perpstrader.state.meta import MetaRepository
from perpstrader.state.risk import RiskRepository
from perpstrader.state.signals import SignalsRepository

T = TypeVar("T")
WriteWatch = Callable[[], Callable[[BaseException | None], None]]
"""Told that a write begins; what it returns is told how it ended."""


class Transaction:
    """What a transaction may touch, one repository a subject; valid only inside the function it was handed to."""

    __slots__ = ("audit", "breakers", "episodes", "halts", "intents", "ledger", "meta", "risk", "signals")

    def __init__(self, connection: apsw.Connection) -> None:
        self.meta = MetaRepository(connection)
        self.intents = IntentsRepository(connection)
        self.signals = SignalsRepository(connection)
        self.ledger = LedgerRepository(connection)
        self.halts = HaltsRepository(connection)
        self.risk = RiskRepository(connection, self.halts)
        self.episodes = EpisodesRepository(connection)
        self.audit = AuditRepository(connection)
        self.breakers = BreakersRepository(connection)


class StateStore:
    """What the trader must not forget: a change is on disk when ``transact`` returns, whole or not at all.

    One connection, used on the executor alone. Errors of the file come as ``StateError``; what the function itself
    raises passes through.
    """

    def __init__(
        self, connection: apsw.Connection, path: Path | None, executor: Executor, new_epoch: Callable[[], int]
    ) -> None:
        self._connection = connection
        self._path = path
        self._executor = executor
        self._new_epoch = new_epoch
        self._transaction = Transaction(connection)
        self._epoch = self._transaction.meta.epoch()
        self._inode = None if path is None else path.stat().st_ino
        self._closed = False
        self.watch: WriteWatch = lambda: lambda error: None

    @classmethod
    async def open(
        cls,
        path: Path | None,
        *,
        executor: Executor,
        account: str,
        network: str,
        new_epoch: Callable[[], int],
        durable: bool = True,
    ) -> Self:
        """The store of this account on this network, created where there is none; ``path`` ``None`` keeps it in memory.

        ``new_epoch`` draws a random 64-bit number, called once for a new, restored or copied file. Raises
        ``StateError`` as ``open_database`` does; the caller then refuses to start, or starts halted. The executor stays
        the caller's to close.
        """

        def connect() -> apsw.Connection:
            return database.open_database(
                path, account=account, network=network, new_epoch=new_epoch, durable=durable
            )

        return await executor.run(lambda: cls(connect(), path, executor, new_epoch))

    @property
    def epoch(self) -> int:
        """The epoch that new cloids carry."""
        return self._epoch

    @property
    def path(self) -> Path | None:
        """The file, ``None`` in memory."""
        return self._path

    def is_in_place(self) -> bool:
        """False when the file was moved, replaced or deleted: SQLite writes on into what no start will find."""
        if self._path is None:
            return True
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    async def transact(self, fn: Callable[[Transaction], T], *, timeout_s: float | None = None) -> T:
        """``fn`` ran in one transaction, committed before this returns; an exception undoes all of it and is raised.

        After a ``TimeoutError`` the outcome is open: the commit may still come. ``fn`` must not keep the transaction
        nor block on anything else.
        """
        ended = self.watch()
        try:
            result = await self._executor.run(lambda: self._write(fn), timeout_s=timeout_s)
        except BaseException as error:
            ended(error)
            raise
        ended(None)
        return result

    async def read(self, fn: Callable[[Transaction], T], *, timeout_s: float | None = None) -> T:
        """``fn`` saw one consistent moment; a write inside it is undone and raises ``StateError``."""
        return await self._executor.run(lambda: self._read(fn), timeout_s=timeout_s)

    async def renew_epoch(self) -> int:
        """New cloids carry a new epoch from now on, for an operator who cloned the account's machine; the new epoch."""
        epoch = self._new_epoch()
        await self.transact(lambda tx: tx.meta.renew_epoch(epoch))
        self._epoch = epoch
        return epoch

    async def backup(self, target: Path) -> None:
        """A complete copy of this moment is at ``target``, which must not exist; opened, it takes a new epoch."""
        await self._executor.run(lambda: database.backup(self._open(), target))

    async def checkpoint(self) -> None:
        """The write-ahead log is folded into the main file; it is bounded without this, too."""
        await self._executor.run(lambda: self._guard(database.checkpoint))

    async def close(self) -> None:
        """Nothing is open any more; calling it twice does no harm."""
        await self._executor.run(self._close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _write(self, fn: Callable[[Transaction], T]) -> T:
        return self._guard(lambda connection: self._in_transaction(connection, fn))

    def _in_transaction(self, connection: apsw.Connection, fn: Callable[[Transaction], T]) -> T:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = fn(self._transaction)
            connection.execute("COMMIT")
            return result
        except BaseException:
            database.rollback(connection)
            raise

    def _read(self, fn: Callable[[Transaction], T]) -> T:
        def snapshot(connection: apsw.Connection) -> T:
            before = connection.total_changes()
            connection.execute("BEGIN")
            try:
                result = fn(self._transaction)
            finally:
                database.rollback(connection)
            if connection.total_changes() != before:
                raise StateError("a read of the state tried to write and was undone; use transact for changes")
            return result

        return self._guard(snapshot)

    def _guard(self, work: Callable[[apsw.Connection], T]) -> T:
        connection = self._open()
        try:
            return work(connection)
        except apsw.Error as error:
            raise database.explain(error, self._path) from error

    def _open(self) -> apsw.Connection:
        if self._closed:
            raise StateError("the state store is closed; nothing can be read or written any more")
        return self._connection

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._connection.close()
