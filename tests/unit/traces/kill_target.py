"""A process that stores traces and says each acknowledgement on its standard output, until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
from tests.contract.traces.samples import executed, trace

from perpstrader.runtime import ThreadedExecutor
from perpstrader.traces.baseline import TraceStore as Baseline
from perpstrader.traces.store import TraceStore


async def main(build: str, path: Path, first: int) -> None:
    """Store from ``first`` on; every third one is an executed decision whose record is revised."""
    opener = {"baseline": Baseline.open, "optimized": TraceStore.open}[build]
    async with opener(path, executor=ThreadedExecutor("traces")) as store:
        number = first
        while True:
            if number % 3:
                await store.store(trace(number))
            else:
                whole = executed(number)
                await store.store(msgspec.structs.replace(whole, fills=()))
                await store.update(whole)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            number += 1


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
