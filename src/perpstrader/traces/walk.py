"""Reading the record from one instant to another without holding it: a page at a time, oldest first."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from perpstrader.domain.traces import Trace
from perpstrader.traces.contract import MAX_LIMIT, TraceStore
from perpstrader.traces.errors import TraceError

_PAGE: Final = 250
_END: Final = 2**62


async def walk(
    store: TraceStore, since_ms: int = 0, until_ms: int = _END, *, page: int = _PAGE
) -> AsyncGenerator[Trace, None]:
    """Each trace accepted from ``since_ms`` to ``until_ms``, both inclusive, once, oldest first; one page in memory.

    What is stored meanwhile with a later time is told, too. Raises ``TraceError`` when more than ``MAX_LIMIT`` share
    one millisecond.
    """
    start, told, size = since_ms, set[str](), page
    while True:
        traces = await store.between(start, until_ms, limit=size)
        new = [trace for trace in traces if trace.id not in told]
        for trace in new:
            yield trace
        if len(traces) < size:
            return
        last = traces[-1].accepted_ms
        if not new:  # a page that holds only what was told is one millisecond that needs a larger page
            if size == MAX_LIMIT:
                raise TraceError(f"more than {MAX_LIMIT} traces are of the same millisecond {last}")
            size = min(2 * size, MAX_LIMIT)
        told = {trace.id for trace in traces if trace.accepted_ms == last}
        start = last
