"""How many WebSocket messages may still go out: the venue takes so many from one address in a minute (S18, API sheet
5.3).
"""

from __future__ import annotations

from collections import deque
from typing import Final

from perpstrader.runtime import Clock
from perpstrader.venue.wire.limits import WS_MESSAGES_PER_MINUTE

FOR_STREAMS: Final = 500
"""Of a minute's messages so many are kept from posts: without subscriptions nothing is heard."""
_PINGS: Final = 20
"""Pings are not asked for room: some a minute, and one whenever the connection is new."""
_MINUTE_NS: Final = 60_000_000_000
_LATE_NS: Final = 1_000_000_000
"""What left here a minute ago may have arrived there later than what follows it will."""


class MessageBudget:
    """Counts what one process sends on its WebSockets; at most the venue's number within any minute."""

    def __init__(self, clock: Clock, *, limit: int = WS_MESSAGES_PER_MINUTE) -> None:
        self._clock = clock
        self._limit = limit - _PINGS
        self._sent: deque[tuple[int, int]] = deque()
        self._spent = 0

    @property
    def left(self) -> int:
        """How many may go out now."""
        gone_ns = self._clock.monotonic_ns() - _MINUTE_NS - _LATE_NS
        while self._sent and self._sent[0][0] <= gone_ns:
            self._spent -= self._sent.popleft()[1]
        return self._limit - self._spent

    def note(self, count: int = 1) -> None:
        """So many go out now."""
        self._sent.append((self._clock.monotonic_ns(), count))
        self._spent += count

    def wait_s(self, count: int) -> float:
        """How long until there is room for so many, in seconds; for more than a minute takes, until none is counted."""
        missing, free_ns = min(count, self._limit) - self.left, 0
        for at_ns, sent in self._sent:
            if missing <= 0:
                break
            missing -= sent
            free_ns = at_ns + _MINUTE_NS + _LATE_NS
        return max(0.0, (free_ns - self._clock.monotonic_ns()) / 1e9)
