"""A venue with a synthetic market, and a client that signs and listens; shared by the tests of this folder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

import coincurve
import msgspec

from perpstrader.paper.engine import Exchange
from perpstrader.paper.faults import Faults
from perpstrader.paper.feeds import SyntheticFeed
from perpstrader.paper.server import InProcessTransport, LatencyModel, PaperVenue, VenueConfig
from perpstrader.runtime import VirtualClock, run_virtual
from perpstrader.venue.wire import actions, exchange, signing

T = TypeVar("T")
START_MS = 1_760_000_000_000
KEY = coincurve.PrivateKey(bytes(31) + b"\x07")
USER = signing.address_of(KEY)


class Desk:
    """One client of one venue, under virtual time."""

    def __init__(
        self, clock: VirtualClock, config: VenueConfig | None, latency: LatencyModel | None, faults: Faults | None
    ) -> None:
        feed = SyntheticFeed(7, START_MS, symbols=("BTC", "ETH"))
        self.clock = clock
        self.venue = PaperVenue(Exchange(feed.assets), feed, clock, config)
        self.transport = InProcessTransport(self.venue, Random(1), latency, faults=faults)
        self.frames: list[dict[str, Any]] = []
        self.closed: list[str] = []
        self.nonce = START_MS
        self.socket: Any = None

    async def info(self, kind: str, **fields: object) -> Any:
        """The decoded answer of an info request; a text that is no JSON comes as (status, text)."""
        body = msgspec.json.encode({"type": kind} | fields)
        answer = await self.transport.post("/info", body, timeout_s=30)
        return msgspec.json.decode(answer.body) if answer.status == 200 else (answer.status, answer.body.decode())

    def signed(self, action: Any, key: coincurve.PrivateKey = KEY, *, mainnet: bool = False, **more: Any) -> bytes:
        """The body of an action, signed over its own packing."""
        self.nonce += 1
        nonce = more.pop("nonce", self.nonce)
        vault, expiry = more.get("vault_address"), more.get("expires_after")
        digest = signing.l1_digest(signing.action_hash(actions.pack(action), nonce, vault, expiry), mainnet=mainnet)
        return exchange.encode_request(
            exchange.PostedRequest(action, nonce, signing.sign_digest(key, digest), vault, expiry)
        )

    async def act(self, action: Any, key: coincurve.PrivateKey = KEY, **more: Any) -> Any:
        """The decoded answer to a signed action."""
        answer = await self.transport.post("/exchange", self.signed(action, key, **more), timeout_s=30)
        return msgspec.json.decode(answer.body) if answer.status == 200 else (answer.status, answer.body.decode())

    async def user_signed(self, fields: dict[str, object], key: coincurve.PrivateKey = KEY) -> Any:
        """The decoded answer to a user-signed action; chain fields and nonce are added."""
        self.nonce += 1
        whole: dict[str, object] = fields | {
            "signatureChainId": "0x66eee", "hyperliquidChain": "Testnet", "nonce": self.nonce, "time": self.nonce,
        }  # fmt: skip
        signature = signing.sign_digest(key, signing.user_signed_digest(whole))
        body = exchange.encode_request(exchange.PostedRequest(whole, self.nonce, signature))
        answer = await self.transport.post("/exchange", body, timeout_s=30)
        return msgspec.json.decode(answer.body) if answer.status == 200 else (answer.status, answer.body.decode())

    async def order(self, side: str, price: str, size: str, tif: str = "Gtc", **more: Any) -> Any:
        """The first status of one BTC order."""
        kind = actions.OrderType(limit=actions.LimitType(tif))  # type: ignore[arg-type]
        wire = actions.OrderWire(
            more.pop("asset", 0), side == "buy", price, size, more.pop("reduce_only", False),
            more.pop("type", kind), more.pop("cloid", None),
        )  # fmt: skip
        answer = await self.act(actions.Order([wire], "na"), **more)
        return answer["response"]["data"]["statuses"][0] if answer["status"] == "ok" else answer

    async def listen(self, *subscriptions: dict[str, object]) -> None:
        """Open the socket, if it is not, and subscribe."""
        if self.socket is None:
            self.socket = await self.transport.open_socket(self._heard, self.closed.append)
        for subscription in subscriptions:
            self.socket.send(msgspec.json.encode({"method": "subscribe", "subscription": subscription}))

    def _heard(self, frame: bytes) -> None:
        self.frames.append(msgspec.json.decode(frame) if frame[:1] == b"{" else {"channel": "text", "data": frame})

    def on(self, channel: str) -> list[Any]:
        """The data of all frames so far on one channel."""
        return [frame["data"] for frame in self.frames if frame["channel"] == channel and "data" in frame]

    async def mid(self, coin: str = "BTC") -> float:
        """The middle of the book."""
        return float((await self.info("allMids"))[coin])


def at_the_desk(
    story: Callable[[Desk], Awaitable[T]],
    *,
    config: VenueConfig | None = None,
    latency: LatencyModel | None = None,
    faults: Faults | None = None,
    usd: int = 10_000,
) -> T:
    """Run ``story`` against a market that moves, with a funded account, in virtual time."""

    async def main(clock: VirtualClock) -> T:
        desk = Desk(clock, config, latency, faults)
        async with asyncio.TaskGroup() as group:
            market = group.create_task(desk.venue.run())
            await clock.sleep(0.1)
            if usd:
                desk.venue.fund(USER, usd * 1_000_000)
            result = await story(desk)
            market.cancel()
        return result

    return run_virtual(main, start_ms=START_MS)
