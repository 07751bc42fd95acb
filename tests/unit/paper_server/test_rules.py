"""Who may act, how often, and until when: agents, nonces, expiry, budgets, weights, and the limits of WebSockets."""

from __future__ import annotations

import coincurve
import msgspec
import pytest
from tests.unit.paper_server.desk import KEY, START_MS, USER, Desk, at_the_desk

from perpstrader.paper.server import VenueConfig
from perpstrader.paper.server.agents import Agents
from perpstrader.paper.server.rate import AddressBudget, ClientWeights
from perpstrader.runtime import TransportError
from perpstrader.venue.wire import actions, signing

AGENT_KEY = coincurve.PrivateKey(bytes(31) + b"\x09")
AGENT = signing.address_of(AGENT_KEY)
DONE = {"status": "ok", "response": {"type": "default"}}
DAY_MS = 86_400_000


def test_an_agent_acts_for_its_master_until_it_expires_and_cannot_sign_as_the_user() -> None:
    async def story(desk: Desk) -> None:
        unknown = await desk.act(actions.Noop(), AGENT_KEY)
        assert unknown["response"].startswith("User or API Wallet 0x")
        expiry = desk.clock.now_ms() + 60_000
        name = f"bot valid_until {expiry}"
        assert await desk.user_signed({"type": "approveAgent", "agentAddress": AGENT, "agentName": name}) == DONE
        assert await desk.info("extraAgents", user=USER) == [{"name": "bot", "address": AGENT, "validUntil": expiry}]
        assert await desk.info("userRole", user=AGENT) == {"role": "agent", "data": {"user": USER}}
        resting = await desk.order("buy", str(round(await desk.mid() * 0.9)), "0.01", key=AGENT_KEY)
        assert [row["oid"] for row in await desk.info("openOrders", user=USER)] == [resting["resting"]["oid"]]
        denied = await desk.user_signed({"type": "withdraw3", "destination": USER, "amount": "5"}, AGENT_KEY)
        assert denied["response"] == f"Must deposit before performing actions. User: {AGENT}"
        await desk.clock.sleep(61)
        late = await desk.act(actions.Noop(), AGENT_KEY)
        assert late["response"].startswith("User or API Wallet 0x")
        assert len(await desk.info("openOrders", user=USER)) == 1

    at_the_desk(story)


def test_agents_are_replaced_by_name_limited_in_number_and_taken_away_by_the_zero_address() -> None:
    agents, now = Agents(), START_MS
    wallets = [f"0x{n:040x}" for n in range(1, 7)]
    assert agents.approve("0xm", wallets[0], "", now) is None
    assert agents.approve("0xm", wallets[1], "", now) is None
    assert agents.master_of(wallets[0], now) is None
    assert agents.approve("0xm", wallets[2], "bot 2", now) == "User has pending agent removal"
    now += 2_000
    for n in (2, 3, 4):
        assert agents.approve("0xm", wallets[n], f"bot {n}", now) is None
    refused = agents.approve("0xm", wallets[5], "one more", now)
    assert refused == "Too many extra agents for cumulative volume traded. Current limit is 3"
    assert agents.approve("0xother", wallets[1], "", now) == "Extra agent already used."
    assert agents.approve("0xm", "0x" + "0" * 40, "bot 2", now) is None
    assert agents.master_of(wallets[2], now) is None
    now += 2_000
    assert agents.approve("0xm", wallets[5], f"bot valid_until {now - 1}", now) == "Agent valid_until already expired."
    assert agents.approve("0xm", wallets[5], f"bot valid_until {now + 181 * DAY_MS}", now) is not None


def test_a_nonce_counts_once_and_only_near_the_venues_time() -> None:
    async def story(desk: Desk) -> None:
        nonce = desk.clock.now_ms()
        assert await desk.act(actions.Noop(), KEY, nonce=nonce) == DONE
        again = await desk.act(actions.Noop(), KEY, nonce=nonce)
        assert again["response"] == f"Invalid nonce: duplicate nonce {nonce}"
        for far in (nonce - 3 * DAY_MS, nonce + 2 * DAY_MS):
            assert (await desk.act(actions.Noop(), KEY, nonce=far))["status"] == "err"

    at_the_desk(story)


def test_an_action_past_its_expiry_is_not_executed_and_costs_five() -> None:
    async def story(desk: Desk) -> None:
        price = str(round(await desk.mid() * 0.9))
        expired = await desk.order("buy", price, "0.01", expires_after=desk.clock.now_ms() - 1)
        assert expired == {"status": "err", "response": "Action already expired"}
        assert await desk.info("openOrders", user=USER) == []
        assert (await desk.info("userRateLimit", user=USER))["nRequestsUsed"] == 5
        assert "resting" in await desk.order("buy", price, "0.01", expires_after=desk.clock.now_ms() + 5_000)

    at_the_desk(story)


def test_a_vault_is_unknown_and_a_batch_has_at_most_200() -> None:
    async def story(desk: Desk) -> None:
        vault = "0x" + "77" * 20
        refused = await desk.act(actions.Noop(), vault_address=vault)
        assert refused["response"] == f"Vault not registered: {vault}"
        many = actions.Cancel([actions.CancelWire(0, n) for n in range(201)])
        assert (await desk.act(many))["response"] == "Signed action over weight limit of 200."
        assert (await desk.info("userRateLimit", user=USER))["nRequestsUsed"] == 0

    at_the_desk(story)


def test_only_the_pinned_networks_letter_is_taken() -> None:
    async def story(desk: Desk) -> None:
        assert await desk.act(actions.Noop(), mainnet=True) == DONE
        assert (await desk.act(actions.Noop(), mainnet=False))["status"] == "err"

    at_the_desk(story, config=VenueConfig(network="mainnet"))


def test_what_is_not_offered_is_said_plainly_and_what_clients_send_by_habit_is_taken() -> None:
    async def story(desk: Desk) -> None:
        hasty = actions.Order([], actions.PriorityGrouping(5))
        assert await desk.act(hasty) == {
            "status": "err", "response": "Priority fees are not offered by this exchange.",
        }  # fmt: skip
        assert await desk.act(actions.SetReferrer("CCXT1")) == DONE
        fee = {"type": "approveBuilderFee", "maxFeeRate": "0.01%", "builder": "0x" + "65" * 20}
        assert await desk.user_signed(fee) == DONE
        assert (await desk.act(actions.UpdateLeverage(0, True, 999)))["response"] == "Invalid leverage value"
        assert (await desk.act(actions.ScheduleCancel(desk.clock.now_ms() + 9_000)))["response"].startswith(
            "Cannot set scheduled cancel time until enough volume traded. Required: $1000000. Traded: $0."
        )
        assert await desk.user_signed({"type": "withdraw3", "destination": USER, "amount": "100.5"}) == DONE
        assert (await desk.info("clearinghouseState", user=USER))["withdrawable"] == "9899.5"

    at_the_desk(story)


def test_an_address_without_budget_is_let_through_once_in_ten_seconds_and_may_still_cancel() -> None:
    budget = AddressBudget()
    assert budget.charge("0xa", 10_000, 0, 0, cancels=False) is None
    assert budget.charge("0xa", 1, 0, 0, cancels=False) is None
    refused = budget.charge("0xa", 1, 0, 9_999, cancels=False)
    assert refused is not None
    assert refused.startswith("Too many cumulative requests sent (10002 > 10000) for cumulative volume traded $0.00.")
    assert budget.charge("0xa", 1, 0, 9_999, cancels=True) is None
    assert budget.charge("0xa", 1, 0, 10_000, cancels=False) is None
    assert budget.charge("0xa", 1, 5_000_000_000, 10_001, cancels=False) is None
    assert budget.used["0xa"] == 10_004


def test_weight_is_free_again_after_exactly_a_minute() -> None:
    weights = ClientWeights(limit=100)
    weights.spend("a", 60, 0)
    weights.spend("a", 40, 30_000)
    assert not weights.allows("a", 1, 59_999)
    assert weights.allows("b", 100, 59_999)
    assert weights.allows("a", 60, 60_000)
    assert not weights.allows("a", 61, 60_000)
    assert weights.allows("a", 100, 90_000)


def test_a_client_over_its_weight_gets_429_and_is_served_again_later() -> None:
    async def story(desk: Desk) -> None:
        for _ in range(60):
            assert isinstance(await desk.info("meta"), dict)
        assert (await desk.info("meta"))[0] == 429
        answer = await desk.transport.post("/exchange", desk.signed(actions.Noop()), timeout_s=1)
        assert answer.status == 429
        await desk.clock.sleep(60)
        assert isinstance(await desk.info("meta"), dict)

    at_the_desk(story, config=VenueConfig(enforce_ip_limits=True))


def test_websockets_are_limited_in_number_users_and_subscriptions() -> None:
    async def story(desk: Desk) -> None:
        for _ in range(10):
            await desk.transport.open_socket(lambda _: None, lambda _: None)
        with pytest.raises(TransportError, match="10 WebSockets open"):
            await desk.transport.open_socket(lambda _: None, lambda _: None)
        await desk.transport.close()
        await desk.listen(*({"type": "orderUpdates", "user": f"0x{n:040x}"} for n in range(11)))
        assert desk.on("error") == ["Cannot track more than 10 total users."]

    at_the_desk(story, config=VenueConfig(enforce_ip_limits=True))


def test_a_silent_websocket_is_closed_after_a_minute_and_a_ping_keeps_it() -> None:
    async def story(desk: Desk) -> None:
        await desk.listen()
        for _ in range(3):
            await desk.clock.sleep(45)
            desk.socket.send(b'{"method":"ping"}')
        assert desk.frames[-1]["channel"] == "pong"
        assert desk.closed == []
        await desk.clock.sleep(70)
        assert desk.closed == ["nothing was sent for 60 s"]

    at_the_desk(story)


def test_a_subscription_is_acknowledged_in_its_normal_form_and_only_once() -> None:
    async def story(desk: Desk) -> None:
        await desk.listen({"type": "l2Book", "coin": "BTC"}, {"type": "l2Book", "coin": "BTC"})
        echo = {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None}
        assert desk.on("subscriptionResponse") == [{"method": "subscribe", "subscription": echo}]
        assert desk.on("error") == ['Already subscribed: {"type":"l2Book","coin":"BTC"}']
        desk.socket.send(b'{"method":"unsubscribe","subscription":{"type":"l2Book","coin":"BTC"}}')
        heard = len(desk.on("l2Book"))
        await desk.clock.sleep(5)
        assert len(desk.on("l2Book")) == heard
        desk.socket.send(b'{"method":"unsubscribe","subscription":{"type":"l2Book","coin":"BTC"}}')
        assert desk.on("error")[-1].startswith("Already unsubscribed: ")

    at_the_desk(story)


def test_requests_by_websocket_are_answered_like_those_by_post() -> None:
    async def story(desk: Desk) -> None:
        await desk.listen()
        desk.socket.send(
            b'{"method":"post","id":5,"request":{"type":"info","payload":{"type":"l2Book","coin":"BTC"}}}'
        )
        answer = desk.on("post")[-1]
        response = answer["response"]
        assert (answer["id"], response["type"], response["payload"]["type"]) == (5, "info", "l2Book")
        assert response["payload"]["data"] == await desk.info("l2Book", coin="BTC")
        payload = msgspec.Raw(desk.signed(actions.Noop()))
        desk.socket.send(
            msgspec.json.encode({"method": "post", "id": 6, "request": {"type": "action", "payload": payload}})
        )
        assert desk.on("post")[-1] == {"id": 6, "response": {"type": "action", "payload": DONE}}

    at_the_desk(story)
