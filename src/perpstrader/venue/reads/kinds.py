"""The kinds of answers that are kept, how long each lives, and what is counted of them."""

from __future__ import annotations

import enum
from typing import Final

import msgspec


class Kind(enum.StrEnum):
    """What a read is about; together with a coin (or nothing) it is the key of an answer."""

    MIDS = "mids"
    ACCOUNT = "account"
    ORDERS = "orders"
    BOOK = "book"
    META = "meta"


Key = tuple[Kind, str]
"""A kind and the coin that it is about; an empty text where it is about none."""

MOVED_BY_ACTIONS: Final = (Kind.ACCOUNT, Kind.ORDERS, Kind.BOOK, Kind.MIDS)
"""What a signed action of ours may change."""

MOVED_BY_EVENTS: Final = (Kind.ACCOUNT, Kind.ORDERS)
"""What a fill, a change of an order, a payment or a transfer has changed by the time that it is heard of."""


class Lives(msgspec.Struct, frozen=True, kw_only=True):
    """The greatest age in milliseconds at which an answer of each kind is still given; 0: never but by the venue."""

    mids_ms: int = 500
    account_ms: int = 2_000
    orders_ms: int = 1_000
    book_ms: int = 500
    meta_ms: int = 3_600_000

    def of(self, kind: Kind) -> int:
        """The life of one kind."""
        return int(getattr(self, f"{kind.value}_ms"))


class ReadCounts(msgspec.Struct):
    """How the reads were answered.

    ``hits``: by an earlier answer. ``streamed``: by the streams. ``joined``: by a request that was on its way already.
    ``asked``: by a request of their own. ``stale``: asked although an answer was there, because it was too old.
    ``outdated``: asked although one was there, because an action or an event came after it. ``evicted``: answers given
    up for want of room.
    """

    hits: int = 0
    streamed: int = 0
    joined: int = 0
    asked: int = 0
    stale: int = 0
    outdated: int = 0
    evicted: int = 0


NAMES: Final = tuple(field.name for field in msgspec.structs.fields(ReadCounts))
