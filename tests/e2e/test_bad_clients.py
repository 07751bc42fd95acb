"""Clients that no server deserves, at the real port: each gets what is due to it, and the others notice nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from random import Random

import aiohttp

from perpstrader.paper import PaperPlan, open_paper
from perpstrader.paper.server import http_socket
from perpstrader.paper.server.http import PaperServer, serve
from perpstrader.runtime import SystemClock

META = b'{"type":"meta"}'
WAIT_S = 60


def at_the_port(story: Callable[[PaperServer, aiohttp.ClientSession], Awaitable[None]]) -> None:
    """Run ``story``; before and after it the exchange answers, and a listener hears the market all the time."""

    async def main() -> None:
        plan = PaperPlan(symbols=("BTC", "ETH"), bar_ms=250, enforce_limits=False)
        async with open_paper(plan, None, SystemClock()) as exchange, aiohttp.ClientSession() as session:
            server = await serve(exchange.venue, port=0)
            try:
                async with asyncio.timeout(WAIT_S), session.ws_connect(f"{server.url}/ws") as listener:
                    await listener.send_str('{"method":"subscribe","subscription":{"type":"bbo","coin":"BTC"}}')
                    await _hears(listener)
                    await story(server, session)
                    await _hears(listener)
                    async with session.post(f"{server.url}/info", data=META) as answer:
                        assert answer.status == 200
            finally:
                await server.close()

    asyncio.run(main())


async def _hears(listener: aiohttp.ClientWebSocketResponse, frames: int = 3) -> None:
    while frames:
        frames -= '"channel":"bbo"' in await listener.receive_str()


async def _raw(server: PaperServer, sent: bytes) -> bytes:
    """What comes back for these bytes, until the server closes or has nothing to say for a second."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(sent)
    heard = b""
    try:
        async with asyncio.timeout(1.0):
            await writer.drain()
            while part := await reader.read(65_536):
                heard += part
    except (TimeoutError, ConnectionError):
        pass
    writer.close()
    return heard


def test_garbage_in_place_of_http_is_refused() -> None:
    async def story(server: PaperServer, session: aiohttp.ClientSession) -> None:
        rng = Random(7)
        for sent in (
            rng.randbytes(5_000), b"\x16\x03\x01\x02\x00" + rng.randbytes(500), b"GET\r\n\r\n", b"\r\n" * 5_000,
            b"POST /info HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
            b"POST /info HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST /info HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
            b"POST /" + b"y" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        ):  # fmt: skip
            heard = await _raw(server, sent)
            assert heard == b"" or heard.startswith((b"HTTP/1.0 4", b"HTTP/1.1 4")), heard[:100]

    at_the_port(story)


def test_garbage_after_the_upgrade_ends_that_socket_alone() -> None:
    upgrade = (
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )

    async def story(server: PaperServer, session: aiohttp.ClientSession) -> None:
        rng = Random(8)
        for _ in range(5):
            heard = await _raw(server, upgrade + rng.randbytes(2_000))
            assert heard.startswith(b"HTTP/1.1 101"), heard[:100]

    at_the_port(story)


def test_bodies_and_frames_that_are_too_large_are_refused_and_deep_ones_are_not_followed() -> None:
    async def story(server: PaperServer, session: aiohttp.ClientSession) -> None:
        for path in ("/info", "/exchange"):
            async with session.post(server.url + path, data=b"x" * 3_000_000) as answer:
                assert answer.status == 413
            for opening in (b"[", b'{"a":', b'{"type":"order","action":['):
                async with session.post(server.url + path, data=opening * 60_000) as answer:
                    assert answer.status == 422
        async with session.ws_connect(f"{server.url}/ws", max_msg_size=0) as socket:
            await socket.receive_str()
            await socket.send_str("[" * 1_000_000)
            assert json.loads(await socket.receive_str())["channel"] == "error"
            await socket.send_str(" " * 3_000_000)
            ending = await socket.receive()
            assert ending.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)
            assert socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG

    at_the_port(story)


def test_a_client_that_does_not_read_is_dropped_and_what_waits_for_it_is_bounded() -> None:
    async def story(server: PaperServer, session: aiohttp.ClientSession) -> None:
        reader, writer = await asyncio.open_connection(server.host, server.port, limit=1_024)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 101")
        ask = b'{"method":"post","id":1,"request":{"type":"info","payload":{"type":"candleSnapshot","req":'
        ask += b'{"coin":"BTC","interval":"250ms","startTime":0}}}}'
        frame = b"\x81" + bytes([0x80 | 126]) + len(ask).to_bytes(2, "big") + bytes(4) + ask
        before = len(server.venue.streams._sessions)
        sent = 0
        while len(server.venue.streams._sessions) == before:
            try:
                writer.write(frame * 20)
                async with asyncio.timeout(2):
                    await writer.drain()
            except (ConnectionError, TimeoutError):
                pass
            sent += 20
            await asyncio.sleep(0)
            assert sent * 30_000 < 40 * http_socket.MAX_WAITING_BYTES, "it was never dropped"
        assert len(server.venue.streams._sessions) == before - 1
        writer.close()

    at_the_port(story)


def test_many_bad_clients_at_once_hurt_nobody(prove: bool) -> None:
    async def story(server: PaperServer, session: aiohttp.ClientSession) -> None:
        rng = Random(9)

        async def be_bad() -> None:
            async with session.ws_connect(f"{server.url}/ws") as socket:
                for _ in range(200 if prove else 20):
                    sent = rng.randbytes(rng.randrange(200))
                    if rng.random() < 0.5:
                        await socket.send_bytes(sent)
                    else:
                        await socket.send_str(sent.decode("latin-1"))
            body = rng.randbytes(rng.randrange(2_000))
            async with session.post(f"{server.url}/exchange", data=body) as answer:
                assert answer.status == 422

        async with asyncio.TaskGroup() as group:
            for _ in range(50 if prove else 15):
                group.create_task(be_bad())

    at_the_port(story)
