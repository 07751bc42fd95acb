"""The exchange in a box on Hyperliquid's own wire: endpoints, streams, and the transports that reach them."""

from perpstrader.paper.server.config import Network, VenueConfig
from perpstrader.paper.server.inprocess import InProcessTransport
from perpstrader.paper.server.latency import LatencyModel
from perpstrader.paper.server.streams import Session, TooManyConnections
from perpstrader.paper.server.venue import PaperVenue

__all__ = [
    "InProcessTransport", "LatencyModel", "Network", "PaperVenue", "Session", "TooManyConnections", "VenueConfig",
]  # fmt: skip
