"""Sub-accounts, transfers, bought weight, builders and the end of agents, over the wire."""

from __future__ import annotations

from typing import Any

import coincurve
import msgspec
import pytest
from tests.unit.paper_server.desk import KEY, USER, Desk, at_the_desk

from perpstrader.paper.engine import EngineConfig, Exchange
from perpstrader.paper.server import PaperVenue, VenueConfig
from perpstrader.venue.wire import actions, signing
from perpstrader.venue.wire.actions import UnknownAction

AGENT_KEY = coincurve.PrivateKey(bytes(31) + b"\x09")
AGENT = signing.address_of(AGENT_KEY)
OTHER_KEY = coincurve.PrivateKey(bytes(31) + b"\x0a")
OTHER = signing.address_of(OTHER_KEY)
DONE = {"status": "ok", "response": {"type": "default"}}


@pytest.fixture(autouse=True)
def _no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A desk whose exchange asks for no volume before sub-accounts."""
    honest = PaperVenue.__init__

    def open_house(self: PaperVenue, engine: Exchange, *rest: Any) -> None:
        honest(self, Exchange(engine.assets, EngineConfig(sub_account_min_volume=0)), *rest)

    monkeypatch.setattr(PaperVenue, "__init__", open_house)


async def act(desk: Desk, kind: str, key: coincurve.PrivateKey = KEY, **fields: object) -> Any:
    """A signed action of the house."""
    action = UnknownAction(kind, {"type": kind} | fields)
    body = desk.signed(action, key)
    # What is posted is the fields, as a client's JSON has them.
    sent = msgspec.json.decode(body) | {"action": action.fields}
    answer = await desk.transport.post("/exchange", msgspec.json.encode(sent), timeout_s=30)
    return msgspec.json.decode(answer.body) if answer.status == 200 else (answer.status, answer.body.decode())


async def sub_account(desk: Desk, name: str = "one") -> str:
    answer = await act(desk, "createSubAccount", name=name)
    assert answer["response"]["type"] == "createSubAccount", answer
    return str(answer["response"]["data"])


def test_a_sub_account_is_made_funded_traded_and_emptied_by_its_master() -> None:
    async def story(desk: Desk) -> None:
        assert await desk.info("subAccounts", user=USER) is None
        user = await sub_account(desk)
        assert await desk.info("userRole", user=user) == {"role": "subAccount", "data": {"master": USER}}
        moved = await act(desk, "subAccountTransfer", subAccountUser=user, isDeposit=True, usd=2_500_000_000)
        assert moved == DONE
        (row,) = await desk.info("subAccounts", user=USER)
        assert (row["name"], row["subAccountUser"], row["master"]) == ("one", user, USER)
        assert row["clearinghouseState"]["marginSummary"]["accountValue"] == "2500.0"
        assert (await desk.info("clearinghouseState", user=USER))["withdrawable"] == "7500.0"
        placed = await desk.order("buy", str(round(await desk.mid() * 1.05)), "0.01", "Ioc", vault_address=user)
        assert "filled" in placed
        assert [fill["coin"] for fill in await desk.info("userFills", user=user)] == ["BTC"]
        assert await desk.info("userFills", user=USER) == []
        back = await act(desk, "subAccountTransfer", subAccountUser=user, isDeposit=False, usd=2_500_000_000)
        assert back["response"] == "Insufficient balance for withdrawal"
        ledger = await desk.info("userNonFundingLedgerUpdates", user=user, startTime=0)
        assert [entry["delta"] for entry in ledger] == [
            {"type": "subAccountTransfer", "usdc": "2500.0", "user": USER, "destination": user}
        ]

    at_the_desk(story)


def test_an_agent_of_the_master_trades_for_the_sub_account_and_a_stranger_does_not() -> None:
    async def story(desk: Desk) -> None:
        user = await sub_account(desk)
        await act(desk, "subAccountTransfer", subAccountUser=user, isDeposit=True, usd=1_000_000_000)
        assert await desk.user_signed({"type": "approveAgent", "agentAddress": AGENT, "agentName": "bot"}) == DONE
        price = str(round(await desk.mid() * 0.9))
        rested = await desk.order("buy", price, "0.001", vault_address=user, key=AGENT_KEY)
        assert [row["oid"] for row in await desk.info("openOrders", user=user)] == [rested["resting"]["oid"]]
        desk.venue.fund(OTHER, 1_000_000_000)
        refused = await desk.order("buy", price, "0.001", vault_address=user, key=OTHER_KEY)
        assert refused["response"] == f"Vault not registered: {user}"
        stolen = await act(desk, "subAccountTransfer", OTHER_KEY, subAccountUser=user, isDeposit=False, usd=1)
        assert stolen["response"] == f"Invalid sub-account transfer from {OTHER}"

    at_the_desk(story)


def test_names_are_unique_and_short_and_a_sub_account_has_no_sub_accounts() -> None:
    async def story(desk: Desk) -> None:
        user = await sub_account(desk)
        for name in ("one", "", "seventeen letters"):
            assert (await act(desk, "createSubAccount", name=name))["status"] == "err"
        assert await act(desk, "subAccountModify", subAccountUser=user, name="renamed") == DONE
        assert (await desk.info("subAccounts", user=USER))[0]["name"] == "renamed"

    at_the_desk(story)


def test_a_sub_account_has_its_own_budget_and_its_masters_fee_tier() -> None:
    async def story(desk: Desk) -> None:
        user = await sub_account(desk)
        used = (await desk.info("userRateLimit", user=USER))["nRequestsUsed"]
        await act(desk, "subAccountTransfer", subAccountUser=user, isDeposit=True, usd=1_000_000_000)
        await desk.order("buy", str(round(await desk.mid() * 0.9)), "0.001", vault_address=user)
        assert (await desk.info("userRateLimit", user=user))["nRequestsUsed"] == 1
        assert (await desk.info("userRateLimit", user=USER))["nRequestsUsed"] == used + 1
        master, own = (desk.venue.engine._state.accounts[name] for name in (USER, user))
        own.add_volume(6_000_000 * 10**6, desk.clock.now_ms())
        tomorrow = desk.clock.now_ms() + 86_400_000
        assert master.fee_tier(tomorrow) is own.fee_tier(tomorrow)
        assert own.fee_tier(tomorrow).taker == 400_000

    at_the_desk(story)


def test_money_goes_to_another_account_and_opens_it() -> None:
    async def story(desk: Desk) -> None:
        assert await desk.user_signed({"type": "usdSend", "destination": OTHER, "amount": "250.5"}) == DONE
        assert (await desk.info("clearinghouseState", user=OTHER))["withdrawable"] == "250.5"
        (row,) = await desk.info("userNonFundingLedgerUpdates", user=OTHER, startTime=0)
        assert row["delta"] == {
            "type": "internalTransfer", "usdc": "250.5", "user": USER, "destination": OTHER, "fee": "0.0",
        }  # fmt: skip
        too_much = await desk.user_signed({"type": "usdSend", "destination": OTHER, "amount": "9750"})
        assert too_much["response"] == "Insufficient balance for withdrawal"
        asset = {"sourceDex": "", "destinationDex": "", "token": "USDC:0x6d", "fromSubAccount": ""}
        assert await desk.user_signed({"type": "sendAsset", "destination": OTHER, "amount": "1"} | asset) == DONE
        spot = asset | {"destinationDex": "spot"}
        refused = await desk.user_signed({"type": "sendAsset", "destination": OTHER, "amount": "1"} | spot)
        assert refused["response"] == "Invalid send"

    at_the_desk(story)


def test_bought_weight_costs_and_counts_and_an_agent_cannot_buy_it() -> None:
    async def story(desk: Desk) -> None:
        assert await desk.act(actions.ReserveRequestWeight(2_000)) == DONE
        limit = await desk.info("userRateLimit", user=USER)
        assert (limit["nRequestsCap"], limit["nRequestsSurplus"]) == (12_000, 2_000)
        assert (await desk.info("clearinghouseState", user=USER))["withdrawable"] == "9999.0"
        assert desk.venue.engine.imbalance() == 0
        await desk.user_signed({"type": "approveAgent", "agentAddress": AGENT, "agentName": "bot"})
        assert (await desk.act(actions.ReserveRequestWeight(1), AGENT_KEY))["status"] == "err"
        assert (await desk.act(actions.ReserveRequestWeight(30_000_000)))["status"] == "err"

    at_the_desk(story)


def test_a_builders_fee_needs_the_accounts_approval_and_stays_within_it() -> None:
    async def story(desk: Desk) -> None:
        builder = "0x" + "65" * 20
        wire = actions.OrderWire(0, True, str(round(await desk.mid() * 1.05)), "0.01", False, actions.IOC)
        order = actions.Order([wire], "na", actions.Builder(builder, 50))
        assert (await desk.act(order))["response"] == "Builder fee has not been approved."
        fee = {"type": "approveBuilderFee", "maxFeeRate": "0.05%", "builder": builder}
        assert await desk.user_signed(fee) == DONE
        assert await desk.info("maxBuilderFee", user=USER, builder=builder) == 50
        assert await desk.info("approvedBuilders", user=USER) == [builder]
        assert "filled" in (await desk.act(order))["response"]["data"]["statuses"][0]
        more = actions.Order([wire], "na", actions.Builder(builder, 51))
        assert (await desk.act(more))["status"] == "err"

    at_the_desk(story)


def test_an_account_without_money_loses_its_agents_and_their_nonces() -> None:
    async def story(desk: Desk) -> None:
        await desk.user_signed({"type": "approveAgent", "agentAddress": AGENT, "agentName": "bot"})
        assert await desk.act(actions.Noop(), AGENT_KEY) == DONE
        await desk.user_signed({"type": "withdraw3", "destination": USER, "amount": "10000"})
        gone = await desk.act(actions.Noop(), AGENT_KEY)
        assert gone["response"].endswith("does not exist.")
        desk.venue.fund(USER, 1_000_000)
        assert (await desk.act(actions.Noop(), AGENT_KEY))["status"] == "err"
        assert await desk.info("extraAgents", user=USER) == []
        assert AGENT not in desk.venue.world.nonces

    at_the_desk(story)


def test_after_a_replacement_no_other_agent_is_approved_for_a_moment() -> None:
    async def story(desk: Desk) -> None:
        for address in (AGENT, OTHER):
            assert await desk.user_signed({"type": "approveAgent", "agentAddress": address, "agentName": "bot"}) == DONE
        third = {"type": "approveAgent", "agentAddress": "0x" + "77" * 20, "agentName": "next"}
        assert (await desk.user_signed(third))["response"] == "User has pending agent removal"
        await desk.clock.sleep(2)
        assert await desk.user_signed(third) == DONE

    at_the_desk(story)


def test_the_lag_of_an_expired_agent_is_a_setting() -> None:
    async def story(desk: Desk) -> None:
        name = f"bot valid_until {desk.clock.now_ms() + 10_000}"
        await desk.user_signed({"type": "approveAgent", "agentAddress": AGENT, "agentName": name})
        await desk.clock.sleep(30)
        assert await desk.act(actions.Noop(), AGENT_KEY) == DONE
        await desk.clock.sleep(60)
        assert (await desk.act(actions.Noop(), AGENT_KEY))["status"] == "err"

    at_the_desk(story, config=VenueConfig(agent_expiry_lag_ms=60_000))


def test_a_vault_transfer_finds_no_vault_and_an_unknown_action_is_422() -> None:
    async def story(desk: Desk) -> None:
        vault = "0x" + "77" * 20
        refused = await act(desk, "vaultTransfer", vaultAddress=vault, isDeposit=True, usd=5)
        assert refused["response"] == f"Vault not registered: {vault}"
        assert (await act(desk, "dummy", num=5))[0] == 422
        assert (await act(desk, "subAccountTransfer", subAccountUser=5))[0] == 422

    at_the_desk(story)
