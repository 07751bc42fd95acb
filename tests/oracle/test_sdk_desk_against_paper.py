"""All of a trading desk's business through the official SDK, in a process of its own, on ``perpstrader paper``."""

from __future__ import annotations

from typing import Any

import pytest
from tests.oracle.sdk_desk import CHANNELS
from tests.oracle.sessions import answers_of

DEFAULT = {"status": "ok", "response": {"type": "default"}}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, Any]:
    """What the SDK was answered in one session, where the dead man's switch asks for no volume."""
    without_gate = {"PERPSTRADER_PAPER_RULES__SCHEDULE_CANCEL_MIN_VOLUME_USD": "0"}
    return answers_of("sdk_desk.py", tmp_path_factory, worker_id, **without_gate)


def statuses(answer: dict[str, Any]) -> list[Any]:
    assert answer["status"] == "ok", answer
    found: list[Any] = answer["response"]["data"]["statuses"]
    return found


def error(answer: dict[str, Any]) -> str:
    [status] = statuses(answer)
    return str(status["error"])


def test_nothing_that_the_sdk_did_raised(said: dict[str, Any]) -> None:
    raised = {name: answer for name, answer in said.items() if isinstance(answer, dict) and "raised" in answer}
    assert raised == {}


def test_one_action_carries_orders_of_all_kinds_and_each_has_its_own_answer(said: dict[str, Any]) -> None:
    alo, gtc, ioc = statuses(said["bulk"])
    assert alo["resting"]["cloid"] == f"0x{1:032x}"
    assert gtc["resting"]["cloid"] == f"0x{2:032x}"
    assert ioc["error"].startswith("Order could not immediately match against any resting orders.")
    assert said["status_of_missed"]["order"]["status"] == "iocCancelRejected"
    assert error(said["alo_crosses"]).startswith("Post only order would have immediately matched, bbo was ")
    assert error(said["off_tick"]).startswith("Price must be divisible by tick size.")


def test_orders_are_changed_and_taken_back_by_either_id(said: dict[str, Any]) -> None:
    assert [list(status) for status in statuses(said["modify_by_cloid"])] == [["resting"]]
    changed = {status["resting"]["oid"] for status in statuses(said["bulk_modify"])}
    assert {order["oid"] for order in said["modified"]} == changed
    assert statuses(said["cancel_by_cloid"]) == ["success"]
    gone, success = statuses(said["bulk_cancel_by_cloid"])
    assert gone["error"].startswith("Order was never placed, already canceled, or filled.")
    assert success == "success"
    assert statuses(said["bulk_cancel"]) == ["success", "success"]
    assert said["none_left"] == []


def test_an_order_after_its_expiry_is_refused_and_a_noop_is_done(said: dict[str, Any]) -> None:
    assert said["expired"] == {"status": "err", "response": "Action already expired"}
    assert said["noop"] == DEFAULT


def test_children_are_armed_when_their_entry_fills(said: dict[str, Any]) -> None:
    entry, *children = statuses(said["normal_tpsl"])
    assert entry["filled"]["totalSz"] == "0.1"
    assert children == ["waitingForTrigger", "waitingForTrigger"]
    kinds = {order["orderType"]: order for order in said["armed"]}
    assert set(kinds) == {"Take Profit Limit", "Stop Market"}
    assert all(order["reduceOnly"] and order["sz"] == "0.1" for order in kinds.values())


def test_a_position_has_a_stop_and_a_target_of_its_own_size(said: dict[str, Any]) -> None:
    assert statuses(said["position_tpsl"]) == ["waitingForTrigger", "waitingForTrigger"]
    bound = [order for order in said["of_position"] if order["isPositionTpsl"]]
    assert sorted(order["orderType"] for order in bound) == ["Stop Market", "Take Profit Market"]
    left = [order for order in said["after_close"] if order["isPositionTpsl"]]
    assert left == [], "they end with the position"


def test_a_stop_may_be_a_limit_order_and_must_lie_on_its_side(said: dict[str, Any]) -> None:
    assert list(statuses(said["stop_limit"])[0]) == ["resting"]
    assert error(said["wrong_side"]).startswith("Invalid TP/SL price.")
    assert statuses(said["market_close"])[0]["filled"]["totalSz"] == "0.1"


def test_leverage_and_isolated_margin(said: dict[str, Any]) -> None:
    assert said["too_much"]["status"] == "err"
    assert said["isolated"] == said["margin_in"] == said["margin_out"] == DEFAULT
    assert said["switch"]["response"] == "Cannot switch leverage type with open position."
    before, after = (said[name]["assetPositions"][0]["position"] for name in ("isolated_before", "isolated_after"))
    assert (before["szi"], before["leverage"]["type"], before["leverage"]["value"]) == ("-1.0", "isolated", 3)
    assert float(after["leverage"]["rawUsd"]) == pytest.approx(float(before["leverage"]["rawUsd"]) + 100)
    assert float(after["liquidationPx"]) > float(before["liquidationPx"])
    assert statuses(said["isolated_close"])[0]["filled"]["totalSz"] == "1.0"


def test_agents_trade_for_their_master_and_strangers_do_not(said: dict[str, Any]) -> None:
    assert said["unnamed"][0] == said["named"][0] == DEFAULT
    assert list(statuses(said["agent_order"])[0]) == ["resting"]
    assert [agent["name"] for agent in said["agents"]] == ["night"]
    assert said["role"] == {"role": "user"}
    assert said["stranger"]["response"].startswith("User or API Wallet 0x")
    assert said["stranger"]["response"].endswith(" does not exist.")


def test_a_sub_account_trades_with_its_own_money(said: dict[str, Any]) -> None:
    assert "Required: $100000" in said["sub_account_too_soon"]["response"]
    address = said["sub_account"]["response"]["data"]
    assert said["sub_deposit"] == said["sub_withdraw"] == DEFAULT
    [order] = said["sub_open"]
    assert order["oid"] == statuses(said["sub_order"])[0]["resting"]["oid"]
    [account] = said["sub_accounts"]
    assert (account["subAccountUser"], account["name"], account["master"]) == (address, "second", said["user"])
    assert account["clearinghouseState"]["marginSummary"]["accountValue"] == "5000.0"
    assert said["sub_role"] == {"role": "subAccount", "data": {"master": said["user"]}}


def test_a_twap_by_raw_action_fills_in_slices_until_it_is_ended(said: dict[str, Any]) -> None:
    number = said["twap"]["response"]["data"]["status"]["running"]["twapId"]
    assert said["twap_cancel"]["response"]["data"]["status"] == "success"
    again = said["twap_cancel_again"]["response"]["data"]["status"]["error"]
    assert again == "TWAP was never placed, already canceled, or filled."
    assert said["twap_too_short"]["response"]["data"]["status"]["error"] == "Invalid TWAP duration: 1 min(s)"
    [first] = said["twap_fills"]
    assert (first["twapId"], first["fill"]["side"], first["fill"]["hash"]) == (number, "B", "0x" + "0" * 64)


def test_a_dead_mans_switch_cancels_what_rests(said: dict[str, Any]) -> None:
    assert "at least 5 seconds from now" in said["too_early"]["response"]
    assert said["schedule"] == DEFAULT
    assert said["scheduled"]["order"]["status"] == "scheduledCancel"


def test_every_read_has_the_venues_shape(said: dict[str, Any]) -> None:
    assert [row["name"] for row in said["meta"]["universe"]][:2] == ["BTC", "ETH"]
    universe, contexts = said["contexts"]
    assert len(universe["universe"]) == len(contexts)
    assert {"funding", "openInterest", "markPx", "oraclePx", "premium"} <= set(contexts[0])
    assert said["perp_dexs"] == [None]
    assert said["spot_contexts"] == [said["spot_meta"], []]
    assert len(said["book"]["levels"]) == 2
    assert said["candles"][-1]["i"] == "1m"
    assert isinstance(said["funding_history"], list)
    assert said["funding"] == []
    assert said["vaults"] == []
    assert said["abstraction"] in ("default", "disabled")
    assert said["unknown_order"] == {"status": "unknownOid"}
    assert [period for period, _ in said["portfolio"]][:3] == ["day", "week", "month"]


def test_fills_fees_and_flows_add_up_to_the_accounts_value(said: dict[str, Any]) -> None:
    newest, oldest = said["fills"], said["fills_by_time"]
    assert [fill["tid"] for fill in oldest] == sorted(fill["tid"] for fill in newest)
    assert sum(float(fill["sz"]) for fill in said["fills_together"]) == pytest.approx(
        sum(float(fill["sz"]) for fill in newest)
    )
    flows = sum(_flow(row["delta"], said["sub_account"]["response"]["data"]) for row in said["ledger"])
    earned = sum(float(fill["closedPnl"]) - float(fill["fee"]) for fill in newest)
    assert float(said["state"]["marginSummary"]["accountValue"]) == pytest.approx(flows + earned, abs=1e-3)
    rates = said["fees"]
    assert (rates["userCrossRate"], rates["userAddRate"]) == ("0.00045", "0.00015")
    volume = sum(float(fill["px"]) * float(fill["sz"]) for fill in newest)
    assert said["rate_limit"]["nRequestsCap"] == 10_000 + int(volume)


def test_every_channel_of_the_sdk_was_heard(said: dict[str, Any]) -> None:
    assert set(said["heard"]) == set(CHANNELS)
    assert said["heard"]["userFills"]["isSnapshot"]
    assert said["heard"]["activeAssetData"]["coin"] == "BTC"


def _flow(delta: dict[str, Any], sub_account: str) -> float:
    usd = float(delta["usdc"])
    return -usd if delta.get("destination") == sub_account else usd
