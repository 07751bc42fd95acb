"""The official Python SDK, in a process of its own, trades on ``perpstrader paper``."""

from __future__ import annotations

from typing import Any

import pytest
from tests.oracle.sessions import answers_of


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, Any]:
    """What the SDK was answered in one session, step by step."""
    return answers_of("sdk_client.py", tmp_path_factory, worker_id)


def _status(answer: dict[str, Any]) -> Any:
    assert answer["status"] == "ok", answer
    return answer["response"]["data"]["statuses"][0]


def test_an_address_is_funded_over_http(said: dict[str, Any]) -> None:
    assert said["fund"] == {"user": said["user"], "accountValue": "10000.0"}


def test_the_sdk_sets_leverage(said: dict[str, Any]) -> None:
    assert said["leverage"] == {"status": "ok", "response": {"type": "default"}}
    position = said["user_state"]["assetPositions"][0]["position"]
    assert position["leverage"] == {"type": "cross", "value": 5}


def test_the_sdk_rests_modifies_and_cancels_an_order(said: dict[str, Any]) -> None:
    first, second = _status(said["rest"])["resting"]["oid"], _status(said["modify"])["resting"]["oid"]
    assert said["open_orders"][0]["oid"] == first
    assert second != first
    assert said["order_status"]["order"]["status"] == "open"
    assert said["order_status"]["order"]["order"]["origSz"] == "0.02"
    assert _status(said["cancel"]) == "success"
    assert _status(said["cancel_again"])["error"].startswith("Order was never placed")
    assert any(row["status"] == "canceled" for row in said["ws_update"])


def test_the_sdk_opens_at_market_protects_and_closes_the_position(said: dict[str, Any]) -> None:
    assert _status(said["market_open"])["filled"]["totalSz"] == "0.05"
    assert said["by_cloid"]["order"]["status"] == "filled"
    assert "resting" in _status(said["stop"])
    stop = said["frontend_orders"][0]
    assert (stop["orderType"], stop["isTrigger"], stop["reduceOnly"]) == ("Stop Market", True, True)
    assert said["user_state"]["assetPositions"][0]["position"]["szi"] == "0.05"
    assert _status(said["market_close"])["filled"]["totalSz"] == "0.05"
    assert _status(said["cancel_stop"]) == "success"
    assert said["flat_state"]["assetPositions"] == []


def test_the_sdk_reads_fills_and_hears_of_them(said: dict[str, Any]) -> None:
    directions = {row["dir"] for row in said["fills"]}
    assert directions == {"Open Long", "Close Long"}
    assert said["ws_fill"]["user"] == said["user"]
    spent = sum(float(row["fee"]) - float(row["closedPnl"]) for row in said["fills"])
    assert float(said["flat_state"]["marginSummary"]["accountValue"]) == pytest.approx(10_000 - spent, abs=1e-3)


def test_the_sdk_hears_mids_and_reads_bars_and_the_book(said: dict[str, Any]) -> None:
    assert {"BTC", "ETH"} <= set(said["ws_mids"]["mids"])
    assert [bar["i"] for bar in said["candles"]] == ["1s"] * 3
    bids, asks = said["book"]["levels"]
    assert float(bids[0]["px"]) < float(asks[0]["px"])


def test_a_refusal_comes_in_the_venues_words(said: dict[str, Any]) -> None:
    assert _status(said["too_small"]) == {"error": "Order must have minimum value of $10. asset=0"}


def test_an_agent_that_the_sdk_approved_trades_for_its_master(said: dict[str, Any]) -> None:
    assert said["approve"] == {"status": "ok", "response": {"type": "default"}}
    assert "resting" in _status(said["agent_order"])
    assert said["agent_role"] == {"role": "agent", "data": {"user": said["user"]}}
