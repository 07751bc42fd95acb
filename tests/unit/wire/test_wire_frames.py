"""WebSocket frames: both sides read what the other writes, and one bad frame is one clear error."""

from __future__ import annotations

import json

import msgspec
import pytest

from perpstrader.venue.signer import Signer
from perpstrader.venue.wire import WireError, account, actions, exchange, info, market, responses, ws
from perpstrader.venue.wire.info import InfoRequest

USER = "0x" + "aB" * 20


@pytest.mark.parametrize("text", [ws.GREETING, b"Websocket connection established.", "", b""])
def test_plain_text_is_no_frame(text: str | bytes) -> None:
    assert ws.decode_frame(text) is None


@pytest.mark.parametrize("text", ["{", '{"data":1}', '{"channel":5}', b'{"channel":"x","data":}'])
def test_S74_a_broken_frame_is_one_clear_error(text: str | bytes) -> None:
    with pytest.raises(WireError, match=r"the frame .* is not understood"):
        ws.decode_frame(text)


def test_S74_data_of_another_shape_names_its_channel() -> None:
    frame = ws.decode_frame('{"channel":"bbo","data":{"coin":1}}')
    assert frame is not None
    with pytest.raises(WireError, match="channel bbo"):
        ws.BBO.decode(frame)


def test_the_channel_is_read_without_its_data() -> None:
    frame = ws.decode_frame(b'{"channel":"bbo","data":{"coin":"BTC","time":5,"bbo":[{"px":"1","sz":"2","n":3},null]}}')
    assert frame is not None
    assert frame.channel == "bbo"
    assert ws.BBO.decode(frame).bbo == (market.L2Level("1", "2", 3), None)
    pong = ws.decode_frame(ws.PONG)
    assert pong is not None
    assert pong.channel == "pong"


def test_a_normalised_echo_has_the_key_of_what_was_asked() -> None:
    asked = ws.Subscription("l2Book", coin="BTC")
    echo = ws.decode_frame(
        '{"channel":"subscriptionResponse","data":{"method":"subscribe","subscription":'
        '{"type":"l2Book","coin":"BTC","nSigFigs":null,"mantissa":null,"fast":false}}}'
    )
    assert echo is not None
    answer = ws.SUBSCRIPTION_RESPONSE.decode(echo)
    assert answer.method == "subscribe"
    assert answer.subscription.key() == asked.key()
    lower = ws.Subscription("openOrders", user=USER.lower())
    assert ws.Subscription("openOrders", user=USER, dex="").key() == lower.key()
    assert asked.key() != ws.Subscription("l2Book", coin="BTC", n_sig_figs=5).key()


@pytest.mark.parametrize(
    "message",
    [
        ws.Subscribe(ws.Subscription("trades", coin="kPEPE")),
        ws.Unsubscribe(ws.Subscription("userFills", user=USER, aggregate_by_time=True)),
        ws.Ping(),
    ],
)
def test_the_server_reads_what_the_client_writes(message: object) -> None:
    assert ws.decode_request(ws.encode(message)) == message


def test_absent_fields_of_a_subscription_are_absent_on_the_wire() -> None:
    sent = json.loads(ws.encode(ws.Subscribe(ws.Subscription("l2Book", coin="BTC"))))
    assert sent == {"method": "subscribe", "subscription": {"type": "l2Book", "coin": "BTC"}}
    assert json.loads(ws.encode(ws.Ping())) == {"method": "ping"}


def test_a_read_by_post_goes_there_and_back() -> None:
    received = ws.decode_request(ws.info_post(256, InfoRequest("l2Book", coin="ETH")))
    assert isinstance(received, ws.Post)
    assert (received.id, received.request.type) == (256, "info")
    assert info.decode_request(received.request.payload) == InfoRequest("l2Book", coin="ETH")
    book = market.L2Book("ETH", ([], []), 7)
    payload = info.encode({"type": "l2Book", "data": book})
    answer = ws.PostAnswer(256, ws.PostBody("info", msgspec.Raw(payload)))
    frame = ws.decode_frame(ws.POST.frame(answer))
    assert frame is not None
    assert info.L2_BOOK.decode(ws.info_data(ws.POST.decode(frame).response)) == book


def test_an_action_by_post_goes_there_and_back() -> None:
    signer = Signer("0x" + "11" * 32, mainnet=False)
    noop = actions.Noop()
    received = ws.decode_request(ws.action_post(1, exchange.PostedRequest(noop, 9, signer.sign_action(noop, 9))))
    assert isinstance(received, ws.Post)
    request = exchange.decode_request(received.request.payload)
    assert exchange.recover_signer(request, mainnet=False) == signer.address
    raw = msgspec.Raw(info.encode(responses.DEFAULT))
    frame = ws.decode_frame(ws.POST.frame(ws.PostAnswer(1, ws.PostBody("action", raw))))
    assert frame is not None
    assert responses.decode_answer(ws.POST.decode(frame).response.payload).kind == "default"


def test_an_error_by_post_is_told_with_its_text() -> None:
    frame = ws.decode_frame('{"channel":"post","data":{"id":3,"response":{"type":"error","payload":"429 Too Many"}}}')
    assert frame is not None
    body = ws.POST.decode(frame).response
    assert ws.error_text(body) == "429 Too Many"
    with pytest.raises(WireError, match="429 Too Many"):
        ws.info_data(body)


@pytest.mark.parametrize(
    "text", ["", "hello", "{}", '{"method":"dance"}', '{"method":"subscribe"}', '{"method":"post"}']
)
def test_S74_the_server_answers_nonsense_with_its_own_words(text: str) -> None:
    with pytest.raises(WireError, match="Error parsing JSON into valid websocket request"):
        ws.decode_request(text)


def test_the_user_channel_carries_one_kind_at_a_time_and_survives_new_kinds() -> None:
    cancel = ws.decode_frame('{"channel":"user","data":{"nonUserCancel":[{"coin":"BTC","oid":5}]}}')
    future = ws.decode_frame('{"channel":"user","data":{"somethingNew":{}}}')
    assert cancel is not None
    assert future is not None
    assert ws.USER_EVENTS.decode(cancel).non_user_cancel == [ws.NonUserCancel("BTC", 5)]
    assert ws.USER_EVENTS.decode(future) == ws.UserEvent()
    assert ws.channel_of(ws.Subscription("userEvents", user=USER)) == "user"
    assert ws.channel_of(ws.Subscription("bbo", coin="BTC")) == "bbo"


def test_order_updates_and_fills_are_read_as_recorded() -> None:
    order = {"coin": "BTC", "side": "B", "limitPx": "1", "sz": "0.0", "oid": 1, "timestamp": 2, "origSz": "3"}
    frame = ws.decode_frame(
        json.dumps({"channel": "orderUpdates", "data": [{"order": order, "status": "filled", "statusTimestamp": 4}]})
    )
    assert frame is not None
    update = ws.ORDER_UPDATES.decode(frame)[0]
    assert (update.status, update.order.orig_sz, update.order.cloid or None) == ("filled", "3", None)
    snapshot = ws.USER_FILLS.frame(ws.UserFills(USER, [], True))
    assert json.loads(snapshot)["data"] == {"user": USER, "fills": [], "isSnapshot": True}
    assert "isSnapshot" not in json.loads(ws.USER_FILLS.frame(ws.UserFills(USER, [])))["data"]


def test_optional_fields_that_the_venue_leaves_out_are_left_out() -> None:
    order = account.OpenOrder("BTC", "B", "1.0", "2.0", 3, 4, "2.0")
    assert set(json.loads(info.encode(order))) == {"coin", "side", "limitPx", "sz", "oid", "timestamp", "origSz"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"type":3}', b'{"type":"l2Book"}', b'{"type":"userFillsByTime","user":"0x"}']
)
def test_S74_an_info_request_that_the_venue_would_not_read_is_one_clear_error(body: bytes) -> None:
    with pytest.raises(WireError, match="the info request"):
        info.decode_request(body)


def test_info_requests_tolerate_keys_that_are_not_known() -> None:
    request = info.decode_request(b'{"type":"meta","dex":"","surprise":[1]}')
    assert (request.type, request.dex) == ("meta", "")
    assert info.decode_request(b'{"type":"brandNew"}').type == "brandNew"
    assert json.loads(info.encode(InfoRequest("meta"))) == {"type": "meta"}


def test_S74_an_answer_of_another_shape_names_the_call_and_shows_its_beginning() -> None:
    with pytest.raises(WireError, match=r"the answer to meta is not understood.*<html>"):
        info.META.decode(b"<html>502</html>")
