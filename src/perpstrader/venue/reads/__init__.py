"""Reads that are served from what is known while it is young enough: a cache of answers, shared requests, streams."""

from perpstrader.venue.reads.cache import ReadCache
from perpstrader.venue.reads.kinds import Key, Kind, Lives, ReadCounts
from perpstrader.venue.reads.streamed import StreamReads

__all__ = ["Key", "Kind", "Lives", "ReadCache", "ReadCounts", "StreamReads"]
