"""Actions: canonical bytes whatever came in, and what the exchange's side does with what a client may send."""

from __future__ import annotations

import json
import random
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.wire.samples import ACTIONS

from perpstrader.venue.signer import Signer
from perpstrader.venue.wire import WireError, actions, exchange, weights
from perpstrader.venue.wire.actions import ALO, GTC, IOC, CancelByCloid, CancelByCloidWire, Order, OrderWire

KEY = "0x" + "11" * 32
CLOID = "0x" + "ab" * 16


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same JSON value with the keys of every object in another order."""
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


@given(ACTIONS, st.randoms(use_true_random=False))
def test_packed_bytes_equal_msgpack_of_the_ordered_action_whatever_order_came_in(
    action: dict[str, Any], chance: random.Random
) -> None:
    received = actions.decode_action(json.dumps(shuffled(action, chance)))
    assert not isinstance(received, actions.UserSigned | actions.UnknownAction)
    assert actions.pack(received) == msgpack.packb(action)
    assert actions.pack(actions.canonical(received)) == msgpack.packb(action)


def test_an_action_that_is_not_known_is_hashed_in_the_order_received() -> None:
    action = {"zeta": 1, "type": "somethingNew", "alpha": {"y": [1, -1, 2**40], "x": None}}
    received = actions.decode_action(json.dumps(action))
    assert isinstance(received, actions.UnknownAction)
    assert actions.pack(received) == msgpack.packb(action)


def test_explicit_nulls_and_unknown_keys_do_not_change_the_bytes() -> None:
    plain = Order([OrderWire(1, True, "100", "2", False, GTC)], "na")
    padded = json.loads(exchange.encode_request(_posted(plain)))["action"] | {"builder": None, "future": 1}
    padded["orders"][0]["c"] = None
    received = actions.decode_action(json.dumps(padded))
    assert received == plain
    assert actions.pack(plain) == actions.pack(plain)


def _posted(action: actions.Action) -> exchange.PostedRequest:
    signature = Signer(KEY, mainnet=False).sign_action(action, 1)
    return exchange.PostedRequest(action, 1, signature)


@pytest.mark.parametrize(
    ("price", "cloid"), [("100.0", CLOID), ("0100", CLOID), ("100", CLOID.upper().replace("0X", "0x"))]
)
def test_a_client_that_signs_sloppy_text_recovers_to_a_stranger(price: str, cloid: str) -> None:
    signer = Signer(KEY, mainnet=False)
    clean = Order([OrderWire(0, True, "100", "1", False, IOC, CLOID)], "na")
    sloppy = Order([OrderWire(0, True, price, "1", False, IOC, cloid)], "na")
    for action, same in ((clean, True), (sloppy, False)):
        request = exchange.decode_request(exchange.encode_request(_posted(action)))
        assert (exchange.recover_signer(request, mainnet=False) == signer.address) is same


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{}", b'{"type":1}', b'{"type":"order"}',
        b'{"type":"order","orders":[{"a":0,"b":true,"p":100,"s":"1","r":false,"t":{"limit":{"tif":"Gtc"}}}],"grouping":"na"}',
        b'{"type":"order","orders":[{"a":0,"b":true,"p":"1","s":"1","r":false,"t":{}}],"grouping":"na"}',
        b'{"type":"order","orders":[{"a":0,"b":true,"p":"1","s":"1","r":false,"t":{"limit":{"tif":"Fok"}}}],"grouping":"na"}',
        b'{"type":"cancel","cancels":[{"a":1.5,"o":1}]}',
    ],
)  # fmt: skip
def test_S74_a_malformed_action_is_one_clear_error(body: bytes) -> None:
    with pytest.raises(WireError, match="is not understood"):
        actions.decode_action(body)


@pytest.mark.parametrize("text", ["abc", "1e5", "NaN", ""])
def test_a_price_that_is_no_number_cannot_be_made_canonical(text: str) -> None:
    action = Order([OrderWire(0, True, text, "1", False, ALO)], "na")
    with pytest.raises(WireError, match="price"):
        actions.canonical(action)


def test_the_envelope_survives_the_wire_with_vault_and_expiry() -> None:
    signer = Signer(KEY, mainnet=True)
    action = CancelByCloid([CancelByCloidWire(3, CLOID)])
    vault = "0x" + "22" * 20
    signature = signer.sign_action(action, 7, vault_address=vault, expires_after=99)
    body = exchange.encode_request(exchange.PostedRequest(action, 7, signature, vault, 99))
    request = exchange.decode_request(body)
    assert (request.action, request.nonce, request.vault_address, request.expires_after) == (action, 7, vault, 99)
    assert exchange.recover_signer(request, mainnet=True) == signer.address
    assert exchange.recover_signer(request, mainnet=False) != signer.address


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'{"action":{"type":"noop"},"nonce":-1,"signature":{"r":"0x1","s":"0x1","v":27}}']
)
def test_S74_a_malformed_envelope_is_one_clear_error(body: bytes) -> None:
    with pytest.raises(WireError):
        exchange.decode_request(body)


def test_the_address_budget_is_charged_by_the_orders_in_a_batch() -> None:
    order = OrderWire(0, True, "1", "1", False, GTC)
    assert weights.batch_size(Order([order] * 3, "na")) == 3
    assert weights.batch_size(actions.Noop()) == 1
    assert weights.batch_size(actions.Cancel([actions.CancelWire(0, 1)] * 2)) == 2
    assert weights.is_cancel(actions.Cancel([]))
    assert not weights.is_cancel(actions.Noop())
