"""The actions that an address may still send, counted on from what the venue said last (API sheet 5.2).

An address without budget is let through once in 10 s. Those go to exits, stops and cancels: entries and all else are
refused here, in the venue's own words, so that whoever asked treats it as the venue's refusal, which costs nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

from perpstrader.runtime import Clock
from perpstrader.venue.wire.errors import ErrorCode, error_text
from perpstrader.venue.wire.limits import BASE_REQUESTS, EXHAUSTED_INTERVAL_MS, cancel_cap

_SLACK_MS: Final = 500
"""The venue counts its 10 s by its own clock: 11 s have been seen to work, these are enough at the paper exchange."""

_PROBE_MS: Final = 2_000
"""After a refusal, which costs nothing and delays nothing at the venue, the next exit tries again this soon."""

_NS_PER_MS: Final = 1_000_000


class ActionKind(enum.StrEnum):
    """What an action is to the budgets."""

    EXIT = "exit"
    """Orders that only reduce, and stops."""
    CANCEL = "cancel"
    """Cancels have a larger cap."""
    OTHER = "other"
    """Entries, leverage and the rest."""


class AddressBudget:
    """Used and cap as the venue said, plus what was sent since; it knows nothing before ``observe``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used = 0
        self._cap: int | None = None
        self._surplus = 0
        self._refused: dict[bool, bool] = {False: False, True: False}
        self._let_through_ms = -EXHAUSTED_INTERVAL_MS - _SLACK_MS
        self.on_left: Callable[[int], None] = lambda left: None
        """Told whenever ``left`` has changed."""
        self.kept_back = 0
        """Actions that were refused here."""

    @property
    def left(self) -> int | None:
        """Actions that may still be sent; ``None`` before the venue has said."""
        return None if self._cap is None else self._cap + self._surplus - self._used

    @property
    def is_exhausted(self) -> bool:
        """The venue has refused an action, or nothing is left by our own count."""
        return self._refused[False] or (self.left is not None and self.left <= 0)

    def observe(self, used: int, cap: int, surplus: int) -> None:
        """Take what the venue says; actions of others with this address are in it."""
        self._used, self._cap, self._surplus = used, cap, surplus
        if cap + surplus > used:
            self._refused[False] = False
        if cancel_cap(cap) + surplus > used:
            self._refused[True] = False
        self._tell()

    def refusal(self, kind: ActionKind) -> str | None:
        """The venue's words against an action that should not be sent now; ``None`` where it may go."""
        if kind is ActionKind.CANCEL:
            barred = self._refused[True] and self._wait_ms() > 0
        elif self.is_exhausted:
            barred = kind is ActionKind.OTHER or self._wait_ms() > 0
        else:
            barred = False
        if not barred:
            return None
        self.kept_back += 1
        cap = self._cap if self._cap is not None else BASE_REQUESTS
        text = error_text(
            ErrorCode.TOO_MANY_REQUESTS, used=max(self._used, cap) + 1, cap=cap, volume=max(0, cap - BASE_REQUESTS)
        )
        return f"{text} (kept back before it was sent: one action each 10 s is for exits)"

    def sent(self, kind: ActionKind, count: int) -> None:
        """``count`` orders or cancels are on their way."""
        self._used += count
        if self._refused[True] if kind is ActionKind.CANCEL else self.is_exhausted:
            self._let_through_ms = self._now_ms()
        self._tell()

    def refused(self, kind: ActionKind, count: int) -> None:
        """The venue said "too many cumulative requests", which it does not charge."""
        self._used -= count
        self._refused[kind is ActionKind.CANCEL] = True
        self._let_through_ms = self._now_ms() + _PROBE_MS - EXHAUSTED_INTERVAL_MS - _SLACK_MS
        self._tell()

    def _tell(self) -> None:
        if self.left is not None:
            self.on_left(self.left)

    def _wait_ms(self) -> int:
        return self._let_through_ms + EXHAUSTED_INTERVAL_MS + _SLACK_MS - self._now_ms()

    def _now_ms(self) -> int:
        return self._clock.monotonic_ns() // _NS_PER_MS
