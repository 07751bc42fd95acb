"""Hyperliquid's wire protocol without I/O, for both sides: the client speaks it, the paper exchange answers in it.

``numbers`` (text and numbers) · ``actions`` (what is signed) · ``signing`` (hashes and recovery) · ``info``,
``market``, ``account`` (reads) · ``responses`` and ``errors`` (answers to actions) · ``ws`` (frames) · ``weights``,
``limits``, ``nonces`` (what the venue allows).
"""

from perpstrader.venue.wire.faults import WireError

__all__ = ["WireError"]
