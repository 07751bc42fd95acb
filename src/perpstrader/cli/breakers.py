"""``perpstrader breakers``: what the trader relies on, what of it is failing, and opening or resetting a breaker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer

from perpstrader.breakers import BreakerState, BreakerStatus
from perpstrader.cli import offline
from perpstrader.cli.answers import reason_for, show
from perpstrader.cli.control import find
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json, Reason, actor, place
from perpstrader.cli.output import print_json, show_table, terminal
from perpstrader.domain.wording import moment_text, plural
from perpstrader.trader.commands import HealthView

app = typer.Typer(add_completion=False)
Action = Annotated[str, typer.Argument(metavar="open|reset", help="Without it: every breaker, and the health.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="execution, risk, venue, state, recovery or traces.")]
_ACTIONS = ("open", "reset")
_COLUMNS = ("breaker", "state", "guards", "failures", "calls", "latency", "what about it")
_COMPONENTS = ("component", "status", "what was found")
_STORED = ("breaker", "state", "since", "what about it")


@app.command()
def breakers(
    action: Action = "", name: Name = "", reason: Reason = "", as_json: Json = False, data_dir: DataDir = None,
    config: Config = None,
) -> None:  # fmt: skip
    """What the trader relies on, and what of it fails. An open breaker has entries wait; exits and protection go on.

    ``open NAME`` opens one until it is reset, restarts included; ``reset NAME`` closes it, whatever opened it.
    """
    if action:
        if action not in _ACTIONS or not name:
            raise CliError(f"write `perpstrader breakers {' or '.join(_ACTIONS)} NAME --reason TEXT`", ExitCode.USAGE)
        _set(action, name, reason, as_json=as_json, data_dir=data_dir, config=config)
        return
    folder = place(data_dir, config)
    control = find(folder)
    if control is None:
        _show_stored(offline.breakers(folder), str(folder), as_json=as_json)
        return
    rows = msgspec.convert(control.get("/api/breakers"), list[BreakerStatus])
    health = msgspec.convert(control.get("/api/health?limit=1"), HealthView).report
    if as_json:
        print_json({"running": True, "breakers": rows, "health": health})
        return
    console = terminal()
    show_table(console, "Breakers", _COLUMNS, [_cells(row) for row in rows], "There is no breaker.")
    found = [(part.component, part.status.value, part.text) for part in health.components]
    show_table(console, f"Health: {health.status.value}", _COMPONENTS, found, "Nothing has been checked yet.")


def _set(verb: str, name: str, reason: str, *, as_json: bool, data_dir: Path | None, config: Path | None) -> None:
    reason = reason_for(f"breakers {verb}", reason)
    folder = place(data_dir, config)
    control = find(folder)
    if control is None:
        raise CliError(
            f"no trader runs with {folder}: `perpstrader halt` keeps the next one from trading", ExitCode.UNREACHABLE
        )
    answer: dict[str, Any] = control.post(
        f"/api/breakers/{quote(name, safe='')}/{verb}", {"reason": reason, "actor": actor()}
    )
    show(answer, as_json=as_json)


def _show_stored(rows: tuple[offline.StoredBreaker, ...], folder: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"running": False, "breakers": rows})
        return
    console = terminal()
    console.print(f"No trader runs with {folder}; this is how the last one left its breakers:")
    cells = [(row.name, row.state, f"{moment_text(row.since_ms)} UTC", row.text) for row in rows]
    show_table(console, "Breakers", _STORED, cells, "No breaker has ever opened.")


def _cells(row: BreakerStatus) -> tuple[str, ...]:
    latency = "-" if row.metrics.latency_ms is None else f"{row.metrics.latency_ms:.1f} ms"
    failures = f"{row.failures} of {row.volume} in {row.window_ms // 1000} s"
    return (row.name, row.state.value, row.guards, failures, str(row.metrics.total), latency, _about(row))


def _about(row: BreakerStatus) -> str:
    if row.state is BreakerState.CLOSED:
        opened = f"opened {plural(row.openings, 'time')}" if row.openings else "never opened"
        return f"{opened}; trips at {plural(row.threshold, 'failure')}"
    since = f"since {moment_text(row.since_ms)} UTC"
    if row.state is BreakerState.LATCHED:
        return f"{since} by {row.actor}: {row.reason}"
    until = f", tried again from {moment_text(row.until_ms)} UTC" if row.until_ms is not None else ""
    probes = f", {plural(row.failed_probes, 'probe')} failed" if row.failed_probes else ""
    return f"{since}{until}{probes}: {row.last_failure}"
