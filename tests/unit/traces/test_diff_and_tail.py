"""Telling two decisions apart, and following the record."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path

import msgspec
from tests.contract.traces.samples import executed, signal, trace

from perpstrader.domain import Approved
from perpstrader.runtime.loop import VirtualClock, run_virtual
from perpstrader.traces.baseline import TraceStore as Plain
from perpstrader.traces.diff import diff
from perpstrader.traces.store import TraceStore
from perpstrader.traces.tail import tail


def test_equal_decisions_differ_in_nothing() -> None:
    assert diff(executed(1), executed(1)) == ()


def test_each_difference_is_named_with_both_values() -> None:
    one = trace(1, signal=signal(confidence=0.5))
    other = msgspec.structs.replace(one, signal=signal(confidence=0.75), regime="calm")
    assert [(d.path, d.first, d.second) for d in diff(one, other)] == [
        ("signal.confidence", "0.5", "0.75"),
        ("regime", "trend", "calm"),
    ]


def test_numbers_are_compared_by_value() -> None:
    one = trace(1, signal=signal(stop_price=Decimal("101000")))
    assert diff(one, trace(1, signal=signal(stop_price=Decimal("101000.0")))) == ()
    assert [d.path for d in diff(one, trace(1, signal=signal(stop_price=Decimal("101000.1"))))] == ["signal.stop_price"]


def test_rules_are_compared_by_their_names_whatever_their_order() -> None:
    one = executed(1)
    assert isinstance(one.verdict, Approved)
    assert one.verdict.checks
    turned = msgspec.structs.replace(one.verdict, checks=one.verdict.checks[::-1])
    assert diff(one, msgspec.structs.replace(one, verdict=turned)) == ()
    first = one.verdict.checks[0]
    changed = msgspec.structs.replace(
        one.verdict, checks=(msgspec.structs.replace(first, value="another"), *one.verdict.checks[1:])
    )
    [found] = diff(one, msgspec.structs.replace(one, verdict=changed))
    assert found.path == f"verdict.checks[{first.rule.value}].value"


def test_the_tail_tells_what_is_stored_from_now_on_by_whomever(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"

    told: list[int] = []

    async def follow(store: TraceStore, clock: VirtualClock) -> None:
        async with aclosing(tail(store, clock)) as rows:
            async for row in rows:
                told.append(row.sequence)  # noqa: PERF401  # the tail has no end

    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(path, clock=clock) as store, Plain.open(path) as other:
            await store.store(trace(5))

            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(follow(store, clock))
                await clock.sleep(0.3)
                assert told == []
                await store.store(trace(1))
                await other.store(trace(2))
                await clock.sleep(0.3)
                assert told == [1, 2]
                following.cancel()
            async with aclosing(tail(store, clock, after=1)) as rows:
                assert [(await anext(rows)).sequence for _ in range(2)] == [1, 2]

    run_virtual(main)
