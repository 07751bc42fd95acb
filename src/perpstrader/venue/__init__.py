"""Hyperliquid: the wire, the signer, the request budget, the streams and the clients.

The names below are loaded when they are first asked for: importing ``perpstrader.venue.wire`` must not bring the
clients with it, which the paper exchange has no business with.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perpstrader.venue.client import HyperliquidClient
    from perpstrader.venue.encoding import WireEncoder
    from perpstrader.venue.market_data import MarketData
    from perpstrader.venue.nonces import NonceSource
    from perpstrader.venue.settlement import settle
    from perpstrader.venue.signer import Signer
    from perpstrader.venue.skew import VenueClock
    from perpstrader.venue.streams import StreamHandler, Streams

__all__ = [
    "HyperliquidClient",
    "MarketData",
    "NonceSource",
    "Signer",
    "StreamHandler",
    "Streams",
    "VenueClock",
    "WireEncoder",
    "settle",
]

_HOMES = {
    "HyperliquidClient": "client",
    "MarketData": "market_data",
    "NonceSource": "nonces",
    "Signer": "signer",
    "StreamHandler": "streams",
    "Streams": "streams",
    "VenueClock": "skew",
    "WireEncoder": "encoding",
    "settle": "settlement",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
