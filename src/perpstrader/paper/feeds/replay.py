"""Opens a recorded market, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perpstrader.paper.feeds.candles import VolumeUnit, load_candles
from perpstrader.paper.feeds.contract import Feed
from perpstrader.paper.feeds.recorded import RecordedFeed
from perpstrader.paper.feeds.recordings import find_recordings, load_recordings
from perpstrader.paper.feeds.walk import CandleFeed


def open_replay(
    path: Path,
    interval: str,
    *,
    symbols: Sequence[str] = (),
    seed: int = 0,
    start_ms: int | None = None,
    end_ms: int | None = None,
    volume: VolumeUnit = "base",
) -> Feed:
    """The feed of the recording at ``path``: live recordings where the folder holds any, else candles of ``interval``.

    ``start_ms``, ``end_ms`` and ``volume`` concern candles; a live recording is short and replayed whole. Raises
    ``FeedError`` with one sentence when there is nothing to replay or it is not sound.
    """
    if find_recordings(path):
        return RecordedFeed(load_recordings(path, symbols), interval, seed)
    return CandleFeed(
        load_candles(path, interval, symbols=symbols, volume=volume), seed, start_ms=start_ms, end_ms=end_ms
    )
