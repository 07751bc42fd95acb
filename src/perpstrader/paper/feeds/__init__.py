"""The markets that the paper exchange trades against: made up, or recorded."""

from perpstrader.paper.feeds.bars import ambiguous
from perpstrader.paper.feeds.candles import CandleSeries, load_candles
from perpstrader.paper.feeds.contract import Feed, FeedError, FeedReport, FeedStep, Grade
from perpstrader.paper.feeds.live import LiveFeed
from perpstrader.paper.feeds.recorded import RecordedFeed
from perpstrader.paper.feeds.recordings import Recording, load_recordings
from perpstrader.paper.feeds.replay import open_replay
from perpstrader.paper.feeds.synthetic import SyntheticFeed
from perpstrader.paper.feeds.walk import CandleFeed

__all__ = [
    "CandleFeed", "CandleSeries", "Feed", "FeedError", "FeedReport", "FeedStep", "Grade", "LiveFeed", "RecordedFeed",
    "Recording", "SyntheticFeed", "ambiguous", "load_candles", "load_recordings", "open_replay",
]  # fmt: skip
