"""The one error of this room: bytes, numbers or keys that are not Hyperliquid's wire."""

from __future__ import annotations

import re
from typing import Final

from perpstrader.domain.errors import PerpsTraderError


class WireError(PerpsTraderError):
    """A value that must not go out, or an answer that is not understood: names the value and what was expected."""


_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile(r"\s*<(!doctype|html|head|body|\?xml)", re.IGNORECASE)


def said_by(body: bytes, limit: int = 120) -> str:
    """What a body that is no answer says, in a few plain words: the title of a proxy's page, else how it begins."""
    text = body[:4096].decode("utf-8", "replace")
    if _TAG.match(text):
        title = _TITLE.search(text)
        shown = " ".join(re.sub(r"<[^>]*>", " ", title[1]).split()) if title else ""
        return f"a web page in place of an answer{f' ({shown[:limit]})' if shown else ''}"
    shown = " ".join(text.split())
    shown = "".join(letter for letter in shown if letter.isprintable())
    return (shown if len(shown) <= limit else shown[:limit] + "…") or "an empty body"


def excerpt(raw: bytes | str, limit: int = 120) -> str:
    """The beginning of a body for an error message, at most ``limit`` characters, unprintable ones escaped."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    shown = text if len(text) <= limit else text[:limit] + "…"
    return repr(shown)
