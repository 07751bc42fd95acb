"""The log goes over into the file once its traces are acknowledged, and stays bounded while they keep coming."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from perpstrader.runtime import InlineExecutor
from perpstrader.runtime.loop import VirtualClock, run_virtual
from perpstrader.traces import checkpoints, sample_trace
from perpstrader.traces.store import TraceStore

T = TypeVar("T")


class Told(InlineExecutor):
    """Tells what ran on it."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def run(self, fn: Callable[[], T], *, timeout_s: float | None = None) -> T:
        self.ran.append(fn.__qualname__)
        return fn()


def test_S64_the_log_is_brought_over_after_the_receipts_and_not_with_each_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "SOON_PAGES", 40)
    path, executor = tmp_path / "traces.db", Told()

    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(path, clock=clock, executor=executor) as store:
            grown = path.stat().st_size
            acknowledged = -1
            for number in range(60):
                await store.store(sample_trace(number))
                acknowledged = len(executor.ran)
                await store.flush()
            assert acknowledged > 0
            runs = [place for place, name in enumerate(executor.ran) if name == "Checkpoints.run"]
            assert 1 < len(runs) < 30, "not after each of the 60 commits"
            assert path.stat().st_size > grown, "the file itself has what was brought over"
            assert (await store.verify()).ok

    run_virtual(main)


def test_S64_the_log_stays_bounded_while_nothing_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MOST_PAGES", 60)
    path = tmp_path / "traces.db"

    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(path, clock=clock) as store:
            receipts = [store.store(sample_trace(number)) for number in range(3_000)]
            await store.flush()
            for receipt in receipts:
                await receipt
            log = path.with_name("traces.db-wal").stat().st_size
            assert log < 400 * 8_192, "the log begins anew once it was brought over"

    run_virtual(main)
