"""How a command's answer is shown and what its exit code is, and how a dangerous one is confirmed."""

from __future__ import annotations

import sys
from typing import Any

import typer

from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.output import print_json


def show(answer: dict[str, Any], *, as_json: bool) -> None:
    """Print what was done; exit code 1 where it was refused or done only in part."""
    if as_json:
        print_json(answer)
    else:
        print(answer["text"])
        details = answer.get("details", {})
        for refusal in details.get("refusals", [])[1:]:
            print(f"  also {refusal}")
        for line in details.get("positions", []):
            print("  " + " ".join(str(part) for part in (line.values() if isinstance(line, dict) else [line])))
        if "trace" in details:
            print(f"why: perpstrader traces explain {details['trace']}")
    if not answer["done"]:
        raise typer.Exit(ExitCode.FAILED)


def confirm(word: str, consequence: str, *, yes: bool) -> None:
    """Go on only with ``--yes`` or with the word typed in full; nothing was done otherwise."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CliError(
            f"{word} {consequence}: add --yes to do it unasked; nothing was done", ExitCode.USAGE
        )
    print(f"{word} {consequence}")
    if typer.prompt(f"Type {word} to do it", default="", show_default=False).strip() != word:
        raise CliError(f"{word} was not confirmed; nothing was done")


def reason_for(command: str, reason: str) -> str:
    """The reason, which has to be given."""
    if not reason.strip():
        raise CliError(f"{command} needs a reason, which is recorded: --reason TEXT", ExitCode.USAGE)
    return reason
