"""A venue made of a script: it answers what it was told to, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from perpstrader.domain import TimeInForce, Trigger
from perpstrader.runtime import Answer, CloseHandler, FrameHandler, TransportError
from perpstrader.venue.contract import OrderRequest

ACCOUNT = "0x" + "ab" * 20
KEY = "0x" + "11" * 32
CLOID = "0x" + "0" * 31 + "1"
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
META = {
    "universe": [
        {"name": "BTC", "szDecimals": 5, "maxLeverage": 40},
        {"name": "ETH", "szDecimals": 4, "maxLeverage": 25},
        {"name": "kPEPE", "szDecimals": 0, "maxLeverage": 10},
    ]
}

Step = Answer | TransportError | dict[str, Any] | list[Any] | str | None


def order(
    cloid: str = CLOID, symbol: str = "BTC", buy: bool = True, size: str = "0.01", price: str = "64000",
    tif: TimeInForce = TimeInForce.IOC, reduce_only: bool = False, trigger: Trigger | None = None,
) -> OrderRequest:  # fmt: skip
    """One order as the trader would hand it over."""
    return OrderRequest(
        symbol=symbol, buy=buy, size=Decimal(size), limit_price=Decimal(price), tif=tif, reduce_only=reduce_only,
        cloid=cloid, trigger=trigger,
    )  # fmt: skip


class ScriptedTransport:
    """Answers each post with the next step: bytes and status, JSON, or an error; keeps the sockets for the test."""

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        self.steps = list(steps)
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.sockets: list[ScriptedSocket] = []
        self.refusals = 0
        self.on_attempt: Callable[[], None] = lambda: None
        self.on_open: Callable[[ScriptedSocket], None] = lambda socket: None
        self.closed = False

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        self.posts.append((path, json.loads(body)))
        step = self.steps.pop(0)
        if isinstance(step, TransportError):
            raise step
        return step if isinstance(step, Answer) else Answer(200, json.dumps(step).encode())

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> ScriptedSocket:
        self.on_attempt()
        if self.refusals:
            self.refusals -= 1
            raise TransportError("cannot open the socket: Connection refused", sent=False)
        socket = ScriptedSocket(on_frame, on_close)
        self.sockets.append(socket)
        self.on_open(socket)
        return socket

    async def close(self) -> None:
        self.closed = True


class ScriptedSocket:
    """Acknowledges subscriptions and answers pings until it is told not to."""

    def __init__(self, on_frame: FrameHandler, on_close: CloseHandler) -> None:
        self.on_frame = on_frame
        self.on_close = on_close
        self.sent: list[dict[str, Any]] = []
        self.acknowledges = True
        self.answers_pings = True
        self.closed = False

    @property
    def subscriptions(self) -> list[dict[str, Any]]:
        return [message["subscription"] for message in self.sent if message["method"] == "subscribe"]

    def send(self, frame: bytes) -> None:
        if self.closed:
            raise TransportError("the WebSocket is closed", sent=False)
        message = json.loads(frame)
        self.sent.append(message)
        if message["method"] == "ping" and self.answers_pings:
            self.on_frame(b'{"channel":"pong"}')
        if message["method"] == "subscribe" and self.acknowledges:
            echo = {**message["subscription"], "nSigFigs": None, "dex": "", "aggregateByTime": False}
            self.say("subscriptionResponse", {"method": "subscribe", "subscription": echo})

    def say(self, channel: str, data: Any) -> None:
        """A frame from the venue."""
        self.on_frame(json.dumps({"channel": channel, "data": data}).encode())

    async def close(self) -> None:
        self.closed = True
