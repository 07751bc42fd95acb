"""A client at a paper exchange in the same process: the venue's own wire without sockets, every request counted.

The market opens and then stands still, so that two arms at two such exchanges meet the same prices and order numbers.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Final, Literal

import msgspec

from perpstrader.paper.build import build_venue
from perpstrader.paper.feeds import SyntheticFeed
from perpstrader.paper.server import InProcessTransport, PaperVenue, VenueConfig
from perpstrader.runtime import Answer, Clock, CloseHandler, FrameHandler, Socket, Transport
from perpstrader.venue import HyperliquidClient, NonceSource, Signer, WireEncoder
from perpstrader.venue.baseline import HyperliquidClient as BaselineClient
from perpstrader.venue.calls import VenueCalls
from perpstrader.venue.wire import exchange, weights

Build = Literal["baseline", "optimized"]

MADE_UP_KEY: Final = "0x" + hashlib.sha256(b"perpstrader bench: a made-up key, with no account anywhere").hexdigest()
SYMBOLS: Final = ("BTC", "ETH", "SOL")
_SEED: Final = 7
_OPEN_FOR_MS: Final = 10_000
_MILLION_MICRO_USD: Final = 10**12


class StandingClock:
    """Time stands at the instant of its making, for venue and client alike; waiting for it to pass never ends."""

    def __init__(self) -> None:
        self._now_ms = time.time_ns() // 1_000_000
        self.is_waited_for = asyncio.Event()
        """Set when somebody began to wait for a time to come."""

    def now_ms(self) -> int:
        """UTC milliseconds of that instant."""
        return self._now_ms

    def monotonic_ns(self) -> int:
        """The same in nanoseconds."""
        return self._now_ms * 1_000_000

    async def sleep(self, seconds: float) -> None:
        """At zero or less one turn of the loop; otherwise until cancelled."""
        if seconds > 0:
            self.is_waited_for.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)


class CountingTransport:
    """Counts requests, what is sent by WebSocket, and their weight on the way to ``inner``; each request takes
    ``delay_s`` of real time longer.
    """

    def __init__(self, inner: Transport, delay_s: float = 0.0) -> None:
        self._inner = inner
        self._delay_s = delay_s
        self.calls = 0
        self.weight = 0

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        """See ``Transport.post``."""
        self.calls += 1
        self.weight += _weight(path, body)
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        return await self._inner.post(path, body, timeout_s=timeout_s)

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        """See ``Transport.open_socket``."""
        return _CountingSocket(await self._inner.open_socket(on_frame, on_close), self)

    async def close(self) -> None:
        """Close the inner one."""
        await self._inner.close()


class _CountingSocket:
    """A WebSocket whose outgoing messages count as calls."""

    def __init__(self, inner: Socket, count: CountingTransport) -> None:
        self._inner = inner
        self._count = count

    def send(self, frame: bytes) -> None:
        """See ``Socket.send``."""
        self._count.calls += 1
        self._inner.send(frame)

    async def close(self) -> None:
        """Close the inner one."""
        await self._inner.close()


class Desk:
    """One account of a million dollars, its client, and the exchange that it is at."""

    def __init__(
        self, venue: PaperVenue, clock: Clock, build: Build, delay_s: float = 0.0, *,
        transport: CountingTransport | None = None, coalesce_ms: int = 0,
    ) -> None:  # fmt: skip
        signer = Signer(MADE_UP_KEY, mainnet=False)
        self.venue = venue
        self.account = signer.address
        self.transport = transport or CountingTransport(InProcessTransport(venue, Random(_SEED)), delay_s)
        self.encoder = WireEncoder(signer)
        self.nonces = NonceSource(clock, 0, lambda mark: None)
        self.client: VenueCalls
        if build == "baseline":
            self.client = BaselineClient(self.transport, clock, MADE_UP_KEY, self.nonces, account=self.account)
        else:
            self.client = HyperliquidClient(
                self.transport, clock, self.encoder, self.nonces, account=self.account, coalesce_ms=coalesce_ms
            )
        venue.fund(self.account, _MILLION_MICRO_USD)


@asynccontextmanager
async def open_desk(build: Build, clock: StandingClock, delay_s: float = 0.0) -> AsyncIterator[Desk]:
    """A desk whose client has read the metadata; equal clocks give equal exchanges."""
    feed = SyntheticFeed(_SEED, clock.now_ms() - _OPEN_FOR_MS, symbols=SYMBOLS)
    venue = build_venue(feed, clock, config=VenueConfig(enforce_ip_limits=False, enforce_address_budget=False))
    async with asyncio.TaskGroup() as group:
        market = group.create_task(venue.run(), name="bench-market")
        clock.is_waited_for.clear()
        await clock.is_waited_for.wait()
        market.cancel()
    desk = Desk(venue, clock, build, delay_s)
    await desk.client.metadata()
    try:
        yield desk
    finally:
        venue.stop()


def _weight(path: str, body: bytes) -> int:
    """What the venue would charge the address's IP before the answer's rows (API sheet 5.1)."""
    if path == "/exchange":
        return weights.exchange_weight(weights.batch_size(exchange.decode_request(body).action))
    return weights.info_weight(str(msgspec.json.decode(body)["type"]))
