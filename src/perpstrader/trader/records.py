"""The trace store of a run, in the build and with the bounds that the settings ask for."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from perpstrader.runtime import Clock, Executor
from perpstrader.settings import Settings
from perpstrader.traces.baseline import TraceStore as PlainStore
from perpstrader.traces.batches import BatchLimits
from perpstrader.traces.contract import TraceStore as AnyStore
from perpstrader.traces.files import Synchronous
from perpstrader.traces.records import Retention
from perpstrader.traces.store import CacheLimits, TraceStore

_DAY_MS: Final = 86_400_000


def retention_of(settings: Settings) -> Retention:
    """How long and how large the record may be."""
    wanted = settings.traces
    return Retention(
        payload_ms=wanted.payload_days * _DAY_MS, kept_payload_ms=wanted.order_payload_days * _DAY_MS,
        trace_ms=wanted.keep_days * _DAY_MS, max_rows=wanted.max_rows, max_bytes=wanted.max_bytes,
        cold_ms=wanted.cold_days * _DAY_MS or None,
    )  # fmt: skip


def open_traces(
    settings: Settings,
    path: Path | None,
    clock: Clock,
    *,
    executor: Executor,
    reader: Executor | None = None,
    synchronous: Synchronous | None = None,
) -> AbstractAsyncContextManager[AnyStore]:
    """The store at ``path`` (``None``: in memory); ``reader`` keeps what reads off the writer's thread.

    ``synchronous`` overrules the setting where nothing has to outlive the process.
    """
    wanted = settings.traces
    mode = synchronous or wanted.synchronous
    if settings.rollout.traces == "baseline":
        return PlainStore.open(path, executor=executor, synchronous=mode)
    return TraceStore.open(
        path, executor=executor, reader=reader, clock=clock, synchronous=mode,
        batches=BatchLimits(
            batch_size=wanted.batch_size, flush_ms=wanted.batch_flush_ms, max_pending=wanted.max_pending,
            max_pending_bytes=wanted.max_pending_bytes, patience_ms=wanted.patience_ms,
        ),
        cache=CacheLimits(entries=wanted.cache_size, max_bytes=wanted.cache_bytes),
    )  # fmt: skip
