"""How long the venue could not be reached: the protection deadline counts reachable time, outages are told apart
(S20).
"""

from __future__ import annotations

from collections import deque
from typing import Final

_REMEMBERED: Final = 256


class Reach:
    """The outages of the venue as its callers meet them; times are milliseconds of our own clock.

    An outage begins when the first call that failed was sent, and ends with the next answer, whoever gets it.
    """

    def __init__(self) -> None:
        self._since_ms: int | None = None
        self._answered_ms = 0
        self._past: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)

    @property
    def is_out(self) -> bool:
        """True when the newest call that ended has failed."""
        return self._since_ms is not None

    @property
    def since_ms(self) -> int | None:
        """When the outage of now began; ``None`` while there is none."""
        return self._since_ms

    def answered(self, now_ms: int) -> None:
        """An answer came, a refusal included."""
        if self._since_ms is not None and now_ms > self._since_ms:
            self._past.append((self._since_ms, now_ms))
        self._since_ms = None
        self._answered_ms = max(self._answered_ms, now_ms)

    def missed(self, sent_ms: int) -> None:
        """A call that was sent at ``sent_ms`` has failed; what was answered since then was no outage."""
        if self._since_ms is None:
            self._since_ms = max(sent_ms, self._answered_ms)

    def outage_ms(self, since_ms: int, now_ms: int) -> int:
        """How much of the span the venue was out of reach, as far as the newest outages are remembered."""
        spans = [*self._past, *([(self._since_ms, now_ms)] if self._since_ms is not None else [])]
        return sum(max(0, min(end, now_ms) - max(begin, since_ms)) for begin, end in spans)
