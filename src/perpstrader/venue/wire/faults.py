"""The one error of this room: bytes, numbers or keys that are not Hyperliquid's wire."""

from __future__ import annotations

from perpstrader.domain.errors import PerpsTraderError


class WireError(PerpsTraderError):
    """A value that must not go out, or an answer that is not understood: names the value and what was expected."""


def excerpt(raw: bytes | str, limit: int = 120) -> str:
    """The beginning of a body for an error message, at most ``limit`` characters, unprintable ones escaped."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    shown = text if len(text) <= limit else text[:limit] + "…"
    return repr(shown)
