"""``perpstrader flatten``: out of everything, now."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from perpstrader.cli.answers import confirm, reason_for, show
from perpstrader.cli.control import find, need_trader
from perpstrader.cli.options import Config, DataDir, Json, Reason, Yes, actor, place
from perpstrader.cli.waiting import carry_out, new_key

app = typer.Typer(add_completion=False)


@app.command()
def flatten(
    reason: Reason = "",
    yes: Yes = False,
    key: Annotated[str, typer.Option(help="Name of this flatten; the same name asks for the same one's answer.")] = "",
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Halt entries, cancel them, close every position at market, verify, and say what happened to each."""
    reason = reason_for("flatten", reason, confirmed=yes)
    folder = place(data_dir, config)
    control = need_trader(find(folder), folder, "close positions")
    prepared = control.post("/api/prepare", {"action": "flatten", "arguments": {"reason": reason}})
    confirm("flatten", prepared["consequence"], yes=yes)
    key = key or new_key()
    body = {"reason": reason, "actor": actor(), "token": prepared["token"], "key": key}
    again = f"perpstrader flatten --key {key} --reason {shlex.quote(reason)} --yes"
    show(carry_out(control, "/api/flatten", body, what="flatten", again=again), as_json=as_json)
