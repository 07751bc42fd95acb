"""A process whose files may not grow beyond 2 MB, and which stores until the disk has refused it ten times."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from pathlib import Path
from random import Random
from typing import Any

from tests.contract.traces.samples import trace

from perpstrader.domain import Step
from perpstrader.traces import TraceError
from perpstrader.traces.baseline import TraceStore as Baseline
from perpstrader.traces.batches import BatchLimits
from perpstrader.traces.store import TraceStore

LIMIT = 2_000_000


async def main(build: str, path: Path) -> None:
    """Prints how many it stored, and how many were refused."""
    impatient = BatchLimits(patience_ms=1)
    opened: Any = Baseline.open(path) if build == "baseline" else TraceStore.open(path, batches=impatient)
    refused = 0
    async with opened as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
        for number in range(1, 200):
            text = Random(number).randbytes(5_000).hex()
            try:
                await store.store(trace(number, steps=(Step(time_ms=number, text=text),)))
            except TraceError:
                refused += 1
            if refused == 10:
                break
        counters = store.counters
        assert counters.accepted == counters.stored + counters.dropped
        print(counters.stored, counters.dropped)


if __name__ == "__main__":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
