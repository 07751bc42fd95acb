"""``perpstrader traces verify|prune|retrain``: is the record whole, and how much of it is kept."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from perpstrader.cli.answers import confirm
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json, Yes
from perpstrader.cli.output import print_json
from perpstrader.cli.traces.record import (
    Bot,
    Replay,
    StoreAt,
    archived_words,
    record_file,
    record_of,
    with_file,
    with_store,
)
from perpstrader.traces import TraceStore as FileStore
from perpstrader.traces import Verification
from perpstrader.traces.postgres.address import Address


def verify(
    replay: Replay = None,
    store_at: StoreAt = None,
    bot: Bot = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Check every digest of the chain and each summary; exit code 4 where the record is not what was written."""
    found: Verification = with_store(
        record_of(data_dir, config, replay, store_at, bot), lambda store: store.verify()
    )
    if as_json:
        print_json({"ok": found.ok, "checked": found.checked, "bad_entry": found.bad_entry, "bad_id": found.bad_id,
                    "problem": found.problem, "archived": found.archived})  # fmt: skip
    elif found.ok:
        print(f"{found.checked} entries are as they were written{archived_words(found.archived)}")
    else:
        print(f"entry {found.bad_entry} ({found.bad_id}) is not as it was written: {found.problem}")
    if not found.ok:
        raise typer.Exit(ExitCode.UNSAFE)


def prune(
    before: Annotated[str, typer.Option("--before", metavar="2025-05-12", help="Remove what is older (UTC).")],
    yes: Yes = False,
    store_at: StoreAt = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Remove old decisions for good; the sums of their days stay, and the newest day of the record always does.

    Of a shared record whole months go, of all its bots, with their sums.
    """
    try:
        day = date.fromisoformat(before)
    except ValueError:
        raise CliError(f"--before {before!r} is no day; write 2025-05-12 (UTC)", ExitCode.USAGE) from None
    path = record_of(data_dir, config, None, store_at, None)
    where = path if isinstance(path, Path) else Address(path.url)
    confirm("prune", f"removes every decision before {day} UTC from {where} for good", yes=yes)
    before_ms = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
    removed = with_store(path, lambda store: store.prune(before_ms=before_ms), read_only=False)
    if as_json:
        print_json({"removed": removed, "before_ms": before_ms})
    else:
        print(f"{removed} decisions from before {day} are removed")


def retrain(as_json: Json = False, data_dir: DataDir = None, config: Config = None) -> None:
    """Train the packing on the newest decisions; a trader uses it from its next start."""

    async def work(store: FileStore) -> int:
        return await store.retrain()

    number = with_file(record_file(data_dir, config, None), work, read_only=False)
    if as_json:
        print_json({"dictionary": number})
    else:
        print(f"dictionary {number} packs what is recorded from the next start on")
