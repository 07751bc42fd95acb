"""A transport that lets its breaker observe every request, and holds none of them back (S01, CB-13)."""

from __future__ import annotations

from typing import Final

from perpstrader.breakers.contract import Watch
from perpstrader.breakers.failures import trouble_in
from perpstrader.runtime import Answer, CloseHandler, FrameHandler, Socket, Transport

_PROBE: Final = b'{"type":"exchangeStatus"}'


class GuardedTransport:
    """What ``inner`` does; how each request ended is told to ``watch``."""

    def __init__(self, inner: Transport, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch
        self.answers = 0
        """Requests that got a usable answer."""

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        """See ``Transport.post``; a server in trouble and a page instead of data count as failed, a refusal not."""
        done = self._watch()
        try:
            answer = await self._inner.post(path, body, timeout_s=timeout_s)
        except BaseException as error:
            done(error)
            raise
        trouble = trouble_in(answer)
        self.answers += trouble is None
        done(trouble)
        return answer

    async def ask(self, timeout_s: float) -> None:
        """Ask the venue for its time, unobserved; raises ``TransportError`` or ``UnavailableError`` when it is away."""
        trouble = trouble_in(await self._inner.post("/info", _PROBE, timeout_s=timeout_s))
        if trouble is not None:
            raise trouble

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        """See ``Transport.open_socket``."""
        return await self._inner.open_socket(on_frame, on_close)

    async def close(self) -> None:
        """See ``Transport.close``."""
        await self._inner.close()
