"""The account's owner at the venue's own page: cancels stops there, pays money in and takes it out, at random."""

from __future__ import annotations

from random import Random
from typing import Final

from perpstrader.paper.engine import Done, Exchange
from perpstrader.runtime import Clock

_WEIGHTS: Final = {"cancel": 70, "deposit": 15, "withdraw": 15}


class Meddler:
    """Works on the account at the venue, whether the trader lives or not; what it does shows at the next instant.

    ``paid_in`` sums its deposits less its withdrawals, in micro-USD.
    """

    def __init__(self, engine: Exchange, user: str, clock: Clock, rng: Random) -> None:
        self._engine = engine
        self._user = user
        self._clock = clock
        self._rng = rng
        self.paid_in = 0

    async def run(self) -> None:
        """Something every minute or two, for ever."""
        names, weights = list(_WEIGHTS), list(_WEIGHTS.values())
        while True:
            await self._clock.sleep(self._rng.uniform(10, 90))
            getattr(self, self._rng.choices(names, weights)[0])()

    def cancel(self) -> None:
        """A trigger order is taken back by hand; protection has to see it and act (S23)."""
        stops = [order for order in self._engine.open_orders(self._user) if order.trigger is not None]
        if stops:
            order = self._rng.choice(stops)
            self._engine.cancel(self._user, order.coin, order.oid, self._clock.now_ms())

    def deposit(self) -> None:
        """Some more money."""
        amount = self._some()
        self._engine.fund(self._user, amount, self._clock.now_ms())
        self.paid_in += amount

    def withdraw(self) -> None:
        """Some less, where it can be spared."""
        amount = min(self._some(), self._engine.account_state(self._user).withdrawable // 2)
        if amount > 0 and isinstance(self._engine.withdraw(self._user, amount, self._clock.now_ms()), Done):
            self.paid_in -= amount

    def _some(self) -> int:
        return max(self._engine.account_state(self._user).account_value, 0) // self._rng.randint(20, 200)
