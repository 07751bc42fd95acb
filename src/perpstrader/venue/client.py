"""The optimized client: reads served from what is known while it is young enough, else from one shared request."""

from __future__ import annotations

from perpstrader.venue.calls import VenueCalls


class HyperliquidClient(VenueCalls):
    """Implements ``venue.contract.HyperliquidClient``."""
