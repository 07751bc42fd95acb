"""The markets that the paper exchange trades against: made up, or recorded."""

from perpstrader.paper.feeds.bars import ambiguous
from perpstrader.paper.feeds.contract import Feed, FeedError, FeedReport, FeedStep, Grade
from perpstrader.paper.feeds.synthetic import SyntheticFeed

__all__ = ["Feed", "FeedError", "FeedReport", "FeedStep", "Grade", "SyntheticFeed", "ambiguous"]
