"""Nonces of one signer: unique and increasing, also across restarts, because a block of them is on disk before the first is used (S12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perpstrader.runtime import Clock
from perpstrader.venue.wire.nonces import next_nonce

_LEAD_MS: Final = 60_000

SaveHighWater = Callable[[int], None]


class NonceSource:
    """``take`` gives ``max(now, last + 1)``; ``save`` is told of a high-water mark ahead of what is given out, once a minute at most."""

    def __init__(self, clock: Clock, last: int, save: SaveHighWater) -> None:
        self._clock = clock
        self._last = last
        self._saved = last
        self._save = save

    def take(self) -> int:
        """The next nonce, in milliseconds as the venue wants them."""
        self._last = next_nonce(self._last, self._clock.now_ms())
        if self._last >= self._saved:
            self._saved = self._last + _LEAD_MS
            self._save(self._saved)
        return self._last
