"""The shared record answers what the local one does: one record, asked twice."""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.traces.samples import BAR_MS, START_MS, executed, refused, signal, trace
from tests.contract.traces.shared import both, run, ship
from tests.contract.traces.test_bars import BARS, saw
from tests.shared_server import SharedServer, name_of

from perpstrader.domain import Reason, Step, TraceKind
from perpstrader.runtime import SystemClock
from perpstrader.traces import CycleNote, NoteCode, TraceError, TraceSummary
from perpstrader.traces.analyst import run as analyse
from perpstrader.traces.contract import MAX_LIMIT
from perpstrader.traces.diff import diff
from perpstrader.traces.export import Format, export
from perpstrader.traces.hindsight import Hindsight
from perpstrader.traces.outcomes import COLUMNS
from perpstrader.traces.postgres.store import SharedStore
from perpstrader.traces.store import TraceStore
from perpstrader.traces.tail import tail
from perpstrader.traces.walk import walk

BASE: dict[str, Any] = {"limit": 7}


async def fill(store: Any) -> None:
    """A bit of everything: verdicts, kinds, strategies, errors, outcomes, marks, notes, odd numbers and texts."""
    choices = itertools.product(("BTC", "ETH", "kPEPE"), ("trend", "carry"), (0, 1, 2, 3), ("range", "trend"))
    for number, (symbol, strategy, verdict, regime) in enumerate(choices, 1):
        changes: dict[str, Any] = {"symbol": symbol, "strategy": strategy, "regime": regime}
        if verdict == 0:
            made = msgspec.structs.replace(executed(number), **changes)
        elif verdict == 1:
            made = trace(number, verdict=None, signal=None, kind=TraceKind.EXIT, **changes)
        elif verdict == 2:
            made = trace(number, verdict=refused(number, symbol, Reason.DAILY_LOSS), errors=("the Book ran dry",),
                         **changes)  # fmt: skip
        else:
            made = trace(number, accepted_ms=trace(number // 2 + 1).accepted_ms, **changes)
        await store.store(made)
    for number, usd in ((1, "12.5"), (9, "-3.25"), (17, "0"), (25, "1E+2")):
        await store.attach_outcome(executed(number).id, Decimal(usd), START_MS + number)
    await store.update(trace(5, strategy="nobody knew", steps=(Step(time_ms=1, text="stored late"),), id="late"))
    await store.store(trace(90, id="odd", indicators={"x": math.nan}, signal=signal(confidence=math.nan)))
    await store.store(trace(91, id="texts", errors=("quote \" and \u20ac", "{}")))
    other = msgspec.structs.replace(BARS[7], close=Decimal(1))  # the same bar, told otherwise later
    histories = BARS[:20], BARS[5:30], (*BARS[4:7], other, *BARS[8:12]), BARS[3:9] + BARS[40:50]
    for number, history in enumerate(histories):
        await store.store(saw(100 + number, history))
    await store.mark_analyzed(["t000001", "t000002", "odd"], "batch-1")
    await store.store_notes([
        CycleNote(symbol, "5m", START_MS + bar * BAR_MS - 1, NoteCode.NO_SIGNAL, f"bar {bar}", strategy)
        for symbol in ("BTC", "ETH") for strategy in ("trend", "carry") for bar in range(1, 200, 3)
    ])  # fmt: skip


async def listed(store: Any, **filters: Any) -> list[TraceSummary]:
    """Every page of a search."""
    rows: list[TraceSummary] = []
    cursor: str | None = None
    while True:
        page = await store.find(**(BASE | filters), cursor=cursor)
        rows += page.rows
        cursor = page.cursor
        if cursor is None:
            return rows


QUESTIONS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "recent": lambda store: store.recent(30),
    "recent of a strategy": lambda store: store.recent(30, strategy="carry"),
    "between": lambda store: store.between(START_MS, START_MS + 30 * BAR_MS),
    "between of a symbol": lambda store: store.between(0, 2**60, "kPEPE", limit=9),
    "unanalyzed": lambda store: store.unanalyzed(1_000),
    "after": lambda store: store.after(11, 500),
    "outcomes": lambda store: store.outcomes(),
    "calibration": lambda store: store.calibration(),
    "near a decision": lambda store: store.near(START_MS + BAR_MS, "BTC"),
    "near a note": lambda store: store.near(START_MS + 4 * BAR_MS, "ETH"),
    "near nothing": lambda store: store.near(START_MS + 400 * BAR_MS, "BTC"),
    "near a silence": lambda store: store.near(START_MS + 2 * BAR_MS + 90_000, "BTC"),
    "near an unknown symbol": lambda store: store.near(START_MS, "SOL"),
    **{f"outcomes by {name}": lambda store, name=name: store.outcomes((name,)) for name in COLUMNS},
    "outcomes by two": lambda store: store.outcomes(("strategy", "regime"), since_ms=START_MS, until_ms=START_MS),
    **{
        f"find {name} {value}": lambda store, name=name, value=value: listed(store, **{name: value})
        for name, value in (
            ("symbol", "ETH"), ("strategy", "carry"), ("kind", TraceKind.EXIT), ("regime", "range"),
            ("verdict", "approved"), ("verdict", "refused"), ("reason", Reason.DAILY_LOSS), ("executed", True),
            ("executed", False), ("error", True), ("error", False), ("since_ms", START_MS + 20 * BAR_MS),
            ("until_ms", START_MS + 20 * BAR_MS), ("min_risk", 0.3), ("max_risk", 0.3), ("text", "book RAN"),
            ("text", "no such words"),
        )
    },
    "find much at once": lambda store: listed(
        store, symbol="BTC", strategy="trend", verdict="approved", executed=True, since_ms=START_MS
    ),
    "all": lambda store: listed(store),
}  # fmt: skip


@pytest.fixture(scope="module")
def record(postgres: SharedServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """One record, local and shipped; tests only read it."""
    url, path = postgres.new_database(), tmp_path_factory.mktemp("record") / "traces.db"

    async def make() -> None:
        async with both(url, path, fill):
            pass

    run(make())
    return url, path


def equal(one: object, other: object) -> bool:
    """Equal, a NaN being itself."""
    return one == other or repr(one) == repr(other)


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_the_shared_record_gives_the_answer_of_the_local_one(
    record: tuple[str, Path], question: Callable[[Any], Awaitable[Any]]
) -> None:
    async def main() -> None:
        async with TraceStore.open(record[1]) as local, SharedStore.open(record[0]) as shared:
            right, got = await question(local), await question(shared)
            assert equal(got, right)

    run(main())


def test_each_trace_is_read_by_its_id_and_the_totals_agree(record: tuple[str, Path]) -> None:
    async def main() -> None:
        async with TraceStore.open(record[1]) as local, SharedStore.open(record[0]) as shared:
            for row in await local.summaries(MAX_LIMIT):
                assert equal(await shared.get(row.id), await local.get(row.id))
            assert await shared.get("nobody") is None
            right, got = await local.stats(), await shared.stats()
            named = {"by_kind", "by_verdict", "by_reason", "by_symbol", "by_strategy"}
            for name in (*named, "total", "unanalyzed", "executed", "with_error", "notes", "dead_letters"):
                assert getattr(got, name) == getattr(right, name), name
            finding = await shared.verify()
            assert (finding.ok, finding.checked) == (True, (await local.verify()).checked)
            with pytest.raises(TraceError, match="no cursor"):
                await shared.find(cursor="yesterday")
            with pytest.raises(TraceError, match="approved"):
                await shared.find(verdict="maybe")
            with pytest.raises(TraceError, match="outcomes cannot be told by 'colour'"):
                await shared.outcomes(("colour",))

    run(main())


def test_what_reads_a_record_reads_the_shared_one(record: tuple[str, Path], tmp_path: Path) -> None:
    async def main() -> None:
        async with TraceStore.open(record[1]) as local, SharedStore.open(record[0]) as shared:
            for store, name in ((local, "local"), (shared, "shared")):
                await export(store, tmp_path / f"{name}.jsonl", Format.JSONL)
            assert (tmp_path / "shared.jsonl").read_bytes() == (tmp_path / "local.jsonl").read_bytes()
            told = []
            async for row in tail(shared, SystemClock(), after=0):
                told.append(row.id)
                if len(told) == 55:
                    break
            assert told == [row.id for row in await local.after(0)]
            one, other = await shared.get("t000001"), await shared.get("t000009")
            assert one is not None
            assert other is not None
            assert "outcome_usd" in {place.path for place in diff(one, other)}
            seen = []
            for store in (local, shared):
                hindsight = Hindsight()
                async for item in walk(store):
                    hindsight.see(item)
                seen.append(hindsight.result())
            assert seen[0] == seen[1]

    run(main())


def test_the_daily_analysis_is_written_from_the_shared_record(postgres: SharedServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with both(postgres.new_database(), tmp_path / "traces.db", fill) as (_, shared):
            open_ = (await shared.stats()).unanalyzed
            done = await analyse(shared, tmp_path / "analysis", SystemClock(), by="a team")
            assert done.traces == open_
            assert done.held == 0
            assert (await analyse(shared, tmp_path / "analysis", SystemClock(), by="another")).traces == 0
            assert (tmp_path / "analysis" / f"{done.days[0]}.md").exists()

    run(main())


def test_a_shared_record_is_written_by_its_bots_alone(postgres: SharedServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with both(postgres.new_database(), tmp_path / "traces.db", fill) as (local, shared):
            with pytest.raises(TraceError, match="written by its bots alone"):
                await shared.store(trace(1))
            with pytest.raises(TraceError, match="written by its bots alone"):
                await shared.attach_outcome("t000001", Decimal(1), 1)
            with pytest.raises(TraceError, match="written by its bots alone"):
                await shared.store_notes([])
            await shared.close()
            await shared.close()
            with pytest.raises(TraceError, match="closed"):
                await shared.recent()
            assert (await local.verify()).ok

    run(main())


def test_traces_of_a_retrained_dictionary_are_read_while_the_reader_is_open(
    postgres: SharedServer, tmp_path: Path
) -> None:
    async def main() -> None:
        url, path = postgres.new_database(), tmp_path / "traces.db"
        async with TraceStore.open(path) as store:
            for number in range(1, 121):
                await store.store(trace(number))
            await ship(store, url)
            await store.retrain()
        async with SharedStore.open(url) as shared:
            async with TraceStore.open(path) as store:
                await store.store(trace(500))
                await ship(store, url)
            assert await shared.get("t000500") == trace(500)

    run(main())


def test_text_that_postgresql_cannot_hold_is_shown_escaped_and_kept_whole(
    postgres: SharedServer, tmp_path: Path
) -> None:
    odd = trace(1, regime="a\x00b", errors=("x\x00y",))

    async def main() -> None:
        async with both(postgres.new_database(), tmp_path / "traces.db", lambda store: store.store(odd)) as (_, shared):
            assert await shared.get(odd.id) == odd
            (row,) = await shared.summaries()
            assert (row.regime, row.error) == ("a\\x00b", "x\\x00y")
            assert (await shared.verify()).ok
            assert (await shared.stats()).dead_letters == 0

    run(main())


def test_the_bars_that_decisions_saw_are_shipped_once_and_given_back_with_each(
    postgres: SharedServer, tmp_path: Path
) -> None:
    async def main() -> None:
        url, path = postgres.new_database(), tmp_path / "traces.db"
        async with TraceStore.open(path) as store:
            for number in range(1, 40):
                await store.store(saw(number, BARS[number : number + 60]))
                if number % 13 == 0:
                    await ship(store, url, batch_rows=4)
            await store.attach_outcome("t000002", Decimal(1), START_MS)
            await ship(store, url)
            async with SharedStore.open(url) as shared:
                assert await shared.get("t000039") == saw(39, BARS[39:99])
                assert await shared.between(0, 2**60) == await store.between(0, 2**60)
                assert await shared.claim(50, by="a", now_ms=1, lease_ms=1) == await store.unanalyzed(50)
                assert (await shared.verify()).ok
        assert postgres.psql(name_of(url), "SELECT count(*) FROM perpstrader.bar") == "98"
        postgres.psql(name_of(url), "UPDATE perpstrader.bar SET close = '1' WHERE open_ms = (SELECT max(open_ms) FROM"
                      " perpstrader.bar)")  # fmt: skip
        async with SharedStore.open(url) as shared:
            finding = await shared.verify()
            assert not finding.ok
            assert "was changed" in finding.problem

    run(main())
