"""How a command's answer is shown and what its exit code is, and how a dangerous one is confirmed."""

from __future__ import annotations

import sys
from typing import Any, Final

import typer

from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.output import print_json, short, show_table, terminal
from perpstrader.domain.wording import plural


def show(answer: dict[str, Any], *, as_json: bool) -> None:
    """Print what was done; exit code 1 where it was refused or done only in part."""
    if as_json:
        print_json(answer)
    else:
        print(answer["text"])
        details = answer.get("details", {})
        if isinstance(details.get("exit"), dict):
            details = details | {"positions": [details["exit"]]}
        for refusal in details.get("refusals", [])[1:]:
            print(f"  also {refusal}")
        _show_exits([row for row in details.get("positions", []) if isinstance(row, dict)])
        if "entries_canceled" in details:
            print(f"entries cancelled: {details['entries_canceled']}")
        for failure in details.get("failed", []):
            print(f"! {failure}")
        if "trace" in details:
            print(f"why: perpstrader traces explain {details['trace']}")
    if not answer["done"]:
        raise typer.Exit(ExitCode.FAILED)


_EXIT_COLUMNS: Final = ("symbol", "closed", "left", "at", "what happened")


def _show_exits(reports: list[dict[str, Any]]) -> None:
    """What became of each position: how much was closed, what is left, at which average price."""
    if reports:
        rows = [
            (
                str(row["symbol"]), short(row["closed"]), "flat" if row["flat"] else short(row["left"]),
                short(row["average_price"]), f"{row['text']} ({plural(int(row['attempts']), 'attempt')})",
            )
            for row in reports
        ]  # fmt: skip
        show_table(terminal(), "Positions", _EXIT_COLUMNS, rows, "")


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


def reason_for(command: str, reason: str, *, confirmed: bool = True) -> str:
    """The reason, which has to be given; what is to be ``confirmed`` and cannot be here is told in the same breath."""
    if not reason.strip():
        asked = "" if confirmed or sys.stdin.isatty() else ", and --yes where nobody is there to confirm it"
        raise CliError(f"{command} needs a reason, which is recorded: --reason TEXT{asked}", ExitCode.USAGE)
    return reason
