"""Faults as lines of text: which messages they concern, how often they come, and what befalls the venue itself."""

from __future__ import annotations

from random import Random
from typing import Any

import coincurve
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.paper_server.desk import KEY, START_MS, USER, Desk, at_the_desk

from perpstrader.domain.errors import UsageError
from perpstrader.paper.faults import FaultKind, FaultRule, LateFrame, RandomFaults, RequestFate, parse
from perpstrader.paper.faults.rules import ON_FRAME, ON_REQUEST, ON_VENUE, classes_of, classes_of_frame
from perpstrader.venue.wire import actions, signing

AGENT = coincurve.PrivateKey(bytes(31) + b"\x09")
ORDER = b'{"action":{"type":"order","orders":[]},"nonce":1}'
CANCEL = b'{"nonce":1,"action":{"type":"cancelByCloid","cancels":[]}}'


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("response_lost:orders=0.05", FaultRule(FaultKind.RESPONSE_LOST, 0.05, "orders")),
        ("delay=0.2", FaultRule(FaultKind.DELAY, 0.2, "any", 5.0)),
        ("lag:info.userFills=1@250ms", FaultRule(FaultKind.LAG, 1.0, "info.userFills", 0.25)),
        ("too_many:info=0.01@20", FaultRule(FaultKind.TOO_MANY, 0.01, "info", 20.0)),
        ("frame_twice:ws.userFills=0.5", FaultRule(FaultKind.FRAME_TWICE, 0.5, "ws.userFills")),
        ("stop_canceled=6", FaultRule(FaultKind.STOP_CANCELED, 6.0)),
        ("clock_skew=1@-2s", FaultRule(FaultKind.CLOCK_SKEW, 1.0, "any", -2.0)),
    ],
)
def test_a_fault_is_one_line_of_text(text: str, rule: FaultRule) -> None:
    assert parse(text) == rule
    assert parse(rule.text()) == rule


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense=1", "there is no fault 'nonsense'"), ("delay", "is no fault"), ("delay=2", "from 0 to 1"),
        ("delay:spot=0.1", "there is no class 'spot'"), ("lag:orders=0.1", "lag cannot befall orders"),
        ("frame_late:info=0.1", "frame_late cannot befall info"), ("delay:ws=0.1", "delay cannot befall ws"),
        ("post_only:orders=1", "post_only cannot befall orders"), ("refused=0.1@5s", "takes a number of requests"),
        ("request_twice=0.1@5", "takes no amount"), ("delay=1.2.3", "has a number that is none"),
        ("post_only=9000", "from 0 to 3600"),
    ],
)  # fmt: skip
def test_a_fault_that_cannot_be_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(text)


@given(st.text(max_size=40) | st.from_regex(r"[a-z_]{1,12}(:[a-zA-Z.]{1,12})?=[0-9.]{1,8}(@-?[0-9.]{1,8}(ms|s)?)?"))
def test_whatever_is_written_is_a_rule_or_a_sentence(text: str) -> None:
    try:
        rule = parse(text)
    except UsageError:
        return
    assert parse(rule.text()).kind is rule.kind


def test_every_kind_can_be_written_and_has_its_place() -> None:
    assert sorted([*ON_REQUEST, *ON_FRAME, *ON_VENUE]) == sorted(FaultKind)
    for kind in FaultKind:
        assert parse(f"{kind}=0.5").kind is kind


def test_a_message_is_known_by_its_class() -> None:
    assert classes_of("/exchange", ORDER) == ("actions", "orders")
    assert classes_of("/exchange", CANCEL) == ("actions", "cancels")
    assert classes_of("/exchange", b"{") == ("actions",)
    assert classes_of("/info", b'{"user":"0x1","type":"userFills"}') == ("info", "info.userFills")
    assert classes_of("/info", b"\xff") == ("info",)
    assert classes_of_frame(b'{"channel":"userFills","data":{}}') == ("ws", "ws.userFills")
    assert classes_of_frame(b"Websocket connection established.") == ("ws",)


def test_only_the_class_that_was_named_is_hit() -> None:
    faults = RandomFaults(Random(1), [parse("response_lost:orders=1"), parse("lag:info.userFills=1")])
    assert faults.of_request("/exchange", ORDER).kind is FaultKind.RESPONSE_LOST
    assert faults.of_request("/exchange", CANCEL).kind is None
    assert faults.of_request("/info", b'{"type":"userFills"}').kind is FaultKind.LAG
    assert faults.of_request("/info", b'{"type":"meta"}').kind is None


def test_a_burst_hits_that_many_of_its_class_in_a_row() -> None:
    faults = RandomFaults(Random(3), [parse("too_many:info=0.05@8")])
    fates = [faults.of_request("/info", b'{"type":"meta"}').kind for _ in range(400)]
    first = fates.index(FaultKind.TOO_MANY)
    assert fates[first : first + 8] == [FaultKind.TOO_MANY] * 8
    assert faults.of_request("/exchange", ORDER).kind is None


def test_changing_the_rules_ends_what_was() -> None:
    faults = RandomFaults(Random(3), [parse("delay=1@2s")])
    fate = faults.of_request("/info", b"{}")
    assert fate.kind is FaultKind.DELAY
    assert 0 <= fate.delay_s <= 2
    faults.set_rules([])
    assert faults.of_request("/info", b"{}") == RequestFate()
    with pytest.raises(UsageError, match="add up to"):
        faults.set_rules([parse("delay=0.6"), parse("refused:orders=0.6")])
    faults.set_rules([parse("delay:info=0.6"), parse("refused:orders=0.6")])


def test_a_late_frame_is_late_by_at_most_its_amount() -> None:
    faults = RandomFaults(Random(3), [parse("frame_late:ws.userFills=1@3s")])
    fate = faults.of_frame(b'{"channel":"userFills","data":{}}')
    assert isinstance(fate, LateFrame)
    assert 0 <= fate.delay_s <= 3
    assert faults.of_frame(b'{"channel":"bbo","data":{}}') is None


class Own:
    """Faults that a venue carries out itself, and the desk's client meets."""

    def __init__(self, *rules: str) -> None:
        self.faults = RandomFaults(Random(4), [parse(rule) for rule in rules])

    def at(self, desk: Desk) -> None:
        desk.venue.set_faults(self.faults)
        desk.transport._faults = self.faults


async def _with_a_stop(desk: Desk) -> int:
    """A long position of 0.01 BTC, and the oid of its stop."""
    mid = await desk.mid()
    await desk.order("buy", str(round(mid * 1.05)), "0.01", "Ioc")
    trigger_px = str(round(mid * 0.8))
    trigger = actions.OrderType(trigger=actions.TriggerType(is_market=True, trigger_px=trigger_px, tpsl="sl"))
    status = await desk.order("sell", str(round(mid * 0.7)), "0.01", type=trigger, reduce_only=True)
    return int(status["resting"]["oid"])


def test_a_stop_vanishes_by_itself_and_the_streams_tell() -> None:
    async def story(desk: Desk) -> None:
        Own().at(desk)
        oid = await _with_a_stop(desk)
        await desk.listen({"type": "orderUpdates", "user": USER})
        assert desk.venue.happen(parse("stop_canceled=1"))
        assert await desk.info("frontendOpenOrders", user=USER) == []
        assert desk.on("orderUpdates")[-1][0]["order"]["oid"] == oid
        assert not desk.venue.happen(parse("stop_canceled=1"))

    at_the_desk(story)


def test_what_befalls_the_venue_comes_so_often_an_hour() -> None:
    async def story(desk: Desk) -> None:
        own = Own("stop_canceled=60")
        own.at(desk)
        for _ in range(40):
            await _with_a_stop(desk)
        await desk.clock.sleep(1_200)
        assert 8 <= own.faults.landed[FaultKind.STOP_CANCELED] <= 35
        assert len(await desk.info("frontendOpenOrders", user=USER)) == 40 - own.faults.landed[FaultKind.STOP_CANCELED]

    at_the_desk(story, usd=1_000_000)


def test_deleveraging_halves_a_position_and_befalls_nobody_without_one() -> None:
    async def story(desk: Desk) -> None:
        Own().at(desk)
        assert not desk.venue.happen(parse("deleveraged=1"))
        await desk.order("sell", str(round(await desk.mid() * 0.95)), "0.02", "Ioc")
        assert desk.venue.happen(parse("deleveraged=1"))
        (row,) = (await desk.info("clearinghouseState", user=USER))["assetPositions"]
        assert row["position"]["szi"] == "-0.01"
        newest = (await desk.info("userFills", user=USER))[0]
        assert (newest["dir"], newest["fee"], newest["side"]) == ("Auto-Deleveraging", "0.0", "B")

    at_the_desk(story)


def test_a_pruned_agent_is_a_stranger() -> None:
    async def story(desk: Desk) -> None:
        Own().at(desk)
        approved = {"type": "approveAgent", "agentAddress": signing.address_of(AGENT), "agentName": "bot"}
        await desk.user_signed(approved)
        assert (await desk.act(actions.Noop(), AGENT))["status"] == "ok"
        assert desk.venue.happen(parse("agent_pruned=1"))
        refused = await desk.act(actions.Noop(), AGENT)
        assert refused["response"].startswith("User or API Wallet")
        assert not desk.venue.happen(parse("agent_pruned=1"))

    at_the_desk(story)


def test_a_post_only_window_opens_and_closes() -> None:
    async def story(desk: Desk) -> None:
        Own().at(desk)
        assert desk.venue.happen(parse("post_only=1@10s"))
        price = str(round(await desk.mid() * 1.05))
        assert "error" in await desk.order("buy", price, "0.01", "Ioc")
        await desk.clock.sleep(12)
        assert "filled" in await desk.order("buy", price, "0.01", "Ioc")

    at_the_desk(story)


def test_what_was_for_a_while_ends_when_other_rules_are_set() -> None:
    async def story(desk: Desk) -> None:
        Own().at(desk)
        for rule in ("post_only=1@10s", "clock_skew=1@3s"):
            assert desk.venue.happen(parse(rule))
        assert desk.venue.mischief is not None
        desk.venue.mischief.end()
        assert int((await desk.info("exchangeStatus"))["time"]) == desk.clock.now_ms()
        assert "filled" in await desk.order("buy", str(round(await desk.mid() * 1.05)), "0.01", "Ioc")

    at_the_desk(story)


def test_a_wrong_clock_shows_in_every_answer_and_becomes_right_again() -> None:
    async def story(desk: Desk) -> None:
        Own().at(desk)

        async def ahead_ms() -> int:
            return int((await desk.info("exchangeStatus"))["time"]) - desk.clock.now_ms()

        assert await ahead_ms() == 0
        desk.venue.happen(parse("clock_skew=1@3s"))
        assert await ahead_ms() == 3_000
        expired = await desk.act(actions.Noop(), expires_after=desk.clock.now_ms() + 2_000)
        assert expired["status"] == "err"
        await desk.clock.sleep(301)
        assert await ahead_ms() == 0

    at_the_desk(story)


def test_a_lagging_account_is_the_one_of_some_seconds_ago() -> None:
    async def story(desk: Desk) -> None:
        own = Own("lag:info.clearinghouseState=0")
        own.at(desk)
        await desk.clock.sleep(20)
        await _with_a_stop(desk)
        await desk.clock.sleep(1)
        own.faults.set_rules([parse("lag:info.clearinghouseState=1@10s")])
        positions = [
            len((await desk.info("clearinghouseState", user=USER))["assetPositions"]) for _ in range(30)
        ]
        assert set(positions) == {0, 1}

    at_the_desk(story)


def test_an_evicted_record_stays_away_and_its_fills_stay_here() -> None:
    async def story(desk: Desk) -> None:
        own = Own("record_evicted:info.orderStatus=1")
        own.at(desk)
        status = await desk.order("buy", str(round(await desk.mid() * 1.05)), "0.01", "Ioc")
        oid = status["filled"]["oid"]
        resting = (await desk.order("buy", "50000", "0.01"))["resting"]["oid"]
        assert await desk.info("orderStatus", user=USER, oid=oid) == {"status": "unknownOid"}
        assert (await desk.info("orderStatus", user=USER, oid=resting))["status"] == "order"
        own.faults.set_rules([])
        assert await desk.info("orderStatus", user=USER, oid=oid) == {"status": "unknownOid"}
        assert oid not in [row["order"]["oid"] for row in await desk.info("historicalOrders", user=USER)]
        assert oid in [row["oid"] for row in await desk.info("userFills", user=USER)]

    at_the_desk(story)


def test_a_request_that_comes_twice_is_executed_once_and_answered_by_the_refusal_of_the_second() -> None:
    async def story(desk: Desk) -> None:
        Own("request_twice:orders=1").at(desk)
        answer = await desk.order("buy", str(round(await desk.mid() * 1.05)), "0.01", "Ioc")
        assert "nonce" in answer["response"].lower()
        state = await desk.info("clearinghouseState", user=USER)
        assert state["assetPositions"][0]["position"]["szi"] == "0.01"

    at_the_desk(story)


def test_a_server_error_comes_in_its_three_forms_and_executes_nothing() -> None:
    async def story(desk: Desk) -> None:
        Own("server_error=1").at(desk)
        answers = [await desk.transport.post("/info", b'{"type":"meta"}', timeout_s=1) for _ in range(40)]
        assert {answer.status for answer in answers} == {500, 503, 504}
        assert not any(answer.body.startswith((b"{", b"[")) for answer in answers)

    at_the_desk(story)


def _posted(desk: Desk, number: int, action: Any) -> bytes:
    payload = msgspec.Raw(desk.signed(action))
    return msgspec.json.encode({"method": "post", "id": number, "request": {"type": "action", "payload": payload}})


def test_requests_by_websocket_meet_the_same_fates() -> None:
    async def story(desk: Desk) -> None:
        own = Own()
        own.at(desk)
        await desk.listen()
        desk.socket.send(_posted(desk, 1, actions.Noop()))
        assert [row["id"] for row in desk.on("post")] == [1]
        own.faults.set_rules([parse("response_lost:actions=1")])
        order = actions.OrderWire(0, True, str(round(await desk.mid() * 1.05)), "0.01", False, actions.IOC)
        desk.socket.send(_posted(desk, 2, actions.Order([order], "na")))
        own.faults.set_rules([parse("bad_gateway:actions=1")])
        desk.socket.send(_posted(desk, 3, actions.Noop()))
        own.faults.set_rules([parse("delay:actions=1@2s")])
        desk.socket.send(_posted(desk, 4, actions.Noop()))
        assert [row["id"] for row in desk.on("post")] == [1, 3]
        assert desk.on("post")[-1]["response"]["type"] == "error"
        await desk.clock.sleep(3)
        assert [row["id"] for row in desk.on("post")] == [1, 3, 4]
        own.faults.set_rules([])
        assert len(await desk.info("userFills", user=USER)) >= 1
        own.faults.set_rules([parse("refused:actions=1")])
        desk.socket.send(_posted(desk, 5, actions.Noop()))
        assert desk.closed == ["connection reset by peer"]

    at_the_desk(story)


def test_frames_are_lost_late_or_swapped_and_the_others_arrive() -> None:
    async def story(desk: Desk) -> None:
        own = Own()
        own.at(desk)
        await desk.listen()

        def ping_and_ask(number: int) -> None:
            own.faults.set_rules(rules)
            desk.socket.send(b'{"method":"ping"}')
            own.faults.set_rules([])
            ask = {"method": "post", "id": number, "request": {"type": "info", "payload": {"type": "meta"}}}
            desk.socket.send(msgspec.json.encode(ask))

        for number, (rule, order) in enumerate(
            [("frame_lost=1", ["post"]), ("frame_swapped=1", ["post", "pong"]), ("frame_late=1@1s", ["post", "pong"])]
        ):
            rules, before = [parse(rule)], len(desk.frames)
            ping_and_ask(number)
            await desk.clock.sleep(2)
            assert [frame["channel"] for frame in desk.frames[before:]] == order, rule

    at_the_desk(story)


def test_the_same_seed_and_rules_give_the_same_run() -> None:
    def run() -> list[object]:
        seen: list[object] = []

        async def story(desk: Desk) -> None:
            Own("delay=0.3@2s", "lag:info=0.3", "frame_twice:ws=0.2", "stop_canceled=600", "clock_skew=60@2s").at(desk)
            await desk.listen({"type": "orderUpdates", "user": USER}, {"type": "bbo", "coin": "BTC"})
            await _with_a_stop(desk)
            await desk.clock.sleep(60)
            seen.extend([*desk.frames, desk.clock.now_ms(), await desk.info("frontendOpenOrders", user=USER)])

        at_the_desk(story)
        return seen

    first = run()
    assert len(first) > 20
    assert first == run()


def test_a_nonce_is_used_under_a_wrong_clock_too() -> None:
    async def story(desk: Desk) -> None:
        Own().at(desk)
        desk.venue.happen(parse("clock_skew=1@-3s"))
        assert (await desk.act(actions.Noop(), KEY, nonce=START_MS + 5_000))["status"] == "ok"

    at_the_desk(story)
