"""Requests by the WebSocket that the streams hold open, where the settings choose it; else by HTTP (API sheet 6.3).

A post costs a quarter of an HTTP request and needs no connection of its own. What has been handed to the socket is
never sent again: if the socket dies or is silent, the request was sent and its outcome is unknown (S11).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from itertools import count
from typing import Final

import msgspec

from perpstrader.runtime import Answer, Clock, CloseHandler, FrameHandler, Socket, Transport, TransportError
from perpstrader.venue.messages import FOR_STREAMS, MessageBudget
from perpstrader.venue.wire import WireError, ws

MAX_IN_FLIGHT: Final = 90
"""Of the 100 that the venue takes (API sheet 5.3)."""
QUIET_NS: Final = 1_000_000_000
"""A socket that is well says something within a second of being asked; one that does not may be dead."""
_POST: Final = b'"post"'
_HEAD: Final = 24
"""Where a frame names its channel, however it is spaced."""
_KINDS: Final = {"/info": "info", "/exchange": "action"}
_TOO_MANY: Final = 429
_NO_ANSWER: Final = 500


class _Request(msgspec.Struct):
    type: str
    payload: msgspec.Raw


class _Post(msgspec.Struct):
    method: str
    id: int
    request: _Request


_ENCODE: Final = msgspec.json.Encoder().encode


class PostingTransport:
    """What ``inner`` does; posts to the paths in ``by_socket`` go by the newest WebSocket that was opened here, while
    one is open and has room.
    """

    def __init__(
        self, inner: Transport, clock: Clock, *, by_socket: Collection[str], messages: MessageBudget | None = None
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._by_socket = frozenset(by_socket)
        self._line: _Line | None = None
        self._messages = messages or MessageBudget(clock)
        self.posted = 0
        """Requests that went by the socket."""

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        """See ``Transport.post``; what is said by an ``error`` answer to an action proves nothing."""
        line = self._line
        has_line = path in self._by_socket and line is not None and line.has_room
        if line is None or not has_line or self._messages.left <= FOR_STREAMS:
            return await self._inner.post(path, body, timeout_s=timeout_s)
        self._messages.note()
        self.posted += 1
        try:
            return await line.ask(_KINDS[path], body, timeout_s)
        except TransportError as error:
            if error.sent:
                raise
        line.end("it takes no more")  # the socket refused the frame, so nothing of it is under way
        return await self._inner.post(path, body, timeout_s=timeout_s)

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        """See ``Transport.open_socket``; answers to posts do not reach ``on_frame``."""
        line = _Line(self._clock, on_frame, on_close, self._ended)
        line.socket = await self._inner.open_socket(line.take, line.closed)
        if line.is_open:
            self._line = line
        return line

    async def close(self) -> None:
        """Close the inner one; whoever waits for an answer learns that none will come."""
        if self._line is not None:
            self._line.end("it was closed here")
        await self._inner.close()

    def _ended(self, line: _Line) -> None:
        if self._line is line:
            self._line = None


class _Line:
    """One WebSocket and the requests that are under way on it."""

    def __init__(
        self, clock: Clock, on_frame: FrameHandler, on_close: CloseHandler, ended: Callable[[_Line], None]
    ) -> None:
        self._clock = clock
        self.socket: Socket | None = None
        self.is_open = True
        self._on_frame = on_frame
        self._on_close = on_close
        self._ended = ended
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[ws.PostBody]] = {}
        self._unheard_ns: int | None = None

    @property
    def has_room(self) -> bool:
        """Whether another post may go by it; not while it has said nothing at all for a second after one."""
        if self._unheard_ns is not None and self._clock.monotonic_ns() - self._unheard_ns >= QUIET_NS:
            return False
        return len(self._waiting) < MAX_IN_FLIGHT

    async def ask(self, kind: str, body: bytes, timeout_s: float) -> Answer:
        """The answer to one post; a ``TransportError`` that says sent, unless the socket refused the frame."""
        assert self.socket is not None
        number = next(self._numbers)
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            if self._unheard_ns is None:
                self._unheard_ns = self._clock.monotonic_ns()
            self.socket.send(_ENCODE(_Post("post", number, _Request(kind, msgspec.Raw(body)))))
            async with asyncio.timeout(timeout_s):
                said = await answered
        except TimeoutError as error:
            raise TransportError(f"no answer by WebSocket within {timeout_s:g} s", sent=True) from error
        finally:
            del self._waiting[number]
        return _answer(kind, said)

    # --- the socket, for those who opened it ---

    def send(self, frame: bytes) -> None:
        """See ``Socket.send``."""
        assert self.socket is not None
        self.socket.send(frame)

    async def close(self) -> None:
        """See ``Socket.close``."""
        self.end("it was closed here")
        if self.socket is not None:
            await self.socket.close()

    # --- what comes ---

    def take(self, raw: bytes) -> None:
        """One frame; those of others go on."""
        self._unheard_ns = None
        if _POST not in raw[:_HEAD]:
            self._on_frame(raw)
            return
        try:
            frame = ws.decode_frame(raw)
            answer = None if frame is None else ws.POST.decode(frame)
        except WireError:
            self._on_frame(raw)  # whoever reads the streams counts what is not understood
            return
        waiting = None if answer is None else self._waiting.get(answer.id)
        if answer is not None and waiting is not None and not waiting.done():
            waiting.set_result(answer.response)

    def closed(self, reason: str) -> None:
        """The peer or the network ended it."""
        self.end(reason)
        self._on_close(reason)

    def end(self, reason: str) -> None:
        """No answer will come any more."""
        self.is_open = False
        self._ended(self)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(TransportError(f"the WebSocket ended before the answer: {reason}", sent=True))


def _answer(kind: str, said: ws.PostBody) -> Answer:
    """As the same answer would have come by HTTP; an error keeps its text, and of an action says nothing but that."""
    if said.type == kind:
        try:
            return Answer(200, bytes(ws.info_data(said) if kind == "info" else said.payload))
        except WireError as error:
            return Answer(_NO_ANSWER, str(error).encode())
    text = ws.error_text(said)
    status = _TOO_MANY if text.startswith(str(_TOO_MANY)) else _NO_ANSWER
    return Answer(status, text.encode())
