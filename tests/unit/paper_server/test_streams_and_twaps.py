"""TWAPs, isolated margin and the channels that follow them, over the wire."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.paper_server.desk import USER, Desk, at_the_desk

from perpstrader.paper.server import VenueConfig
from perpstrader.runtime import TransportError
from perpstrader.venue.wire import actions

DONE = {"status": "ok", "response": {"type": "default"}}


async def start(desk: Desk, minutes: int = 5, size: str = "0.011") -> Any:
    answer = await desk.act(actions.TwapOrder(actions.TwapWire(0, True, size, False, minutes, False)))
    assert answer["response"]["type"] == "twapOrder"
    return answer["response"]["data"]["status"]


def test_a_twap_runs_tells_and_is_cancelled() -> None:
    async def story(desk: Desk) -> None:
        channels = ("userTwapSliceFills", "userTwapHistory", "twapStates", "userEvents", "userFills")
        await desk.listen(*({"type": channel, "user": USER} for channel in channels))
        twap_id = (await start(desk))["running"]["twapId"]
        await desk.clock.sleep(31)
        fills = await desk.info("userTwapSliceFills", user=USER)
        assert [(row["twapId"], row["fill"]["twapId"], row["fill"]["sz"]) for row in fills] == [
            (twap_id, None, "0.001"), (twap_id, None, "0.001"),
        ]  # fmt: skip
        assert await desk.info("userTwapSliceFillsByTime", user=USER, startTime=0) == fills[::-1]
        assert [row["twapId"] for row in await desk.info("userFills", user=USER)] == [twap_id, twap_id]
        assert {row["hash"] for row in await desk.info("userFills", user=USER)} == {"0x" + "0" * 64}
        assert (await desk.info("historicalOrders", user=USER))[0]["order"]["orderType"] == "Twap Slice"
        wrong = await desk.act(actions.TwapCancel(1, twap_id))
        assert wrong["response"]["data"]["status"] == {
            "error": "TWAP was never placed, already canceled, or filled."
        }
        cancelled = await desk.act(actions.TwapCancel(0, twap_id))
        assert cancelled["response"] == {"type": "twapCancel", "data": {"status": "success"}}
        history = await desk.info("twapHistory", user=USER)
        assert [(row["twapId"], row["status"]) for row in history] == [
            (twap_id, {"status": "terminated"}), (twap_id, {"status": "activated"}),
        ]  # fmt: skip
        assert history[0]["state"]["executedSz"] == "0.002"
        assert desk.on("userTwapSliceFills")[0] == {"user": USER, "twapSliceFills": [], "isSnapshot": True}
        assert len(desk.on("userTwapSliceFills")) == 3
        assert [row["status"]["status"] for data in desk.on("userTwapHistory") for row in data["history"]] == [
            "activated", "terminated",
        ]  # fmt: skip
        assert any("twapSliceFills" in data for data in desk.on("user"))
        assert any("twapHistory" in data for data in desk.on("user"))
        assert desk.on("twapStates")[-1] == {"dex": "", "user": USER, "states": []}
        assert any(data["states"][0][0] == twap_id for data in desk.on("twapStates") if data["states"])

    at_the_desk(story)


def test_a_twap_that_cannot_be_is_refused_in_its_status() -> None:
    async def story(desk: Desk) -> None:
        assert await start(desk, minutes=1) == {"error": "Invalid TWAP duration: 1 min(s)"}
        assert (await start(desk, size="0.0001"))["error"].startswith("Order must have minimum value of $10.")
        assert (await start(desk, size="0.000001"))["error"].startswith("Order has invalid size.")

    at_the_desk(story)


def test_isolated_margin_over_the_wire_as_foreign_clients_use_it() -> None:
    async def story(desk: Desk) -> None:
        assert await desk.act(actions.UpdateLeverage(1, False, 5)) == DONE
        assert (await desk.info("activeAssetData", user=USER, coin="ETH"))["leverage"] == {
            "type": "isolated", "value": 5,
        }  # fmt: skip
        price = str(round(await desk.mid("ETH") * 0.95))
        assert "filled" in await desk.order("sell", price, "1", "Ioc", asset=1)
        before = (await desk.info("clearinghouseState", user=USER))["assetPositions"][0]["position"]
        assert before["leverage"]["type"] == "isolated"
        assert float(before["leverage"]["rawUsd"]) > 0
        assert await desk.act(actions.UpdateIsolatedMargin(1, True, 50_000_000)) == DONE
        state = await desk.info("clearinghouseState", user=USER)
        after = state["assetPositions"][0]["position"]
        assert float(after["liquidationPx"]) > float(before["liquidationPx"])
        assert float(state["crossMarginSummary"]["accountValue"]) < float(state["marginSummary"]["accountValue"])
        assert state["crossMaintenanceMarginUsed"] == "0.0"
        assert await desk.act(actions.UpdateIsolatedMargin(1, True, -20_000_000)) == DONE
        assert await desk.act(actions.TopUpIsolatedOnlyMargin(1, "2.5")) == DONE
        switched = await desk.act(actions.UpdateLeverage(1, True, 5))
        assert switched["response"] == "Cannot switch leverage type with open position."
        other = await desk.act(actions.UpdateIsolatedMargin(0, True, 50_000_000))
        assert other["response"] == "Position does not use isolated margin."
        refused = await desk.act(actions.UpdateIsolatedMargin(1, True, 50_000_000_000))
        assert refused["response"].startswith("Insufficient cross margin to add 50000 to the position.")

    at_the_desk(story)


def test_a_change_of_leverage_is_told_to_who_follows_the_account() -> None:
    async def story(desk: Desk) -> None:
        await desk.listen({"type": "activeAssetData", "user": USER, "coin": "BTC"})
        await desk.act(actions.UpdateLeverage(0, True, 7))
        assert desk.on("activeAssetData")[-1]["leverage"] == {"type": "cross", "value": 7}

    at_the_desk(story)


def test_whole_states_come_at_once_and_market_figures_each_second() -> None:
    async def story(desk: Desk) -> None:
        users = ("allDexsClearinghouseState", "spotState", "webData2", "webData3", "userHistoricalOrders")
        await desk.listen(*({"type": kind, "user": USER} for kind in users))
        await desk.listen({"type": "assetCtxs"}, {"type": "allDexsAssetCtxs"})
        await desk.clock.sleep(2.5)
        state = desk.on("webData3")[0]["userState"]
        assert (state["user"], state["cumLedger"], state["abstraction"]) == (USER, "10000.0", "disabled")
        assert desk.on("allDexsClearinghouseState")[0]["clearinghouseStates"][0][0] == ""
        assert desk.on("spotState")[0] == {"user": USER, "spotState": {"balances": []}}
        assert len(desk.on("assetCtxs")[0]["ctxs"]) == 2
        assert len(desk.on("assetCtxs")) >= 3
        assert desk.on("allDexsAssetCtxs")[0]["ctxs"][0][0] == ""
        assert desk.on("userHistoricalOrders") == [{"user": USER, "orderHistory": [], "isSnapshot": True}]
        await desk.order("buy", str(round(await desk.mid() * 0.9)), "0.01")
        later = desk.on("userHistoricalOrders")[-1]
        assert [row["status"] for row in later["orderHistory"]] == ["open"]
        assert "isSnapshot" not in later
        assert desk.on("error") == []

    at_the_desk(story)


def test_a_liquidation_is_notified() -> None:
    async def story(desk: Desk) -> None:
        await desk.listen({"type": "notification", "user": USER})
        desk.venue.engine.update_leverage(USER, "BTC", 40, True, desk.clock.now_ms())
        price = str(round(await desk.mid() * 1.05))
        await desk.order("buy", price, "3", "Ioc")
        held = desk.venue.engine._state.accounts[USER]
        held.cash -= held.value() - held.maintenance() + 10**6
        await desk.clock.sleep(5)
        assert [row["notification"] for row in desk.on("notification")][:1] == ["1 position(s) liquidated: BTC"]

    at_the_desk(story)


def test_questions_beside_trading_have_an_answer() -> None:
    async def story(desk: Desk) -> None:
        for kind in (
            "referral", "delegatorSummary", "delegations", "delegatorHistory", "delegatorRewards", "approvedBuilders",
            "userVaultEquities", "leadingVaults", "vaultSummaries", "legalCheck", "preTransferCheck", "perpDexLimits",
            "userToMultiSigSigners", "userDexAbstraction", "perpDexStatus", "perpsAtOpenInterestCap",
        ):  # fmt: skip
            answer = await desk.info(kind, user=USER)
            assert not isinstance(answer, list) or answer == [], (kind, answer)
        assert await desk.info("perpDexStatus") == {"totalNetDeposit": "10000.0"}
        assert (await desk.info("preTransferCheck", user="0x" + "55" * 20))["userExists"] is False

    at_the_desk(story)


def test_a_unified_account_shows_its_collateral_among_its_spot_balances() -> None:
    async def story(desk: Desk) -> None:
        assert await desk.info("userAbstraction", user=USER) == "disabled"
        mode = {"type": "userSetAbstraction", "user": USER, "abstraction": "unifiedAccount"}
        assert await desk.user_signed(mode) == DONE
        assert await desk.info("userAbstraction", user=USER) == "unifiedAccount"
        state = await desk.info("clearinghouseState", user=USER)
        assert (state["marginSummary"]["accountValue"], state["withdrawable"]) == ("0.0", "0.0")
        (balance,) = (await desk.info("spotClearinghouseState", user=USER))["balances"]
        assert (balance["coin"], balance["total"], balance["hold"]) == ("USDC", "10000.0", "0.0")
        moved = await desk.user_signed({"type": "usdClassTransfer", "amount": "5", "toPerp": True})
        assert moved["response"] == "Action disabled when unified account is active"
        wrong = await desk.user_signed({"type": "userSetAbstraction", "user": USER, "abstraction": "whatever"})
        assert wrong[0] == 422

    at_the_desk(story)


def test_the_volume_of_a_day_is_told_as_taken_and_made() -> None:
    async def story(desk: Desk) -> None:
        await desk.order("buy", str(round(await desk.mid() * 1.05)), "0.01", "Ioc")
        (fill,) = await desk.info("userFills", user=USER)
        fees = await desk.info("userFees", user=USER)
        (row,) = fees["dailyUserVlm"]
        assert float(row["userCross"]) == float(fill["px"]) * 0.01
        assert (row["userAdd"], row["exchange"], row["date"]) == ("0.0", row["userCross"], "2025-10-09")
        assert [tier["add"] for tier in fees["feeSchedule"]["tiers"]["mm"]] == ["-0.00001", "-0.00002", "-0.00003"]

    at_the_desk(story)


def test_the_fast_book_has_five_levels_and_the_cadence_of_books_is_a_setting() -> None:
    async def story(desk: Desk) -> None:
        await desk.listen({"type": "l2Book", "coin": "BTC"}, {"type": "l2Book", "coin": "BTC", "fast": True})
        await desk.clock.sleep(9.5)
        assert {len(side) for side in desk.on("l2Book")[1]["levels"]} == {5}
        assert len(desk.on("l2Book")) <= 6, "two at once, and two in each five seconds"
        desk.frames.clear()
        await desk.listen({"type": "bbo", "coin": "BTC"})
        await desk.clock.sleep(5)
        assert len(desk.on("bbo")) > 4

    at_the_desk(story, config=VenueConfig(book_stream_ms=5_000))


def test_how_many_users_and_connections_a_client_may_have_are_settings() -> None:
    async def story(desk: Desk) -> None:
        await desk.listen(*({"type": "orderUpdates", "user": f"0x{n:040x}"} for n in range(4)))
        assert desk.on("error") == ["Cannot track more than 3 total users."]
        await desk.transport.open_socket(lambda _: None, lambda _: None)
        with pytest.raises(TransportError, match="2 WebSockets open"):
            await desk.transport.open_socket(lambda _: None, lambda _: None)

    limited = VenueConfig(enforce_ip_limits=True, websocket_users=3, websocket_connections=2)
    at_the_desk(story, config=limited)
