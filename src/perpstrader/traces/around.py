"""Why there was a trade at an instant, or why there was none: what is recorded around it, in lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perpstrader.domain.market import INTERVAL_MS
from perpstrader.domain.traces import Trace
from perpstrader.domain.verdicts import Approved, Refused
from perpstrader.domain.wording import plural
from perpstrader.traces.explain import explain
from perpstrader.traces.records import CycleNote, Nearby, NoteCode, TraceSummary
from perpstrader.traces.words import age, full_stop, moment

_NOTE_WORDS = {
    NoteCode.NO_SIGNAL: "saw no reason to trade",
    NoteCode.WARM_UP: "saw no reason to trade, and its bars were too few for an entry",
    NoteCode.DATA_STALE: "was not asked, because the market data was too old",
    NoteCode.MARKET_HALTED: "saw no reason to trade, and the market stood still",
    NoteCode.TRADER_HALTED: "saw no reason to trade, and entries were halted",
    NoteCode.NOT_READY: "saw no reason to trade, and the trader was not ready for an entry",
    NoteCode.STRATEGY_FAILED: "failed",
    NoteCode.STRATEGY_SKIPPED: "was not asked",
}


def explain_at(nearby: Nearby) -> list[str]:
    """Why there was or was not a trade at an instant: each answer of that moment once, or why there is none.

    Decisions with the same answer (strategy, wish, reasons against it) and bars that were quiet for the same reason
    are told once, with their number.
    """
    if not nearby.exact or not nearby.decisions:
        return explain_silence(nearby)
    return [*_decisions(nearby.decisions), *_notes(nearby.notes)]


def is_answered(nearby: Nearby) -> bool:
    """Whether something is recorded of the instant itself: of its window, or of a bar that was in force then."""
    return nearby.exact or _in_force(nearby)


def explain_silence(nearby: Nearby) -> list[str]:
    """Why no decision stands at the instant: how the cycle on that bar ended, or why there was none; never empty."""
    asked = f"{nearby.symbol} at {moment(nearby.time_ms)}"
    if nearby.exact and nearby.notes:
        lines = [f"{asked}: no decision was made.", *_notes(nearby.notes)]
    elif nearby.first_ms is None or nearby.last_ms is None:
        return [
            f"{asked}: nothing is recorded of {nearby.symbol}. Was it traded, and is it spelled as the venue spells it?"
        ]
    elif not nearby.first_ms <= nearby.time_ms <= nearby.last_ms:
        side = "before" if nearby.time_ms < nearby.first_ms else "after"
        covered = f"{moment(nearby.first_ms)} to {moment(nearby.last_ms)}"
        lines = [f"{asked}: that is {side} what is recorded of it, {covered}.", *_bar_in_force(nearby)]
    else:
        lines = [f"{asked}: no bar closed and no decision was made then.", *_bar_in_force(nearby)]
    lines.extend(_neighbours(nearby))
    return lines


def _decisions(traces: Sequence[Trace]) -> Iterator[str]:
    """Each different answer once, as it was first given; how often it came again."""
    alike: dict[tuple[object, ...], list[Trace]] = {}
    for trace in traces:
        alike.setdefault(_answer(trace), []).append(trace)
    for number, same in enumerate(alike.values()):
        yield from [""] if number else []
        yield from explain(same[0], brief=True)
        if same[1:]:
            more = plural(len(same) - 1, "more bar")
            yield f"... and {more} with the same answer, the last at {moment(same[-1].accepted_ms)} (id {same[-1].id})"


def _answer(trace: Trace) -> tuple[object, ...]:
    """What makes two decisions alike; one that led to an order is like no other."""
    signal, verdict = trace.signal, trace.verdict
    wish = (signal.action, signal.side) if signal is not None else ()
    if isinstance(verdict, Refused) and not trace.errors:
        return trace.kind, trace.strategy, wish, tuple(refusal.reason for refusal in verdict.refusals)
    if isinstance(verdict, Approved) or trace.led_to_order or trace.signal is None:
        return (trace.id,)
    return trace.kind, trace.strategy, wish, trace.errors


def _bar_in_force(nearby: Nearby) -> Iterator[str]:
    """What the newest bar before the instant ended with, and whether it still held then."""
    bar = _last_bar(nearby)
    if bar is None:
        return
    ended_ms, interval = bar
    if not _in_force(nearby):
        gap = age(nearby.time_ms - ended_ms)
        yield (
            f"The newest {interval} bar before it closed at {moment(ended_ms)}, {gap} earlier: no bars came in between,"
            " so the trader did not run, had no market data, or notes were not being kept."
        )
    else:
        yield f"The bar in force had closed at {moment(ended_ms)}; the next one had not closed yet."
        yield from _notes(nearby.notes)
        yield from _decisions(nearby.decisions)


def _in_force(nearby: Nearby) -> bool:
    """Whether the newest bar before the instant was still the newest one then."""
    bar = _last_bar(nearby)
    if bar is None:
        return False
    ended_ms, interval = bar
    length_ms = INTERVAL_MS.get(interval)
    return length_ms is None or nearby.time_ms - ended_ms <= length_ms


def _last_bar(nearby: Nearby) -> tuple[int, str] | None:
    """When the newest bar before the instant ended, and its interval."""
    bars = [(note.bar_close_ms + 1, note.interval) for note in nearby.notes]
    bars.extend(
        (trace.accepted_ms if trace.candle is None else trace.candle.close_ms + 1, trace.interval)
        for trace in nearby.decisions
    )
    return max(bars, default=None)


def _notes(notes: Sequence[CycleNote]) -> Iterator[str]:
    """Quiet bars; those of one strategy with one reason in one line, with the newest words."""
    alike: dict[tuple[str, str, NoteCode], list[CycleNote]] = {}
    for note in notes:
        alike.setdefault((note.strategy, note.interval, note.code), []).append(note)
    for same in alike.values():
        yield _note(same[-1], len(same))


def _note(note: CycleNote, bars: int) -> str:
    who = note.strategy or "The strategy"
    detail = f": {note.text}" if note.text else ""
    bar = f"{note.interval} bar to {moment(note.bar_close_ms + 1)}"
    also = f" and {plural(bars - 1, 'bar')} before it" if bars > 1 else ""
    return f"{who}, {bar}{also}, {_NOTE_WORDS[note.code]}{detail}{full_stop(detail)}"


def _neighbours(nearby: Nearby) -> Iterator[str]:
    for word, summary in (("before", nearby.before), ("after", nearby.after)):
        if summary is not None:
            yield f"The decision {word}: {_in_short(summary)}."


def _in_short(summary: TraceSummary) -> str:
    verdict = {"refused": f"refused for {summary.reason}", "approved": "approved"}.get(summary.verdict, "no verdict")
    wish = f"{summary.action} {summary.side}, " if summary.action else ""
    return f"{moment(summary.accepted_ms)}, {summary.strategy or summary.kind.value}, {wish}{verdict} (id {summary.id})"
