"""``perpstrader flatten``: out of everything, now."""

from __future__ import annotations

import typer

from perpstrader.cli.answers import confirm, reason_for, show
from perpstrader.cli.control import find
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json, Reason, Yes, actor, place

app = typer.Typer(add_completion=False)


@app.command()
def flatten(
    reason: Reason = "", yes: Yes = False, as_json: Json = False, data_dir: DataDir = None, config: Config = None
) -> None:
    """Halt entries, cancel them, close every position at market, verify, and say what happened to each."""
    reason = reason_for("flatten", reason)
    folder = place(data_dir, config)
    control = find(folder)
    if control is None:
        raise CliError(
            f"no trader runs with {folder}, and only a running one can close positions: start it with `perpstrader run`"
            " (after `perpstrader halt`, so that it opens nothing) and flatten again, or close them at the venue",
            ExitCode.UNREACHABLE,
        )
    prepared = control.post("/api/prepare", {"action": "flatten", "arguments": {"reason": reason}})
    confirm("flatten", prepared["consequence"], yes=yes)
    body = {"reason": reason, "actor": actor(), "token": prepared["token"]}
    show(control.post("/api/flatten", body), as_json=as_json)
