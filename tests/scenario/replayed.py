"""Recorded days through the whole trader; run as a program it prints two days' fingerprint, for another process."""

from __future__ import annotations

import sys
from pathlib import Path

from perpstrader.paper.feeds import open_replay
from perpstrader.paper.server import LatencyModel
from perpstrader.runtime import VirtualClock, run_virtual
from perpstrader.settings import load
from perpstrader.simulate.replay import for_replay
from perpstrader.simulate.world import LEAD_MS, simulated

BEGIN_MS = 1_743_465_600_000
"""2025-04-01 00:00 UTC."""
DAY_MS = 86_400_000
BAR_MS = 300_000


def fingerprint(test_data: Path, *, days: int, seed: int, latency: bool) -> tuple[str, int]:
    """The run's fingerprint, and how many fills are in it."""
    feed = open_replay(
        test_data / "hl_candles_2025_BTC_ETH_SOL", "5m", seed=seed, start_ms=BEGIN_MS, end_ms=BEGIN_MS + days * DAY_MS
    )
    settings = for_replay(load(None, {}, {"data.dir": "/nonexistent/scenario"}), feed, BAR_MS)

    async def main(clock: VirtualClock) -> tuple[str, int]:
        model = LatencyModel() if latency else None
        async with simulated(settings, clock, feed, seed=seed, latency=model) as world:
            await world.market
            await world.trader.cycle.idle.wait()
            return world.watch.fingerprint, len(world.watch.fills)

    return run_virtual(main, start_ms=feed.start_ms - LEAD_MS)


if __name__ == "__main__":
    print(*fingerprint(Path(sys.argv[1]), days=2, seed=1, latency=True))
