"""A transport that times its requests and passes everything else on as it is."""

from __future__ import annotations

from typing import Final

from perpstrader.monitor.stages import Stages
from perpstrader.runtime import Transport
from perpstrader.runtime.transport import Answer, CloseHandler, FrameHandler, Socket

_OK: Final = 200


class MeasuredTransport:
    """What ``inner`` does, with ``/info`` and ``/exchange`` measured under their stages."""

    def __init__(self, inner: Transport, stages: Stages) -> None:
        self._inner = inner
        self._timers = {"/info": stages.info_request, "/exchange": stages.exchange_request}

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        """See ``Transport.post``; no answer and a status other than 200 count as failed."""
        timer = self._timers.get(path)
        if timer is None:
            return await self._inner.post(path, body, timeout_s=timeout_s)
        started, ok = timer.now(), False
        try:
            answer = await self._inner.post(path, body, timeout_s=timeout_s)
            ok = answer.status == _OK
        finally:
            timer.since(started, ok=ok)
        return answer

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        """See ``Transport.open_socket``."""
        return await self._inner.open_socket(on_frame, on_close)

    async def close(self) -> None:
        """See ``Transport.close``."""
        await self._inner.close()
