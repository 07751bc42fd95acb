"""History before the first live bar, read once every position is protected: a start must not keep a stop waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from perpstrader.domain import INTERVAL_MS, Candle, VenueError
from perpstrader.venue.calls import VenueCalls
from perpstrader.venue.market_data import MarketData

_BARS: Final = 300
_HOURS: Final = 20
_QUIET_S: Final = 2.0
"""Who waits longer than this at a start is told what for."""

Take = Callable[[Candle], None]


class WarmUp:
    """Reads each symbol's newest bars so that strategies can act on the first live one.

    What closes while that lasts waits its turn, so that everyone sees bars in the order of time. A symbol without
    history warms up by itself, and ``note`` is told; ``tell`` hears why a start takes long.
    """

    def __init__(
        self, client: VenueCalls, market: MarketData, symbols: Sequence[str], interval: str, bar_ms: int,
        note: Callable[[str, str], None], tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._client = client
        self._market = market
        self._symbols = symbols
        self._interval = interval
        self._bar_ms = bar_ms
        self._note = note
        self._tell = tell
        self._early: list[Candle] | None = []

    def keeps(self, candle: Candle) -> bool:
        """True where a live bar has to wait for the history before it."""
        if self._early is None:
            return False
        self._early.append(candle)
        return True

    async def run(self, remember: Callable[[Sequence[Candle]], None], live: Take) -> None:
        """Hand the history of all symbols to ``remember``, and then the bars that waited to ``live``; ends whatever the
        venue answers.
        """
        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(self._read(symbol), name=f"history-{symbol}") for symbol in self._symbols]
            _, waiting = await asyncio.wait(reads, timeout=_QUIET_S)
            if waiting:
                self._tell(
                    "positions are protected; entries wait for the bars before this start, which are read as the"
                    " venue's weight a minute allows (after another start within the minute some seconds)"
                )
        early, self._early = self._early or [], None
        known = {(candle.symbol, candle.open_ms) for candle in early}
        for symbol, read in zip(self._symbols, reads, strict=True):
            history, hours = read.result()
            remember([candle for candle in history if (symbol, candle.open_ms) not in known])
            self._market.seed_hours(symbol, hours)
        for candle in early:
            live(candle)

    async def _read(self, symbol: str) -> tuple[Sequence[Candle], Sequence[Candle]]:
        now = self._client.venue_clock.now_ms()
        history: Sequence[Candle] = ()
        try:
            history = await self._client.candles(symbol, self._interval, now - _BARS * self._bar_ms, now)
            return history, await self._client.candles(symbol, "1h", now - _HOURS * INTERVAL_MS["1h"], now)
        except VenueError as error:
            self._note("no-history", f"no history for {symbol}: {error}")
            return history, ()
