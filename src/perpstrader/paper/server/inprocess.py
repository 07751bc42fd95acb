"""A client's transport straight into the venue: the same bytes as over sockets, without any; latency and faults if
wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random

from perpstrader.paper.faults.contract import NO_FAULT, FaultKind, Faults, RequestFate
from perpstrader.paper.server.gate import arrive
from perpstrader.paper.server.latency import LatencyModel, Way
from perpstrader.paper.server.streams import Session, TooManyConnections
from perpstrader.paper.server.venue import PaperVenue
from perpstrader.runtime import Answer, CloseHandler, FrameHandler, Socket, TransportError


class InProcessTransport:
    """``runtime.Transport`` of one client named ``client``.

    Without latency and faults ``post`` never suspends and frames arrive by direct call, within the call that caused
    them. With latency, a request that its client gave up on is executed all the same, and a socket keeps its order.
    """

    def __init__(
        self,
        venue: PaperVenue,
        rng: Random,
        latency: LatencyModel | None = None,
        *,
        faults: Faults | None = None,
        client: str = "in-process",
    ) -> None:
        self._venue = venue
        self._latency = latency
        self._faults = faults
        self._client = client
        self._sockets: list[_InProcessSocket] = []
        self._entry_s: Callable[[], float] = _no_time if latency is None else partial(latency.entry_s, rng)
        self._response_s: Callable[[], float] = _no_time if latency is None else partial(latency.response_s, rng)

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        """See ``Transport.post``."""
        fate = NO_FAULT if self._faults is None else self._faults.of_request(path, body)
        if self._latency is None and fate.kind is None:
            return self._venue.post(path, body, self._client)
        if fate.kind is FaultKind.REFUSED:
            raise TransportError("cannot reach the paper exchange: connection refused", sent=False)
        return await self._travel(path, body, fate, timeout_s)

    async def _travel(self, path: str, body: bytes, fate: RequestFate, timeout_s: float) -> Answer:
        """Request and response each take their time, and meet their fate on the way."""
        venue, loop = self._venue, asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()
        there, back = self._entry_s() + fate.delay_s, self._response_s()
        venue.in_flight += 1

        def reach() -> None:
            answer = arrive(venue, path, body, self._client, fate)
            if answer is None:
                venue.in_flight -= 1
            else:
                loop.call_later(back, deliver, answer)

        def deliver(answer: Answer) -> None:
            venue.in_flight -= 1
            if not answered.done():
                answered.set_result(answer)

        loop.call_later(there, reach)
        try:
            async with asyncio.timeout(timeout_s):
                return await answered
        except TimeoutError as error:
            raise TransportError(f"no answer from the paper exchange within {timeout_s:g} s", sent=True) from error

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        """See ``Transport.open_socket``."""
        if self._latency is not None:
            await asyncio.sleep(2 * self._entry_s())
        ways = None if self._latency is None else (self._entry_s, self._response_s)
        socket = _InProcessSocket(self._venue, ways, self._faults, on_frame, on_close, self._sockets.remove)
        try:
            socket.open(self._client)
        except TooManyConnections as error:
            raise TransportError(str(error), sent=False) from error
        self._sockets.append(socket)
        return socket

    async def close(self) -> None:
        """Close all sockets."""
        for socket in tuple(self._sockets):
            await socket.close()


def _no_time() -> float:
    return 0.0


class _InProcessSocket:
    """One WebSocket session; each direction keeps its order."""

    def __init__(
        self,
        venue: PaperVenue,
        ways: tuple[Callable[[], float], Callable[[], float]] | None,
        faults: Faults | None,
        on_frame: FrameHandler,
        on_close: CloseHandler,
        forget: Callable[[_InProcessSocket], None],
    ) -> None:
        self._venue = venue
        self._faults = faults
        self._on_frame = on_frame
        self._on_close = on_close
        self._forget = forget
        self._session: Session | None = None
        self._up = None if ways is None else Way(ways[0], self._arrive)
        self._down = None if ways is None else Way(ways[1], self._deliver)

    def open(self, client: str) -> None:
        """Begin the session; raises ``TooManyConnections``. The greeting and what follows go to the handler."""
        # A session that was closed sends nothing, so without latency a frame needs no further look.
        down = self._on_frame if self._down is None else self._forward
        self._session = self._venue.streams.open(client, down, self._hung_up, self._faults)

    def send(self, frame: bytes) -> None:
        """See ``Socket.send``."""
        session = self._session
        if session is None or not session.is_open:
            raise TransportError("the WebSocket is closed", sent=False)
        if session.line is not None and session.line.is_frozen:
            return
        if self._up is None:
            session.receive(frame)
            return
        self._venue.in_flight += 1
        self._up.carry(frame)

    async def close(self) -> None:
        """See ``Socket.close``."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
            self._forget(self)

    def _arrive(self, frame: bytes) -> None:
        self._venue.in_flight -= 1
        if self._session is not None:
            self._session.receive(frame)

    def _forward(self, frame: bytes) -> None:
        assert self._down is not None
        self._venue.in_flight += 1
        self._down.carry(frame)

    def _deliver(self, frame: bytes) -> None:
        self._venue.in_flight -= 1
        if self._session is not None:
            self._on_frame(frame)

    def _hung_up(self, reason: str) -> None:
        if self._session is not None:
            self._session = None
            self._forget(self)
            self._on_close(reason)
