"""``POST /info``: any read that a trader meets, in the venue's shapes; what is not understood is a 422 with a text."""

from __future__ import annotations

from typing import Final

import msgspec

from perpstrader.paper.server import info_account, info_market, info_other
from perpstrader.paper.server.world import World
from perpstrader.venue.wire import WireError
from perpstrader.venue.wire.info import InfoRequest, decode_request, encode

_OF_USERS: Final = info_account.HANDLERS | info_other.HANDLERS
UNREADABLE: Final = "Failed to deserialize the JSON body into the target type"


class InfoAnswer(msgspec.Struct, frozen=True):
    """The JSON of an answer; ``rows`` is its length where it is a list (some weights depend on it)."""

    kind: str
    body: bytes
    rows: int


def read_request(body: bytes | msgspec.Raw) -> InfoRequest:
    """The request; raises ``WireError`` for one that no handler serves."""
    request = decode_request(body)
    if request.type not in info_market.HANDLERS and request.type not in _OF_USERS:
        raise WireError(f"there is no info request {request.type!r}")
    if request.dex:
        raise WireError(f"there is no perp dex {request.dex!r} here")
    return request


def answer(world: World, request: InfoRequest, visible_ms: int) -> InfoAnswer:
    """The answer; raises ``WireError`` where the venue answers 422. Orders and fills show up to ``visible_ms``."""
    of_market = info_market.HANDLERS.get(request.type)
    value = (
        _OF_USERS[request.type](world, request, visible_ms) if of_market is None else of_market(world, request)
    )
    return InfoAnswer(request.type, encode(value), len(value) if isinstance(value, list) else 0)
