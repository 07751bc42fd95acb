"""Nonces of one signer: unique and increasing, also across restarts, because a mark ahead of them is saved (S12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from perpstrader.venue.wire.nonces import next_nonce

LEAD_MS: Final = 60_000
"""How far the mark runs ahead of the clock, so that it is saved once a minute and not once an order."""

_BLOCK: Final = 1_000
"""Where the clock is behind the mark, after a quick restart or a step back: the mark moves on by this many nonces only,
so that restarts in a row do not drive it towards the venue's bound of one day ahead."""

SaveHighWater = Callable[[int], None]


class Now(Protocol):
    """Whatever tells the time."""

    def now_ms(self) -> int:
        """UTC milliseconds."""
        ...


class NonceSource:
    """``take`` gives ``max(now, last + 1)``; a source that starts from the mark saved last never repeats one.

    ``save`` is handed a mark above all nonces given out, half a block before it is reached. It may write later and must
    not wait: an exit does not wait for a disk. Should the write be lost, only a clock that was set back over the
    restart could bring a nonce again, and the venue refuses that one.

    ``clock`` is the venue's as soon as that is measured: the venue takes nonces from two days behind its own time to
    one day ahead (API sheet 3.5), and a machine whose clock is wrong must still be able to close what it holds.
    """

    def __init__(self, clock: Now, last: int, save: SaveHighWater) -> None:
        self.clock = clock
        self._last = last
        self._saved = last
        self._save = save

    def take(self) -> int:
        """The next nonce, in milliseconds as the venue wants them."""
        now = self.clock.now_ms()
        self._last = next_nonce(self._last, now)
        if self._last + _BLOCK // 2 >= self._saved:
            self._saved = max(self._last + _BLOCK, now + LEAD_MS)
            self._save(self._saved)
        return self._last
