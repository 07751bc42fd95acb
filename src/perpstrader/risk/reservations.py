"""Reservations: exposure that is approved or in flight; the one place that knows it (S32).

``Portfolio.reservations`` is a copy for people to look at; no rule reads it.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from perpstrader.domain import Approved, MoneyError, Reservation


class Reservations:
    """Numbered from 1 in the order of approval; a number is never used twice."""

    def __init__(self) -> None:
        self._held: dict[int, Reservation] = {}
        self._next = 1

    @property
    def all(self) -> tuple[Reservation, ...]:
        """Those in force, oldest first."""
        return tuple(self._held.values())

    def reserve(self, approved: Approved) -> Approved:
        """The approval with its exposure reserved under a new number, at the dearest price it may be counted at."""
        signal, number = approved.signal, self._next
        self._next += 1
        self._held[number] = Reservation(
            number=number, symbol=signal.symbol, side=signal.side, size=approved.size,
            price=approved.notional_usd / approved.size, risk_usd=approved.risk_usd,
        )  # fmt: skip
        return replace(approved, reservation=number)

    def release(self, number: int) -> None:
        """The exposure is no longer reserved; an unknown number does nothing, so that releasing twice is safe."""
        self._held.pop(number, None)

    def settle(self, number: int, filled_size: Decimal, price: Decimal) -> None:
        """``filled_size`` more became a position at ``price``; the rest stays reserved, none left ends it.

        What filled is the portfolio's from here on: call this when the portfolio shows it, not before. Raises
        ``MoneyError`` for a size or price that is not a finite number, or is negative.
        """
        if not (filled_size.is_finite() and filled_size >= 0 and price.is_finite() and price > 0):
            raise MoneyError(f"a fill of {filled_size} at {price} cannot be settled")
        held = self._held.get(number)
        if held is None or filled_size == 0:
            return
        left = held.size - filled_size
        if left <= 0:
            self._held.pop(number)
            return
        risk_usd = held.risk_usd * left / held.size
        self._held[number] = replace(held, size=left, price=max(held.price, price), risk_usd=risk_usd)
