"""One writer an account: a file lock that a second process meets with a clear sentence (S75)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from perpstrader.domain.errors import AccountLockedError


class AccountLock:
    """Held from ``with`` to its end, and by the kernel no longer than the process lives, kill -9 included."""

    def __init__(self, path: Path, account: str) -> None:
        self._path = path
        self._account = account
        self._fd: int | None = None

    def __enter__(self) -> AccountLock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(fd, 64).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise AccountLockedError(
                f"another trader (process {holder}) already trades account {self._account} with {self._path.parent}; "
                "stop it first, or give this one another --data-dir and account"
            ) from error
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def lock_holder(path: Path) -> int | None:
    """The process id that holds the lock at ``path``, or ``None`` when it is free; changes nothing."""
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    except OSError:
        text = os.read(fd, 64).decode(errors="replace").strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(fd)
