"""How the exchange in a box is set up: whose signatures it takes, which of the venue's limits it keeps."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from perpstrader.venue.wire.limits import WS_CONNECTIONS, WS_IDLE_MS, WS_USERS

Network = Literal["any", "mainnet", "testnet"]
MEGABYTE: Final = 1_000_000


class VenueConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one server.

    ``network``: the letter of the signatures that are taken; with ``any`` the letter whose signer is known decides.
    ``enforce_ip_limits``: weights per client and minute (429) and the WebSocket limits (API sheet 5.1, 5.3).
    ``enforce_address_budget``: 10,000 actions and one per USD traded (API sheet 5.2). ``idle_close_ms``: a WebSocket
    on which nothing was sent for so long is closed; ``None`` never, which spares a replay its pings.

    Undocumented at the venue (API sheet 3.4, 11): ``agents_reserve_weight`` (an agent may buy request weight; a probe
    was refused), ``agent_removal_ms`` (after an agent was replaced or taken away no other is approved for so long),
    ``agent_expiry_lag_ms`` (an expired agent is taken for so long; one experiment saw a quarter of an hour).
    ``websocket_users`` and ``websocket_connections`` of one client; ``book_stream_ms``, the least time between two
    frames of a book's stream (0: each change; the sources say half a second, or five).
    ``require_builder_approval``: an order with a builder's fee needs the account's ``approveBuilderFee``.
    """

    network: Network = "any"
    enforce_ip_limits: bool = False
    enforce_address_budget: bool = True
    idle_close_ms: int | None = WS_IDLE_MS
    require_builder_approval: bool = True
    agents_reserve_weight: bool = False
    agent_removal_ms: int = 1_500
    agent_expiry_lag_ms: int = 0
    websocket_users: int = WS_USERS
    websocket_connections: int = WS_CONNECTIONS
    book_stream_ms: int = 0
    max_body_bytes: int = 2 * MEGABYTE
