"""``perpstrader bench``: each component's plain build against the optimized one, and both against what is possible."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from perpstrader.bench import COMPONENTS, BenchPlan, BenchPlanError, BenchReport, Result, run_bench
from perpstrader.bench.html import write_html
from perpstrader.bench.text import figure_text, ratio_text
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Json
from perpstrader.cli.output import print_json, show_table, terminal
from perpstrader.cli.progress import progress_bar

app = typer.Typer(add_completion=False)

_COLUMNS: Final = ("component", "row", "baseline", "optimized", "unit", "ratio", "claim", "answers", "n")


@app.command()
def bench(
    components: Annotated[
        list[str] | None, typer.Argument(help=f"Of {', '.join(COMPONENTS)}; all if none is named.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Half a minute instead of minutes, with wider spread.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Growth to a million traces too: some minutes more, and 3 GB of disk.")
    ] = False,
    rows: Annotated[str, typer.Option(help="Only rows whose name matches, such as 'signal-*'.")] = "*",
    seed: Annotated[int, typer.Option(help="Decides which arm goes first in each round.")] = 1,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an HTML report with plots here.")] = None,
    as_json: Json = False,
) -> None:
    """Measure on temporary files and a paper exchange: no key, no network. Exit code 1 where an answer was wrong."""
    data = os.environ.get("PERPSTRADER_TEST_DATA")
    plan = BenchPlan(
        components=tuple(components or ()), rows=rows, quick=quick, full=full, seed=seed,
        data=Path(data) if data else None,
    )
    try:
        with progress_bar("benchmark", quiet=as_json) as progress:
            done = run_bench(plan, progress)
    except BenchPlanError as error:
        raise CliError(str(error), ExitCode.USAGE) from error
    if report is not None:
        write_html(done, report)
    if as_json:
        print_json(done.line)
    else:
        _show(done, report)
    if done.failures:
        raise typer.Exit(ExitCode.FAILED)


def _show(done: BenchReport, report: Path | None) -> None:
    console = terminal()
    cells = [_cells(result) for result in done.results]
    show_table(console, "Benchmark: less is better, ratios are baseline over optimized", _COLUMNS, cells, "no rows")
    mean = done.mean_ratio
    if mean is not None:
        print(f"geometric mean of the ratios of builds: {mean:.2f}")
    for row in done.failures:
        print(f"wrong: {row.component} {row.row}: {row.note}")
    for result in done.results:
        if result.row.parity is None:
            print(f"{result.row.component} {result.row.row}: {result.row.note}")
    print("`--report FILE.html` has the notes: what each row shows, and what it does not" if report is None else report)


def _cells(result: Result) -> tuple[str, ...]:
    row = result.row
    answers = {True: "right", False: "wrong", None: "skipped"}[row.parity]
    claim = "" if row.claim is None else f"{row.claim:g}x {'' if row.met is None else 'met' if row.met else 'not met'}"
    return (
        row.component, row.row, figure_text(row.baseline), figure_text(row.optimized), row.unit, ratio_text(row),
        claim.strip(), answers, str(row.n),
    )  # fmt: skip
