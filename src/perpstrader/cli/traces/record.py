"""Where the record lies, in a file or in the database that bots share, and opening it for one verb."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, NamedTuple, TypeVar

import typer

from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import place, settings_from
from perpstrader.domain.wording import plural
from perpstrader.traces import TraceStore as FileStore
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.postgres.address import is_address

T = TypeVar("T")
DAY_MS: Final = 86_400_000
_BUSY_MS: Final = 5_000
"""A verb that writes waits so long for a running trader's commit."""
_FINGERPRINT: Final = re.compile(r"[0-9a-fA-F]{4,64}")
Replay = Annotated[
    str | None, typer.Option("--replay", metavar="latest|FINGERPRINT", help="The record of a replay, not the live one.")
]
StoreAt = Annotated[
    str | None,
    typer.Option("--store", metavar="shared|postgresql://…", help="The record that bots share, not this machine's."),
]
Bot = Annotated[str | None, typer.Option("--bot", help="Of a shared record: bots whose account begins so.")]


class Shared(NamedTuple):
    """The record at an address that may hold a password, of some bots or of all."""

    url: str
    bot: str | None


def record_of(
    data_dir: Path | None, config: Path | None, replay: str | None, store: str | None, bot: str | None
) -> Path | Shared:
    """The record that is meant; ``CliError`` where nothing is, or where two are."""
    if store is None:
        if bot is not None:
            raise CliError("--bot names bots of a shared record: give --store, too", ExitCode.USAGE)
        return record_file(data_dir, config, replay)
    if replay is not None:
        raise CliError("--store and --replay name two records: give one of them", ExitCode.USAGE)
    if is_address(store):
        return Shared(store, bot)
    if store != "shared":
        raise CliError("--store is `shared`, for the database of the settings, or postgresql://…", ExitCode.USAGE)
    url = settings_from(config, data_dir).traces.postgres_url
    if url is None:
        raise CliError("the settings name no shared record: set traces.postgres_url (TRACE_POSTGRES_URL)")
    return Shared(url.get_secret_value(), bot)


def archived_words(months: Sequence[str]) -> str:
    """The end of a sentence that tells which months lie in files; empty where none does."""
    if not months:
        return ""
    span = months[0] if len(months) == 1 else f"{months[0]} to {months[-1]}"
    return f"; {plural(len(months), 'month')} archived ({span}): `perpstrader traces restore MONTH` brings one back"


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


def with_store(where: Path | Shared, work: Callable[[TraceStore], Awaitable[T]], *, read_only: bool = True) -> T:
    """What ``work`` gives of the record; a running trader may go on writing it meanwhile."""
    if isinstance(where, Path):
        return with_file(where, work, read_only=read_only)

    async def main() -> T:
        async with FileStore.open(where.url, bot=where.bot) as store:
            return await work(store)

    return asyncio.run(main())


def with_file(path: Path, work: Callable[[FileStore], Awaitable[T]], *, read_only: bool = True) -> T:
    """As ``with_store``, for what a file alone can do."""

    async def main() -> T:
        async with FileStore.open(path, read_only=read_only, busy_ms=_BUSY_MS) as store:
            return await work(store)

    return asyncio.run(main())
