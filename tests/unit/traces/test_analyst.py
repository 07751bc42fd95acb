"""The daily analysis: what it says, that it is made once, and that nothing is lost or done twice on the way."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.traces.samples import START_MS, executed, refused, trace

from perpstrader.domain import Reason, Trace
from perpstrader.runtime.loop import VirtualClock, run_virtual
from perpstrader.traces import TraceError, analyst
from perpstrader.traces.contract import TraceStore as Contract
from perpstrader.traces.store import TraceStore

DAY_MS = 86_400_000


def decisions(first: int, count: int, *, day: int = 0) -> list[Trace]:
    """Refusals, and every third an order with an outcome."""

    def one(number: int) -> Trace:
        at = START_MS + day * DAY_MS + number
        if number % 3:
            return trace(number, accepted_ms=at)
        return msgspec.structs.replace(executed(number), outcome_usd=str(number % 5 - 2), accepted_ms=at)

    return [one(number) for number in range(first, first + count)]


async def filled(store: Any, traces: list[Trace]) -> None:
    for item in traces:
        store.store(item, urgent=False)
    await store.flush()


def told(folder: Path, day: str) -> Any:
    return json.loads((folder / f"{day}.json").read_bytes())


def test_a_day_is_told_with_refusals_outcomes_best_worst_and_what_changed(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(tmp_path / "traces.db", clock=clock) as store:
            await filled(store, [*decisions(1, 30), *decisions(101, 40, day=1)])
            halted = trace(300, accepted_ms=START_MS + DAY_MS + 999, verdict=refused(300, reason=Reason.HALTED))
            await store.store(msgspec.structs.replace(halted, settings_digest="7b" * 32))
            done = await analyst.run(store, tmp_path / "analysis", clock, by="a")
            assert (done.traces, done.days, done.held) == (71, ("2025-05-12", "2025-05-13"), 0)
            assert (await store.find(limit=1)).rows[0].batch.startswith("a:")

    run_virtual(main)
    day = told(tmp_path / "analysis", "2025-05-13")
    assert day["refusals"] == [["SPREAD_TOO_WIDE", 27], ["HALTED", 1]]
    assert Decimal(day["worst"][0]["outcome_usd"]) == -2
    assert Decimal(day["best"][0]["outcome_usd"]) == 2
    changes = {row["what"]: (row["before"], row["now"]) for row in day["changes"]}
    assert changes["decisions"] == ("30", "41")
    assert changes["refused HALTED"] == ("0", "1")
    assert changes["settings"] == ("5a" * 6, f"{'5a' * 6}, {'7b' * 6}")
    page = (tmp_path / "analysis" / "2025-05-13.md").read_text()
    for words in ("# 2025-05-13", "## Refusals", "| HALTED | 1 |", "## Worst decisions", day["worst"][0]["id"]):
        assert words in page
    assert told(tmp_path / "analysis", "2025-05-12")["changes"] == []


def test_run_twice_it_does_nothing_and_an_outcome_that_comes_later_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "analysis"

    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(tmp_path / "traces.db", clock=clock) as store:
            await filled(store, decisions(1, 20))
            assert (await analyst.run(store, folder, clock, by="a")).traces == 20
            before = (folder / "2025-05-12.md").read_bytes()
            again = await analyst.run(store, folder, clock, by="b")
            assert (again.traces, again.days) == (0, ())
            assert (folder / "2025-05-12.md").read_bytes() == before
            await store.attach_outcome("t000003", Decimal("250"), START_MS + 2 * DAY_MS)
            later = await analyst.run(store, folder, clock, by="c")
            assert (later.traces, later.days) == (0, ("2025-05-12",))
            assert told(folder, "2025-05-12")["best"][0]["id"] == "t000003"

    run_virtual(main)


def test_several_at_once_take_each_decision_once(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(tmp_path / "traces.db", clock=clock) as store:
            await filled(store, decisions(1, 200))
            both = await asyncio.gather(
                *(analyst.run(store, tmp_path / "analysis", clock, by=name, batch=7) for name in "ab")
            )
            assert sum(done.traces for done in both) == 200
            assert not await store.unanalyzed()

    run_virtual(main)
    assert told(tmp_path / "analysis", "2025-05-12")["total"]["decisions"] == 200


def test_two_processes_take_each_decision_once(tmp_path: Path) -> None:
    async def fill() -> None:
        async with TraceStore.open(tmp_path / "traces.db") as store:
            await filled(store, decisions(1, 1_500))

    asyncio.run(fill())
    command = [sys.executable, "-m", "perpstrader", "traces", "analyze", "--json", "--data-dir", str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(answer["traces"] for answer in answers) == 1_500
    assert told(tmp_path / "analysis", "2025-05-12")["total"]["decisions"] == 1_500


def test_after_a_crash_before_the_mark_the_next_goes_on_when_the_lease_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(self: Contract, *arguments: Any) -> Any:
        raise KeyboardInterrupt

    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(tmp_path / "traces.db", clock=clock) as store:
            await filled(store, decisions(1, 30))
            with monkeypatch.context() as patch:
                patch.setattr(TraceStore, "mark_analyzed", dies)
                with pytest.raises(KeyboardInterrupt):
                    await analyst.run(store, tmp_path / "analysis", clock, by="a", batch=20)
            next_one = await analyst.run(store, tmp_path / "analysis", clock, by="b")
            assert (next_one.traces, next_one.held) == (10, 20)
            await clock.sleep(analyst.LEASE_MS / 1000 + 1)
            last = await analyst.run(store, tmp_path / "analysis", clock, by="b")
            assert (last.traces, last.held) == (20, 0)

    run_virtual(main)
    assert told(tmp_path / "analysis", "2025-05-12")["total"]["decisions"] == 30


def test_what_could_not_be_written_is_not_marked(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        (tmp_path / "analysis").write_text("a file where the folder should be")
        async with TraceStore.open(tmp_path / "traces.db", clock=clock) as store:
            await filled(store, decisions(1, 5))
            with pytest.raises(TraceError, match="cannot be written"):
                await analyst.run(store, tmp_path / "analysis", clock, by="a")
            assert len(await store.unanalyzed()) == 5

    run_virtual(main)


def test_words_of_others_cannot_break_the_page(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(tmp_path / "traces.db", clock=clock) as store:
            await store.store(trace(1, strategy="a|b\n# <script>", errors=("line\nbreak | <b>",)))
            await analyst.run(store, tmp_path / "analysis", clock, by="a")

    run_virtual(main)
    page = (tmp_path / "analysis" / "2025-05-12.md").read_text()
    assert "| a\\|b # &lt;script> |" in page
    assert "line break \\| &lt;b>" in page
