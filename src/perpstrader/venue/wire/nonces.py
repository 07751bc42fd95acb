"""Nonces: the next one for a signer, and the venue's rule of accepting one (API sheet 3.5)."""

from __future__ import annotations

import heapq

from perpstrader.venue.wire.errors import ErrorCode, error_text
from perpstrader.venue.wire.limits import NONCE_MAX_AHEAD_MS, NONCE_MAX_BEHIND_MS, NONCES_KEPT


def next_nonce(last: int, now_ms: int) -> int:
    """A nonce above ``last`` and, where the clock has moved on, the time: unique and increasing, also after a restart
    from ``last``.
    """
    return max(now_ms, last + 1)


class NonceRule:
    """The nonces that the venue remembers of one signer: the 100 highest.

    A new one must not be among them, must exceed the smallest once there are 100, and must lie within (now - 2 days,
    now + 1 day).
    """

    __slots__ = ("_heap", "_kept")

    def __init__(self) -> None:
        self._heap: list[int] = []
        self._kept: set[int] = set()

    def refusal(self, nonce: int, now_ms: int) -> str | None:
        """The venue's text against ``nonce``, or ``None`` when it may be used; changes nothing."""
        if nonce in self._kept:
            return error_text(ErrorCode.DUPLICATE_NONCE, nonce=nonce)
        if len(self._heap) == NONCES_KEPT and nonce < self._heap[0]:
            return error_text(ErrorCode.NONCE_TOO_LOW, nonce=nonce, minimum=self._heap[0])
        if not now_ms - NONCE_MAX_BEHIND_MS < nonce < now_ms + NONCE_MAX_AHEAD_MS:
            return error_text(ErrorCode.NONCE_WINDOW, nonce=nonce)
        return None

    def use(self, nonce: int, now_ms: int) -> str | None:
        """As ``refusal``, and remembers the nonce when it may be used."""
        refused = self.refusal(nonce, now_ms)
        if refused is None:
            self._kept.add(nonce)
            if len(self._heap) < NONCES_KEPT:
                heapq.heappush(self._heap, nonce)
            else:
                self._kept.discard(heapq.heappushpop(self._heap, nonce))
        return refused

    def remembered(self) -> tuple[int, ...]:
        """The nonces kept, lowest first, for a store that outlives the process."""
        return tuple(sorted(self._heap))
