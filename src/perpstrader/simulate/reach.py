"""Time in which the venue could not be reached: what protection is not held to (S20 counts reachable time)."""

from __future__ import annotations

from collections.abc import Callable


class Reach:
    """Spans of outage, overlapping as they may: requests lost or late, a stream that froze unnoticed, a dead trader."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._spans: list[tuple[int, int]] = []
        self._open: dict[str, int] = {}

    def add(self, begin_ms: int, and_ms: int = 0) -> None:
        """It lasted from ``begin_ms`` until now, ``and_ms`` longer if given."""
        self._spans.append((begin_ms, self._now_ms() + and_ms))

    def add_from_now(self, for_ms: int) -> None:
        """It begins now and lasts ``for_ms``."""
        now_ms = self._now_ms()
        self._spans.append((now_ms, now_ms + for_ms))

    def lose(self, what: str) -> None:
        """``what`` is out of reach from now on."""
        self._open.setdefault(what, self._now_ms())

    def regain(self, what: str) -> None:
        """It is back; nothing, if it was not lost."""
        begin_ms = self._open.pop(what, None)
        if begin_ms is not None:
            self.add(begin_ms)

    def reachable_ms(self, begin_ms: int, end_ms: int) -> int:
        """The part of the interval that lies in no outage."""
        running = [(begin, end_ms) for begin in self._open.values()]
        left, covered_to = end_ms - begin_ms, begin_ms
        for begin, end in sorted([*self._spans, *running]):
            begin, end = max(begin, covered_to), min(end, end_ms)
            if end > begin:
                left -= end - begin
                covered_to = end
        return left
