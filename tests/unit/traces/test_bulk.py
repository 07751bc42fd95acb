"""Many traces in one statement leave the same file as one after the other, whatever is wrong with some of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from perpstrader.domain import Trace
from perpstrader.runtime.loop import VirtualClock, run_virtual
from perpstrader.traces import TraceRejectedError, sample_trace
from perpstrader.traces.batches import BatchLimits
from perpstrader.traces.store import TraceStore

TABLES = ("trace", "payload", "daily", "overall", "dead_letter")


def written(listed: list[Trace], *, together: bool) -> tuple[list[str], dict[str, list[Any]]]:
    """What the receipts say, and all that the file holds afterwards."""

    async def main(clock: VirtualClock) -> tuple[list[str], dict[str, list[Any]]]:
        told = []
        async with TraceStore.open(None, clock=clock, batches=BatchLimits(batch_size=256)) as store:
            receipts = []
            for one in listed:
                receipts.append(store.store(one))
                if not together:
                    await store.flush()
            await store.flush()
            for receipt in receipts:
                try:
                    await receipt
                    told.append("stored")
                except TraceRejectedError as error:
                    told.append(str(error))
            assert (await store.verify()).ok
            return told, await store._read(rows_of)

    return run_virtual(main)


def rows_of(connection: apsw.Connection) -> dict[str, list[Any]]:
    return {table: list(connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")) for table in TABLES}


def trace(number: int, change: str) -> Trace:
    """A decision that may be recorded, or that may not."""
    made = sample_trace(number, json_bytes=1_000)
    if change == "other content":
        return msgspec.structs.replace(made, regime="other")
    if change == "too large":
        return msgspec.structs.replace(made, sequence=2**70)
    if change == "no text":
        return msgspec.structs.replace(made, regime=7)
    return made


numbers = st.integers(0, 12)
changes = st.sampled_from(["", "", "", "other content", "too large", "no text"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(numbers, changes), min_size=1, max_size=40))
def test_S61_a_batch_is_recorded_as_its_traces_one_by_one_would_be(wanted: list[tuple[int, str]]) -> None:
    listed = [trace(number, change) for number, change in wanted]
    assert written(listed, together=True) == written(listed, together=False)


def test_a_large_batch_is_recorded_in_its_order(tmp_path: Path) -> None:
    listed = [sample_trace(number, json_bytes=1_000) for number in range(150)]
    told, held = written(listed, together=True)
    assert told == ["stored"] * 150
    assert [(row[0], row[1]) for row in held["trace"]] == [(n + 1, f"t{n:09}") for n in range(150)]
    assert held == written(listed, together=False)[1]
