"""How far each market has moved over a window, by its closed bars, in bounded memory."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Final

from perpstrader.domain import Candle

_BUCKETS: Final = 60
_MAX_GAP: Final = 2


class _Bucket:
    __slots__ = ("high", "low", "number")

    def __init__(self, number: int, low: Decimal, high: Decimal) -> None:
        self.number, self.low, self.high = number, low, high


class Ranges:
    """Keeps the low and high of each sixtieth of the window; a window with a hole in it is not covered."""

    def __init__(self, window_ms: int) -> None:
        self._bucket_ms = max(1, window_ms // _BUCKETS)
        self._of: dict[str, deque[_Bucket]] = {}

    def take(self, candle: Candle) -> None:
        """A closed bar; one older than the newest is left out."""
        first, last = candle.open_ms // self._bucket_ms, candle.close_ms // self._bucket_ms
        held = self._of.setdefault(candle.symbol, deque())
        for number in range(max(first, last - _BUCKETS), last + 1):
            if held and number < held[-1].number:
                continue
            if held and number == held[-1].number:
                held[-1].low, held[-1].high = min(held[-1].low, candle.low), max(held[-1].high, candle.high)
            else:
                if held and number - held[-1].number >= _MAX_GAP:
                    held.clear()
                held.append(_Bucket(number, candle.low, candle.high))
        while held and held[0].number < last - _BUCKETS:
            held.popleft()

    def fraction(self, symbol: str, now_ms: int) -> Decimal | None:
        """Highest less lowest over the middle of both, for the window that ends now; ``None`` where bars leave a hole
        in it, or its prices are none.
        """
        held = self._of.get(symbol)
        now = now_ms // self._bucket_ms
        if not held or held[0].number > now - _BUCKETS or now - held[-1].number > _MAX_GAP:
            return None
        inside = [bucket for bucket in held if bucket.number >= now - _BUCKETS]
        low, high = min(bucket.low for bucket in inside), max(bucket.high for bucket in inside)
        middle = (low + high) / 2
        return (high - low) / middle if middle > 0 else None
