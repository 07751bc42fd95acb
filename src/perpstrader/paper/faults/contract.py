"""Faults as the transport asks for them: one decision a request, one a frame."""

from __future__ import annotations

import enum
from typing import Final, Protocol

import msgspec


class FaultKind(enum.StrEnum):
    """Everything that can be done to a client (API sheet 8 and 9.10)."""

    REFUSED = "refused"
    """The connection is refused: the request certainly never left."""
    REQUEST_LOST = "request_lost"
    """The request vanishes, and its client waits in vain."""
    RESPONSE_LOST = "response_lost"
    """The request is executed, and its client waits in vain."""
    BAD_GATEWAY = "bad_gateway"
    """A proxy answers 502 with HTML, and nothing was executed."""
    BAD_GATEWAY_AFTER = "bad_gateway_after"
    """The same answer, but the request was executed."""
    TOO_MANY = "too_many"
    """429 with an empty body, and nothing was executed."""
    DELAY = "delay"
    """The request arrives late."""
    LAG = "lag"
    """A read of orders or fills is answered from some time ago."""
    FRAME_TWICE = "frame_twice"
    """A frame arrives twice."""
    SOCKET_DROPPED = "socket_dropped"
    """The connection breaks before the frame."""
    SOCKET_FROZEN = "socket_frozen"
    """The connection looks open, but nothing comes or goes any more."""


class RequestFate(msgspec.Struct, frozen=True):
    """What happens to one request: at most one ``kind``; ``delay_s`` and ``lag_ms`` belong to ``DELAY`` and ``LAG``."""

    kind: FaultKind | None = None
    delay_s: float = 0.0
    lag_ms: int = 0


NO_FAULT: Final = RequestFate()
FrameFate = FaultKind | None
"""``FRAME_TWICE``, ``SOCKET_DROPPED``, ``SOCKET_FROZEN``, or ``None`` for a frame that simply arrives."""


class Faults(Protocol):
    """Decides; whoever asks does what was decided."""

    def of_request(self, path: str) -> RequestFate:
        """The fate of the next request to ``path``."""

    def of_frame(self) -> FrameFate:
        """The fate of the next frame to the client."""
