"""The ``perpstrader`` command: one file a verb, loaded when it is asked for; a skin over the trader's commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from perpstrader.cli._main import main as _main

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command line (without the program's name) and exit with its code: see ``perpstrader.cli.exits``."""
    _main(argv)
