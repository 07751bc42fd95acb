"""The venue's client as the settings ask for it: which build, how long its answers live, which way its requests go."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from perpstrader.monitor import PerformanceMonitor
from perpstrader.runtime import Clock, Transport
from perpstrader.settings import Settings
from perpstrader.settings.services import ClientSettings
from perpstrader.trader.account import Identity
from perpstrader.venue import shadow
from perpstrader.venue.baseline import HyperliquidClient as BaselineClient
from perpstrader.venue.calls import VenueCalls
from perpstrader.venue.client import HyperliquidClient
from perpstrader.venue.encoding import WireEncoder
from perpstrader.venue.messages import MessageBudget
from perpstrader.venue.nonces import NonceSource
from perpstrader.venue.posting import PostingTransport
from perpstrader.venue.reads import Lives, StreamReads
from perpstrader.venue.reads.kinds import NAMES
from perpstrader.venue.signer import Signer
from perpstrader.venue.skew import VenueClock

Note = Callable[[str, str], None]


def make_client(
    settings: Settings, identity: Identity, transport: Transport, clock: Clock, nonces: NonceSource, note: Note
) -> VenueCalls:
    """The build that the rollout asks for; ``note`` is told where a shadow differs from what is given."""
    network, own = settings.venue, settings.client
    account, vault, timeout_s = identity.account, network.vault_address, own.request_timeout_ms / 1000
    if settings.rollout.client == "optimized":
        return HyperliquidClient(
            transport, clock, WireEncoder(Signer(identity.private_key, mainnet=network.is_mainnet)), nonces,
            account=account, vault_address=vault, timeout_s=timeout_s, venue_clock=VenueClock(clock),
            lives=lives_of(own), coalesce_ms=own.coalesce_window_ms,
        )  # fmt: skip
    if settings.rollout.client == "baseline":
        return BaselineClient(
            transport, clock, identity.private_key, nonces, account=account, mainnet=network.is_mainnet,
            vault_address=vault, timeout_s=timeout_s, venue_clock=VenueClock(clock),
        )  # fmt: skip
    shadowed = shadow.HyperliquidClient(
        transport, clock, identity.private_key, nonces, account=account, mainnet=network.is_mainnet,
        vault_address=vault, timeout_s=timeout_s, venue_clock=VenueClock(clock), lives=lives_of(own),
    )  # fmt: skip
    shadowed.on_divergence = lambda text: note("client-differs", text)
    return shadowed


def lives_of(settings: ClientSettings) -> Lives:
    """How long each kind of answer lives; what is off lives no time at all."""
    return Lives(
        mids_ms=settings.mids_ttl_ms or 0, account_ms=settings.account_ttl_ms or 0,
        orders_ms=settings.orders_ttl_ms or 0, book_ms=settings.book_ttl_ms or 0, meta_ms=settings.meta_ttl_ms or 0,
    )  # fmt: skip


def routed(
    transport: Transport, clock: Clock, settings: ClientSettings, messages: MessageBudget | None = None
) -> Transport:
    """The way to the venue, with those requests by the streams' WebSocket that the settings send there."""
    by_socket = [
        path
        for path, way in (("/info", settings.reads_by), ("/exchange", settings.actions_by))
        if way == "websocket"
    ]
    return PostingTransport(transport, clock, by_socket=by_socket, messages=messages) if by_socket else transport


def streamed_reads(client: VenueCalls) -> StreamReads | None:
    """Where the streams put what answers reads; the baseline has no such place."""
    found = getattr(client, "streamed", None)
    return found if isinstance(found, StreamReads) else None


def watch_reads(monitor: PerformanceMonitor, client: VenueCalls) -> None:
    """From now on a snapshot tells how the reads were answered."""
    if isinstance(client, HyperliquidClient | shadow.HyperliquidClient):
        reads = client.reads
        for name in NAMES:
            monitor.watch_count(f"reads_{name}", partial(reads.total, name))
    if isinstance(client, shadow.HyperliquidClient):
        monitor.watch_count("client_divergences", lambda: client.divergences)
