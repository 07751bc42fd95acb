"""The file state.db: opened whole or refused with a clear sentence, migrated, bound to one account, backed up online.

One connection writes and checkpoints. SQLite before 3.51.3 can lose committed write-ahead data when two connections do
(the "WAL-reset" race); apsw brings a newer one, and an older one is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import apsw

from perpstrader.domain.errors import StateError
from perpstrader.state.meta import MetaRepository
from perpstrader.state.migrations import MIGRATIONS

_APPLICATION_ID: Final = 0x50545354
_MIN_SQLITE: Final = 3_051_003
_BUSY_MS: Final = 2_000
_WAL_PAGES: Final = 1_000
_WAL_BYTES: Final = 8 * 1024 * 1024


def open_database(
    path: Path | None, *, account: str, network: str, new_epoch: Callable[[], int], durable: bool
) -> apsw.Connection:
    """A checked, migrated connection to the account's own file (``None``: memory); a missing one is created whole.

    ``durable`` syncs each commit to the medium before it returns; without it only a crash of the machine can lose
    commits. Raises ``StateError`` for a file that is damaged, from a newer program, of another account or network, or
    held by another process.
    """
    if apsw.SQLITE_VERSION_NUMBER < _MIN_SQLITE:
        raise StateError(f"SQLite {apsw.sqlite_lib_version()} can lose committed data; install apsw 3.51.3 or newer")
    account = account.lower()
    if path is None:
        connection = _connect(":memory:", durable=False)
        _initialise(connection, account, network, new_epoch)
        return connection
    try:
        if not path.exists():
            _create(path, account, network, new_epoch, durable=durable)
        if path.stat().st_size == 0:
            raise StateError(f"the state file {path} is empty, so what it knew is lost; {_REMEDY}")
        return _open_existing(path, account, network, new_epoch, durable=durable)
    except OSError as error:
        raise StateError(
            f"the state file {path} cannot be used: {error.strerror}; check the directory and its rights"
        ) from error


def owner_of(path: Path) -> tuple[str, str]:
    """The account and the network that the file at ``path`` is bound to; raises ``StateError`` when it cannot tell."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(_BUSY_MS)
            connection.execute("PRAGMA query_only = ON")
            meta = MetaRepository(connection)
            return meta.account(), meta.network()
        finally:
            connection.close()
    except apsw.Error as error:
        raise explain(error, path) from error


def migrate(connection: apsw.Connection, steps: Sequence[str] = MIGRATIONS) -> int:
    """The file is at the newest schema; the number of steps that ran, 0 when it was already there.

    Each step commits together with its version number, so an interrupted migration goes on where it stopped. Raises
    ``StateError`` for a file from a newer program.
    """
    found, known = schema_version(connection), len(steps)
    if found > known:
        raise StateError(
            f"the state file has schema version {found}, this program knows {known};"
            " run the newer program, or use another data directory"
        )
    for version in range(found + 1, known + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(steps[version - 1])
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
        except BaseException:
            rollback(connection)
            raise
    return known - found


def schema_version(connection: apsw.Connection) -> int:
    """The schema version that the file says it has, 0 for a new one."""
    return int(connection.execute("PRAGMA user_version").get)


def rollback(connection: apsw.Connection) -> None:
    """No transaction is open; some errors (a full disk) have ended it already."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def backup(connection: apsw.Connection, target: Path) -> None:
    """``target`` is a complete copy of one moment, made while the store is in use; opened, it takes a new epoch.

    It appears whole or not at all. Raises ``StateError`` when ``target`` exists or cannot be written.
    """
    if target.exists():
        raise StateError(f"{target} exists already; name another file for the backup")
    partial = target.with_name(target.name + ".partial")
    try:
        _remove(partial)
        copy = _connect(str(partial), durable=True)
        try:
            with copy.backup("main", connection, "main") as work:
                work.step()
            copy.execute("PRAGMA journal_mode = DELETE")
            mark_as_backup(copy)
        finally:
            copy.close()
        _publish(partial, target)
    except OSError as error:
        raise StateError(f"the backup {target} cannot be written: {error.strerror}") from error
    except apsw.Error as error:
        raise explain(error, target) from error


def mark_as_backup(copy: apsw.Connection) -> None:
    """Opened as a store, the copy takes a new epoch and knows that it was restored (S11)."""
    copy.execute("INSERT OR REPLACE INTO meta VALUES ('backup', '1'); DELETE FROM meta WHERE key = 'file'").fetchall()


def checkpoint(connection: apsw.Connection) -> None:
    """All committed pages are in the main file and the write-ahead log is empty, unless a reader still needs it."""
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def explain(error: apsw.Error, path: Path | None) -> StateError:
    """The sentence for a person: what happened to the file and what to do."""
    name = "the state in memory" if path is None else f"the state file {path}"
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return StateError(f"{name} is damaged ({error}); {_REMEDY}")
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return StateError(f"{name} is held by another process for more than {_BUSY_MS} ms; stop it, then start again")
    if isinstance(error, apsw.FullError):
        return StateError(f"{name} cannot grow, the disk is full; free space, nothing that was committed is lost")
    if isinstance(error, (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError)):
        return StateError(f"{name} cannot be opened for writing ({error}); check the directory and its rights")
    return StateError(f"{name} could not be used: {error}")


_REMEDY: Final = "restore a backup, or move it away and compare positions and orders with the venue before trading on"


def _create(path: Path, account: str, network: str, new_epoch: Callable[[], int], *, durable: bool) -> None:
    # A left-over log beside a missing file is committed data of a store that somebody moved or deleted.
    if Path(f"{path}-wal").exists():
        raise StateError(
            f"{path} is missing although its log {path.name}-wal is there; put the file back, or move the log away"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        _remove(partial)
        connection = _connect(str(partial), durable=durable)
        try:
            _initialise(connection, account, network, new_epoch)
        finally:
            connection.close()
        _publish(partial, path)
    except apsw.Error as error:
        raise explain(error, path) from error


def _open_existing(
    path: Path, account: str, network: str, new_epoch: Callable[[], int], *, durable: bool
) -> apsw.Connection:
    connection: apsw.Connection | None = None
    try:
        connection = _connect(str(path), durable=durable)
        _check(connection, path)
        migrate(connection)
        connection.execute("BEGIN IMMEDIATE")
        _check_owner(connection, path, account, network)
        _renew_if_copied(connection, path, new_epoch)
        connection.execute("COMMIT")
        return connection
    except BaseException as error:
        if connection is not None:
            connection.close(True)
        if isinstance(error, apsw.Error):
            raise explain(error, path) from error
        raise


def _connect(name: str, *, durable: bool) -> apsw.Connection:
    connection = apsw.Connection(name)
    try:
        connection.set_busy_timeout(_BUSY_MS)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        connection.execute("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        connection.wal_autocheckpoint(_WAL_PAGES)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    except apsw.Error:
        connection.close(True)
        raise
    return connection


def _initialise(connection: apsw.Connection, account: str, network: str, new_epoch: Callable[[], int]) -> None:
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    migrate(connection)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO meta VALUES ('account', ?), ('network', ?)", (account, network))
    MetaRepository(connection).renew_epoch(new_epoch())
    connection.execute("COMMIT")


def _check(connection: apsw.Connection, path: Path) -> None:
    application = int(connection.execute("PRAGMA application_id").get)
    if application != _APPLICATION_ID:
        raise StateError(
            f"{path} is a database of another program (application id {application:#x}); name another data directory"
        )
    first = str(connection.execute("PRAGMA quick_check(1)").get)
    if first != "ok":
        raise StateError(f"the state file {path} is damaged ({' '.join(first.split())}); {_REMEDY}")


def _check_owner(connection: apsw.Connection, path: Path, account: str, network: str) -> None:
    meta = MetaRepository(connection)
    if (meta.account(), meta.network()) != (account, network):
        raise StateError(
            f"{path} belongs to account {meta.account()} on {meta.network()}, not to {account} on {network};"
            " use another data directory"
        )


def _renew_if_copied(connection: apsw.Connection, path: Path, new_epoch: Callable[[], int]) -> None:
    """A restored backup or a copied file never speaks under the epoch of its original (S11).

    A backup bears a mark. A plain copy shows itself by its inode; that is only a suspicion, and a new epoch costs
    nothing.
    """
    rows = connection.execute("SELECT key, value FROM meta WHERE key IN ('backup', 'file')").fetchall()
    stored = {str(key): str(value) for key, value in rows}
    inode = str(path.stat().st_ino)
    if "backup" in stored:
        connection.execute(
            "DELETE FROM meta WHERE key = 'backup'; INSERT OR REPLACE INTO meta VALUES ('restored', '1')"
        )
    if "backup" in stored or stored.get("file", inode) != inode:
        MetaRepository(connection).renew_epoch(new_epoch())
    if stored.get("file") != inode:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('file', ?)", (inode,))


def _publish(partial: Path, target: Path) -> None:
    os.chmod(partial, 0o600)
    os.replace(partial, target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _remove(partial: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{partial}{suffix}").unlink(missing_ok=True)
