"""What a fate does to a message: to a request and its answer, and to the frames of one WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from perpstrader.paper.faults.contract import FaultKind, Faults, LateFrame, RequestFate
from perpstrader.runtime import Answer

BAD_GATEWAY: Final = Answer(502, b"<html><head><title>502 Bad Gateway</title></head><body></body></html>")
TOO_MANY: Final = Answer(429, b"")
_HTML: Final = b"<html><head><title>%d Service Unavailable</title></head><body></body></html>"


class Serves(Protocol):
    """Answers requests: the venue."""

    def post(
        self, path: str, body: bytes, client: str, *, visible_ms: int | None = None, forgets: bool = False
    ) -> Answer:
        """See ``PaperVenue.post``."""

    def now_ms(self) -> int:
        """The venue's time."""


def arrive(venue: Serves, path: str, body: bytes, client: str, fate: RequestFate) -> Answer | None:
    """The request has arrived: what its client will hear; ``None``: nothing, ever."""
    kind = fate.kind
    if kind is FaultKind.REQUEST_LOST or kind is FaultKind.REFUSED:
        return None
    if kind is FaultKind.BAD_GATEWAY:
        return BAD_GATEWAY
    if kind is FaultKind.TOO_MANY:
        return TOO_MANY
    if kind is FaultKind.SERVER_ERROR:
        return Answer(fate.status, _HTML % fate.status if fate.status == 503 else b"")
    visible_ms = venue.now_ms() - fate.lag_ms if fate.lag_ms else None
    answer = venue.post(path, body, client, visible_ms=visible_ms, forgets=kind is FaultKind.RECORD_EVICTED)
    if kind is FaultKind.REQUEST_TWICE:
        answer = venue.post(path, body, client)
    if kind is FaultKind.BAD_GATEWAY_AFTER:
        return BAD_GATEWAY
    return None if kind is FaultKind.RESPONSE_LOST else answer


class Line:
    """The way of one WebSocket's frames to its client, with what befalls them; ``is_frozen``: nothing comes or goes."""

    def __init__(self, faults: Faults, down: Callable[[bytes], None], drop: Callable[[], None]) -> None:
        self.faults = faults
        self.is_frozen = False
        self._down = down
        self._drop = drop
        self._held: bytes | None = None

    def send(self, frame: bytes) -> None:
        """Let the frame meet its fate."""
        if self.is_frozen:
            return
        match self.faults.of_frame(frame):
            case FaultKind.SOCKET_FROZEN:
                self.is_frozen = True
            case FaultKind.SOCKET_DROPPED:
                self._drop()
            case FaultKind.FRAME_LOST:
                pass
            case FaultKind.FRAME_SWAPPED if self._held is None:
                self._held = frame
            case LateFrame(delay_s):
                asyncio.get_running_loop().call_later(delay_s, self._late, frame)
            case fate:
                self._down(frame)
                if fate is FaultKind.FRAME_TWICE:
                    self._down(frame)
                held, self._held = self._held, None
                if held is not None:
                    self._down(held)

    def _late(self, frame: bytes) -> None:
        if not self.is_frozen:
            self._down(frame)
