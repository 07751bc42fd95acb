"""Explain tells the whole life of a position: each rule, fills, stop, moves, who ended it and why, what it made."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from tests.contract.traces.samples import BAR_MS, START_MS, executed, refused, signal, trace

from perpstrader.domain import Action, Fill, Reason, Step, Trace, TraceKind
from perpstrader.runtime import InlineExecutor, VirtualClock, run_virtual
from perpstrader.traces import CycleNote, NoteCode, TraceStore, explain, explain_at, is_answered, life_of

CLOSE_MS = START_MS + 2 * BAR_MS


def lived(**changes: object) -> Trace:
    """A position from its decision to its end: stop placed and moved, closed at a loss of 12.50 USD."""
    opened = executed(1)
    entry = opened.fills[0]
    out = Fill(
        tid=9_100, oid=78, symbol="BTC", buy=False, price=Decimal("103000"), size=entry.size, time_ms=CLOSE_MS,
        fee_usd=Decimal("0.575"), closed_pnl_usd=Decimal("-11.193"), start_position=entry.size, crossed=True,
    )  # fmt: skip
    steps = (
        Step(time_ms=entry.time_ms, text="sent to the venue"),
        Step(time_ms=entry.time_ms, text="fill: bought 0.0123 at 103910 (entry)"),
        Step(time_ms=entry.time_ms + 50, text="stop-confirmed: stop 101000 for 0.0123 is listed as oid 78"),
        Step(time_ms=entry.time_ms + 60_000, text="stop-moved: 101000 to 102000 (trailing)"),
        Step(time_ms=CLOSE_MS, text="recovery-acts: STUCK: no move for 24 h"),
        Step(time_ms=CLOSE_MS, text="episode-ended: flat; net -12.50 USD"),
    )
    base = {"fills": (entry, out), "steps": steps, "outcome_usd": "-12.5", "outcome_ms": CLOSE_MS}
    return msgspec.structs.replace(opened, **(base | changes))


def test_a_life_is_told_in_the_order_in_which_it_happened() -> None:
    text = "\n".join(explain(lived()))
    expected = (
        "Rules:", "Approved: long 0.0123 BTC", "Entry sent", "  sent to the venue",
        "  filled: bought 0.0123 BTC at 103910 as taker, fee $0.58",
        "  protected: stop 101000 for 0.0123 is listed as oid 78", "  stop moved: 101000 to 102000 (trailing)",
        "  recovery acts: STUCK: no move for 24 h", "  filled: sold 0.0123 BTC at 103000 as taker",
        "  position over: flat", "Involved: recovery; see the steps above.",
        "Outcome at 2025-05-12 14:10:00 UTC: -$12.50 net in 2 fills: -$11.19 by the price, fees $1.15, funding -$0.16",
        "; -0.33 times the $37.51 at risk (R).",
    )  # fmt: skip
    positions = [text.index(part) for part in expected]
    assert positions == sorted(positions)
    assert text.count("bought 0.0123") == 1


def test_the_multiple_of_risk_counts_only_what_was_filled() -> None:
    half = lived()
    fills = tuple(msgspec.structs.replace(fill, size=fill.size / 2) for fill in half.fills)
    assert "; -0.67 times the $18.76 at risk (R)." in explain(lived(fills=fills))[-1]


def test_what_is_not_over_is_not_called_unknown() -> None:
    open_still = lived(outcome_usd=None, outcome_ms=None)
    assert explain(open_still)[-1] == "Outcome: the position was still open when this was last written."
    entry = msgspec.structs.replace(executed(1).orders[0], status="canceled")
    nothing = msgspec.structs.replace(executed(1), orders=(entry,), fills=())
    assert explain(msgspec.convert(msgspec.to_builtins(nothing), Trace))[-1] == (
        "Outcome: nothing was filled, so nothing was won or lost."
    )


def exit_of(opened: Trace) -> Trace:
    """The operator's close of that position."""
    wish = msgspec.structs.replace(signal(action=Action.CLOSE), strategy="operator", reason="the news")
    steps = (Step(time_ms=CLOSE_MS, text="closed: closed 0.0123, left 0"),)
    return trace(
        9, kind=TraceKind.EXIT, signal=wish, verdict=None, strategy="operator", episode=opened.episode,
        led_to_order=True, accepted_ms=CLOSE_MS - 1_000, steps=steps,
    )  # fmt: skip


def test_an_exit_names_the_decision_that_it_ended_and_its_outcome_and_the_decision_names_the_exit() -> None:
    opened = lived()
    asked = exit_of(opened)

    async def main(clock: VirtualClock) -> tuple[list[str], list[str]]:
        async with TraceStore.open(None, executor=InlineExecutor()) as store:
            for item in (opened, asked, trace(3)):
                await store.store(item)
            return explain(asked, await life_of(store, asked)), explain(opened, await life_of(store, opened))

    of_exit, of_entry = run_virtual(main)
    assert not any("not known yet" in line for line in of_exit)
    assert of_exit[-2].startswith("It was to end the position that trend opened by the decision of 2025-05-12 14:05:00")
    assert of_exit[-1].startswith("Outcome of that position: -$12.50 net")
    assert any(line.endswith(f"operator asked for its exit: the news (id {asked.id})") for line in of_entry)


def test_an_exit_alone_says_nothing_of_an_outcome() -> None:
    assert not any("utcome" in line for line in explain(exit_of(lived())))


def bars(count: int, reason: Reason = Reason.SPREAD_TOO_WIDE) -> list[Trace]:
    """As many decisions, a second apart, with one answer."""
    verdict = refused(reason=reason)
    return [trace(n, accepted_ms=START_MS + 1_000 * n, candle=None, verdict=verdict) for n in range(count)]


def at(traces: list[Trace], notes: list[CycleNote], at_ms: int, within_ms: int) -> tuple[bool, list[str]]:
    async def main(clock: VirtualClock) -> tuple[bool, list[str]]:
        async with TraceStore.open(None, executor=InlineExecutor()) as store:
            for item in traces:
                await store.store(item)
            await store.store_notes(notes)
            nearby = await store.near(at_ms, "BTC", within_ms=within_ms)
            return is_answered(nearby), explain_at(nearby)

    return run_virtual(main)


def test_an_answer_that_came_again_and_again_is_told_once_with_its_number() -> None:
    other = bars(59, Reason.DAILY_LOSS)[-1]
    closes = [START_MS + 1_000 * n - 1 for n in range(1, 60)]
    quiet = [CycleNote("BTC", "1s", close_ms, NoteCode.NO_SIGNAL, "flat", "carry") for close_ms in closes]
    answered, lines = at([*bars(58), other], quiet, START_MS, 60_000)
    assert answered
    assert len(lines) < 40
    assert sum(line.startswith("Refused: SPREAD_TOO_WIDE") for line in lines) == 1
    text = "\n".join(lines)
    assert "\n... and 57 more bars with the same answer, the last at 2025-05-12 14:00:57" in text
    assert "\nRefused: DAILY_LOSS" in text
    assert lines[-1] == "carry, 1s bar to 2025-05-12 14:00:59 UTC and 58 bars before it, saw no reason to trade: flat."


def test_one_second_is_answered_by_what_was_decided_in_it() -> None:
    answered, lines = at(bars(50), [], START_MS + 7_000, 1_000)
    assert (answered, sum("decision" in line for line in lines), "more bar" in "".join(lines)) == (True, 1, False)


def test_a_time_of_which_nothing_is_recorded_is_not_answered_but_its_neighbours_are_named() -> None:
    answered, lines = at([trace(1), trace(20)], [], START_MS + 6 * BAR_MS, 60_000)
    assert not answered
    assert [line[:19] for line in lines[-2:]] == ["The decision before", "The decision after:"]
    assert not any(line.startswith("Rules:") for line in lines)
