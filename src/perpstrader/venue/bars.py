"""From candle frames to closed bars: each bar once, in order, and only when it can no longer change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from perpstrader.domain import Candle
from perpstrader.venue import convert
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.wire.market import CandleWire

GRACE_MS: Final = 1_000
"""A quiet symbol's bar counts as closed this long after its end: its last frame may still be on its way."""


class BarGap(msgspec.Struct, frozen=True, kw_only=True):
    """Bars that no frame brought: those that open from ``start_ms`` to ``end_ms`` inclusive; the history by REST may
    have them.
    """

    symbol: str
    interval: str
    start_ms: int
    end_ms: int


class _Lane:
    __slots__ = ("last_close_ms", "last_open_ms", "pending")

    def __init__(self) -> None:
        self.last_open_ms = -1
        self.last_close_ms = -1
        self.pending: CandleWire | None = None


class BarAssembler:
    """Emits every bar of every symbol at most once and with growing ``open_ms``; what is late or repeated is dropped
    and counted.

    A bar is closed when its end lies behind the venue's time by more than that time is known to (one round trip), when
    a frame of a newer bar arrives, or when ``flush_due`` finds its end more than ``grace_ms`` ago. Bars in between that
    never came are reported to ``on_gap`` before the bar that shows the gap is emitted.
    """

    def __init__(
        self,
        venue_clock: VenueClock,
        emit: Callable[[Candle], None],
        on_gap: Callable[[BarGap], None],
        *,
        grace_ms: int = GRACE_MS,
    ) -> None:
        self._clock = venue_clock
        self._emit_bar = emit
        self._on_gap = on_gap
        self._grace_ms = grace_ms
        self._lanes: dict[str, _Lane] = {}
        self.keeps_any = False
        self.late = 0
        self.gaps = 0

    def take(self, wire: CandleWire) -> None:
        """Take one frame. Raises ``WireError`` when its numbers are none; nothing is emitted or kept then."""
        lane = self._lanes.get(wire.coin)
        if lane is None:
            lane = self._lanes[wire.coin] = _Lane()
        if wire.open_ms <= lane.last_open_ms:
            self.late += 1
            return
        candle = convert.candle(wire)
        pending = lane.pending
        if pending is not None and wire.open_ms > pending.open_ms:
            lane.pending = None
            self._emit(lane, convert.candle(pending))
        elif pending is not None and wire.open_ms < pending.open_ms:
            self._emit(lane, candle)
            return
        if wire.close_ms + self._clock.round_trip_ms < self._clock.now_ms():
            lane.pending = None
            self._emit(lane, candle)
        else:
            lane.pending = wire
            self.keeps_any = True

    def flush_due(self, now_ms: int) -> None:
        """Emit the kept bars whose end and grace have passed at ``now_ms`` of the venue's clock."""
        for lane in self._lanes.values():
            pending = lane.pending
            if pending is not None and pending.close_ms + self._grace_ms < now_ms:
                lane.pending = None
                self._emit(lane, convert.candle(pending))

    def next_due_ms(self) -> int | None:
        """When ``flush_due`` next has something to do, on the venue's clock; ``None`` while no bar is kept."""
        due = [lane.pending.close_ms + self._grace_ms + 1 for lane in self._lanes.values() if lane.pending is not None]
        self.keeps_any = bool(due)
        return min(due, default=None)

    def drop_pending(self) -> None:
        """Forget the bars that are still open: after a lost connection their last frames may be missing. A gap is
        reported later.
        """
        for lane in self._lanes.values():
            lane.pending = None

    def _emit(self, lane: _Lane, candle: Candle) -> None:
        missing_from = lane.last_close_ms + 1
        gap = lane.last_open_ms >= 0 and candle.open_ms > missing_from
        lane.last_open_ms, lane.last_close_ms = candle.open_ms, candle.close_ms
        if gap:
            self.gaps += 1
            self._on_gap(
                BarGap(symbol=candle.symbol, interval=candle.interval, start_ms=missing_from, end_ms=candle.open_ms - 1)
            )
        self._emit_bar(candle)
