"""A copy of ``traces.db`` beside it before its content is changed: ``traces.db.v4-1.backup`` and so on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import apsw

from perpstrader.traces import schema
from perpstrader.traces.errors import TraceFileError

_PAGES: Final = 1_024


def keep_before_upgrade(connection: apsw.Connection, name: str) -> Path | None:
    """The copy of a file whose content the way up to this program's version changes; ``None`` where none is needed."""
    version = schema.check_file(connection, name)
    if version == 0 or not any(step > version for step in schema.CHANGES_DATA):
        return None
    return copy_beside(connection, name, version)


def copy_beside(connection: apsw.Connection, name: str, version: int) -> Path:
    """A whole, synced copy of the open file as it is now, its owner's alone; raises ``TraceFileError`` where it fails.

    Others may go on writing the file meanwhile.
    """
    target = _free_name(name, version)
    part = target.with_name(f"{target.name}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        copy = apsw.Connection(str(part))
        try:
            with copy.backup("main", connection, "main") as backup:
                while not backup.done:
                    backup.step(_PAGES)
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()  # one file, without a log beside it
        finally:
            copy.close()
        sync_file(part)
        os.replace(part, target)
        sync_file(target.parent)
    except (OSError, apsw.Error) as error:
        part.unlink(missing_ok=True)
        raise TraceFileError(
            f"{name} has to be changed for this program, and the copy before it cannot be made: {error};"
            " free space on its disk, nothing was changed"
        ) from error
    return target


def sync_file(path: Path) -> None:
    """What was written to a file, or into a folder, is on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _free_name(name: str, version: int) -> Path:
    number = 1
    while (path := Path(f"{name}.v{version}-{number}.backup")).exists():
        number += 1
    return path
