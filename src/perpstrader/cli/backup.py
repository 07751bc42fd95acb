"""``perpstrader backup``: a whole copy of what a trader must not lose, beside a running one or without one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perpstrader import __version__
from perpstrader.cli.options import Config, DataDir, Json, settings_from
from perpstrader.cli.output import print_json
from perpstrader.runtime import SystemClock
from perpstrader.trader.backup import make_backup

app = typer.Typer(add_completion=False)


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="DIR_OR_FILE", help="A new directory, or a new file named *.tar.")],
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Copy state, traces, the paper exchange's accounts and the settings without secrets, whole or not at all.

    The trader may run meanwhile. Restore it with `perpstrader restore`.
    """
    settings = settings_from(config, data_dir)
    manifest = make_backup(
        settings, settings.data_dir, target, made_ms=SystemClock().now_ms(), version=__version__
    )
    if as_json:
        print_json(manifest)
        return
    print(f"backup: {target}")
    for line in manifest.lines():
        print(f"  {line}")
    if any(file.name == "paper-key" for file in manifest.files):
        print("  it holds the paper account's key, which is worth nothing elsewhere; no other secret")
    else:
        print("  it holds no key and no token: keep those apart")
