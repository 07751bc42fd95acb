"""The network, handed in: three methods that a socket, a loopback server or an in-process venue can serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from perpstrader.domain.errors import PerpsTraderError


class Answer(msgspec.Struct, frozen=True):
    """A response as it came: any status, any body; an HTML page of a proxy is one too."""

    status: int
    body: bytes


class TransportError(PerpsTraderError):
    """No answer came. ``sent`` is False only where it is certain that the request never left this machine."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


FrameHandler = Callable[[bytes], None]
CloseHandler = Callable[[str], None]


class Socket(Protocol):
    """One open WebSocket; frames arrive at the handler that it was opened with."""

    def send(self, frame: bytes) -> None:
        """Hand one text frame to the connection; raises ``TransportError`` when it is closed."""
        ...

    async def close(self) -> None:
        """Close; no frame is delivered afterwards."""
        ...


class Transport(Protocol):
    """One venue's HTTP and WebSocket. It never repeats a request by itself (S11)."""

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        """Send JSON bytes and give the answer; raises ``TransportError`` when none came in time."""
        ...

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        """Open the venue's WebSocket; ``on_close`` gets the reason once, when the peer or the network ends it."""
        ...

    async def close(self) -> None:
        """Release all connections."""
        ...
