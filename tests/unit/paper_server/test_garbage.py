"""Whatever a client sends, the exchange answers it, changes nothing by it, and goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.paper_server.desk import KEY, START_MS, USER, Desk, at_the_desk

from perpstrader.domain.errors import PerpsTraderError
from perpstrader.paper.engine import Exchange
from perpstrader.paper.feeds import SyntheticFeed
from perpstrader.paper.server import PaperVenue, VenueConfig
from perpstrader.paper.server.http import ServerError, serve
from perpstrader.runtime import SystemClock
from perpstrader.venue.wire import WireError, actions

GARBAGE = [
    b"", b"null", b"[]", b"{", b"\xff\xfe", b'"order"', b"{}", b'{"type":1}', b'{"type":"nonsense"}', b"[" * 100_000,
    b'{"type":"l2Book"}', b'{"type":"clearinghouseState","user":"0x12"}', b'{"type":"clearinghouseState","user":7}',
    b'{"type":"candleSnapshot","req":{"coin":"BTC","interval":"7m","startTime":0}}',
    b'{"type":"candleSnapshot","req":{"coin":"NOPE","interval":"1m","startTime":0}}',
    b'{"type":"l2Book","coin":"BTC","nSigFigs":9}', b'{"type":"marginTable","id":99}',
    b'{"type":"meta","dex":"elsewhere"}', b'{"type":"fundingHistory","coin":"NOPE","startTime":0}',
]  # fmt: skip
HUGE = 10**30
ENVELOPES = [
    {},
    {"action": None, "nonce": 1, "signature": {"r": "0x1", "s": "0x1", "v": 27}},
    {"action": {"type": "order"}, "nonce": 1, "signature": {"r": "0x1", "s": "0x1", "v": 27}},
    {"action": {"type": "noop"}, "nonce": -5, "signature": {"r": "0x1", "s": "0x1", "v": 27}},
    {"action": {"type": "noop"}, "nonce": 1, "signature": {"r": "zz", "s": "0x1", "v": 27}},
    {"action": {"type": "noop"}, "nonce": 1, "signature": {"r": "0x1", "s": "0x1", "v": 99}},
    {"action": {"type": "noop"}, "nonce": 1, "signature": "0x1"},
    {"action": {"type": "cancel", "cancels": [{"a": 0, "o": 2**70}]}, "nonce": 1,
     "signature": {"r": "0x1", "s": "0x1", "v": 27}},
    {"action": {"type": "approveAgent", "hyperliquidChain": "Moon", "nonce": 1}, "nonce": 1,
     "signature": {"r": "0x1", "s": "0x1", "v": 27}},
    {"action": {"type": "usdSend", "hyperliquidChain": "Testnet", "time": 1}, "nonce": 1,
     "signature": {"r": "0x1", "s": "0x1", "v": 27}},
    {"action": {"type": "noop"}, "nonce": 1, "vaultAddress": "0x12", "signature": {"r": "0x1", "s": "0x1", "v": 27}},
]  # fmt: skip


def test_what_is_no_request_is_a_422_with_a_text() -> None:
    async def story(desk: Desk) -> None:
        for body in GARBAGE:
            answer = await desk.transport.post("/info", body, timeout_s=1)
            assert answer.status == 422, body[:80]
            assert answer.body.startswith(b"Failed to deserialize the JSON body into the target type")
        assert (await desk.transport.post("/elsewhere", b"{}", timeout_s=1)).status == 404

    at_the_desk(story)


def test_what_is_no_action_is_refused_and_changes_nothing() -> None:
    async def story(desk: Desk) -> None:
        before = desk.venue.engine.account_state(USER).version
        bodies = [*GARBAGE, *(msgspec.json.encode(envelope) for envelope in ENVELOPES)]
        for body in bodies:
            answer = await desk.transport.post("/exchange", body, timeout_s=1)
            refused = answer.status == 200 and msgspec.json.decode(answer.body)["status"] == "err"
            assert answer.status == 422 or refused, body[:120]
        assert desk.venue.engine.account_state(USER).version == before

    at_the_desk(story)


@pytest.mark.parametrize(
    "change",
    [
        {"price": "1e5"}, {"price": "NaN"}, {"price": "-1"}, {"price": ""}, {"price": "٣"}, {"size": "Infinity"},
        {"price": "1" * 400}, {"asset": -1}, {"asset": HUGE}, {"asset": 999}, {"cloid": "0xNOTHEX"},
        {"size": "0"}, {"size": "0.0000000001"}, {"price": "100000.123456"},
    ],
)  # fmt: skip
def test_an_order_of_nonsense_is_refused_and_not_placed(change: dict[str, Any]) -> None:
    async def story(desk: Desk) -> None:
        fields = {"asset": 0, "price": "90000", "size": "0.01", "cloid": None} | change
        wire = actions.OrderWire(
            fields["asset"], True, fields["price"], fields["size"], False, actions.GTC, fields["cloid"]
        )
        order = actions.Order([wire], "na")
        try:
            body = desk.signed(order)
        except WireError:  # too large to be packed, so signed as something else
            body = desk.signed(actions.Noop()).replace(b'{"type":"noop"}', msgspec.json.encode(order))
        answer = await desk.transport.post("/exchange", body, timeout_s=1)
        said = answer.body.decode()
        assert answer.status == 422 or '"err"' in said or '"error"' in said or '"resting"' not in said, said
        if "cloid" not in change:
            assert desk.venue.engine.open_orders(USER) == ()

    at_the_desk(story)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_KINDS = st.sampled_from(
    ["order", "cancel", "modify", "batchModify", "updateLeverage", "noop", "approveAgent", "withdraw3", "usdSend", "?"]
)


_KEYS = st.sampled_from([*"abpsrtco", "orders", "cancels", "modifies", "oid", "user", "nonce", "hyperliquidChain"])


@given(kind=_KINDS, fields=st.dictionaries(_KEYS, _JSON), top=_JSON)
def test_no_json_whatever_makes_the_exchange_stumble(kind: str, fields: dict[str, Any], top: object) -> None:
    venue = _venue()
    signature = {"r": "0x1", "s": "0x2", "v": 27}
    for action in ({"type": kind} | fields, top):
        body = msgspec.json.encode({"action": action, "nonce": START_MS, "signature": signature})
        assert venue.post("/exchange", body, "me").status in (200, 422)
    assert venue.post("/info", msgspec.json.encode(top), "me").status == 422
    assert venue.post("/info", msgspec.json.encode({"type": "orderStatus"} | fields), "me").status == 422


def _venue(config: VenueConfig | None = None) -> PaperVenue:
    feed = SyntheticFeed(1, START_MS, symbols=("BTC",), prehistory_bars=2)
    return PaperVenue(Exchange(feed.assets), feed, SystemClock(), config)


def test_a_frame_of_nonsense_is_answered_by_an_error_frame() -> None:
    nonsense = [
        b"", b"hello", b"{}", b"[]", b"\xff", b'{"method":"dance"}', b'{"method":"subscribe"}',
        b'{"method":"subscribe","subscription":{"type":"nonsense"}}',
        b'{"method":"subscribe","subscription":{"type":"bbo","coin":"NOPE"}}',
        b'{"method":"subscribe","subscription":{"type":"userFills","user":"0x1"}}',
        b'{"method":"subscribe","subscription":{"type":"userFills"}}',
        b'{"method":"subscribe","subscription":{"type":"candle","coin":"BTC","interval":"7m"}}',
        b'{"method":"subscribe","subscription":{"type":"l2Book","coin":"BTC","nSigFigs":1}}',
        b'{"method":"unsubscribe","subscription":{"type":"allMids"}}',
        b'{"method":"post","id":1,"request":{"type":"dance","payload":{}}}', b"[" * 100_000,
    ]  # fmt: skip

    async def story(desk: Desk) -> None:
        await desk.listen()
        for raw in nonsense:
            before = len(desk.on("error"))
            desk.socket.send(raw)
            assert len(desk.on("error")) == before + 1, raw[:80]
        desk.socket.send(b'{"method":"post","id":7,"request":{"type":"info","payload":{"type":"nonsense"}}}')
        assert desk.on("post")[-1]["response"]["type"] == "error"
        assert desk.closed == []

    at_the_desk(story)


def test_over_http_garbage_is_answered_and_a_body_too_large_is_refused() -> None:
    async def main() -> None:
        server = await serve(_venue(VenueConfig(max_body_bytes=10_000)), port=0)
        try:
            async with aiohttp.ClientSession() as session:
                for body in (b"", b"{", b"[" * 9_000):
                    async with session.post(f"{server.url}/info", data=body) as answer:
                        assert answer.status == 422
                async with session.post(f"{server.url}/exchange", data=b"x" * 20_000) as answer:
                    assert answer.status == 413
                async with session.get(f"{server.url}/info") as answer:
                    assert answer.status == 405
                for deposit in (b"", b'{"user":"0x1","usd":"5"}', b'{"user":"%b","usd":"-5"}' % USER.encode(),
                                b'{"user":"%b","usd":"NaN"}' % USER.encode(), b'{"user":"%b"}' % USER.encode(),
                                b'{"user":"%b","usd":"0.00000001"}' % USER.encode()):  # fmt: skip
                    async with session.post(f"{server.url}/paper/fund", data=deposit) as answer:
                        assert answer.status == 422
                        assert (await answer.json())["error"]
                once = {"user": USER, "usd": "10", "onlyIfNew": True}
                for _ in range(2):
                    async with session.post(f"{server.url}/paper/fund", json=once) as answer:
                        assert await answer.json() == {"user": USER, "accountValue": "10.0"}
                async with session.get(f"{server.url}/paper/status") as answer:
                    status = await answer.json()
                assert (status["grade"], status["coins"]) == ("synthetic", ["BTC"])
                assert status["accounts"] == [{"user": USER, "accountValue": "10.0"}]
                async with session.ws_connect(f"{server.url}/ws") as socket:
                    assert (await socket.receive_str()).startswith("Websocket connection established")
                    await socket.send_bytes(b"\xff\xff")
                    assert "error" in await socket.receive_str()
        finally:
            await server.close()

    asyncio.run(main())


def test_a_port_in_use_and_a_public_address_are_one_clear_sentence() -> None:
    async def main() -> None:
        server = await serve(_venue(), port=0)
        try:
            with pytest.raises(ServerError, match=f"Port {server.port} on 127.0.0.1 is in use"):
                await serve(_venue(), port=server.port)
            with pytest.raises(PerpsTraderError, match=r"does not listen on 0\.0\.0\.0"):
                await serve(_venue(), "0.0.0.0", port=0)
        finally:
            await server.close()

    asyncio.run(main())


def test_a_stranger_and_a_slip_in_formatting_are_unknown_wallets() -> None:
    async def story(desk: Desk) -> None:
        wire = actions.OrderWire(0, True, "90000.0", "0.01", False, actions.GTC)
        sloppy = await desk.act(actions.Order([wire], "na"))
        assert sloppy["status"] == "err"
        assert sloppy["response"].startswith("User or API Wallet 0x")
        assert USER not in sloppy["response"]
        mainnet = await desk.act(actions.Noop(), KEY, mainnet=True)
        assert mainnet == {"status": "ok", "response": {"type": "default"}}

    at_the_desk(story)
