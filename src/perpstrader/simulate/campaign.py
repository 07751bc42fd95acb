"""Fault campaigns: many seeded worlds, each lived through in virtual time, and what they showed together."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import msgspec

from perpstrader.simulate.seed import SeedOutcome, run_seed

Progress = Callable[[float], None] | None
"""Told the done fraction, 0 to 1."""


class CampaignOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """All seeds together; ``line`` is what ``simulate --json`` prints, ``failures`` are complete sentences."""

    line: dict[str, Any]
    failures: tuple[str, ...]
    seeds: tuple[SeedOutcome, ...]


def campaign(*, seeds: int, start: int, jobs: int, progress: Progress) -> CampaignOutcome:
    """Live through ``seeds`` worlds from seed ``start`` on, ``jobs`` side by side; the outcome does not depend on
    ``jobs``.
    """
    outcomes = []
    with _mapped(range(start, start + seeds), jobs) as results:
        for outcome in results:
            outcomes.append(outcome)
            if progress is not None:
                progress(len(outcomes) / seeds)
    return _together(outcomes)


@contextmanager
def _mapped(seeds: range, jobs: int) -> Iterator[Iterator[SeedOutcome]]:
    if jobs == 1 or len(seeds) == 1:
        yield map(run_seed, seeds)
        return
    # Fresh interpreters: a forked one would inherit threads and open files of whoever calls.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(seeds)), mp_context=context) as pool:
        yield pool.map(run_seed, seeds)


def _together(outcomes: list[SeedOutcome]) -> CampaignOutcome:
    faults: Counter[str] = Counter()
    evaluated: Counter[str] = Counter()
    for outcome in outcomes:
        faults.update(outcome.faults)
        evaluated.update(outcome.evaluated)
    failures = tuple(
        f"seed {outcome.seed}: {failure}; replay it: perpstrader simulate --seeds 1 --start {outcome.seed}"
        for outcome in outcomes
        for failure in outcome.failures
    )
    line = {
        "seeds": len(outcomes), "violations": len(failures), "faults": dict(faults),
        "evaluated": dict(sorted(evaluated.items())), "orders": sum(outcome.orders for outcome in outcomes),
        "virtual_seconds": round(sum(outcome.virtual_seconds for outcome in outcomes)),
    }  # fmt: skip
    return CampaignOutcome(line=line, failures=failures, seeds=tuple(outcomes))
