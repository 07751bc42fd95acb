"""The paper exchange on a port, for any Hyperliquid client: ``POST /info``, ``POST /exchange``, ``GET /ws``, and two
doors of its own, ``POST /paper/fund`` and ``GET /paper/status``.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
from typing import Final

import msgspec
from aiohttp import WSMsgType, web

from perpstrader.domain.errors import PerpsTraderError
from perpstrader.paper.engine import usd_text
from perpstrader.paper.server.streams import Session, TooManyConnections
from perpstrader.paper.server.venue import PaperVenue
from perpstrader.paper.server.world import address
from perpstrader.venue.wire.info import encode
from perpstrader.venue.wire.numbers import micro_usd, parse_decimal

MAX_WAITING_FRAMES: Final = 10_000
"""A client that lets so many frames wait is disconnected, as a venue would do."""
_CLOSE: Final = None


class ServerError(PerpsTraderError):
    """The server cannot listen where it was told to."""


class _Deposit(msgspec.Struct, rename="camel"):
    user: str
    usd: str | int | float
    only_if_new: bool = False


class PaperServer:
    """A venue that listens; ``close`` ends it."""

    def __init__(self, venue: PaperVenue, runner: web.AppRunner, host: str, port: int) -> None:
        self.venue = venue
        self.host = host
        self.port = port
        self._runner = runner

    @property
    def url(self) -> str:
        """The base URL that clients are given."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{self.port}"

    async def close(self) -> None:
        """Hang up on everybody and free the port."""
        self.venue.stop()
        await self._runner.cleanup()


async def serve(
    venue: PaperVenue, host: str = "127.0.0.1", port: int = 3001, *, allow_remote: bool = False
) -> PaperServer:
    """Listen on ``host`` and ``port`` (0: a free one); whoever can connect can trade and fund any account.

    So another address than the machine's own is refused unless ``allow_remote``. Raises ``ServerError``. The market
    is moved by ``venue.run``, which is the caller's to run.
    """
    if not allow_remote and not _is_loopback(host):
        raise ServerError(
            f"The paper exchange does not listen on {host}: anyone who reaches it can use every account. "
            "Use 127.0.0.1, or allow remote clients explicitly."
        )
    endpoints = _Endpoints(venue)
    app = web.Application(client_max_size=venue.config.max_body_bytes)
    app.add_routes(
        [
            web.post("/info", endpoints.post),
            web.post("/exchange", endpoints.post),
            web.get("/ws", endpoints.socket),
            web.post("/paper/fund", endpoints.fund),
            web.get("/paper/status", endpoints.status),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise ServerError(
                f"Port {port} on {host} is in use by another program: stop that one, or choose another port."
            ) from None
        raise ServerError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from None
    bound = runner.addresses[0][1]
    return PaperServer(venue, runner, host, bound)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Endpoints:
    """The routes of one venue."""

    def __init__(self, venue: PaperVenue) -> None:
        self._venue = venue

    async def post(self, request: web.Request) -> web.Response:
        """``/info`` and ``/exchange``."""
        answer = self._venue.post(request.path, await request.read(), _client(request))
        kind = "application/json" if answer.status == 200 else "text/plain"
        return web.Response(status=answer.status, body=answer.body, content_type=kind)

    async def fund(self, request: web.Request) -> web.Response:
        """``{"user": "0x…", "usd": "10000"}`` gives that account money; with ``"onlyIfNew": true``, opens it once."""
        try:
            deposit = msgspec.json.decode(await request.read(), type=_Deposit)
            user = address(deposit.user)
            if not (deposit.only_if_new and self._venue.engine.has_account(user)):
                self._venue.fund(user, micro_usd(parse_decimal(str(deposit.usd), "usd"), "usd"))
        except (msgspec.DecodeError, PerpsTraderError) as error:
            return _json({"error": str(error)}, status=422)
        value = self._venue.engine.account_state(user).account_value
        return _json({"user": user, "accountValue": usd_text(value)})

    async def status(self, _: web.Request) -> web.Response:
        """What market this is, and who trades on it."""
        venue = self._venue
        engine = venue.engine
        accounts = [
            {"user": user, "accountValue": usd_text(engine.account_state(user).account_value)}
            for user in engine.users()
        ]
        return _json(
            {
                "grade": venue.feed.grade, "interval": venue.feed.interval, "time": venue.world.now_ms(),
                "coins": list(venue.world.assets), "mids": venue.world.mids(), "accounts": accounts,
            }
        )  # fmt: skip

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """``/ws``: one session, its frames through a queue that only a writer reads."""
        connection = web.WebSocketResponse(max_msg_size=self._venue.config.max_body_bytes, autoping=True)
        outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        session: Session

        def send(frame: bytes) -> None:
            if outbox.qsize() < MAX_WAITING_FRAMES:
                outbox.put_nowait(frame)
            else:
                session.hang_up("the client reads too slowly")

        try:
            session = self._venue.streams.open(_client(request), send, lambda _: outbox.put_nowait(_CLOSE))
        except TooManyConnections as error:
            return web.Response(status=429, text=str(error))
        try:
            await connection.prepare(request)
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(_write(connection, outbox), name="paper-socket-writer")
                await _read(connection, session)
                writer.cancel()
        finally:
            session.close()
        return connection


async def _read(connection: web.WebSocketResponse, session: Session) -> None:
    async for message in connection:
        if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
            session.receive(message.data)


async def _write(connection: web.WebSocketResponse, outbox: asyncio.Queue[bytes | None]) -> None:
    while (frame := await outbox.get()) is not _CLOSE:
        try:
            await connection.send_frame(frame, WSMsgType.TEXT)
        except ConnectionError:
            return
    await connection.close()


def _client(request: web.Request) -> str:
    return request.remote or "unknown"


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=encode(value), content_type="application/json")
