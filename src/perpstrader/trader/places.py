"""Where a run keeps its files: looked at before anything is opened; a bad place costs a sentence and no trade."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from perpstrader.domain.errors import StateError, UsageError
from perpstrader.traces.errors import TraceError, TraceFileError
from perpstrader.traces.trial import check_writing

_MIB: Final = 1 << 20


def prepare_folder(data_dir: Path) -> None:
    """The data directory is there and can be written to; raises ``UsageError`` or ``StateError`` with what to do."""
    blocked = next((folder for folder in (data_dir, *data_dir.parents) if folder.exists()), data_dir)
    if not blocked.is_dir():
        raise UsageError(f"{blocked} is a file where the data directory {data_dir} wants a directory; name another")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(
            f"the data directory {data_dir} cannot be made: {error.strerror}; name another, or change the rights"
        ) from error
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise StateError(f"the data directory {data_dir} cannot be written to; name another, or change the rights")


def check_room(
    data_dir: Path, least_bytes: int, *, free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free
) -> None:
    """Raises ``StateError`` where the disk is nearly full: what is to be remembered could not be written."""
    left = free(data_dir)
    if left < least_bytes:
        raise StateError(
            f"the disk of {data_dir} has {left / _MIB:.0f} MiB left, data.min_free_bytes asks for "
            f"{least_bytes / _MIB:.0f} MiB; free space, then start again: nothing was opened, nothing is traded"
        )


def set_aside_damaged(path: Path, now_ms: int) -> Path | None:
    """A trace store that takes no decision any more is moved out of the way, so that recording goes on (S62).

    Returns where it is now, ``None`` where the file can be opened or is not there. Only the decision record is treated
    so: a damaged ``state.db`` is for a person.
    """
    if not path.exists():
        return None
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            check_writing(connection, now_ms)
        finally:
            connection.close()
    except (apsw.NotADBError, apsw.CorruptError, TraceFileError):
        aside = path.with_name(f"{path.name}.damaged-{now_ms}")
        os.replace(path, aside)
        for suffix in ("-wal", "-shm"):
            if (log := Path(f"{path}{suffix}")).exists():
                os.replace(log, Path(f"{aside}{suffix}"))
        return aside
    except (apsw.Error, TraceError):
        return None  # locked, or not to be read: whoever opens it says so
    return None
