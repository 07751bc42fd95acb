"""One WebSocket of the paper exchange on a port: its frames wait in a bounded outbox, and who reads too slowly goes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from aiohttp import WSMsgType, web

from perpstrader.paper.server.latency import Way
from perpstrader.paper.server.streams import BROKEN, Session, TooManyConnections
from perpstrader.paper.server.venue import PaperVenue

MAX_WAITING_FRAMES: Final = 10_000
MAX_WAITING_BYTES: Final = 16_000_000
"""A client that lets so much wait is disconnected, as a venue would do."""
TOO_SLOW: Final = "the client reads too slowly"
_CLOSE_S: Final = 1.0


class _Outbox:
    """Frames on their way out, of which only one task writes; ``put`` says whether there was room."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._ready = asyncio.Event()
        self._is_closing = False

    def put(self, frame: bytes) -> bool:
        """Let one frame wait."""
        if len(self._frames) >= MAX_WAITING_FRAMES or self._bytes >= MAX_WAITING_BYTES:
            return False
        self._frames.append(frame)
        self._bytes += len(frame)
        self._ready.set()
        return True

    def close(self) -> None:
        """What waits is still written, then no more."""
        self._is_closing = True
        self._ready.set()

    async def write(self, connection: web.WebSocketResponse) -> None:
        """Write until closed, or until the client is gone."""
        frames = self._frames
        try:
            while True:
                while frames:
                    frame = frames.popleft()
                    self._bytes -= len(frame)
                    await connection.send_frame(frame, WSMsgType.TEXT)
                if self._is_closing:
                    break
                self._ready.clear()
                await self._ready.wait()
        except ConnectionError:
            return
        await connection.close()


async def serve_socket(
    venue: PaperVenue,
    request: web.Request,
    client: str,
    ways: tuple[Callable[[], float], Callable[[], float]] | None,
) -> web.StreamResponse:
    """``/ws``, from its upgrade to its end; ``ways`` draw the seconds to the exchange and back."""
    connection = web.WebSocketResponse(
        max_msg_size=venue.config.max_body_bytes, autoping=True, timeout=_CLOSE_S, compress=False
    )
    outbox = _Outbox()
    session: Session

    def put(frame: bytes) -> None:
        if not outbox.put(frame):
            session.hang_up(TOO_SLOW)

    def hang_up(reason: str) -> None:
        # Who does not read would not read a farewell either, and a broken line has none.
        if reason in (TOO_SLOW, BROKEN) and request.transport is not None:
            request.transport.abort()
        outbox.close()

    send = put if ways is None else Way(ways[1], put).carry
    try:
        session = venue.streams.open(client, send, hang_up, venue.faults)
    except TooManyConnections as error:
        return web.Response(status=429, text=str(error))
    receive = session.receive if ways is None else Way(ways[0], session.receive).carry
    try:
        await connection.prepare(request)
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(outbox.write(connection), name="paper-socket-writer")
            await _read(connection, receive)
            writer.cancel()
    finally:
        session.close()
    return connection


async def _read(connection: web.WebSocketResponse, receive: Callable[[bytes], None]) -> None:
    async for message in connection:
        if message.type is WSMsgType.TEXT:
            receive(message.data.encode())
        elif message.type is WSMsgType.BINARY:
            receive(message.data)
