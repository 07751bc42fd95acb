"""Faults as whoever carries messages asks for them: one decision a request, one a frame."""

from __future__ import annotations

import enum
from typing import Final, Protocol

import msgspec


class FaultKind(enum.StrEnum):
    """Everything that can be done to a client (API sheet 8 and 9.10)."""

    REFUSED = "refused"
    """The connection is refused: the request certainly never left. On an open WebSocket, that one breaks first."""
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
    """The request arrives late: later ones overtake it."""
    SERVER_ERROR = "server_error"
    """500, 503 or 504, empty or HTML; nothing was executed."""
    REQUEST_TWICE = "request_twice"
    """A proxy that tries again: the request arrives twice, and its client gets the second answer."""
    LAG = "lag"
    """A read of the account, its orders or fills is answered from some time ago."""
    RECORD_EVICTED = "record_evicted"
    """The record of an order that is done is gone, for good; its fills are not."""
    FRAME_TWICE = "frame_twice"
    """A frame arrives twice."""
    SOCKET_DROPPED = "socket_dropped"
    """The connection breaks before the frame."""
    SOCKET_FROZEN = "socket_frozen"
    """The connection looks open, but nothing comes or goes any more."""
    FRAME_LOST = "frame_lost"
    """One frame never arrives, and the connection lives."""
    FRAME_LATE = "frame_late"
    """A frame arrives late: later ones overtake it."""
    FRAME_SWAPPED = "frame_swapped"
    """A frame arrives after the one that follows it."""
    STOP_CANCELED = "stop_canceled"
    """The venue takes a resting trigger order back."""
    AGENT_PRUNED = "agent_pruned"
    """An approved API wallet is one no longer."""
    POST_ONLY = "post_only"
    """For a while only post-only orders and cancels are taken, as after a network upgrade."""
    CLOCK_SKEW = "clock_skew"
    """For a while the venue's clock is ahead, or behind where the amount is below 0."""
    DELEVERAGED = "deleveraged"
    """Half of a position is closed against a bankrupt trader of the outside market."""


class RequestFate(msgspec.Struct, frozen=True):
    """What happens to one request: at most one ``kind``; ``delay_s`` and ``lag_ms`` belong to ``DELAY`` and ``LAG``,
    ``status`` to ``SERVER_ERROR``.
    """

    kind: FaultKind | None = None
    delay_s: float = 0.0
    lag_ms: int = 0
    status: int = 500


class LateFrame(msgspec.Struct, frozen=True):
    """The fate of a ``FRAME_LATE``."""

    delay_s: float


NO_FAULT: Final = RequestFate()
FrameFate = FaultKind | LateFrame | None
"""A frame's kind of fault, a ``LateFrame``, or ``None`` for a frame that simply arrives."""


class Faults(Protocol):
    """Decides; whoever asks does what was decided."""

    def of_request(self, path: str, body: bytes) -> RequestFate:
        """The fate of the next request to ``path``."""

    def of_frame(self, frame: bytes) -> FrameFate:
        """The fate of the next frame to the client."""
