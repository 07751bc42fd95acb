"""What recovery has found: the issues that stand, and a bounded history of each with what became of it (PR-16)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from perpstrader.execution import Desk
from perpstrader.recovery.contract import Action, Disposition, Handled, Issue, IssueKind, Priority

_KEPT: Final = 100
_Key = tuple[str, str, IssueKind, Action]


class Findings:
    """Each issue is noted once when it begins and once when it is over, however often it is seen in between."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._standing: dict[_Key, Issue] = {}
        self._history: deque[Handled] = deque(maxlen=_KEPT)

    @property
    def active(self) -> tuple[Issue, ...]:
        """The issues of the last check, the worst first."""
        return tuple(sorted(self._standing.values(), key=lambda issue: issue.rank, reverse=True))

    @property
    def history(self) -> tuple[Handled, ...]:
        """The newest hundred, oldest first."""
        return tuple(self._history)

    def see(self, issues: Iterable[Issue]) -> None:
        """The issues of one whole check: what is new is noted, what is gone is over."""
        now = self._desk.clock.now_ms()
        seen = {_key(issue): msgspec.structs.replace(issue, since_ms=now) for issue in issues}
        for key in [key for key in self._standing if key not in seen]:
            self.note(self._standing.pop(key), Disposition.OVER)
        for key, issue in seen.items():
            if (known := self._standing.get(key)) is not None:
                seen[key] = msgspec.structs.replace(issue, since_ms=known.since_ms)
            else:
                waits = issue.action is Action.WAIT or issue.action.trades
                self.note(issue, Disposition.WAITING if waits else Disposition.REPORTED)
                if issue.priority > Priority.LOW:
                    self._desk.say("recovery-issue", issue.symbol, issue.sentence(), episode=issue.episode)
        self._standing.update(seen)

    def note(self, issue: Issue, disposition: Disposition, text: str = "") -> None:
        """Keep what became of an issue."""
        now = self._desk.clock.now_ms()
        self._history.append(Handled(time_ms=now, issue=issue, disposition=disposition, text=text))


def _key(issue: Issue) -> _Key:
    return (issue.symbol, issue.episode, issue.kind, issue.action)
