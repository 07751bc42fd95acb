"""``perpstrader restore``: a backup becomes a data directory of its own, halted until somebody has looked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perpstrader.cli import offline
from perpstrader.cli.options import Config, Json, actor, settings_from
from perpstrader.cli.output import print_json
from perpstrader.domain.wording import moment_text
from perpstrader.trader.account import named_account
from perpstrader.trader.backup import Manifest
from perpstrader.trader.backup import restore as restore_files

app = typer.Typer(add_completion=False)


@app.command()
def restore(
    backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="What `perpstrader backup` made.", exists=True)],
    data_dir: Annotated[Path, typer.Option("--data-dir", metavar="NEW", help="A directory without a store.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Make a data directory of a backup. New orders take a new epoch, so that none repeats one of the original.

    Entries are halted until `perpstrader resume`: halts and fills since the backup are not in it. Fills are read from
    the venue at the start. The original must not trade the account any more.
    """
    settings = settings_from(config, data_dir)
    manifest = restore_files(backup, data_dir, settings, named_account(settings), _halt)
    since = moment_text(manifest.made_ms)
    if as_json:
        print_json(manifest)
        return
    print(f"restored {backup} of {since} UTC to {data_dir}")
    for line in manifest.lines():
        print(f"  {line}")
    print("  new orders bear a new epoch; entries are halted, because what was halted since the backup is not known")
    print(f"  next: perpstrader run --data-dir {data_dir}, look, then perpstrader resume --reason TEXT --yes")


def _halt(folder: Path, manifest: Manifest) -> None:
    """The store's first change: a new epoch, and no entry until somebody has looked."""
    since = moment_text(manifest.made_ms)
    offline.halt(folder, f"restored from a backup of {since} UTC; halts set since then are not known", actor())
