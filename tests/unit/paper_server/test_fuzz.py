"""Bad input by the thousand: whatever comes is answered, nothing of it is left behind, and everybody else goes on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.paper_server.desk import KEY, START_MS, USER

from perpstrader.paper import build_venue
from perpstrader.paper.feeds import SyntheticFeed
from perpstrader.paper.server import PaperVenue, VenueConfig
from perpstrader.venue.wire import WireError, actions, exchange, signing

SIGNATURE = {"r": "0x" + "1" * 64, "s": "0x" + "2" * 64, "v": 27}
ORDER = {"a": 0, "b": True, "p": "90000", "s": "0.01", "r": False, "t": {"limit": {"tif": "Gtc"}}, "c": "0x" + "a" * 32}
TRIGGER = ORDER | {"t": {"trigger": {"isMarket": True, "triggerPx": "80000", "tpsl": "sl"}}}
ACTIONS: list[dict[str, Any]] = [
    {"type": "order", "orders": [ORDER, TRIGGER], "grouping": "normalTpsl", "builder": {"b": USER, "f": 10}},
    {"type": "cancel", "cancels": [{"a": 0, "o": 5}]},
    {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": "0x" + "a" * 32}]},
    {"type": "modify", "oid": 5, "order": ORDER},
    {"type": "batchModify", "modifies": [{"oid": "0x" + "a" * 32, "order": ORDER}]},
    {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 5},
    {"type": "updateIsolatedMargin", "asset": 0, "isBuy": True, "ntli": 5},
    {"type": "twapOrder", "twap": {"a": 0, "b": True, "s": "1", "r": False, "m": 5, "t": False}},
    {"type": "scheduleCancel", "time": START_MS + 60_000},
    {"type": "approveAgent", "hyperliquidChain": "Testnet", "signatureChainId": "0x66eee", "agentAddress": USER,
     "agentName": "x", "nonce": START_MS},
    {"type": "usdSend", "hyperliquidChain": "Testnet", "signatureChainId": "0x66eee", "destination": USER,
     "amount": "1", "time": START_MS},
    {"type": "reserveRequestWeight", "weight": 5},
]  # fmt: skip
READS: list[dict[str, Any]] = [
    {"type": "l2Book", "coin": "BTC", "nSigFigs": 5, "mantissa": 2}, {"type": "clearinghouseState", "user": USER},
    {"type": "orderStatus", "user": USER, "oid": 5}, {"type": "userFillsByTime", "user": USER, "startTime": 0},
    {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "1m", "startTime": 0, "endTime": START_MS}},
    {"type": "fundingHistory", "coin": "BTC", "startTime": 0}, {"type": "marginTable", "id": 50},
    {"type": "userFunding", "user": USER, "startTime": 0, "endTime": START_MS},
]  # fmt: skip
FRAMES: list[dict[str, Any]] = [
    {"method": "subscribe", "subscription": {"type": "l2Book", "coin": "BTC", "nSigFigs": 5, "mantissa": 2}},
    {"method": "subscribe", "subscription": {"type": "userFills", "user": USER, "aggregateByTime": True}},
    {"method": "subscribe", "subscription": {"type": "candle", "coin": "BTC", "interval": "1m"}},
    {"method": "unsubscribe", "subscription": {"type": "allMids"}},
    {"method": "post", "id": 5, "request": {"type": "info", "payload": {"type": "meta"}}},
    {"method": "post", "id": 6, "request": {"type": "action", "payload": {
        "action": ACTIONS[0], "nonce": START_MS, "signature": SIGNATURE, "vaultAddress": None}}},
    {"method": "ping"},
]  # fmt: skip


def _deep(depth: int) -> Any:
    nested: Any = 1
    for _ in range(depth):
        nested = [nested]
    return nested


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12), st.sampled_from(
        ["", "0x", USER, USER.upper(), "NaN", "Infinity", "-0", "1e400", "9" * 300, "0." + "0" * 300 + "1", "٣", "\x00",
         "\ud800", 10**308, -1, 2**63, 2**64, [], {}, [[]], {"": None}, "BTC", "btc", "@107", "5m", 0.1 + 0.2]
    ), st.integers(1, 100).map(_deep),
)  # fmt: skip


@st.composite
def bent(draw: st.DrawFn, sound: list[dict[str, Any]]) -> Any:
    """A sound message of which one to three places are something else, missing, or there twice over."""
    message: Any = copy.deepcopy(draw(st.sampled_from(sound)))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(message))
        if not places:
            break
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        match draw(st.integers(0, 3)):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case _:
                holder[key] = copy.deepcopy(draw(ODD))  # what is drawn is shared between examples
    return message


def _places(node: Any) -> Any:
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    for key in keys:
        yield node, key
        if _is_shallow(node[key]):
            yield from _places(node[key])


def _is_shallow(node: Any) -> bool:
    """Not one of our own deep nestings, which are no place to bend anything in."""
    return not (isinstance(node, list) and node and isinstance(node[0], list))


def _json(message: Any) -> bytes:
    return json.dumps(message).encode()


class StillClock:
    """It is always the same moment."""

    def now_ms(self) -> int:
        return START_MS + 1_000

    def monotonic_ns(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        """Nobody here sleeps."""


@cache
def _venue() -> PaperVenue:
    """One for all examples: what one of them broke would show in the next."""
    feed = SyntheticFeed(1, START_MS, symbols=("BTC",), prehistory_bars=2)
    config = VenueConfig(enforce_address_budget=False)
    venue = build_venue(feed, StillClock(), config=config, funds_usd={USER: 10_000})
    for _, step in zip(range(3), feed.steps(venue.engine.net_position_sign), strict=False):
        venue._show(step)
    return venue


NONCES = count(START_MS)


def unharmed(venue: PaperVenue) -> None:
    """The exchange answers sensibly, and no micro-USD appeared or vanished."""
    answer = venue.post("/info", msgspec.json.encode({"type": "clearinghouseState", "user": USER}), "me")
    assert answer.status == 200
    assert venue.engine.imbalance() == 0


def with_a_venue(check: Callable[[PaperVenue], None]) -> None:
    check(_venue())
    unharmed(_venue())


@given(st.binary(max_size=300) | bent(READS).map(_json))
def test_a_read_of_any_kind_is_answered(body: bytes) -> None:
    with_a_venue(lambda venue: _answered(venue, "/info", body))


@given(
    st.binary(max_size=300)
    | bent([{"action": one, "nonce": START_MS, "signature": SIGNATURE, "expiresAfter": START_MS} for one in ACTIONS])
    .map(_json)
)
def test_an_action_of_any_kind_is_answered(body: bytes) -> None:
    with_a_venue(lambda venue: _answered(venue, "/exchange", body))


def _answered(venue: PaperVenue, path: str, body: bytes) -> None:
    answer = venue.post(path, body, "me")
    assert answer.status in (200, 422)
    if answer.status == 422:
        assert answer.body.startswith(b"Failed to deserialize the JSON body into the target type")
    else:
        msgspec.json.decode(answer.body)


@given(st.lists(bent(ACTIONS), min_size=1, max_size=6))
def test_a_bent_action_with_a_sound_signature_is_taken_or_refused_and_the_money_adds_up(bents: list[Any]) -> None:
    def check(venue: PaperVenue) -> None:
        for action in bents:
            nonce = next(NONCES)
            try:
                read = actions.decode_action(msgspec.Raw(_json(action)))
                packed = actions.pack(actions.canonical(read))  # type: ignore[arg-type]  # what has no canonical form raises
            except (WireError, TypeError, AttributeError, ValueError):
                continue
            digest = signing.l1_digest(signing.action_hash(packed, nonce, None, None), mainnet=False)
            request = {"action": action, "nonce": nonce, "signature": signing.sign_digest(KEY, digest)}
            _answered(venue, "/exchange", msgspec.json.encode(request))
            assert venue.engine.imbalance() == 0

    with_a_venue(check)


@given(st.lists(st.binary(max_size=200) | bent(FRAMES).map(_json), min_size=1, max_size=8))
def test_any_frame_is_answered_by_a_frame_and_the_socket_lives(frames: list[bytes]) -> None:
    def check(venue: PaperVenue) -> None:
        heard: list[bytes] = []
        session = venue.streams.open("me", heard.append, lambda reason: None)
        for frame in frames:
            before = len(heard)
            session.receive(frame)
            assert len(heard) > before
            msgspec.json.decode(heard[-1])
        session.receive(b'{"method":"ping"}')
        assert heard[-1] == b'{"channel":"pong"}'

    with_a_venue(check)


_DIGITS = st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", fullmatch=True)


@given(
    price=_DIGITS | st.sampled_from(["90000", "110000", "100000"]), size=_DIGITS | st.sampled_from(["0.01", "1000000"]),
    buys=st.booleans(), reduces=st.booleans(), tif=st.sampled_from(["Gtc", "Ioc", "Alo"]), asset=st.integers(0, 2**40),
    trigger=st.none() | _DIGITS, expires=st.none() | st.integers(0, 2**62),
)  # fmt: skip
def test_orders_of_any_numbers_leave_sound_books(
    price: str, size: str, buys: bool, reduces: bool, tif: Any, asset: int, trigger: str | None, expires: int | None
) -> None:
    kind = actions.OrderType(limit=actions.LimitType(tif))
    if trigger is not None:
        kind = actions.OrderType(trigger=actions.TriggerType(is_market=buys, trigger_px=trigger, tpsl="tp"))

    def check(venue: PaperVenue) -> None:
        nonce = next(NONCES)
        order = actions.Order([actions.OrderWire(asset % 2, buys, price, size, reduces, kind)], "na")
        try:
            digest = signing.l1_digest(
                signing.action_hash(actions.pack(actions.canonical(order)), nonce, None, expires), mainnet=False
            )
        except WireError:
            return
        posted = exchange.PostedRequest(order, nonce, signing.sign_digest(KEY, digest), None, expires)
        _answered(venue, "/exchange", exchange.encode_request(posted))

    with_a_venue(check)
