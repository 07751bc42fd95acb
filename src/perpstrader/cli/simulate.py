"""``perpstrader simulate``: many seeded worlds with faults, every invariant checked in each."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from perpstrader.cli.exits import ExitCode
from perpstrader.cli.options import Json
from perpstrader.cli.output import print_json, show_table, terminal
from perpstrader.cli.progress import progress_bar
from perpstrader.domain.wording import plural
from perpstrader.simulate.campaign import CampaignOutcome, campaign

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
        _show(outcome, start)
    if outcome.failures:
        raise typer.Exit(ExitCode.FAILED)


def _show(outcome: CampaignOutcome, start: int) -> None:
    """What was lived through, how often each fault landed and each invariant was at stake; then what broke."""
    line, console = outcome.line, terminal()
    hours = line["virtual_seconds"] / 3600
    print(
        f"{plural(line['seeds'], 'world')} (seeds {start} to {start + line['seeds'] - 1}): "
        f"{hours:.1f} h of virtual time, {plural(line['orders'], 'order')}, {plural(line['violations'], 'violation')}"
    )
    if not line["orders"]:
        print("no order was sent, so next to nothing was tried: take more seeds")
    landed = [(name.replace("_", " "), str(count)) for name, count in line["faults"].items()]
    show_table(console, "Faults that landed", ("fault", "times"), landed, "No fault landed.")
    judged = [(name, str(count)) for name, count in line["evaluated"].items()]
    show_table(console, "Invariants with something at stake", ("invariant", "evaluated"), judged, "None was judged.")
    for failure in outcome.failures:
        print(f"! {failure}")
