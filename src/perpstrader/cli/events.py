"""What happened since one last looked: decisions and notes of a running trader, in order, each once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from perpstrader.cli.output import clock_text, decision_line
from perpstrader.trader.recorder import Recorder
from perpstrader.trader.status import decision_row

T = TypeVar("T")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event in a line; ``trace`` is the id of the decision, where it is one."""

    time_ms: int
    kind: str
    text: str
    grave: bool = False
    trace: str = ""

    def line(self) -> str:
        """As it is printed."""
        return f"{clock_text(self.time_ms)} {'! ' if self.grave else ''}{self.text}"


class Events:
    """Reads a recorder's recent decisions and notes; what it gave once it does not give again."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._last_trace: object = None
        self._last_note: object = None

    def new(self) -> list[Event]:
        """The events since the last call, oldest first."""
        traces = _after(self._recorder.recent_decisions, self._last_trace)
        notes = _after(self._recorder.recent, self._last_note)
        self._last_trace = traces[-1] if traces else self._last_trace
        self._last_note = notes[-1] if notes else self._last_note
        events = []
        for trace in traces:
            row = decision_row(trace)
            events.append(Event(time_ms=row.time_ms, kind=row.verdict, text=decision_line(row), trace=row.id))
        for note in notes:
            text = (
                f"{note.kind:<9} {note.symbol} {note.text}".replace("  ", " ")
                if note.symbol
                else f"{note.kind}: {note.text}"
            )
            events.append(Event(time_ms=note.time_ms, kind=note.kind, text=text, grave=note.grave))
        return sorted(events, key=lambda event: event.time_ms)


def _after(recent: Sequence[T], last: object) -> list[T]:
    """What was appended after ``last``; all that is held when it has been pushed out."""
    found: list[T] = []
    for item in reversed(recent):
        if item is last:
            break
        found.append(item)
    return found[::-1]
