"""Following the record as it grows, whoever writes it and wherever it lies."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from perpstrader.runtime.clock import Clock
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.records import TraceSummary

_PAGE: Final = 500


async def tail(
    store: TraceStore, clock: Clock, *, after: int | None = None, poll_s: float = 0.25
) -> AsyncGenerator[TraceSummary, None]:
    """Each summary that is stored from now on (or after the number ``after``), in the order of storing, without end.

    Another process's writes show within ``poll_s``. Close it (``contextlib.aclosing``) when enough was
    read; raises ``TraceError`` when the store can no longer be.
    """
    seq = await _newest(store) if after is None else after
    while True:
        rows = await store.after(seq, _PAGE)
        for row in rows:
            seq = row.seq
            yield row
        if len(rows) < _PAGE:
            await clock.sleep(poll_s)


async def _newest(store: TraceStore) -> int:
    """The number of what was stored last; acceptance times may lie in another order."""
    newest = await store.summaries(1)
    seq = newest[0].seq if newest else 0
    while rows := await store.after(seq, _PAGE):
        seq = rows[-1].seq
    return seq
