"""Mark price from oracle and book, by the venue's own formula (API sheet 7.6)."""

from __future__ import annotations

import math
from typing import Final

BASIS_EMA_SECONDS: Final = 150.0
BOOK_EMA_SECONDS: Final = 30.0


class MarkModel:
    """The median of oracle plus average basis (150 s), median of bid, ask and last, and the other venues' perp mid.

    Where the other venues are not recorded, the 30 s average of the second takes their place, as the venue does it.
    Prices are floats of the feed's price unit; nothing here is money.
    """

    def __init__(self) -> None:
        self._basis = 0.0
        self._book = 0.0
        self._fresh = True

    def update(
        self, seconds: float, bid: float, ask: float, last: float, oracle: float, other: float | None = None
    ) -> float:
        """The mark after ``seconds`` more of market time with these prices."""
        middle = sorted((bid, ask, last))[1]
        mid = (bid + ask) / 2
        if self._fresh:
            self._basis, self._book, self._fresh = mid - oracle, middle, False
        else:
            self._basis += (mid - oracle - self._basis) * -math.expm1(-seconds / BASIS_EMA_SECONDS)
            self._book += (middle - self._book) * -math.expm1(-seconds / BOOK_EMA_SECONDS)
        return sorted((oracle + self._basis, middle, self._book if other is None else other))[1]
