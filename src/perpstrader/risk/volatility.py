"""How far BTC has moved within one hour: what the limits on volatility read, from the market's own bars (S41)."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Final

from perpstrader.domain import Candle

REFERENCE: Final = "BTC"
_HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000


class HourlyMove:
    """Lows and highs by the minute of the newest hour; bars longer than an hour say nothing and are ignored."""

    def __init__(self) -> None:
        self._minutes: deque[tuple[int, Decimal, Decimal]] = deque()
        self._close = Decimal(0)
        self._close_ms = 0

    def take(self, candle: Candle) -> None:
        """The next closed bar; one that is not newer than the last is ignored."""
        if candle.close_ms <= self._close_ms or candle.close_ms - candle.open_ms >= _HOUR_MS:
            return
        self._close, self._close_ms = candle.close, candle.close_ms
        minute, low, high = candle.close_ms // _MINUTE_MS, candle.low, candle.high
        if self._minutes and self._minutes[-1][0] == minute:
            _, known_low, known_high = self._minutes.pop()
            low, high = min(low, known_low), max(high, known_high)
        self._minutes.append((minute, low, high))
        oldest = (candle.close_ms - _HOUR_MS) // _MINUTE_MS
        while self._minutes[0][0] <= oldest:
            self._minutes.popleft()

    def fraction(self, now_ms: int) -> Decimal | None:
        """Distance of the newest close from the hour's low or high, whichever is farther, as a fraction of that price;
        ``None`` where no bar has closed within the hour.
        """
        if not self._close_ms or now_ms - self._close_ms > _HOUR_MS:
            return None
        low, high = min(low for _, low, _ in self._minutes), max(high for _, _, high in self._minutes)
        return max(self._close / low - 1, 1 - self._close / high)
