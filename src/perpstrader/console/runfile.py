"""``run.json``: where the control port of a running trader listens, for those who have its data directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

RUN_FILE: Final = "run.json"


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """The process, its address, the account that it trades; ``started_ms`` is UTC."""

    pid: int
    url: str
    started_ms: int
    account: str
    network: str


def write_run_file(data_dir: Path, run: RunFile) -> None:
    """The file is there whole or not at all, readable by its owner alone."""
    partial = data_dir / f"{RUN_FILE}.partial"
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(run) + b"\n")
    os.replace(partial, data_dir / RUN_FILE)


def read_run_file(data_dir: Path) -> RunFile | None:
    """What a trader left there, ``None`` where there is nothing that can be read; the trader may be gone."""
    try:
        return msgspec.json.decode((data_dir / RUN_FILE).read_bytes(), type=RunFile)
    except (OSError, msgspec.DecodeError):
        return None


def remove_run_file(data_dir: Path, pid: int) -> None:
    """The file of this process is gone; another's stays."""
    run = read_run_file(data_dir)
    if run is not None and run.pid == pid:
        (data_dir / RUN_FILE).unlink(missing_ok=True)
