"""The paper exchange on a port, for any Hyperliquid client: ``POST /info``, ``POST /exchange``, ``GET /ws``, and doors
of its own: ``POST /paper/fund``, ``GET /paper/status`` and, where it is opened, ``/paper/faults``.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
from functools import partial
from random import Random
from typing import Final

import msgspec
from aiohttp import web

from perpstrader.domain.errors import PerpsTraderError
from perpstrader.paper.engine import usd_text
from perpstrader.paper.faults import FaultKind, RequestFate, parse
from perpstrader.paper.server.gate import arrive
from perpstrader.paper.server.http_socket import serve_socket
from perpstrader.paper.server.latency import LatencyModel
from perpstrader.paper.server.venue import PaperVenue
from perpstrader.paper.server.world import address
from perpstrader.runtime import Answer
from perpstrader.venue.wire.info import encode
from perpstrader.venue.wire.numbers import micro_usd, parse_decimal

READ_S: Final = 30.0
"""A request whose body takes longer to arrive is given up."""
LOST_S: Final = 120.0
"""How long the connection of a lost request stays open: longer than clients wait."""
MAX_HEADER_BYTES: Final = 16_384


class ServerError(PerpsTraderError):
    """The server cannot listen where it was told to."""


class _Deposit(msgspec.Struct, rename="camel"):
    user: str
    usd: str | int | float
    only_if_new: bool = False


class _FaultOrder(msgspec.Struct, forbid_unknown_fields=True):
    """``rules`` replaces all rules; ``now`` lets one fault of the venue itself happen at once."""

    rules: list[str] | None = None
    now: str | None = None


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
    venue: PaperVenue,
    host: str = "127.0.0.1",
    port: int = 3001,
    *,
    allow_remote: bool = False,
    latency: LatencyModel | None = None,
    rng: Random | None = None,
    fault_control: bool = False,
) -> PaperServer:
    """Listen on ``host`` and ``port`` (0: a free one); whoever can connect can trade and fund any account.

    So another address than the machine's own is refused unless ``allow_remote``. ``latency`` (drawn from ``rng``)
    delays every message; ``fault_control`` opens ``/paper/faults`` to clients of this machine, for a venue that has
    faults. Raises ``ServerError``. The market is moved by ``venue.run``, which is the caller's to run.
    """
    if not allow_remote and not _is_loopback(host):
        raise ServerError(
            f"The paper exchange does not listen on {host}: anyone who reaches it can use every account. "
            "Use 127.0.0.1, or allow remote clients explicitly."
        )
    endpoints = _Endpoints(venue, latency, rng or Random(0), fault_control=fault_control)
    app = web.Application(client_max_size=venue.config.max_body_bytes)
    app.add_routes(
        [
            web.post("/info", endpoints.post),
            web.post("/exchange", endpoints.post),
            web.get("/ws", endpoints.socket),
            web.post("/paper/fund", endpoints.fund),
            web.get("/paper/status", endpoints.status),
            web.get("/paper/faults", endpoints.faults),
            web.post("/paper/faults", endpoints.faults),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, max_field_size=MAX_HEADER_BYTES)
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

    def __init__(self, venue: PaperVenue, latency: LatencyModel | None, rng: Random, *, fault_control: bool) -> None:
        self._venue = venue
        self._ways = None if latency is None else (partial(latency.entry_s, rng), partial(latency.response_s, rng))
        self._fault_control = fault_control

    async def post(self, request: web.Request) -> web.Response:
        """``/info`` and ``/exchange``."""
        try:
            async with asyncio.timeout(READ_S):
                body = await request.read()
        except TimeoutError:
            return web.Response(status=408, text="the request did not arrive in time")
        faults = self._venue.faults
        if faults is None and self._ways is None:
            return _response(self._venue.post(request.path, body, _client(request)))
        fate = RequestFate() if faults is None else faults.of_request(request.path, body)
        return await self._travel(request, body, fate)

    async def _travel(self, request: web.Request, body: bytes, fate: RequestFate) -> web.Response:
        """Request and response take their time, and meet their fate; who has gone meanwhile is served all the same."""
        sleep = self._venue.clock.sleep
        if fate.kind is not FaultKind.REFUSED:
            there_s = fate.delay_s + (0.0 if self._ways is None else self._ways[0]())
            if there_s:
                await sleep(there_s)
        answer = arrive(self._venue, request.path, body, _client(request), fate)
        if answer is None:
            if fate.kind is not FaultKind.REFUSED:
                await sleep(LOST_S)
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if self._ways is not None:
            await sleep(self._ways[1]())
        return _response(answer)

    async def faults(self, request: web.Request) -> web.Response:
        """``GET``: the rules and what they did. ``POST {"rules": [...]}`` replaces them, ``{"now": "agent_pruned"}``
        lets one happen at once; JSON by its header, which no web page can send here without asking.
        """
        mischief = self._venue.mischief
        if not self._fault_control or mischief is None:
            return _json({"error": "fault control is off: start the exchange with --fault-control"}, status=404)
        if not (_is_loopback(request.remote or "") and _is_loopback(request.host.rpartition(":")[0].strip("[]"))):
            return _json({"error": "faults are set from this machine alone"}, status=403)
        happened: bool | None = None
        if request.method == "POST":
            try:
                if request.content_type != "application/json":
                    raise ServerError("send Content-Type: application/json")
                order = msgspec.json.decode(await request.read(), type=_FaultOrder)
                if order.rules is not None:
                    mischief.faults.set_rules([parse(text) for text in order.rules])
                    mischief.end()
                    mischief.remember(self._venue.engine.users())
                if order.now is not None:
                    happened = self._venue.happen(parse(order.now if "=" in order.now else f"{order.now}=1"))
            except (msgspec.DecodeError, PerpsTraderError) as error:
                return _json({"error": str(error)}, status=422)
        faults = mischief.faults
        landed = {kind.value: count for kind, count in faults.landed.items() if count}
        answer = {"rules": [rule.text() for rule in faults.rules], "landed": landed}
        return _json(answer if happened is None else answer | {"happened": happened})

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
        """``/ws``."""
        return await serve_socket(self._venue, request, _client(request), self._ways)


def _response(answer: Answer) -> web.Response:
    is_html = answer.body.startswith(b"<")
    kind = "text/html" if is_html else "application/json" if answer.status == 200 else "text/plain"
    return web.Response(status=answer.status, body=answer.body, content_type=kind)


def _client(request: web.Request) -> str:
    return request.remote or "unknown"


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=encode(value), content_type="application/json")
