"""``perpstrader init``: a settings file to begin with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from perpstrader.cli.exits import CliError
from perpstrader.settings.sources import FILE_NAME
from perpstrader.settings.template import template

app = typer.Typer(add_completion=False)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write it; the working directory.")] = Path(),
) -> None:
    """Write a perpstrader.toml with the settings that are changed first, each explained; an existing file is kept."""
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(template())
    except FileExistsError:
        what = "is there already" if path.exists() else f"cannot be written: {folder} is no directory"
        raise CliError(f"{path} {what}; nothing was changed: name another directory, or edit it") from None
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror or error}; name another directory") from error
    print(f"{path} is written; it changes nothing until a line in it is uncommented")
    print(f"  check it: perpstrader config check --config {path} · look around: perpstrader doctor --config {path}")
