"""Where the record lies, and opening it for one verb."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from perpstrader.cli.exits import CliError
from perpstrader.cli.options import place
from perpstrader.traces import TraceStore

T = TypeVar("T")
DAY_MS: Final = 86_400_000
_BUSY_MS: Final = 5_000
"""A verb that writes waits so long for a running trader's commit."""
_FINGERPRINT: Final = re.compile(r"[0-9a-fA-F]{4,64}")
Replay = Annotated[
    str | None, typer.Option("--replay", metavar="latest|FINGERPRINT", help="The record of a replay, not the live one.")
]


def record_file(data_dir: Path | None, config: Path | None, replay: str | None) -> Path:
    """The ``traces.db`` that is meant; ``CliError`` where nothing is recorded."""
    folder = place(data_dir, config)
    path = (folder if replay is None else _replay_folder(folder / "replays", replay)) / "traces.db"
    if not path.exists():
        raise CliError(f"nothing is recorded at {path}; name the --data-dir that the trader ran with")
    return path


def _replay_folder(replays: Path, name: str) -> Path:
    """The folder of a replay by the beginning of its fingerprint, or of the newest."""
    kept = [f for f in replays.iterdir() if f.name[0] != "."] if replays.is_dir() else []
    found = [folder for folder in kept if (folder / "traces.db").exists()]
    folders = [folder for folder in found if not folder.is_symlink()]
    if not folders:
        raise CliError(f"no replay is kept in {replays}; `perpstrader replay PATH` makes one")
    if name == "latest":
        link = replays / "latest"
        return link if link in found else max(folders, key=lambda folder: folder.stat().st_mtime)
    matching = [f for f in folders if _FINGERPRINT.fullmatch(name) and f.name.startswith(name.lower())]
    if len(matching) != 1:
        known = ", ".join(sorted(f.name[:12] for f in folders)[:5])
        raise CliError(f"--replay {name} names {len(matching)} replays; give latest, or enough of one of {known}")
    return matching[0]


def with_store(path: Path, work: Callable[[TraceStore], Awaitable[T]], *, read_only: bool = True) -> T:
    """What ``work`` gives of the record; a running trader may go on writing it meanwhile."""

    async def main() -> T:
        async with TraceStore.open(path, read_only=read_only, busy_ms=_BUSY_MS) as store:
            return await work(store)

    return asyncio.run(main())
