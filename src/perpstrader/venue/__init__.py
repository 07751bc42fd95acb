"""Hyperliquid: the wire, the signer, the request budget, the streams and the clients."""
