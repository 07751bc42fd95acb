"""History at a start: read for every symbol, waited for by live bars, and told of where it takes long."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from perpstrader.domain import Candle, VenueError
from perpstrader.runtime.clock import Clock
from perpstrader.runtime.loop import run_virtual
from perpstrader.trader.warming import WarmUp


def bar(symbol: str, number: int) -> Candle:
    price = Decimal(100 + number)
    return Candle(
        symbol=symbol, interval="1m", open_ms=number * 60_000, close_ms=number * 60_000 + 59_999, open=price,
        high=price, low=price, close=price, volume=Decimal(1), trades=1,
    )  # fmt: skip


class Venue:
    """Answers each read of bars after a while, or says that it cannot."""

    def __init__(self, clock: Clock, takes_s: float, fails: Sequence[str] = ()) -> None:
        self.venue_clock = clock
        self._clock = clock
        self._takes_s = takes_s
        self._fails = fails

    async def candles(self, symbol: str, interval: str, since_ms: int, until_ms: int) -> list[Candle]:
        await self._clock.sleep(self._takes_s)
        if symbol in self._fails:
            raise VenueError("candleSnapshot: no room")
        return [bar(symbol, 1), bar(symbol, 2)] if interval == "1m" else []


def warmed(takes_s: float, fails: Sequence[str] = ()) -> SimpleNamespace:
    """What was remembered, acted on, noted and told; one live bar of BTC came while the history was read."""
    seen = SimpleNamespace(remembered=[], live=[], notes=[], told=[])
    hours: Any = SimpleNamespace(seed_hours=lambda symbol, bars: None)

    async def main(clock: Clock) -> None:
        venue: Any = Venue(clock, takes_s, fails)
        note = lambda kind, text: seen.notes.append((kind, text))  # noqa: E731 - one line says it
        warm_up = WarmUp(venue, hours, ("BTC", "ETH"), "1m", 60_000, note, seen.told.append)
        assert warm_up.keeps(bar("BTC", 2))
        await warm_up.run(seen.remembered.extend, seen.live.append)
        assert not warm_up.keeps(bar("BTC", 3))

    run_virtual(main)
    return seen


def test_live_bars_wait_for_the_history_before_them_and_are_not_in_it() -> None:
    seen = warmed(0.1)
    assert [(candle.symbol, candle.open_ms // 60_000) for candle in seen.remembered] == [
        ("BTC", 1), ("ETH", 1), ("ETH", 2)
    ]  # fmt: skip
    assert [(candle.symbol, candle.open_ms // 60_000) for candle in seen.live] == [("BTC", 2)]


def test_a_symbol_without_history_is_noted_and_the_others_warm_up() -> None:
    seen = warmed(0.1, fails=["BTC"])
    assert {candle.symbol for candle in seen.remembered} == {"ETH"}
    assert seen.notes == [("no-history", "no history for BTC: candleSnapshot: no room")]


@pytest.mark.parametrize(("takes_s", "told"), [(0.5, 0), (5.0, 1)])
def test_a_start_that_waits_long_for_history_says_what_it_waits_for(takes_s: float, told: int) -> None:
    seen = warmed(takes_s)
    assert len(seen.told) == told
    assert all("positions are protected" in text for text in seen.told)
