"""The transport over real loopback sockets: what came is told as it came, what was sent is never denied, nothing is
repeated."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from perpstrader.runtime import Answer, TransportError
from perpstrader.runtime.http import HttpTransport

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HTML = b"<html><head><title>502 Bad Gateway</title></head></html>"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
    return await reader.readexactly(length)


def http(status: str, body: bytes, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 " + status.encode() + b"\r\nContent-Length: %d\r\n" % len(body) + extra + b"\r\n" + body


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A loopback server on a free port; gives its base URL."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        server.close()


def exchange(serve: Serve, *, timeout_s: float = 5.0, times: int = 1) -> list[Answer | TransportError]:
    """What the transport says to posts in a row against ``serve``."""

    async def main() -> list[Answer | TransportError]:
        told: list[Answer | TransportError] = []
        async with serving(serve) as url:
            transport = HttpTransport(url)
            for _ in range(times):
                try:
                    told.append(await transport.post("/exchange", b'{"a":1}', timeout_s=timeout_s))
                except TransportError as error:
                    told.append(error)
            await transport.close()
        return told

    return asyncio.run(main())


def test_a_page_of_a_proxy_is_an_answer_with_its_status() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await read_request(reader) == b'{"a":1}'
        writer.write(http("502 Bad Gateway", HTML, b"Content-Type: text/html\r\n"))
        await writer.drain()

    assert exchange(serve) == [Answer(502, HTML)]


def test_S11_a_silent_server_leaves_the_request_sent() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await reader.read()

    [told] = exchange(serve, timeout_s=0.2)
    assert isinstance(told, TransportError)
    assert told.sent
    assert "within 0.2 s" in str(told)


def test_S11_a_refused_connection_means_that_nothing_was_sent() -> None:
    async def main() -> TransportError:
        async with serving(lambda reader, writer: asyncio.sleep(0)) as url:
            pass
        transport = HttpTransport(url)
        with pytest.raises(TransportError) as raised:
            await transport.post("/info", b"{}", timeout_s=5.0)
        with pytest.raises(TransportError) as no_socket:
            await transport.open_socket(lambda frame: None, lambda reason: None)
        await transport.close()
        assert not no_socket.value.sent
        return raised.value

    told = asyncio.run(main())
    assert not told.sent
    assert "cannot reach" in str(told)


def test_S11_a_server_that_closes_in_the_middle_of_its_answer_leaves_the_request_sent() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"status":')
        await writer.drain()

    [told] = exchange(serve)
    assert isinstance(told, TransportError)
    assert told.sent


def test_S11_a_kept_connection_that_breaks_is_not_tried_again_by_itself() -> None:
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await read_request(reader))
        writer.write(http("200 OK", b"{}"))
        await writer.drain()
        bodies.append(await read_request(reader))  # the second request arrives, then the connection is gone

    first, second = exchange(serve, times=2)
    assert first == Answer(200, b"{}")
    assert isinstance(second, TransportError)
    assert second.sent
    assert len(bodies) == 2


def test_S11_a_redirect_is_an_answer_and_does_not_carry_the_action_elsewhere() -> None:
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await read_request(reader))
        writer.write(http("307 Temporary Redirect", b"", b"Location: /elsewhere\r\n"))
        await writer.drain()

    assert exchange(serve) == [Answer(307, b"")]
    assert len(bodies) == 1


@asynccontextmanager
async def websocket(handler: Callable[[web.WebSocketResponse], Awaitable[None]]) -> AsyncIterator[str]:
    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await handler(socket)
        return socket

    app = web.Application()
    app.router.add_get("/ws", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def test_frames_go_both_ways_and_the_end_is_told_once() -> None:
    async def echo_once(socket: web.WebSocketResponse) -> None:
        await socket.send_str("Websocket connection established.")
        message = await socket.receive()
        assert message.type is WSMsgType.TEXT
        await socket.send_str(message.data)
        await socket.close()

    async def main() -> None:
        frames: list[bytes] = []
        reasons: list[str] = []
        ended = asyncio.Event()

        def on_close(reason: str) -> None:
            reasons.append(reason)
            ended.set()

        async with websocket(echo_once) as url:
            transport = HttpTransport(url)
            socket = await transport.open_socket(frames.append, on_close)
            socket.send(b'{"method":"ping"}')
            async with asyncio.timeout(10):
                await ended.wait()
            with pytest.raises(TransportError):
                socket.send(b"{}")
            await socket.close()
            await transport.close()
        assert frames == [b"Websocket connection established.", b'{"method":"ping"}']
        assert reasons == ["closed by the venue"]

    asyncio.run(main())


def test_after_our_own_close_no_frame_and_no_reason_comes() -> None:
    async def chatter(socket: web.WebSocketResponse) -> None:
        while not socket.closed:
            await socket.send_str("{}")
            await asyncio.sleep(0.001)

    async def main() -> None:
        frames: list[bytes] = []
        reasons: list[str] = []
        first = asyncio.Event()

        def on_frame(frame: bytes) -> None:
            frames.append(frame)
            first.set()

        async with websocket(chatter) as url:
            transport = HttpTransport(url)
            socket = await transport.open_socket(on_frame, reasons.append)
            async with asyncio.timeout(10):
                await first.wait()
            await socket.close()
            seen = len(frames)
            await asyncio.sleep(0.02)
            assert len(frames) == seen
            await transport.close()
        assert reasons == []

    asyncio.run(main())


def test_a_listener_that_fails_ends_the_socket_with_a_reason() -> None:
    async def greet(socket: web.WebSocketResponse) -> None:
        await socket.send_str("{}")
        await socket.receive()

    async def main() -> str:
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_frame(frame: bytes) -> None:
            raise KeyError("a bug")

        async with websocket(greet) as url:
            transport = HttpTransport(url)
            await transport.open_socket(on_frame, told.set_result)
            async with asyncio.timeout(10):
                reason = await told
            await transport.close()
        return reason

    assert "KeyError" in asyncio.run(main())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key, made for this run."""
    openssl = shutil.which("openssl")
    if openssl is None:
        message = "openssl makes the certificate of this test: install it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


async def _tls_server(cert: Path, key: Path, body: Callable[[str], Awaitable[None]]) -> list[bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await read_request(reader))
        writer.write(http("200 OK", b"{}"))
        await writer.drain()

    async with serving(serve, context) as url:
        await body(url)
    return bodies


def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(
    certificate: tuple[Path, Path],
) -> None:
    async def body(url: str) -> None:
        transport = HttpTransport(url)
        with pytest.raises(TransportError, match="certificate is not trusted") as raised:
            await transport.post("/exchange", b"{}", timeout_s=5.0)
        assert not raised.value.sent
        await transport.close()

    assert asyncio.run(_tls_server(*certificate, body)) == []


def test_a_trusted_certificate_serves_over_tls(certificate: tuple[Path, Path]) -> None:
    program = (
        "import asyncio, sys\n"
        "from perpstrader.runtime.http import HttpTransport\n"
        "async def main():\n"
        "    transport = HttpTransport(sys.argv[1])\n"
        "    print((await transport.post('/info', b'{}', timeout_s=10.0)).status)\n"
        "    await transport.close()\n"
        "asyncio.run(main())\n"
    )

    async def body(url: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, url, stdout=subprocess.PIPE,
            env={**os.environ, "SSL_CERT_FILE": str(certificate[0])},
        )  # fmt: skip
        async with asyncio.timeout(60):
            told, _ = await process.communicate()
        assert told.split() == [b"200"]

    assert asyncio.run(_tls_server(*certificate, body)) == [b"{}"]
