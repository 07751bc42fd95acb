"""Every read of a trader is answered in the venue's shape, for a stranger and for an account with a position."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.paper_server.desk import START_MS, USER, Desk, at_the_desk

from perpstrader.venue.wire import actions, info

STRANGER = "0x" + "9f" * 20
FIELDS: dict[str, dict[str, object]] = {
    "l2Book": {"coin": "BTC"}, "recentTrades": {"coin": "BTC"}, "activeAssetData": {"coin": "BTC"},
    "fundingHistory": {"coin": "BTC", "startTime": 0}, "orderStatus": {"oid": 1},
    "candleSnapshot": {"req": {"coin": "BTC", "interval": "1m", "startTime": 0, "endTime": START_MS * 2}},
    "userFillsByTime": {"startTime": 0}, "userFunding": {"startTime": 0},
    "userNonFundingLedgerUpdates": {"startTime": 0},
}  # fmt: skip


async def _busy(desk: Desk) -> None:
    """A position with a stop, a resting bracket, a refused order, and an hour of funding."""
    mid = await desk.mid()
    await desk.order("buy", str(round(mid * 1.05)), "0.02", "Ioc", cloid="0x" + "aa" * 16)
    stop = actions.OrderType(trigger=actions.TriggerType(True, str(round(mid * 0.8)), "sl"))
    await desk.order("sell", str(round(mid * 0.7)), "0.02", reduce_only=True, type=stop)
    parent = actions.OrderWire(0, True, str(round(mid * 0.9)), "0.01", False, actions.GTC)
    child = actions.OrderWire(0, False, str(round(mid * 0.6)), "0.01", True, stop)
    await desk.act(actions.Order([parent, child], "normalTpsl"))
    await desk.order("buy", str(round(mid * 0.5)), "0.00001")
    await desk.clock.sleep(3_700)


@pytest.mark.parametrize("user", [USER, STRANGER])
def test_every_typed_read_decodes_for_a_busy_account_and_for_a_stranger(user: str) -> None:
    async def story(desk: Desk) -> None:
        await _busy(desk)
        for kind, call in info.CALLS.items():
            body = msgspec.json.encode({"type": kind, "user": user} | FIELDS.get(kind, {}))
            answer = await desk.transport.post("/info", body, timeout_s=1)
            assert answer.status == 200, (kind, answer.body)
            call.decode(answer.body)

    at_the_desk(story)


def test_a_busy_account_is_told_in_full() -> None:
    async def story(desk: Desk) -> None:
        await _busy(desk)
        state = await desk.info("clearinghouseState", user=USER.upper().replace("0X", "0x"))
        summary = state["marginSummary"]
        position = state["assetPositions"][0]["position"]
        value = float(summary["totalRawUsd"]) + float(position["szi"]) * float(
            (await desk.info("metaAndAssetCtxs"))[1][0]["markPx"]
        )
        assert float(summary["accountValue"]) == pytest.approx(value, abs=1e-4)
        shown = await desk.info("frontendOpenOrders", user=USER)
        stop, parent = shown
        assert (stop["orderType"], stop["triggerCondition"][:12], stop["tif"]) == ("Stop Market", "Price below ", None)
        assert [child["orderType"] for child in parent["children"]] == ["Stop Market"]
        assert (parent["tif"], parent["triggerPx"], parent["triggerCondition"]) == ("Gtc", "0.0", "N/A")
        assert [row["oid"] for row in await desk.info("openOrders", user=USER)] == [stop["oid"], parent["oid"]]
        fill = (await desk.info("userFills", user=USER))[0]
        assert (fill["feeToken"], fill["closedPnl"], fill["cloid"]) == ("USDC", "0.0", "0x" + "aa" * 16)
        assert fill["hash"] != "0x" + "0" * 64
        by_cloid = await desk.info("orderStatus", user=USER, oid="0x" + "AA" * 16)
        assert by_cloid["order"]["order"]["oid"] == fill["oid"]
        statuses = [row["status"] for row in await desk.info("historicalOrders", user=USER)]
        assert "minTradeNtlRejected" in statuses
        funding = await desk.info("userFunding", user=USER, startTime=0)
        assert len(funding) == 1
        assert funding[0]["delta"]["szi"] == "0.02"
        assert float(position["cumFunding"]["sinceOpen"]) == -float(funding[0]["delta"]["usdc"])
        ledger = await desk.info("userNonFundingLedgerUpdates", user=USER, startTime=0)
        assert ledger[0]["delta"] == {"type": "deposit", "usdc": "10000.0"}
        limit = await desk.info("userRateLimit", user=USER)
        assert limit["nRequestsUsed"] == 5
        assert limit["nRequestsCap"] == 10_000 + int(float(limit["cumVlm"]))
        assert (await desk.info("userFees", user=USER))["userCrossRate"] == "0.00045"
        assert (await desk.info("portfolio", user=USER))[0][0] == "day"

    at_the_desk(story)


def test_rows_are_bounded_by_time_and_sorted_as_the_venue_sorts_them() -> None:
    async def story(desk: Desk) -> None:
        for _ in range(3):
            await desk.order("buy", str(round(await desk.mid() * 1.05)), "0.001", "Ioc")
            await desk.clock.sleep(5)
        newest_first = [row["time"] for row in await desk.info("userFills", user=USER)]
        oldest_first = [row["time"] for row in await desk.info("userFillsByTime", user=USER, startTime=0)]
        assert newest_first == sorted(newest_first, reverse=True)
        assert oldest_first == sorted(oldest_first)
        middle = oldest_first[len(oldest_first) // 2]
        part = await desk.info("userFillsByTime", user=USER, startTime=middle, endTime=middle)
        assert {row["time"] for row in part} == {middle}
        back = await desk.info("userFillsByTime", user=USER, startTime=0, reversed=True)
        assert [row["time"] for row in back] == newest_first

    at_the_desk(story)


def test_small_constant_answers_are_as_a_client_expects_them() -> None:
    expected: dict[str, Any] = {
        "spotMeta": {"tokens": [], "universe": []}, "spotMetaAndAssetCtxs": [{"tokens": [], "universe": []}, []],
        "perpDexs": [None], "userAbstraction": "disabled", "subAccounts": None, "perpsAtOpenInterestCap": [],
        "spotClearinghouseState": {"balances": []}, "extraAgents": [],
    }  # fmt: skip

    async def story(desk: Desk) -> None:
        for kind, answer in expected.items():
            assert await desk.info(kind, user=STRANGER) == answer
        assert await desk.info("userRole", user=STRANGER) == {"role": "missing"}
        assert await desk.info("userRole", user=USER) == {"role": "user"}
        assert await desk.info("l2Book", coin="NOPE") is None
        assert (await desk.info("exchangeStatus"))["time"] == desk.clock.now_ms()
        assert (await desk.info("marginTable", id=10))["marginTiers"] == [{"lowerBound": "0.0", "maxLeverage": 10}]
        meta = await desk.info("meta")
        tables = dict(meta["marginTables"])
        assert await desk.info("marginTable", id=meta["universe"][0]["marginTableId"]) == tables[
            meta["universe"][0]["marginTableId"]
        ]

    at_the_desk(story)


def test_a_grouped_book_keeps_its_size_and_rounds_away_from_the_middle() -> None:
    async def story(desk: Desk) -> None:
        plain = await desk.info("l2Book", coin="BTC")
        coarse = await desk.info("l2Book", coin="BTC", nSigFigs=3)
        for side in (0, 1):
            whole = sum(float(row["sz"]) for row in plain["levels"][side])
            assert sum(float(row["sz"]) for row in coarse["levels"][side]) == pytest.approx(whole)
        assert float(coarse["levels"][0][0]["px"]) <= float(plain["levels"][0][0]["px"])
        assert float(coarse["levels"][1][0]["px"]) >= float(plain["levels"][1][0]["px"])
        assert all(float(row["px"]) % 100 == 0 for row in coarse["levels"][0])

    at_the_desk(story)
