"""The venue's clock, estimated from the times that it stamps on its answers: orders expire by it (domain notes, 16)."""

from __future__ import annotations

from perpstrader.runtime import Clock


class VenueClock:
    """Our clock plus the offset that the best measurement showed; it is known only as well as that one's round trip.

    Only the time of an answer may be observed (``exchangeStatus``): a book or a candle is as old as its last change.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ms = 0
        self._measured_ms = 0
        self.round_trip_ms = 0

    def now_ms(self) -> int:
        """The venue's time, estimated."""
        return self._clock.now_ms() + self._offset_ms

    @property
    def skew_ms(self) -> int:
        """How far our clock is behind (positive) or ahead (negative) of the venue's."""
        return self._offset_ms

    @property
    def measured_ms(self) -> int:
        """When it was last measured, by our clock; 0 before the first time."""
        return self._measured_ms

    def observe(self, venue_ms: int, sent_ms: int, received_ms: int) -> None:
        """Take one stamped answer; half the round trip is attributed to each way.

        A slower answer that agrees with the estimate changes nothing; one that contradicts it, by more than its own
        round trip allows, replaces it at once: a clock was set. An offset within the uncertainty counts as none.
        """
        round_trip = max(0, received_ms - sent_ms)
        unsure = round_trip // 2 + 1
        offset = venue_ms - (sent_ms + received_ms) // 2
        agrees = self._measured_ms > 0 and abs(offset - self._offset_ms) <= unsure
        self._measured_ms = received_ms
        if agrees and round_trip >= self.round_trip_ms:
            return
        self.round_trip_ms = round_trip
        self._offset_ms = 0 if abs(offset) <= unsure else offset
