"""Incidents, and when a person is told of one: once when it begins, when it gets worse, and when it is over (S45)."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from perpstrader.domain.wording import plural

_CAPACITY: Final = 256


class Severity(enum.IntEnum):
    """How soon a person should look; a greater one is worse."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3


class Change(enum.StrEnum):
    """Why an alert goes out."""

    NEW = "new"
    WORSE = "worse"
    AGAIN = "again"
    OVER = "over"


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong since or at ``time_ms`` (UTC). ``key`` says which: the same key is the same incident."""

    key: str
    severity: Severity
    title: str
    text: str
    time_ms: int
    symbol: str = ""
    episode: str = ""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is told: an incident and its change; ``repeats`` were reported since the last alert, but not told.

    ``since_ms`` is when the incident began. The incident of ``Change.OVER`` has the text and time of its end.
    """

    change: Change
    incident: Incident
    since_ms: int
    repeats: int = 0

    @property
    def subject(self) -> str:
        """One line: how grave, what."""
        if self.change is Change.OVER:
            return f"OVER: {self.incident.title}"
        return f"{self.incident.severity.name}: {self.incident.title}"

    @property
    def body(self) -> str:
        """The sentence, and what was not told since the last one."""
        lines = [self.incident.text]
        if self.change is Change.OVER:
            lines[0] += f"; it lasted {(self.incident.time_ms - self.since_ms) // 1000} s"
        if self.change is Change.WORSE:
            lines.append("This got worse.")
        if self.repeats:
            lines.append(f"Reported {plural(self.repeats, 'more time')} since the last alert.")
        return "\n".join(lines)


class _Known(msgspec.Struct):
    incident: Incident
    since_ms: int
    told: Severity
    told_ms: int
    repeats: int = 0


class IncidentBook:
    """The open incidents, at most ``capacity``; decides what is told, and reading it changes nothing.

    Of a new incident an alert is made at once, and of its recovery; of a repeat only when it is worse than what was
    told last, or when the last alert is as old as the window. What was not told is counted into the next alert.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._open: dict[str, _Known] = {}

    def report(self, incident: Incident, window_ms: int) -> Alert | None:
        """The alert that this report is due, or ``None`` for a repeat within the window."""
        known = self._open.get(incident.key)
        if known is None:
            self._make_room()
            self._open[incident.key] = _Known(incident, incident.time_ms, incident.severity, incident.time_ms)
            return Alert(change=Change.NEW, incident=incident, since_ms=incident.time_ms)
        known.incident = incident
        worse = incident.severity > known.told
        # A clock that was set back must not silence an incident until it has caught up.
        if not worse and abs(incident.time_ms - known.told_ms) < window_ms:
            known.repeats += 1
            return None
        change = Change.WORSE if worse else Change.AGAIN
        alert = Alert(change=change, incident=incident, since_ms=known.since_ms, repeats=known.repeats)
        known.told, known.told_ms, known.repeats = incident.severity, incident.time_ms, 0
        return alert

    def recover(self, key: str, text: str, time_ms: int) -> Alert | None:
        """The alert that the incident is over, whatever the window; ``None`` where none of that key is open."""
        known = self._open.pop(key, None)
        if known is None:
            return None
        ended = msgspec.structs.replace(known.incident, text=text, time_ms=time_ms)
        return Alert(change=Change.OVER, incident=ended, since_ms=known.since_ms, repeats=known.repeats)

    def forget(self, key: str) -> None:
        """Close an incident that has no end to tell of; its next report is a new one."""
        self._open.pop(key, None)

    def is_open(self, key: str) -> bool:
        """True from an incident's first report to its end."""
        return key in self._open

    def open(self) -> tuple[Incident, ...]:
        """The open incidents as they were last reported, the oldest first."""
        return tuple(known.incident for known in self._open.values())

    def _make_room(self) -> None:
        """The oldest of the least grave goes, unheard; when it is reported again it is a new one."""
        if len(self._open) >= self._capacity:
            gone = min(self._open, key=lambda key: self._open[key].incident.severity)
            del self._open[gone]
