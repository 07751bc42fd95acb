"""What several verbs take: options, settings from them, durations, and where the data lies."""

from __future__ import annotations

import os
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Final

import typer

from perpstrader.settings import Settings, load

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Where state, traces and run files lie.")
]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The settings file to read.")]
Json = Annotated[bool, typer.Option("--json", help="Print for a program: one line of JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]


def seconds(text: str) -> float:
    """A duration such as ``20s``, ``250ms``, ``5m``, ``1h``; a bare number is seconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or float(match[1]) <= 0:
        raise typer.BadParameter(f"{text!r} is no duration; write 20s, 250ms, 5m or 1h")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def number(text: str) -> str:
    """A price or size above 0 as the venue takes them, such as ``94000.5``; its digits are kept as they are."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value <= 0:
        raise typer.BadParameter(f"{text!r} is no price or size; write a number above 0, such as 94000.5")
    return text


def settings_from(config: Path | None, data_dir: Path | None, **overrides: object) -> Settings:
    """The settings of this command line; ``venue__network`` stands for ``venue.network``."""
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    return load(config, os.environ, {"data.dir": data_dir, **given})


def place(data_dir: Path | None, config: Path | None) -> Path:
    """The data directory. One that is named needs no settings: a halt must not fail for a mistake in a file."""
    return data_dir if data_dir is not None else settings_from(config, None).data_dir


def actor() -> str:
    """Who commands from this terminal, for the record."""
    return f"terminal:{os.environ.get('USER') or os.getuid()}"[:64]
