"""The trace store: what recording and reading decisions costs, beside the disk, the encoder and SQLite alone."""

from __future__ import annotations

from perpstrader.bench import traces_limits, traces_postgres, traces_reading, traces_trader, traces_writing
from perpstrader.bench.harness import Case
from perpstrader.bench.lab import Lab


def cases(lab: Lab) -> list[Case]:
    """The rows of this component."""
    parts = (traces_writing, traces_reading, traces_trader, traces_postgres, traces_limits)
    return [case for part in parts for case in part.cases(lab)]
