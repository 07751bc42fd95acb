"""A person asks why, and is answered in words with the numbers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.traces.samples import BAR_MS, START_MS, approved, executed, refused, signal, trace

from perpstrader.domain import Action, MarketSnapshot, Reason, Side, Trace, TraceKind
from perpstrader.runtime import InlineExecutor, VirtualClock, run_virtual
from perpstrader.traces import CycleNote, Nearby, NoteCode, TraceStore, explain, explain_at, explain_silence, moment


def told(made: Trace) -> str:
    return "\n".join(explain(made))


def test_a_refusal_is_told_with_each_rule_its_number_and_its_limit() -> None:
    assert explain(trace(1)) == [
        "2025-05-12 14:05:00.120 UTC · BTC 5m · decision 1 of trend · id t000001",
        (
            "Bar 2025-05-12 14:00:00 UTC to 2025-05-12 14:05:00 UTC: open 103800, high 103950, low 103750,"
            " close 103905, volume 12.5 in 431 trades."
        ),
        (
            "Market: bid 103900, ask 103910, spread 0.96 bps, 120 ms old; mark 103905.5; oracle 103901;"
            " funding 0.00125 % an hour."
        ),
        "Account: equity $1,000.50, available $900.00, gross notional $0.00 in 0 positions, 620 ms old.",
        "Age of what was known: book 120 ms, account 620 ms.",
        "Regime: trend.",
        "Indicators: fast 103,912, slow 103,800.",
        (
            "trend wanted to open a long position in BTC with confidence 0.62 (stop 101000, target 108000):"
            " fast average crossed above slow."
        ),
        "Rules: 2 checked, 1 failed.",
        "  FAILED  SPREAD_TOO_WIDE: 7.2 bps, limit 5 bps",
        "  passed  CONFIDENCE_TOO_LOW: 0.62, limit 0.5",
        "Refused: SPREAD_TOO_WIDE: 7.2 bps, limit 5 bps (wait for a tighter book).",
    ]


def test_a_trade_is_told_from_the_wish_to_the_outcome() -> None:
    text = told(msgspec.structs.replace(executed(1), outcome_usd="-12.5", outcome_ms=START_MS + 2 * BAR_MS))
    expected = (
        (
            "Approved: long 0.0123 BTC ($1,277.97) no worse than 104400, leverage 3x, stop 101000, target 108000,"
            " at risk $37.51, risk score 0.31; ORDER_NOTIONAL set the size."
        ),
        "  warning: funding is against the position",
        "Entry sent 2025-05-12 14:05:00.150 UTC: buy 0.0123 BTC at 104400 or better (Ioc): filled, filled 0.0123",
        (
            "Stop sent 2025-05-12 14:05:00.150 UTC: sell 0.0123 BTC when mark reaches 101000, bound 90900, reduce-only:"
            " resting."
        ),
        "  2025-05-12 14:05:00.180 UTC  stop of the right size is listed",
        "  2025-05-12 14:05:00.190 UTC  filled: bought 0.0123 BTC at 103910 as taker, fee $0.58",
        "Outcome at 2025-05-12 14:10:00 UTC: -$12.50 net in 1 fill: ",
    )
    positions = [text.index(part) for part in expected]
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"verdict": approved()}, "No order was sent."),
        ({"verdict": approved(), "led_to_order": True}, "what became of it is not recorded here"),
        ({"verdict": None, "signal": None}, "No verdict: nothing was put to the risk manager."),
        ({"errors": ("too slow",), "completed": False}, "Error: too slow\nThe run did not complete."),
        ({"signal": signal(action=Action.CLOSE, side=Side.SHORT)}, "wanted to close the short position in BTC"),
        ({"kind": TraceKind.HALT, "verdict": None, "signal": None, "strategy": ""}, "· halt 1 · id"),
        ({"market": MarketSnapshot(symbol="BTC", version=1)}, "no price was known"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(changes: dict[str, object], sentence: str) -> None:
    assert sentence in told(trace(1, **changes))


def test_every_refusal_is_named() -> None:
    double = refused()
    double = msgspec.structs.replace(double, refusals=(*double.refusals, *refused(reason=Reason.DAILY_LOSS).refusals))
    assert "  also DAILY_LOSS: 7.2 bps" in told(trace(1, verdict=double))


@given(st.floats(), st.integers(-(2**70), 2**70), st.decimals(allow_nan=True, allow_infinity=True), st.text(max_size=9))
def test_whatever_is_recorded_can_be_told(number: float, at_ms: int, price: Decimal, text: str) -> None:
    odd = trace(
        1,
        accepted_ms=at_ms,
        indicators={text: number},
        outcome_usd=text,
        signal=signal(confidence=number, entry_price=price),
        market=msgspec.structs.replace(trace(1).market, bid=price, ask=price),
    )
    assert all(isinstance(line, str) for line in explain(odd))


def test_moments_show_milliseconds_only_where_there_are_any() -> None:
    assert moment(START_MS) == "2025-05-12 14:00:00 UTC"
    assert moment(START_MS + 7) == "2025-05-12 14:00:00.007 UTC"
    assert math.isfinite(len(moment(2**80)))


AT_CLOSE = START_MS + BAR_MS


def answer(
    at_ms: int, *, symbol: str = "BTC", notes: Sequence[CycleNote] = (), traces: Sequence[Trace] = ()
) -> list[str]:
    async def main(clock: VirtualClock) -> list[str]:
        async with TraceStore.open(None, executor=InlineExecutor()) as store:
            await store.store_notes(notes)
            for item in traces:
                await store.store(item)
            return explain_at(await store.near(at_ms, symbol))

    return run_virtual(main)


def note(code: NoteCode, text: str, *, bar: int = 1, strategy: str = "trend") -> CycleNote:
    return CycleNote("BTC", "5m", START_MS + bar * BAR_MS - 1, code, text, strategy)


NOTES = [
    (NoteCode.NO_SIGNAL, "fast 103,912 below slow 104,020", "saw no reason to trade: fast 103,912 below slow 104,020."),
    (NoteCode.WARM_UP, "needs 50 bars, has 31", "and its bars were too few for an entry: needs 50 bars, has 31."),
    (NoteCode.DATA_STALE, "book 12 s old, limit 5 s", "the market data was too old: book 12 s old, limit 5 s."),
    (NoteCode.MARKET_HALTED, "", "saw no reason to trade, and the market stood still."),
    (NoteCode.TRADER_HALTED, "DAILY_LOSS since 13:02", "entries were halted: DAILY_LOSS since 13:02."),
    (NoteCode.NOT_READY, "not reconciled yet", "the trader was not ready for an entry: not reconciled yet."),
    (NoteCode.STRATEGY_FAILED, "ValueError: no bars", "failed: ValueError: no bars."),
    (NoteCode.STRATEGY_SKIPPED, "it failed 3 times: no bars", "was not asked: it failed 3 times: no bars."),
]


@pytest.mark.parametrize(("code", "text", "words"), NOTES, ids=[row[0] for row in NOTES])
def test_a_quiet_bar_says_why_it_was_quiet(code: NoteCode, text: str, words: str) -> None:
    first, second = answer(AT_CLOSE, notes=[note(code, text)])
    assert first == "BTC at 2025-05-12 14:05:00 UTC: no decision was made."
    assert second == f"trend, 5m bar to 2025-05-12 14:05:00 UTC, {second.split(', ', 2)[2]}"
    assert second.endswith(words)


def test_every_code_has_its_words() -> None:
    assert {row[0] for row in NOTES} == set(NoteCode)


def test_a_decision_at_the_instant_is_told_whole_with_the_notes_beside_it() -> None:
    lines = answer(
        AT_CLOSE, traces=[trace(1)], notes=[note(NoteCode.WARM_UP, "needs 50 bars, has 31", strategy="carry")]
    )
    assert lines[: len(explain(trace(1)))] == explain(trace(1), brief=True)
    assert "  passed  1 rule; each with its value: perpstrader traces explain t000001" in lines
    why = "saw no reason to trade, and its bars were too few for an entry: needs 50 bars, has 31."
    assert lines[-1] == f"carry, 5m bar to 2025-05-12 14:05:00 UTC, {why}"


def test_between_two_bars_the_bar_in_force_answers() -> None:
    lines = answer(AT_CLOSE + 61_000, notes=[note(NoteCode.NO_SIGNAL, "flat"), note(NoteCode.NO_SIGNAL, "flat", bar=2)])
    assert lines[0] == "BTC at 2025-05-12 14:06:01 UTC: no bar closed and no decision was made then."
    assert lines[1] == "The bar in force had closed at 2025-05-12 14:05:00 UTC; the next one had not closed yet."
    assert lines[2].endswith("saw no reason to trade: flat.")


def test_a_gap_in_the_bars_is_called_a_gap() -> None:
    lines = answer(AT_CLOSE + 5 * BAR_MS, traces=[trace(1), trace(20)])
    assert (
        "The newest 5m bar before it closed at 2025-05-12 14:05:00 UTC, 25 min earlier: no bars came in between"
        in lines[1]
    )
    assert lines[-2].startswith(
        "The decision before: 2025-05-12 14:05:00.120 UTC, trend, open long, refused for SPREAD_TOO_WIDE"
    )
    assert lines[-1].startswith("The decision after: 2025-05-12 15:40:00.120 UTC")


def test_outside_of_what_is_recorded_it_says_what_is() -> None:
    lines = answer(START_MS - 3_600_000, traces=[trace(1)])
    assert "that is before what is recorded of it, 2025-05-12 14:05:00.120 UTC to" in lines[0]
    assert "after what is recorded" in answer(START_MS * 2, traces=[trace(1)])[0]
    (line,) = answer(AT_CLOSE, symbol="SOL", traces=[trace(1)])
    assert line.startswith("SOL at 2025-05-12 14:05:00 UTC: nothing is recorded of SOL.")


@given(
    st.lists(st.integers(1, 6), max_size=3, unique=True),
    st.lists(st.integers(1, 6), max_size=3, unique=True),
    st.integers(-BAR_MS, 8 * BAR_MS),
)
def test_there_is_always_an_answer(decided: list[int], quiet: list[int], offset: int) -> None:
    notes = [note(NoteCode.NO_SIGNAL, "", bar=bar) for bar in quiet]
    assert answer(START_MS + offset, notes=notes, traces=[trace(number) for number in decided])


def test_silence_of_an_empty_record_is_explained() -> None:
    assert explain_silence(Nearby(symbol="BTC", time_ms=START_MS, exact=False))


def test_the_real_loop_and_the_virtual_one_tell_the_same() -> None:
    async def main() -> list[str]:
        async with TraceStore.open(None) as store:
            await store.store(trace(1))
            return explain_at(await store.near(AT_CLOSE, "BTC"))

    assert asyncio.run(main()) == answer(AT_CLOSE, traces=[trace(1)])
