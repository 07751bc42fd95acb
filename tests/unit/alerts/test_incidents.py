"""Which reports become alerts (S45): those of what is new, worse or over; repeats within the window are counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from tests.unit.alerts.support import incident

from perpstrader.alerts import Alert, Change, Incident, IncidentBook, Severity

WINDOW_MS = 300_000
Step = tuple[str, Severity | None, int]
"""Key, severity of the report (``None``: it recovers), and the time since the step before."""
STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from([None, *Severity]), st.sampled_from([0, 1_000, 299_999, 300_000])),
    max_size=25,
)


def play(book: IncidentBook, steps: list[Step]) -> list[Alert | None]:
    """What the book says to each step."""
    now, said = 1_700_000_000_000, []
    for key, severity, after_ms in steps:
        now += after_ms
        if severity is None:
            said.append(book.recover(key, "over", now))
        else:
            said.append(book.report(incident(key, severity, now), WINDOW_MS))
    return said


def holds(steps: list[Step], book: IncidentBook) -> bool:
    """Whether S45 holds for this history, told from the whole history and not by a book."""
    said = play(book, steps)
    now, open_, told, untold = 0, set(), {}, Counter()
    for (key, severity, after_ms), alert in zip(steps, said, strict=True):
        now += after_ms
        if severity is None:
            expected = Change.OVER if key in open_ else None
        elif key not in open_:
            expected = Change.NEW
        elif severity > told[key][0]:
            expected = Change.WORSE
        else:
            expected = Change.AGAIN if now - told[key][1] >= WINDOW_MS else None
        if (alert.change if alert is not None else None) is not expected:
            return False
        if alert is not None and alert.repeats != untold[key]:
            return False
        if severity is None:
            open_.discard(key)
            untold[key] = 0
        elif expected is None:
            untold[key] += 1
        else:
            open_.add(key)
            told[key], untold[key] = (severity, now), 0
    return {i.key for i in book.open()} == open_


@given(STEPS)
def test_S45_every_history_of_reports_is_told_as_promised(steps: list[Step]) -> None:
    assert holds(steps, IncidentBook())


class _ForgetsNothing(IncidentBook):
    """CB-16: the window outlives the recovery."""

    def recover(self, key: str, text: str, time_ms: int) -> Alert | None:
        known = self._open.get(key)
        alert = super().recover(key, text, time_ms)
        if known is not None:
            self._open[key] = known
        return alert


class _DeafToWorse(IncidentBook):
    """Severity does not matter within the window."""

    def report(self, incident: Incident, window_ms: int) -> Alert | None:
        known = self._open.get(incident.key)
        if known is not None:
            known.told = Severity.CRITICAL
        return super().report(incident, window_ms)


class _TellsAlways(IncidentBook):
    """CB-15: every check alerts."""

    def report(self, incident: Incident, window_ms: int) -> Alert | None:
        return super().report(incident, 0)


class _LosesCount(IncidentBook):
    """What was not told is not counted."""

    def report(self, incident: Incident, window_ms: int) -> Alert | None:
        alert = super().report(incident, window_ms)
        if incident.key in self._open:
            self._open[incident.key].repeats = 0
        return alert


class _QuietEnd(IncidentBook):
    """The recovery is not told."""

    def recover(self, key: str, text: str, time_ms: int) -> Alert | None:
        super().recover(key, text, time_ms)
        return None


class _TellsOnce(IncidentBook):
    """An incident that goes on is never told again."""

    def report(self, incident: Incident, window_ms: int) -> Alert | None:
        return super().report(incident, 10**15)


@pytest.mark.parametrize("mutant", [_ForgetsNothing, _DeafToWorse, _TellsAlways, _LosesCount, _QuietEnd, _TellsOnce])
def test_S45_the_property_finds_each_mutant(mutant: type[IncidentBook]) -> None:
    try:
        find(STEPS, lambda steps: not holds(steps, mutant()), settings=settings(max_examples=2_000, derandomize=True))
    except NoSuchExample:
        pytest.fail(f"no history shows that {mutant.__doc__}")


def test_S46_reading_changes_nothing() -> None:
    book = IncidentBook()
    book.report(incident("a", time_ms=5), WINDOW_MS)
    before = book.open()
    for _ in range(3):
        assert book.open() == before
        assert book.is_open("a")
    assert book.report(incident("a", time_ms=6), WINDOW_MS) is None


def test_a_clock_that_was_set_back_silences_nothing_for_longer_than_the_window() -> None:
    book = IncidentBook()
    book.report(incident(time_ms=10_000_000), WINDOW_MS)
    assert book.report(incident(time_ms=9_900_000), WINDOW_MS) is None
    again: Any = book.report(incident(time_ms=1_000_000), WINDOW_MS)
    assert (again.change, again.repeats) == (Change.AGAIN, 1)


def test_the_book_is_bounded_and_gives_up_the_oldest_of_the_least_grave() -> None:
    book = IncidentBook(capacity=3)
    for key, severity in (("a", Severity.CRITICAL), ("b", Severity.INFO), ("c", Severity.INFO), ("d", Severity.INFO)):
        assert book.report(incident(key, severity), WINDOW_MS) is not None
    assert [i.key for i in book.open()] == ["a", "c", "d"]


def test_an_alert_says_what_was_not_told_and_how_long_it_lasted() -> None:
    book = IncidentBook()
    book.report(incident(time_ms=0), WINDOW_MS)
    book.report(incident(time_ms=1), WINDOW_MS)
    over: Any = book.recover("a", "it is mended", 90_000)
    assert over.subject == "OVER: a is wrong"
    assert over.body == "it is mended; it lasted 90 s\nReported 1 more time since the last alert."
