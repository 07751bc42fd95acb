"""``perpstrader simulate``: many seeded worlds with faults, every invariant checked in each."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from perpstrader.cli.exits import ExitCode
from perpstrader.cli.options import Json
from perpstrader.cli.output import print_json
from perpstrader.cli.progress import progress_bar
from perpstrader.simulate.campaign import campaign

app = typer.Typer(add_completion=False)


@app.command()
def simulate(
    seeds: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many worlds.")] = 25,
    start: Annotated[int, typer.Option(min=0, help="The first seed.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes side by side.")] = 1,
    as_json: Json = False,
) -> None:
    """Run the trader in worlds that lose, delay and break things; exit code 1 where an invariant did not hold."""
    with progress_bar(f"{seeds} worlds", quiet=as_json) as progress:
        outcome = campaign(seeds=seeds, start=start, jobs=jobs, progress=progress)
    if as_json:
        for failure in outcome.failures:
            print(failure, file=sys.stderr)
        print_json(outcome.line)
    else:
        for name, value in outcome.line.items():
            print(f"{name}: {value}")
        for failure in outcome.failures:
            print(failure)
    if outcome.failures:
        raise typer.Exit(ExitCode.FAILED)
