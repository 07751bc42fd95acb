"""``perpstrader halt``: no entries from now on."""

from __future__ import annotations

import typer

from perpstrader.cli import offline
from perpstrader.cli.answers import reason_for, show
from perpstrader.cli.control import find
from perpstrader.cli.options import Config, DataDir, Json, Reason, actor, place

app = typer.Typer(add_completion=False)


@app.command()
def halt(reason: Reason = "", as_json: Json = False, data_dir: DataDir = None, config: Config = None) -> None:
    """Stop entries; exits and protection go on. Without a running trader the halt is on disk for its next start."""
    reason = reason_for("halt", reason)
    folder = place(data_dir, config)
    control = find(folder)
    if control is not None:
        answer = control.post("/api/halt", {"reason": reason, "actor": actor()})
    else:
        text = f"no trader runs with {folder}; {offline.halt(folder, reason, actor())}"
        answer = {"command": "halt", "done": True, "text": text, "details": {"running": False}}
    show(answer, as_json=as_json)
