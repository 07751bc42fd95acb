"""The official Python SDK, in a process of its own, trades against the paper exchange on a port."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from perpstrader.paper.engine import Exchange
from perpstrader.paper.feeds import SyntheticFeed
from perpstrader.paper.server import PaperVenue
from perpstrader.paper.server.http import serve
from perpstrader.runtime import SystemClock

SCRIPT = Path(__file__).with_name("sdk_client.py")
DEADLINE_SECONDS = 120


async def _session() -> dict[str, Any]:
    feed = SyntheticFeed(3, time.time_ns() // 1_000_000, symbols=("BTC", "ETH"))
    venue = PaperVenue(Exchange(feed.assets), feed, SystemClock())
    server = await serve(venue, port=0)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as group:
            market = group.create_task(venue.run())
            client = await asyncio.create_subprocess_exec(
                sys.executable, str(SCRIPT), server.url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            try:
                output, errors = await client.communicate()
            finally:
                if client.returncode is None:
                    client.kill()
            market.cancel()
    finally:
        await server.close()
    assert client.returncode == 0, errors.decode()
    said: dict[str, Any] = json.loads(output)
    return said


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    """What the SDK was answered in one session, step by step."""
    return asyncio.run(_session())


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
    assert set(said["ws_mids"]["mids"]) == {"BTC", "ETH"}
    assert [bar["i"] for bar in said["candles"]] == ["1s"] * 3
    bids, asks = said["book"]["levels"]
    assert float(bids[0]["px"]) < float(asks[0]["px"])


def test_a_refusal_comes_in_the_venues_words(said: dict[str, Any]) -> None:
    assert _status(said["too_small"]) == {"error": "Order must have minimum value of $10. asset=0"}


def test_an_agent_that_the_sdk_approved_trades_for_its_master(said: dict[str, Any]) -> None:
    assert said["approve"] == {"status": "ok", "response": {"type": "default"}}
    assert "resting" in _status(said["agent_order"])
    assert said["agent_role"] == {"role": "agent", "data": {"user": said["user"]}}
