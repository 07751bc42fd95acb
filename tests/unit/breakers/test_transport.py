"""The transport that a breaker observes: it sees everything and holds nothing back (S01, CB-13)."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.breakers.support import NAME, Kept

from perpstrader.breakers import GuardedTransport, UnavailableError
from perpstrader.runtime import Answer, CloseHandler, FrameHandler, Socket, TransportError

GOOD = Answer(200, b'{"status":"ok"}')


class Wire:
    """Answers the same to everything, and counts."""

    def __init__(self, answer: Answer | BaseException) -> None:
        self.answer = answer
        self.posts: list[tuple[str, bytes]] = []

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        self.posts.append((path, body))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        raise NotImplementedError

    async def close(self) -> None:
        self.posts.append(("closed", b""))


def _post(transport: GuardedTransport) -> Answer | BaseException:
    async def main() -> Answer:
        return await transport.post("/exchange", b"{}", timeout_s=1)

    try:
        return asyncio.run(main())
    except (TransportError, asyncio.CancelledError) as error:
        return error


@pytest.mark.parametrize(
    ("answer", "failures"),
    [(GOOD, 0), (Answer(502, b"<html>"), 1), (Answer(429, b""), 1), (Answer(422, b"no"), 0),
     (Answer(200, b"<html>"), 1), (TransportError("no answer", sent=True), 1), (asyncio.CancelledError(), 0)],
)  # fmt: skip
def test_S44_what_the_venue_answered_is_counted_by_kind_and_handed_on_as_it_is(
    answer: Answer | BaseException, failures: int
) -> None:
    kept = Kept()
    assert _post(GuardedTransport(Wire(answer), kept.breakers.watch(NAME))) is answer
    assert kept.breakers.status(NAME).failures == failures


def test_S01_CB_13_an_open_breaker_holds_no_request_back() -> None:
    kept = Kept()
    asyncio.run(kept.breakers.open(NAME, actor="ann", reason="all stop"))
    wire = Wire(GOOD)
    transport = GuardedTransport(wire, kept.breakers.watch(NAME))
    assert [_post(transport) for _ in range(20)] == [GOOD] * 20
    assert len(wire.posts) == 20
    assert transport.answers == 20


def test_the_probe_asks_for_the_time_unobserved_and_raises_where_the_venue_is_away() -> None:
    kept = Kept()
    wire = Wire(GOOD)
    transport = GuardedTransport(wire, kept.breakers.watch(NAME))
    asyncio.run(transport.ask(1))
    assert wire.posts == [("/info", b'{"type":"exchangeStatus"}')]
    wire.answer = Answer(503, b"")
    with pytest.raises(UnavailableError, match="503"):
        asyncio.run(transport.ask(1))
    assert kept.breakers.status(NAME).metrics.total == 0
