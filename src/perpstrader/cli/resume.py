"""``perpstrader resume``: release the halts that an operator may release."""

from __future__ import annotations

import typer

from perpstrader.cli import offline
from perpstrader.cli.answers import confirm, reason_for, show
from perpstrader.cli.control import find
from perpstrader.cli.options import Config, DataDir, Json, Reason, Yes, actor, place

app = typer.Typer(add_completion=False)


@app.command()
def resume(
    reason: Reason = "", yes: Yes = False, as_json: Json = False, data_dir: DataDir = None, config: Config = None
) -> None:
    """Release halts after a confirmation; the reason is recorded. What time alone releases stays in force."""
    reason = reason_for("resume", reason, confirmed=yes)
    folder = place(data_dir, config)
    control = find(folder)
    if control is not None:
        prepared = control.post("/api/prepare", {"action": "resume", "arguments": {"reason": reason}})
        confirm("resume", prepared["consequence"], yes=yes)
        body = {"reason": reason, "actor": actor(), "token": prepared["token"]}
        answer = control.post("/api/resume", body)
    else:
        kinds = ", ".join(halt.kind for halt in offline.stored(folder).halts) or "none"
        confirm("resume", f"releases the halts on disk ({kinds})", yes=yes)
        done, text = offline.resume(folder, reason, actor())
        answer = {"command": "resume", "done": done, "text": f"no trader runs; {text}", "details": {"running": False}}
    show(answer, as_json=as_json)
