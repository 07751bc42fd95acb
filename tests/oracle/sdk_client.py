"""A session of the official SDK against any Hyperliquid URL, as a program of its own: prints what it was answered.

``python sdk_client.py URL`` funds an account through ``/paper/fund``, trades, and writes one JSON object.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import eth_account
import requests
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info
from hyperliquid.utils.types import Cloid

WAIT_SECONDS = 30
KEY = "0x" + "5a" * 32


class Heard:
    """The messages of one subscription, and a wait for the first that fits."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, message: Any) -> None:
        with self._changed:
            self.messages.append(message["data"])
            self._changed.notify_all()

    def wait_for(self, fits: Any) -> Any:
        """The first message that fits."""
        with self._changed:
            self._changed.wait_for(lambda: any(map(fits, self.messages)), timeout=WAIT_SECONDS)
            return next(message for message in self.messages if fits(message))


def trade(url: str) -> dict[str, Any]:
    """What the SDK was answered, step by step."""
    wallet = eth_account.Account.from_key(KEY)
    user = wallet.address
    said: dict[str, Any] = {"user": user.lower()}
    said["fund"] = requests.post(f"{url}/paper/fund", json={"user": user, "usd": "10000"}, timeout=10).json()
    info = Info(url, timeout=10)
    exchange = Exchange(wallet, url, timeout=10)
    mids, fills, updates = Heard(), Heard(), Heard()
    info.subscribe({"type": "allMids"}, mids)
    info.subscribe({"type": "userFills", "user": user}, fills)
    info.subscribe({"type": "orderUpdates", "user": user}, updates)
    fills.wait_for(lambda data: data.get("isSnapshot"))
    said["ws_mids"] = mids.wait_for(lambda data: "BTC" in data["mids"])
    mid = float(info.all_mids()["BTC"])
    low = float(round(mid * 0.9))

    said["leverage"] = exchange.update_leverage(5, "BTC")
    said["rest"] = exchange.order("BTC", True, 0.01, low, {"limit": {"tif": "Gtc"}})
    oid = said["rest"]["response"]["data"]["statuses"][0]["resting"]["oid"]
    said["open_orders"] = info.open_orders(user)
    said["modify"] = exchange.modify_order(oid, "BTC", True, 0.02, low - 10, {"limit": {"tif": "Gtc"}})
    oid = said["modify"]["response"]["data"]["statuses"][0]["resting"]["oid"]
    said["order_status"] = info.query_order_by_oid(user, oid)
    said["cancel"] = exchange.cancel("BTC", oid)
    said["cancel_again"] = exchange.cancel("BTC", oid)

    cloid = Cloid.from_int(77)
    said["market_open"] = exchange.market_open("BTC", True, 0.05, cloid=cloid)
    said["by_cloid"] = info.query_order_by_cloid(user, cloid)
    trigger = float(round(mid * 0.8))
    stop = {"trigger": {"isMarket": True, "triggerPx": trigger, "tpsl": "sl"}}
    said["stop"] = exchange.order("BTC", False, 0.05, float(round(trigger * 0.9)), stop, reduce_only=True)
    said["frontend_orders"] = info.frontend_open_orders(user)
    said["user_state"] = info.user_state(user)
    said["market_close"] = exchange.market_close("BTC")
    stop_oid = said["frontend_orders"][0]["oid"]
    said["cancel_stop"] = exchange.cancel("BTC", stop_oid)
    said["flat_state"] = info.user_state(user)
    said["fills"] = info.user_fills(user)
    said["ws_fill"] = fills.wait_for(lambda data: any(row["dir"] == "Close Long" for row in data["fills"]))
    said["ws_update"] = updates.wait_for(lambda data: any(row["status"] == "canceled" for row in data))
    said["too_small"] = exchange.order("BTC", True, 0.00001, low, {"limit": {"tif": "Gtc"}})

    said["approve"], agent_key = exchange.approve_agent("desk")
    agent = Exchange(eth_account.Account.from_key(agent_key), url, account_address=user, timeout=10)
    said["agent_order"] = agent.order("BTC", True, 0.01, low, {"limit": {"tif": "Alo"}})
    said["agent_role"] = info.post("/info", {"type": "userRole", "user": agent.wallet.address})
    said["candles"] = info.candles_snapshot("BTC", "1s", 0, 2**42)[-3:]
    said["book"] = info.l2_snapshot("BTC")
    info.disconnect_websocket()
    return said


if __name__ == "__main__":
    print(json.dumps(trade(sys.argv[1])))
