"""The trace store: what recording and reading decisions costs, beside the disk, the encoder and SQLite alone."""

from __future__ import annotations

from perpstrader.bench import traces_limits, traces_reading, traces_writing
from perpstrader.bench.harness import Case
from perpstrader.bench.lab import Lab


def cases(lab: Lab) -> list[Case]:
    """The rows of this component."""
    return [*traces_writing.cases(lab), *traces_reading.cases(lab), *traces_limits.cases(lab)]
