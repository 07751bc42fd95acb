"""Backups of a data directory: one consistent copy of each store, made beside a running trader or without one.

A backup is a directory, or the same as one ``.tar`` file. ``backup.json`` in it says what it holds, with the size and
SHA-256 of each file. It holds no secret of real money: not the settings' keys and tokens, nor the control port's token;
of a paper account without a key of its own it holds the key that the paper exchange knows it by.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

import apsw
import msgspec

from perpstrader.domain.errors import StateError, UsageError
from perpstrader.domain.wording import plural
from perpstrader.settings import Settings
from perpstrader.state import mark_as_backup, owner_of

FORMAT: Final = 1
MANIFEST: Final = "backup.json"
SETTINGS: Final = "settings.json"
STATE: Final = "state.db"
STORES: Final = (STATE, "traces.db", "exchange/paper.db", "paper.db")
"""In the order of their copies: what the venue knows is never older than what the trader knows of it."""
KEY: Final = "paper-key"
_BUSY_MS: Final = 10_000
_SPARE_BYTES: Final = 16 * 1024 * 1024
_COUNTS: Final = {
    "fill": ("state.db", "SELECT count(*) FROM fills"),
    "open position": ("state.db", "SELECT count(*) FROM episodes WHERE ended_ms IS NULL"),
    "halt": ("state.db", "SELECT count(*) FROM halts WHERE released_ms IS NULL"),
    "trace": ("traces.db", "SELECT count(*) FROM trace"),
}


class BackupError(StateError):
    """A backup that cannot be made, or that must not be restored; nothing was left behind."""


class BackupFile(msgspec.Struct, frozen=True):
    """One file of a backup."""

    name: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds; ``made_ms`` is UTC, ``counts`` are of the stores."""

    format: int
    version: str
    made_ms: int
    account: str
    network: str
    counts: dict[str, int]
    files: tuple[BackupFile, ...]

    def lines(self) -> list[str]:
        """The same for a person."""
        counts = ", ".join(plural(count, name) for name, count in self.counts.items())
        total = sum(file.bytes for file in self.files)
        names = ", ".join(file.name for file in self.files)
        return [
            f"account {self.account} on {self.network}: {counts}",
            f"{total / 1e6:.1f} MB in {plural(len(self.files), 'file')}: {names}",
        ]


def make_backup(settings: Settings, data_dir: Path, target: Path, *, made_ms: int, version: str) -> Manifest:
    """``target`` is a whole backup of ``data_dir``, or it is not there and ``BackupError`` says why."""
    if not (data_dir / STATE).is_file():
        raise UsageError(f"there is no {STATE} in {data_dir}: nothing to back up; name another --data-dir")
    if target.exists():
        raise UsageError(f"{target} exists already; name another place for the backup")
    account, network = owner_of(data_dir / STATE)
    partial = target.with_name(target.name + ".partial")
    with _guarded(target, partial):
        _check_room(data_dir, target)
        partial.mkdir(parents=True, mode=0o700)
        names = [name for name in STORES if (data_dir / name).is_file()]
        for name in names:
            _copy_store(data_dir / name, partial / name)
        if (data_dir / KEY).is_file():
            _write(partial / KEY, (data_dir / KEY).read_bytes())
            names.append(KEY)
        _write(partial / SETTINGS, msgspec.json.format(msgspec.json.encode(settings.redacted())))
        manifest = Manifest(
            format=FORMAT, version=version, made_ms=made_ms, account=account, network=network,
            counts={what: _count(partial / name, sql) for what, (name, sql) in _COUNTS.items() if name in names},
            files=tuple(_described(partial, name) for name in [*names, SETTINGS]),
        )  # fmt: skip
        _write(partial / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        _publish(partial, target)
    return manifest


def restore(
    backup: Path,
    data_dir: Path,
    settings: Settings,
    account: str | None,
    prepare: Callable[[Path, Manifest], object] = lambda folder, manifest: None,
) -> Manifest:
    """``data_dir`` holds the backup's files, checked to the last byte; whoever opens its ``state.db`` renews the epoch.

    ``prepare`` has opened the store, in a folder beside, before any of it is there. ``account`` is the one that the
    settings name, ``None`` where they leave it to the paper key. Raises ``BackupError`` or ``UsageError``, and has then
    changed nothing.
    """
    for name in (*STORES, KEY):
        if (data_dir / name).exists():
            raise UsageError(f"{data_dir} holds a {name} already; a restore takes a directory without a store")
    place = data_dir.absolute()
    partial = place.with_name(place.name + ".restoring")
    with _guarded(data_dir, partial):
        partial.mkdir(parents=True, mode=0o700)
        _unpack(backup, partial)
        manifest = _checked(partial, backup)
        _check_owner(manifest, settings, account)
        prepare(partial, manifest)
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The state last: a directory without it is no store, and no trader begins in half a restore unnoticed.
        for file in sorted(manifest.files, key=lambda file: file.name == STATE):
            if file.name != SETTINGS:
                (data_dir / file.name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(partial / file.name, data_dir / file.name)
        shutil.rmtree(partial)
    return manifest


@contextmanager
def _guarded(target: Path, partial: Path) -> Iterator[None]:
    """Whatever fails is told in one sentence, and the half-made copy is removed."""
    if partial.exists():
        shutil.rmtree(partial, ignore_errors=True)
    try:
        yield
    except apsw.Error as error:
        raise BackupError(f"{target} was not made: a store could not be copied ({error}); nothing was left") from error
    except OSError as error:
        raise BackupError(f"{target} was not made: {error.strerror or error}; nothing was left") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_room(data_dir: Path, target: Path) -> None:
    needed = sum((data_dir / name).stat().st_size for name in STORES if (data_dir / name).is_file()) + _SPARE_BYTES
    parent = next(folder for folder in target.absolute().parents if folder.exists())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise BackupError(f"{target} needs {needed / 1e6:.0f} MB, and {parent} has {free / 1e6:.0f} MB left")


def _copy_store(source: Path, target: Path) -> None:
    """One moment of a SQLite file, while others may write to it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    original = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        original.set_busy_timeout(_BUSY_MS)
        original.execute("PRAGMA query_only = ON")
        copy = apsw.Connection(str(target))
        try:
            with copy.backup("main", original, "main") as work:
                work.step()
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
            if source.name == STATE:
                mark_as_backup(copy)
        finally:
            copy.close()
    finally:
        original.close()
    os.chmod(target, 0o600)


def _count(path: Path, sql: str) -> int:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(connection.execute(sql).get)
    finally:
        connection.close()


def _described(folder: Path, name: str) -> BackupFile:
    path = folder / name
    return BackupFile(name, path.stat().st_size, _digest(path))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)


def _publish(partial: Path, target: Path) -> None:
    if target.suffix != ".tar":
        os.replace(partial, target)
        return
    whole = partial / target.name
    with tarfile.open(whole, "x") as archive:
        for path in sorted(path for path in partial.rglob("*") if path.is_file() and path != whole):
            archive.add(path, arcname=path.relative_to(partial).as_posix())
    os.chmod(whole, 0o600)
    os.replace(whole, target)


def _unpack(backup: Path, folder: Path) -> None:
    """The backup's known files, and nothing else that an archive may hold, are in ``folder``."""
    wanted = {*STORES, KEY, SETTINGS, MANIFEST}
    if backup.is_dir():
        for name in wanted:
            if (backup / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(backup / name, folder / name)
                os.chmod(folder / name, 0o600)
        return
    try:
        with tarfile.open(backup, "r:") as archive:
            for member in archive:
                name = str(PurePosixPath(member.name))
                source = archive.extractfile(member) if name in wanted and member.isreg() else None
                if source is not None:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    with source, (folder / name).open("wb") as file:
                        shutil.copyfileobj(source, file)
                    os.chmod(folder / name, 0o600)
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(f"{backup} is no backup that can be read: {error}") from error


def _checked(folder: Path, backup: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise UsageError(f"{backup} is no backup: it has no {MANIFEST}") from None
    except msgspec.DecodeError as error:
        raise BackupError(f"{backup} is damaged: its {MANIFEST} cannot be read ({error})") from error
    if manifest.format > FORMAT:
        raise BackupError(f"{backup} was made by a newer program ({manifest.version}); restore it with that one")
    if STATE not in [file.name for file in manifest.files]:
        raise BackupError(f"{backup} is damaged: it names no {STATE}")
    for file in manifest.files:
        path = folder / file.name
        if file.name not in {*STORES, KEY, SETTINGS} or not path.is_file() or _digest(path) != file.sha256:
            raise BackupError(f"{backup} is damaged: {file.name} is not what was backed up; take another backup")
    return manifest


def _check_owner(manifest: Manifest, settings: Settings, account: str | None) -> None:
    network = settings.venue.network
    if manifest.network != network:
        raise BackupError(
            f"the backup is of {manifest.network}, the settings say {network}; set venue.network to {manifest.network}"
        )
    if account is not None and manifest.account != account:
        raise BackupError(
            f"the backup is of account {manifest.account}, the settings are for {account}; use that account's settings"
        )
