"""The venue's clock, estimated from the times that it stamps on its answers; orders expire by it and not by ours (domain notes, 16)."""

from __future__ import annotations

from perpstrader.runtime import Clock


class VenueClock:
    """Our clock plus the offset seen last; the offset is known only as well as the round trip that measured it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ms = 0
        self.measured_ms = 0
        self.round_trip_ms = 0

    def now_ms(self) -> int:
        """The venue's time, estimated."""
        return self._clock.now_ms() + self._offset_ms

    @property
    def skew_ms(self) -> int:
        """How far our clock is behind (positive) or ahead (negative) of the venue's."""
        return self._offset_ms

    def observe(self, venue_ms: int, sent_ms: int, received_ms: int) -> None:
        """Take one stamped answer; half the round trip is attributed to each way, an offset within it counts as none."""
        self.round_trip_ms = max(0, received_ms - sent_ms)
        offset = venue_ms - (sent_ms + received_ms) // 2
        self._offset_ms = 0 if abs(offset) <= self.round_trip_ms // 2 + 1 else offset
        self.measured_ms = received_ms
