"""A run of the benchmark: the rows that were asked for, one after the other, in a folder that is gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from perpstrader.bench.environment import environment
from perpstrader.bench.guard import no_network
from perpstrader.bench.harness import FULL, QUICK, Case, measure
from perpstrader.bench.lab import Lab
from perpstrader.bench.rows import BenchReport
from perpstrader.domain.errors import PerpsTraderError

COMPONENTS: Final = ("traces", "recovery", "breakers", "risk", "client", "monitor")
"""Each is a module of this room with ``cases(lab)``."""

Progress = Callable[[float], None]


class BenchPlanError(PerpsTraderError):
    """A benchmark that was asked for does not exist."""


class BenchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure: ``components`` (all if none are named) and of them the rows that match ``rows`` (``*``, ``?``).

    ``seed`` decides which arm goes first in each round, and nothing else. ``data`` holds recorded venue answers.
    ``full`` measures growth up to a million traces, ``quick`` leaves the larger sizes out.
    """

    components: Sequence[str] = ()
    rows: str = "*"
    quick: bool = False
    full: bool = False
    seed: int = 1
    data: Path | None = None


def run_bench(plan: BenchPlan, progress: Progress | None = None) -> BenchReport:
    """The measured rows. No credential is read, no network used, and nothing written but to a temporary folder.

    Raises ``BenchPlanError`` for a component that there is not, or where no row matches.
    """
    if plan.quick and plan.full:
        raise BenchPlanError("a run is either quick or full, not both")
    for name in plan.components:
        if name not in COMPONENTS:
            raise BenchPlanError(f"there is no component {name!r} to measure; there are: {', '.join(COMPONENTS)}")
    with tempfile.TemporaryDirectory(prefix="perpstrader-bench-") as folder, no_network():
        return _run(plan, Path(folder), progress)


def _run(plan: BenchPlan, folder: Path, progress: Progress | None) -> BenchReport:
    found = environment(seed=plan.seed, quick=plan.quick, folder=folder)
    cases = _chosen(plan, Lab(folder, plan.data, plan.quick, plan.full))
    rng, effort, results = Random(plan.seed), QUICK if plan.quick else FULL, []
    for done, case in enumerate(cases):
        if progress is not None:
            progress(done / len(cases))
        results.append(measure(case, effort, rng))
    return BenchReport(environment=found, results=tuple(results))


def _chosen(plan: BenchPlan, lab: Lab) -> list[Case]:
    cases: list[Case] = []
    for name in COMPONENTS:
        if not plan.components or name in plan.components:
            cases += import_module(f"perpstrader.bench.{name}").cases(lab)
    chosen = [case for case in cases if fnmatchcase(case.row, plan.rows)]
    if not chosen:
        rows = ", ".join(case.row for case in cases)
        raise BenchPlanError(f"no row matches {plan.rows!r}; there are: {rows}")
    return chosen
