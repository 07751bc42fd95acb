"""Closed bars are stored once, whatever decisions saw them, read back with each, and go with the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.traces.samples import BAR_MS, START_MS, candle, executed, trace

from perpstrader.domain import Candle, Step, StrategyView, Trace
from perpstrader.traces import TraceRejectedError
from perpstrader.traces.bars import Memo, share
from perpstrader.traces.baseline import TraceStore as Plain
from perpstrader.traces.codec import encode, encode_whole
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.diff import diff
from perpstrader.traces.records import MIN_RETENTION_MS, Retention
from perpstrader.traces.store import TraceStore as Batching

Opener = Callable[..., AbstractAsyncContextManager[TraceStore]]
OPENERS: dict[str, Opener] = {"baseline": Plain.open, "optimized": Batching.open}
BARS = tuple(
    msgspec.structs.replace(candle(START_MS + n * BAR_MS), close=Decimal(103_000 + n), trades=n) for n in range(3_000)
)


@pytest.fixture(params=sorted(OPENERS))
def opener(request: pytest.FixtureRequest) -> Opener:
    return OPENERS[request.param]


def play(opener: Opener, body: Callable[[Any], Awaitable[None]], path: Path | None = None) -> None:
    async def main() -> None:
        async with opener(path) as store:
            await body(store)

    asyncio.run(main())


def saw(number: int, history: tuple[Candle, ...], made: Callable[[int], Trace] = trace) -> Trace:
    """A decision on the bar after ``history``."""
    base = made(number)
    assert base.market is not None
    view = StrategyView(time_ms=base.accepted_ms, market=base.market, history=history)
    return msgspec.structs.replace(base, view=view)


async def bars_in(store: Any) -> int:
    def count(connection: apsw.Connection) -> int:
        return int(connection.execute("SELECT count(*) FROM candle").get)

    return int(await store._read(count))


def test_bars_that_many_decisions_saw_are_stored_once_and_read_back_with_each(opener: Opener, tmp_path: Path) -> None:
    traces = [saw(number, BARS[number : number + 100]) for number in range(1, 41)]

    async def write(store: Any) -> None:
        await asyncio.gather(*(store.store(each) for each in traces))
        assert await bars_in(store) == 139
        assert await store.get("t000007") == traces[6]

    async def read(store: Any) -> None:
        assert await store.between(0, 2**60) == traces
        assert await store.recent(3) == traces[:-4:-1]
        assert await store.unanalyzed(2) == traces[:2]
        assert (await store.verify()).ok

    play(opener, write, tmp_path / "traces.db")
    for other in OPENERS.values():
        play(other, read, tmp_path / "traces.db")


def test_the_later_life_of_a_decision_keeps_its_bars(opener: Opener) -> None:
    first = saw(1, BARS[:50], executed)
    later = msgspec.structs.replace(first, steps=(Step(time_ms=1, text="more"),))

    async def body(store: Any) -> None:
        await store.store(first)
        await store.update(later)
        await store.attach_outcome(first.id, Decimal("12.5"), START_MS)
        read = await store.get(first.id)
        assert read is not None
        assert read.view == first.view
        assert read.outcome_usd == "12.5"
        other = saw(1, (*BARS[:49], msgspec.structs.replace(BARS[49], close=Decimal(1))), executed)
        with pytest.raises(TraceRejectedError, match="would change what was decided on"):
            await store.update(other)
        assert (await store.verify()).ok

    play(opener, body)


def test_a_bar_that_was_told_otherwise_lies_beside_the_first(opener: Opener, tmp_path: Path) -> None:
    told_otherwise = (*BARS[:5], msgspec.structs.replace(BARS[5], volume=Decimal("99.5")), *BARS[6:10])
    traces = [saw(1, BARS[:10]), saw(2, told_otherwise), saw(3, BARS[:10]), saw(4, told_otherwise[2:])]

    async def write(store: Any) -> None:
        for each in traces:
            await store.store(each)
        assert await bars_in(store) == 11

    async def read(store: Any) -> None:
        assert await store.between(0, 2**60) == traces
        assert (await store.verify()).ok

    play(opener, write, tmp_path / "traces.db")
    play(opener, read, tmp_path / "traces.db")


def test_gaps_between_bars_and_several_markets_read_back(opener: Opener) -> None:
    gaps = (*BARS[:5], *BARS[9:12], *BARS[40:41])
    other = tuple(msgspec.structs.replace(bar, symbol="ETH", close=Decimal(7)) for bar in BARS[:5])
    traces = [saw(1, gaps), saw(2, other), saw(3, BARS[4:10]), saw(4, ())]

    async def body(store: Any) -> None:
        for each in traces:
            await store.store(each)
        assert await store.between(0, 2**60) == traces
        assert (await store.verify()).ok

    play(opener, body)


@pytest.mark.parametrize(
    "history",
    [
        (BARS[0], msgspec.structs.replace(BARS[1], symbol="ETH")),
        (BARS[1], BARS[0]),
        (BARS[0], msgspec.structs.replace(BARS[1], high=Decimal("NaN"))),
    ],
    ids=["two markets", "out of order", "not a number"],
)
def test_what_is_no_series_of_bars_stays_in_the_decision(opener: Opener, history: tuple[Candle, ...]) -> None:
    async def body(store: Any) -> None:
        await store.store(saw(1, history))
        read = await store.get("t000001")
        assert await bars_in(store) == 0
        assert read is not None
        assert repr(read.view.history) == repr(history)

    play(opener, body)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE candle SET close = '1' WHERE open_ms = (SELECT min(open_ms) FROM candle)", "was changed"),
        ("DELETE FROM candle WHERE open_ms = (SELECT max(open_ms) FROM candle)", "missing or changed"),
        ("UPDATE candle SET digest = x'00' WHERE open_ms = (SELECT min(open_ms) FROM candle)", "missing or changed"),
        ("DELETE FROM trace_bars", "nothing keeps the bars"),
    ],
)
def test_a_changed_or_missing_bar_is_found_and_never_passed_off_as_seen(
    opener: Opener, tmp_path: Path, change: str, problem: str
) -> None:
    path = tmp_path / "traces.db"

    async def write(store: Any) -> None:
        await store.store(saw(1, BARS[:20]))

    async def read(store: Any) -> None:
        found = await store.verify()
        assert not found.ok
        assert problem in found.problem
        again = await store.get("t000001")
        if "UPDATE candle SET close" not in change and "trace_bars" not in change:
            assert again.view.history == ()
            assert again.view.stored.count == 20

    play(opener, write, path)
    connection = apsw.Connection(str(path))
    connection.execute(change)
    connection.close()
    play(opener, read, path)


def test_S64_bars_go_with_the_last_decision_that_names_them(opener: Opener, tmp_path: Path) -> None:
    day = MIN_RETENTION_MS // BAR_MS

    async def body(store: Any) -> None:
        for number in (1, 2, 3, 200):  # on the first day; then an order, and two on later days
            await store.store(saw(number, BARS[number : number + 30]))
        await store.store(saw(400, BARS[400:430], executed))
        for number in (3 * day, 4 * day + 300):
            await store.store(saw(number, BARS[number : number + 30]))
        kept = await store.retain(Retention(payload_ms=2 * MIN_RETENTION_MS))
        assert kept.payloads == 5
        assert kept.bars == 32 + 30 + 30
        assert await bars_in(store) == 60
        assert (await store.get("t000400")) == saw(400, BARS[400:430], executed)
        assert (await store.verify()).ok
        await store.store(saw(1_500, BARS[1:31]))  # bars that were swept are stored again
        assert (await store.get("t001500")) == saw(1_500, BARS[1:31])
        removed = await store.prune(before_ms=trace(4 * day).accepted_ms)
        assert removed == 6
        assert await bars_in(store) == 60
        assert (await store.verify()).ok

    play(opener, body, tmp_path / "traces.db")


def test_a_sweep_leaves_exactly_what_decisions_name_whatever_the_order(opener: Opener) -> None:
    chance = Random(5)

    async def body(store: Any) -> None:
        windows = {}
        for number in range(1, 120):
            first = chance.randrange(2_000)
            windows[number] = BARS[first : first + chance.randrange(1, 60)]
            await store.store(saw(number, windows[number]))
        kept = await store.retain(Retention())
        named = {bar.open_ms for window in windows.values() for bar in window}
        assert kept.bars == 0
        assert await bars_in(store) == len(named)
        drop = sorted(windows)[::3]

        def forget(connection: apsw.Connection) -> None:
            for number in drop:
                connection.execute(
                    "UPDATE payload SET codec = 255, data = x'' WHERE seq = (SELECT seq FROM trace WHERE uid = ?)",
                    (f"t{number:06}",),
                )

        await store._transacted(forget)
        await store.retain(Retention())
        named = {bar.open_ms for number, window in windows.items() if number not in drop for bar in window}
        assert await bars_in(store) == len(named)
        for number, window in windows.items():
            assert number in drop or await store.get(f"t{number:06}") == saw(number, window)

    play(opener, body)


@given(
    starts=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40), st.booleans()), min_size=1, max_size=12),
    dropped=st.sets(st.integers(0, 11)),
)
def test_any_windows_read_back_equal_from_both_builds(
    starts: list[tuple[int, int, bool]], dropped: set[int]
) -> None:
    """Windows of any place and length, some of whose bars another source told otherwise."""
    otherwise = tuple(msgspec.structs.replace(bar, trades=bar.trades + 1) for bar in BARS[:100])
    traces = [
        saw(number, (otherwise if other else BARS)[first : first + length])
        for number, (first, length, other) in enumerate(starts, 1)
    ]

    async def body(store: Any) -> None:
        for each in traces:
            await store.store(each)
        assert await store.between(0, 2**60) == traces
        assert (await store.verify()).ok

    for opener in OPENERS.values():
        play(opener, body)


def test_TS11_decisions_with_their_bars_take_a_fifth_of_their_json_at_most(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A hundred bars with each decision, on three markets that walk at random; and the same decisions without bars."""
    chance, traces = Random(9), list[Trace]()
    for symbol in ("BTC", "ETH", "SOL"):
        price, bars = 50_000.0, list[Candle]()
        for each in BARS[:300]:
            price *= 1 + chance.gauss(0, 0.002)
            low, high = price * (1 - chance.random() / 500), price * (1 + chance.random() / 500)
            prices = {"low": low, "high": high, "close": price, "volume": chance.random() * 90}
            told = {name: Decimal(f"{value:.2f}") for name, value in prices.items()}
            bars.append(msgspec.structs.replace(each, symbol=symbol, trades=chance.randrange(900), **told))
        for n in range(1, 201):
            made = msgspec.structs.replace(saw(n, tuple(bars[n : n + 100])), id=f"{symbol}-{n}", symbol=symbol)
            traces.append(made)

    async def store(name: str, what: list[Trace]) -> float:
        async with Batching.open(tmp_path / name) as store:
            for each in what:
                store.store(each, urgent=False)
            await store.flush()
            assert (await store.verify()).ok
        return (tmp_path / name).stat().st_size / sum(len(encode_whole(each)) for each in what)

    with_bars = asyncio.run(store("bars.db", traces))
    without = asyncio.run(store("bare.db", [msgspec.structs.replace(each, view=None) for each in traces]))
    record_property("bytes_of_json_with_bars", round(with_bars, 3))
    record_property("bytes_of_json_without", round(without, 3))
    assert with_bars <= 0.21


def test_a_decision_is_told_whole_to_other_programs_and_compared_by_its_history() -> None:
    one, other = saw(1, BARS[:20]), saw(1, BARS[1:21])
    assert encode_whole(one).count(b'"open_ms"') == 21
    assert b'"open_ms"' in encode(one).json
    assert encode(one).json.count(b'"open_ms"') == 1
    assert {difference.path for difference in diff(one, other)} == {
        "view.stored.runs[0][0]", "view.stored.digest",
    }  # fmt: skip


def test_bars_that_are_equal_and_written_otherwise_keep_the_content_of_their_digest(opener: Opener) -> None:
    """A source may write 103000.0 where another wrote 103000: the same bar, and one row."""
    rewritten = tuple(msgspec.structs.replace(bar, close=Decimal(f"{bar.close}.0")) for bar in BARS[1:40])
    traces = [saw(1, BARS[:39]), saw(2, rewritten), saw(3, BARS[2:41])]

    async def body(store: Any) -> None:
        for each in traces:
            await store.store(each)
        assert await store.between(0, 2**60) == traces
        assert (await store.verify()).ok

    play(opener, body)


def test_a_bar_is_digested_once_whatever_decisions_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from perpstrader.traces import bars

    counted: list[Candle] = []
    real = bars._digested

    def count(bar: Candle) -> Any:
        counted.append(bar)
        return real(bar)

    monkeypatch.setattr(bars, "_digested", count)
    memo = Memo()
    for first in range(50):
        found = share(saw(1, BARS[first : first + 400]), memo)[1]
        assert found == share(saw(1, BARS[first : first + 400]))[1]
    assert len(counted) == 449 + 50 * 400
