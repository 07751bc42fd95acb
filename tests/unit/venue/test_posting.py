"""Requests by WebSocket: the same answers as by HTTP, and once handed over never sent again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.unit.venue.scripted import ACCOUNT, KEY, META, ScriptedSocket, ScriptedTransport, order

from perpstrader.runtime import Answer, TransportError, VirtualClock, run_virtual
from perpstrader.venue import HyperliquidClient, NonceSource, Signer, WireEncoder
from perpstrader.venue import contract as c
from perpstrader.venue.messages import FOR_STREAMS, MessageBudget
from perpstrader.venue.posting import MAX_IN_FLIGHT, PostingTransport

BOTH = ("/info", "/exchange")
RESTS = {"status": "ok", "response": {"type": "order", "data": {"statuses": [{"resting": {"oid": 7}}]}}}


class Line:
    """A posting transport over a script, its open socket, and what others than posts were told."""

    def __init__(self, clock: VirtualClock, by_socket: tuple[str, ...]) -> None:
        self.clock = clock
        self.inner = ScriptedTransport()
        self.transport = PostingTransport(self.inner, clock, by_socket=by_socket)
        self.frames: list[bytes] = []
        self.ended: list[str] = []

    async def open(self) -> ScriptedSocket:
        await self.transport.open_socket(self.frames.append, self.ended.append)
        return self.inner.sockets[-1]

    async def post(self, path: str = "/info", timeout_s: float = 5.0) -> Answer:
        return await self.transport.post(path, b'{"type":"allMids"}', timeout_s=timeout_s)

    def client(self) -> HyperliquidClient:
        encoder, nonces = WireEncoder(Signer(KEY, mainnet=False)), NonceSource(self.clock, 0, lambda mark: None)
        return HyperliquidClient(self.transport, self.clock, encoder, nonces, account=ACCOUNT)


def play(story: Callable[[Line], Awaitable[Any]], by_socket: tuple[str, ...] = BOTH) -> Any:
    async def main(clock: VirtualClock) -> Any:
        return await story(Line(clock, by_socket))

    return run_virtual(main, start_ms=1_760_000_000_000)


def answer(socket: ScriptedSocket, kind: str, payload: Any, index: int = -1) -> None:
    posts = [sent for sent in socket.sent if sent["method"] == "post"]
    socket.say("post", {"id": posts[index]["id"], "response": {"type": kind, "payload": payload}})


async def asked(line: Line, *arguments: Any) -> asyncio.Task[Answer]:
    task = asyncio.create_task(line.post(*arguments))
    await asyncio.sleep(0)
    return task


def test_a_read_by_socket_gives_what_http_would_have_given() -> None:
    async def story(line: Line) -> None:
        socket = await line.open()
        task = await asked(line)
        sent = {"method": "post", "id": 1, "request": {"type": "info", "payload": {"type": "allMids"}}}
        assert socket.sent == [sent]
        answer(socket, "info", {"type": "allMids", "data": {"BTC": "1.5"}})
        assert await task == Answer(200, b'{"BTC": "1.5"}')
        assert (line.inner.posts, line.frames, line.transport.posted) == ([], [], 1)

    play(story)


def test_an_order_by_socket_is_answered_as_by_http() -> None:
    async def story(line: Line) -> None:
        socket = await line.open()
        client = line.client()
        reading = asyncio.create_task(client.metadata())
        await asyncio.sleep(0)
        answer(socket, "info", {"type": "meta", "data": META})
        await reading
        placing = asyncio.create_task(client.place([order()]))
        await asyncio.sleep(0)
        [_, sent] = socket.sent
        assert sent["request"]["type"] == "action"
        assert set(sent["request"]["payload"]) == {"action", "nonce", "signature", "vaultAddress", "expiresAfter"}
        answer(socket, "action", RESTS)
        assert await placing == [c.Resting(7)]

    play(story)


def test_answers_may_come_in_any_order() -> None:
    async def story(line: Line) -> None:
        socket = await line.open()
        first, second = await asked(line), await asked(line)
        answer(socket, "info", {"type": "allMids", "data": 2}, 1)
        answer(socket, "info", {"type": "allMids", "data": 1}, 0)
        assert [(await first).body, (await second).body] == [b"1", b"2"]

    play(story)


@pytest.mark.parametrize("ended", ["by the venue", "here"])
def test_S11_a_socket_that_ends_with_an_action_under_way_leaves_it_unknown_and_unsent_by_http(ended: str) -> None:
    async def story(line: Line) -> None:
        socket = await line.open()
        client = line.client()
        line.inner.steps = []
        reading = asyncio.create_task(client.metadata())
        await asyncio.sleep(0)
        answer(socket, "info", {"type": "meta", "data": META})
        await reading
        placing = asyncio.create_task(client.place([order()]))
        await asyncio.sleep(0)
        if ended == "here":
            await line.transport.close()
        else:
            socket.on_close("connection reset by peer")
        [ack] = await placing
        assert isinstance(ack, c.Unknown)
        assert line.inner.posts == []
        assert len(socket.sent) == 2  # the metadata and the order, each once
        assert line.ended == ([] if ended == "here" else ["connection reset by peer"])

    play(story)


def test_S11_an_action_that_is_not_answered_in_time_is_unknown_and_its_late_answer_goes_to_nobody() -> None:
    async def story(line: Line) -> None:
        socket = await line.open()
        task = await asked(line, "/exchange", 2.0)
        with pytest.raises(TransportError, match="within 2 s") as caught:
            await task
        assert caught.value.sent
        answer(socket, "action", RESTS)
        assert line.inner.posts == []

    play(story)


def test_a_socket_that_let_one_down_is_used_again_once_it_has_spoken() -> None:
    async def story(line: Line) -> None:
        socket = await line.open()
        task = await asked(line, "/info", 1.0)
        await asyncio.gather(task, return_exceptions=True)
        await line.clock.sleep(2)
        line.inner.steps = [{"by": "http"}]
        assert (await line.post()).body == b'{"by": "http"}'
        socket.say("pong", None)
        again = await asked(line)
        answer(socket, "info", {"type": "allMids", "data": 1})
        assert (await again).body == b"1"

    play(story)


def test_a_socket_that_says_nothing_for_a_second_holds_up_one_request_and_not_the_next() -> None:
    async def story(line: Line) -> None:
        await line.open()
        first = await asked(line, "/info", 10.0)
        await line.clock.sleep(1)
        line.inner.steps = [{"by": "http"}]
        assert (await line.post("/exchange")).body == b'{"by": "http"}'
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        line.inner.steps = [{"by": "http"}]
        assert (await line.post("/exchange")).body == b'{"by": "http"}'

    play(story)


def test_a_frame_that_the_socket_refuses_was_not_sent_and_goes_by_http() -> None:
    async def story(line: Line) -> None:
        socket = await line.open()
        socket.closed = True
        line.inner.steps = [{"by": "http"}]
        assert (await line.post("/exchange")).body == b'{"by": "http"}'
        assert (socket.sent, len(line.inner.posts)) == ([], 1)

    play(story)


@pytest.mark.parametrize("state", ["none was opened", "it has ended", "another way is set"])
def test_without_an_open_socket_and_by_the_settings_requests_go_by_http(state: str) -> None:
    async def story(line: Line) -> None:
        if state != "none was opened":
            socket = await line.open()
            if state == "it has ended":
                socket.on_close("gone")
        line.inner.steps = [{"by": "http"}]
        assert (await line.post()).body == b'{"by": "http"}'
        assert line.transport.posted == 0

    play(story, ("/exchange",) if state == "another way is set" else BOTH)


@pytest.mark.parametrize(("payload", "status"), [("429 too many pending post requests", 429), ("422 cannot read", 500)])
def test_an_error_answer_keeps_its_text_and_proves_nothing_of_an_action(payload: str, status: int) -> None:
    async def story(line: Line) -> None:
        socket = await line.open()
        task = await asked(line, "/exchange")
        answer(socket, "error", payload)
        assert await task == Answer(status, payload.encode())

    play(story)


def test_what_cannot_be_read_is_an_error_and_what_is_no_answer_of_ours_harms_nobody() -> None:
    async def story(line: Line) -> None:
        socket = await line.open()
        task = await asked(line)
        socket.on_frame(b'{"channel":"post","data":"nonsense"}')
        socket.on_frame(b"no JSON")
        socket.say("post", {"id": 99, "response": {"type": "info", "payload": {}}})
        answer(socket, "info", "no object")
        assert (await task).status == 500
        assert line.frames == [b'{"channel":"post","data":"nonsense"}', b"no JSON"]

    play(story)


def test_S18_no_more_requests_are_under_way_or_sent_in_a_minute_than_the_venue_takes() -> None:
    async def story(line: Line) -> None:
        socket = await line.open()
        tasks = [await asked(line) for _ in range(MAX_IN_FLIGHT)]
        line.inner.steps = [{"by": "http"}] * 2
        assert (await line.post()).body == b'{"by": "http"}'
        for index, task in enumerate(tasks):
            answer(socket, "info", {"type": "allMids", "data": 1}, index)
            await task
        most = MessageBudget(line.clock).left - FOR_STREAMS
        for _ in range(most - MAX_IN_FLIGHT):
            task = await asked(line)
            line_number = socket.sent[-1]["id"]
            socket.say("post", {"id": line_number, "response": {"type": "info", "payload": {"type": "", "data": 1}}})
            await task
        assert (await line.post()).body == b'{"by": "http"}'
        assert json.dumps(socket.sent).count('"post"') == most
        await line.clock.sleep(61)
        await asked(line)
        assert len(socket.sent) == most + 1

    play(story)
