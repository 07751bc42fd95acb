"""A recorded market on the exchange: bars after their end, funding as recorded, and nothing left out that matters."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from tests.unit.paper_server.desk import USER, Desk

from perpstrader.paper.engine import Exchange
from perpstrader.paper.feeds import CandleFeed, load_candles
from perpstrader.paper.server import InProcessTransport, LatencyModel, PaperVenue, VenueConfig
from perpstrader.runtime import VirtualClock, run_virtual

FIVE_MINUTES_MS = 300_000


class ReplayDesk(Desk):
    """A desk on four hours of recorded candles, which acts on the bars that it hears of."""

    def __init__(self, clock: VirtualClock, feed: CandleFeed, latency: LatencyModel | None) -> None:
        super().__init__(clock, None, None, None)
        self.venue = PaperVenue(Exchange(feed.assets), feed, clock, VenueConfig(idle_close_ms=None))
        self.transport = InProcessTransport(self.venue, Random(1), latency)
        self.nonce = feed.start_ms


@pytest.fixture(scope="module")
def series(test_data: Path) -> Any:
    return load_candles(test_data / "hl_candles_2025_BTC_ETH_SOL", "5m", symbols=("BTC", "ETH"))


def _replay(series: Any, latency: LatencyModel | None = None) -> tuple[list[str], list[Any], list[int]]:
    """What a client heard that buys on the 5th bar and sells on the 30th; and when the market was shown."""
    first = series[0].times[0]
    feed = CandleFeed(series, 3, start_ms=first, end_ms=first + 4 * 3_600_000)
    shown: list[int] = []

    async def main(clock: VirtualClock) -> Desk:
        desk = ReplayDesk(clock, feed, latency)
        show = desk.venue._show
        desk.venue._show = lambda step: (shown.append(step.time_ms), show(step))[1]  # type: ignore[func-returns-value,method-assign]
        desk.venue.fund(USER, 10_000_000_000)
        await desk.listen(
            {"type": "candle", "coin": "BTC", "interval": "5m"}, {"type": "userFills", "user": USER},
            {"type": "userFundings", "user": USER},
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            market = group.create_task(desk.venue.run())
            await _on_bar(desk, 5)
            await desk.order("buy", str(round(await desk.mid() * 1.05)), "0.01", "Ioc")
            await _on_bar(desk, 30)
            await desk.order("sell", str(round(await desk.mid() * 0.95)), "0.01", "Ioc", reduce_only=True)
            await market
        return desk

    desk = run_virtual(main, start_ms=first - 1)
    frames = [msgspec.json.encode(frame).decode() for frame in desk.frames]
    return frames, desk.on("userFundings"), shown


async def _on_bar(desk: Desk, count: int) -> None:
    while len(desk.on("candle")) < count:
        await desk.clock.sleep(1)


def test_every_bar_is_heard_once_at_its_end_and_in_order(series: Any) -> None:
    frames, _, _ = _replay(series)
    bars = [frame["data"] for frame in map(msgspec.json.decode, frames) if frame["channel"] == "candle"]
    assert [bar["t"] for bar in bars] == [series[0].times[0] + n * FIVE_MINUTES_MS for n in range(48)]


def test_the_inside_of_a_bar_is_shown_while_there_is_a_position_and_left_out_otherwise(series: Any) -> None:
    _, _, shown = _replay(series)
    first = series[0].times[0]
    inside = [time for time in shown if (time - first) % FIVE_MINUTES_MS]
    bought, sold = first + 5 * FIVE_MINUTES_MS, first + 30 * FIVE_MINUTES_MS
    assert min(inside) > bought
    assert max(inside) < sold + FIVE_MINUTES_MS
    assert len([time for time in inside if bought + FIVE_MINUTES_MS < time < sold]) >= 4 * 23


def test_funding_is_charged_on_the_hour_while_the_position_was_open(series: Any) -> None:
    _, fundings, _ = _replay(series)
    times = [row["time"] for data in fundings if not data.get("isSnapshot") for row in data["fundings"]]
    first = series[0].times[0]
    expected = list(range(first - first % 3_600_000, first + 31 * FIVE_MINUTES_MS, 3_600_000))
    assert times == [hour for hour in expected if first + 5 * FIVE_MINUTES_MS < hour <= first + 30 * FIVE_MINUTES_MS]


@pytest.mark.parametrize("latency", [None, LatencyModel()])
def test_the_same_replay_says_the_same_to_the_last_byte(series: Any, latency: LatencyModel | None) -> None:
    assert _replay(series, latency) == _replay(series, latency)
