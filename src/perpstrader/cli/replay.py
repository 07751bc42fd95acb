"""``perpstrader replay``: a recorded market through the whole trader in virtual time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from perpstrader.cli import logs
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json, settings_from
from perpstrader.cli.output import print_json, terminal
from perpstrader.cli.progress import progress_bar
from perpstrader.report import print_report
from perpstrader.simulate.replay import replay as replay_recording

app = typer.Typer(add_completion=False)


@app.command()
def replay(
    path: Annotated[Path, typer.Argument(help="Directory or file of the recorded market.")],
    interval: Annotated[str, typer.Option(help="Length of the candles, such as 5m.")] = "5m",
    seed: Annotated[int, typer.Option(help="Seed of all chance in the run.")] = 1,
    latency: Annotated[bool, typer.Option("--latency", help="Delay orders as measured at the venue.")] = False,
    strategy: Annotated[
        list[str] | None, typer.Option(help="A shipped name, module:Class or file.py:Class; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Put the report here, too.")] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Replay a recording as fast as it goes, and report. Equal recording, settings and seed give equal results."""
    if not path.exists():
        raise CliError(f"there is no recording at {path}", ExitCode.USAGE)
    settings = settings_from(
        config, data_dir, venue__network="paper", trader__strategies=",".join(strategy) if strategy else None
    )
    logs.configure(settings.data_dir)
    with progress_bar(f"replay of {path.name}", quiet=as_json) as progress:
        outcome = replay_recording(
            settings, path, interval=interval, seed=seed, latency=latency, progress=progress,
            data_dir=settings.data_dir,
        )  # fmt: skip
    html = outcome.html
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        html = Path(shutil.copy(outcome.html, out / "report.html"))
    if as_json:
        print_json(outcome.line)
    else:
        print_report(outcome.report, terminal(), html=html)
