"""Faults at the paper exchange's own port: what a client over real sockets meets, and the verb that changes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import aiohttp
import pytest
from tests.e2e.blast import asked
from tests.e2e.processes import free_port, one_sentence, program, started, wait_until

from perpstrader.paper import PaperPlan, open_paper
from perpstrader.paper.faults import parse
from perpstrader.paper.server import LatencyModel
from perpstrader.paper.server.http import PaperServer, serve
from perpstrader.runtime import SystemClock, TransportError
from perpstrader.runtime.http import HttpTransport

META = b'{"type":"meta"}'
JSON = {"Content-Type": "application/json"}


def at_the_port(
    story: Callable[[PaperServer], Awaitable[None]], *faults: str, latency: LatencyModel | None = None
) -> None:
    async def main() -> None:
        plan = PaperPlan(symbols=("BTC",), faults=faults, fault_control=True, enforce_limits=False)
        async with open_paper(plan, None, SystemClock()) as exchange:
            server = await serve(exchange.venue, port=0, latency=latency, rng=Random(1), fault_control=True)
            try:
                await story(server)
            finally:
                await server.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fault", "status"), [("bad_gateway:info=1", 502), ("too_many:info=1", 429), ("server_error:info=1", None)]
)
def test_a_proxy_and_an_overloaded_venue_answer_as_they_do(fault: str, status: int | None) -> None:
    async def story(server: PaperServer) -> None:
        transport = HttpTransport(server.url)
        answer = await transport.post("/info", META, timeout_s=30)
        assert answer.status == status if status else answer.status in (500, 503, 504)
        assert (await transport.post("/exchange", b"{}", timeout_s=30)).status == 422
        await transport.close()

    at_the_port(story, fault)


def test_a_refused_connection_breaks_and_a_lost_answer_never_comes() -> None:
    async def story(server: PaperServer) -> None:
        transport = HttpTransport(server.url)
        with pytest.raises(TransportError):
            await transport.post("/info", META, timeout_s=30)
        assert server.venue.faults is not None
        server.venue.faults.set_rules([])
        assert (await transport.post("/info", META, timeout_s=30)).status == 200
        async with aiohttp.ClientSession() as session:
            lost = {"rules": ["response_lost:info=1"]}
            async with session.post(f"{server.url}/paper/faults", json=lost) as answer:
                assert (await answer.json())["rules"] == ["response_lost:info=1"]
        with pytest.raises(TransportError, match="no answer"):
            await transport.post("/info", META, timeout_s=0.2)
        await transport.close()

    at_the_port(story, "refused:info=1")


def test_frames_meet_faults_and_every_message_takes_its_time() -> None:
    async def story(server: PaperServer) -> None:
        transport, heard, closed = HttpTransport(server.url), asyncio.Queue[bytes](), asyncio.Event()
        socket = await transport.open_socket(heard.put_nowait, lambda reason: closed.set())
        assert (await heard.get()).startswith(b"Websocket")
        clock = asyncio.get_running_loop().time
        begin = clock()
        socket.send(b'{"method":"ping"}')
        assert await heard.get() == b'{"channel":"pong"}' == await heard.get()
        assert clock() - begin >= 0.02
        assert server.venue.faults is not None
        server.venue.faults.set_rules([])
        begin = clock()
        assert (await transport.post("/info", META, timeout_s=30)).status == 200
        assert clock() - begin >= 0.02
        server.venue.faults.set_rules([parse("socket_dropped=1")])
        socket.send(b'{"method":"ping"}')
        async with asyncio.timeout(30):
            await closed.wait()
        await transport.close()

    at_the_port(story, "frame_twice:ws.pong=1", latency=LatencyModel(median_s=0.05, p99_s=0.06))


def test_the_door_to_the_faults_is_for_this_machine_and_no_web_page() -> None:
    async def story(server: PaperServer) -> None:
        door = f"{server.url}/paper/faults"
        order = json.dumps({"rules": ["delay=0.5"]})
        async with aiohttp.ClientSession() as session:
            async with session.post(door, data=order, headers={"Content-Type": "text/plain"}) as answer:
                assert answer.status == 422
            async with session.post(door, data=order, headers=JSON | {"Host": "evil.example"}) as answer:
                assert answer.status == 403
            for bad in ("{", '{"rules":["x"]}', '{"rules":["delay=0.7","refused=0.7"]}', '{"now":"delay"}x', '{"a":1}'):
                async with session.post(door, data=bad, headers=JSON) as answer:
                    assert answer.status == 422, bad
                    assert (await answer.json())["error"]
            async with session.get(door) as answer:
                assert await answer.json() == {"rules": [], "landed": {}}

    at_the_port(story)


def test_without_being_asked_for_the_door_is_shut() -> None:
    async def main() -> None:
        async with open_paper(PaperPlan(symbols=("BTC",)), None, SystemClock()) as exchange:
            server = await serve(exchange.venue, port=0)
            try:
                async with aiohttp.ClientSession() as session, session.get(f"{server.url}/paper/faults") as answer:
                    assert answer.status == 404
            finally:
                await server.close()

    asyncio.run(main())


def test_the_verb_lists_sets_clears_and_lets_one_happen(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def says(*arguments: str) -> str:
        done = program("paper", "faults", *arguments, "--url", url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def answers() -> bool:
        try:
            asked(url, "/info", {"type": "meta"})
        except OSError:
            return False
        return True

    options = ("--port", str(port), "--data-dir", tmp_path, "--fault", "lag:info.userFills=0.5@2s", "--fault-control")
    with started("paper", *options) as server:
        wait_until(answers, server)
        assert says() == "lag:info.userFills=0.5@2s\n"
        assert "frame_twice:ws=0.1" in says("set", "frame_twice:ws=0.1", "delay:orders=0.2@1s")
        assert "it happened" in says("now", "post_only=1@1s")
        assert "there was nothing" in says("now", "stop_canceled")
        assert "Nothing goes wrong" in says("clear")
        refused = program("paper", "faults", "set", "nonsense=1", "--url", url)
        assert refused.returncode == 2
        assert "there is no fault 'nonsense'" in one_sentence(refused)
    gone = program("paper", "faults", "--url", url)
    assert gone.returncode == 3
    wrong = program("paper", "--fault", "delay:spot=1", "--port", str(port), "--data-dir", tmp_path)
    assert wrong.returncode == 2
    assert "there is no class 'spot'" in one_sentence(wrong)
