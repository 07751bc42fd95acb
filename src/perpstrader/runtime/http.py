"""The transport over real sockets: aiohttp, keep-alive, a deadline per request, and no retry at all."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from perpstrader.runtime.transport import Answer, CloseHandler, FrameHandler, TransportError

_HEADERS: Final = {"Content-Type": "application/json"}
_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
_CLOSE_TIMEOUT_S: Final = 1.0
"""A peer that is gone does not answer our close; the next connection must not wait for it."""


class HttpTransport:
    """One base URL such as ``http://127.0.0.1:3001``; its WebSocket is the same host's ``/ws``."""

    def __init__(self, base_url: str, *, connect_timeout_s: float = 5.0) -> None:
        self._base_url = base_url.rstrip("/")
        self._connect_timeout_s = connect_timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._sockets: set[_HttpSocket] = set()

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        """The answer to one POST; see ``Transport.post``."""
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, self._connect_timeout_s))
        request = self._open_session().post(
            self._base_url + path, data=body, headers=_HEADERS, timeout=timeout, allow_redirects=False
        )
        try:
            async with request as response:
                return Answer(response.status, await response.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise TransportError(f"cannot reach {self._base_url}: {_why(error)}", sent=False) from error
        except TimeoutError as error:
            raise TransportError(f"no answer from {self._base_url}{path} within {timeout_s:g} s", sent=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(f"the connection to {self._base_url} broke: {_why(error)}", sent=True) from error

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> _HttpSocket:
        """An open WebSocket; see ``Transport.open_socket``."""
        url = self._base_url.replace("http", "ws", 1) + "/ws"
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                connection = await self._open_session().ws_connect(
                    url, max_msg_size=_MAX_FRAME_BYTES, timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_TIMEOUT_S)
                )
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(f"cannot open {url}: {_why(error)}", sent=False) from error
        socket = _HttpSocket(connection, on_frame, on_close, self._sockets.discard)
        self._sockets.add(socket)
        return socket

    async def close(self) -> None:
        """Closes the sockets, then the session."""
        for socket in list(self._sockets):
            await socket.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32, keepalive_timeout=30))
        return self._session


class _HttpSocket:
    """Owns one reader task and one writer task; both end when the socket closes."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse, on_frame: FrameHandler, on_close: CloseHandler,
                 forget: object) -> None:  # fmt: skip
        self._connection = connection
        self._on_frame = on_frame
        self._on_close = on_close
        self._forget = forget
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read(), name="socket-reader")
        self._writer = asyncio.create_task(self._write(), name="socket-writer")
        self._closed = False

    def send(self, frame: bytes) -> None:
        """Queue one text frame for the writer."""
        if self._closed or self._connection.closed:
            raise TransportError("the WebSocket is closed", sent=False)
        self._outbox.put_nowait(frame)

    async def close(self) -> None:
        """Ends both tasks and the connection; the close handler is not called for our own close."""
        self._closed = True
        for task in (self._reader, self._writer):
            task.cancel()
        await asyncio.gather(self._reader, self._writer, return_exceptions=True)
        await self._connection.close()
        if callable(self._forget):
            self._forget(self)

    async def _write(self) -> None:
        while True:
            frame = await self._outbox.get()
            try:
                await self._connection.send_str(frame.decode())
            except (aiohttp.ClientError, ConnectionError):
                return

    async def _read(self) -> None:
        reason = "closed by the venue"
        try:
            async for message in self._connection:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._on_frame(message.data.encode())
                elif message.type is aiohttp.WSMsgType.BINARY:
                    self._on_frame(message.data)
                elif message.type is aiohttp.WSMsgType.ERROR:
                    reason = f"connection error: {type(self._connection.exception()).__name__}"
        except Exception as error:  # whoever listens must hear of the end, whatever brought it
            reason = f"connection error: {type(error).__name__}: {error}"
        if not self._closed:
            self._closed = True
            self._writer.cancel()
            self._on_close(reason)


def _why(error: BaseException) -> str:
    """The system's word for it where there is one, such as ``Connection refused``."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return getattr(cause, "strerror", None) or str(cause) or type(error).__name__
