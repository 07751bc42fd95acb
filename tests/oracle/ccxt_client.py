"""A session of ccxt (asyncio) against any Hyperliquid URL, as a program of its own: prints what it was answered.

``python ccxt_client.py URL`` funds an account through ``/paper/fund``, trades, and writes one JSON object. ccxt signs
as on mainnet and pays its makers' builder where the venue lets it, both unlike the official SDK.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable
from typing import Any

import aiohttp
import ccxt.pro

KEY = "0x" + "6b" * 32
BTC, ETH = "BTC/USDC:USDC", "ETH/USDC:USDC"
WAIT_SECONDS = 30


def connect(url: str, user: str) -> Any:
    """ccxt's exchange, pointed to ``url`` by its own option."""
    exchange = ccxt.pro.hyperliquid({"walletAddress": user, "privateKey": KEY, "enableRateLimit": False})
    exchange.urls["api"] = {"public": url, "private": url, "ws": {"public": url.replace("http", "ws", 1) + "/ws"}}
    return exchange


async def refused(call: Awaitable[Any]) -> list[str]:
    """The class and the words of the error that ccxt makes of a refusal."""
    try:
        await call
    except ccxt.BaseError as error:
        return [type(error).__name__, str(error)]
    raise AssertionError("it was not refused")


async def soon(call: Awaitable[Any]) -> Any:
    """The next message of a watched stream."""
    return await asyncio.wait_for(call, WAIT_SECONDS)


async def look(exchange: Any, said: dict[str, Any]) -> float:
    """Markets, prices and bars; returns the middle of BTC's book."""
    markets = await exchange.load_markets()
    said["market"] = {key: markets[BTC][key] for key in ("id", "baseId", "contract", "active", "precision", "limits")}
    said["status"] = await exchange.fetch_status()
    said["time"] = await exchange.fetch_time()
    said["balance"] = await exchange.fetch_balance()
    said["tickers"] = await exchange.fetch_tickers([BTC, ETH])
    said["book"] = await exchange.fetch_order_book(BTC)
    said["bars"] = await exchange.fetch_ohlcv(BTC, "1m", limit=5)
    said["funding_rates"] = await exchange.fetch_funding_rates([BTC])
    said["open_interest"] = await exchange.fetch_open_interest(BTC)
    said["funding_rate_history"] = await exchange.fetch_funding_rate_history(BTC, limit=3)
    said["trading_fee"] = await exchange.fetch_trading_fee(BTC)
    return (said["book"]["bids"][0][0] + said["book"]["asks"][0][0]) / 2


async def rest_edit_and_cancel(exchange: Any, said: dict[str, Any], mid: float) -> None:
    """Orders that rest, one by one and in a batch."""
    low = round(mid * 0.9)
    said["leverage"] = await exchange.set_leverage(7, BTC, {"marginMode": "cross"})
    said["rest"] = await exchange.create_order(BTC, "limit", "buy", 0.01, low)
    oid = said["rest"]["id"]
    said["open"] = await exchange.fetch_open_orders(BTC)
    said["edit"] = await exchange.edit_order(oid, BTC, "limit", "buy", 0.02, low - 10)
    edited = said["edit"]["id"]
    said["order"] = await exchange.fetch_order(edited, BTC)
    said["cancel"] = await exchange.cancel_order(edited, BTC)
    said["cancelled"] = await exchange.fetch_order(edited, BTC)
    said["cancel_again"] = await refused(exchange.cancel_order(edited, BTC))
    cloid = "0x" + "ab" * 16
    high = round(said["tickers"][ETH]["last"] * 1.1)
    orders = [
        {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": low,
         "params": {"clientOrderId": cloid, "postOnly": True}},
        {"symbol": ETH, "type": "limit", "side": "sell", "amount": 0.5, "price": high,
         "params": {"clientOrderId": "0x" + "cd" * 16, "timeInForce": "Gtc"}},
    ]  # fmt: skip
    said["batch"] = await exchange.create_orders(orders)
    said["batch_open"] = await exchange.fetch_open_orders()
    said["cancel_by_cloid"] = await exchange.cancel_order(None, BTC, {"clientOrderId": cloid})
    said["cancel_many"] = await exchange.cancel_orders([said["batch"][1]["id"]], ETH)
    said["too_small"] = await refused(exchange.create_order(BTC, "limit", "buy", 0.00001, low))
    said["would_match"] = await refused(
        exchange.create_order(BTC, "limit", "buy", 0.01, round(mid * 1.02), {"postOnly": True})
    )


async def trade(exchange: Any, said: dict[str, Any], mid: float) -> None:
    """In at market, with a stop and a target, and out again."""
    said["open_market"] = await exchange.create_order(BTC, "market", "buy", 0.05, mid)
    said["positions"] = await exchange.fetch_positions([BTC])
    said["position"] = await exchange.fetch_position(BTC)
    stop, target = round(mid * 0.8), round(mid * 1.2)
    said["stop"] = await exchange.create_order(
        BTC, "market", "sell", 0.05, stop, {"stopLossPrice": stop, "reduceOnly": True}
    )
    said["target"] = await exchange.create_order(
        BTC, "limit", "sell", 0.05, target, {"takeProfitPrice": target, "reduceOnly": True}
    )
    said["protection"] = await exchange.fetch_open_orders(BTC)
    said["grouped"] = await exchange.create_order(
        BTC, "limit", "buy", 0.01, round(mid * 0.9),
        {"stopLoss": {"triggerPrice": stop, "type": "market", "price": stop}, "takeProfit": {"triggerPrice": target}},
    )  # fmt: skip
    said["with_children"] = await exchange.fetch_open_orders(BTC)
    said["close_market"] = await exchange.create_order(BTC, "market", "sell", 0.05, mid, {"reduceOnly": True})
    said["nothing_to_reduce"] = await refused(
        exchange.create_order(BTC, "market", "sell", 0.05, mid, {"reduceOnly": True})
    )
    said["trades"] = await exchange.fetch_my_trades(BTC)
    left = await exchange.fetch_open_orders(BTC)
    said["cancel_all"] = await exchange.cancel_orders([order["id"] for order in left], BTC) if left else []
    said["orders"] = await exchange.fetch_orders(BTC)
    said["closed"] = await exchange.fetch_closed_orders(BTC)
    said["flat"] = await exchange.fetch_positions([BTC])
    said["ledger"] = await exchange.fetch_ledger()
    said["deposits"] = await exchange.fetch_deposits()
    said["funding_history"] = await exchange.fetch_funding_history(BTC)
    said["balance_after"] = await exchange.fetch_balance()


async def isolated(exchange: Any, said: dict[str, Any]) -> None:
    """An isolated position on ETH: margin added and taken away."""
    said["isolated_mode"] = await exchange.set_margin_mode("isolated", ETH, {"leverage": 5})
    price = said["tickers"][ETH]["last"]
    said["isolated_open"] = await exchange.create_order(ETH, "market", "sell", 0.5, price)
    said["isolated_before"] = await exchange.fetch_position(ETH)
    said["margin_added"] = await exchange.add_margin(ETH, 50)
    said["isolated_after"] = await exchange.fetch_position(ETH)
    said["margin_taken"] = await exchange.reduce_margin(ETH, 20)
    said["isolated_closed"] = await exchange.create_order(ETH, "market", "buy", 0.5, price, {"reduceOnly": True})


async def twap(exchange: Any, said: dict[str, Any]) -> None:
    """Two hours of slices, broken off."""
    said["twap"] = await exchange.create_twap_order(BTC, "buy", 1, 7_200_000, {"randomize": False})
    said["twap_cancel"] = await exchange.cancel_order(said["twap"]["id"], BTC, {"twap": True})


async def watch(exchange: Any, said: dict[str, Any], mid: float) -> None:
    """The streams, and orders over the socket."""
    said["ws_book"] = await soon(exchange.watch_order_book(BTC))
    said["ws_ticker"] = await soon(exchange.watch_ticker(BTC))
    said["ws_trades"] = await soon(exchange.watch_trades(BTC))
    said["ws_bars"] = await soon(exchange.watch_ohlcv(BTC, "1m"))
    orders = asyncio.ensure_future(exchange.watch_orders(BTC))
    trades = asyncio.ensure_future(exchange.watch_my_trades(BTC))
    await asyncio.sleep(0.5)
    said["ws_placed"] = await soon(exchange.create_order_ws(BTC, "market", "buy", 0.02, mid))
    said["ws_orders"] = await soon(orders)
    said["ws_my_trades"] = await soon(trades)
    said["ws_rest"] = await soon(exchange.create_order_ws(BTC, "limit", "buy", 0.02, round(mid * 0.9)))
    oid = said["ws_rest"]["id"]
    said["ws_edit"] = await soon(exchange.edit_order_ws(oid, BTC, "limit", "buy", 0.03, round(mid * 0.9)))
    said["ws_cancel"] = await soon(exchange.cancel_order_ws(said["ws_edit"]["id"], BTC))
    await exchange.create_order(BTC, "market", "sell", 0.02, mid, {"reduceOnly": True})


async def session(url: str) -> dict[str, Any]:
    """What ccxt was answered, step by step."""
    user = ccxt.pro.hyperliquid.eth_get_address_from_private_key(KEY)
    said: dict[str, Any] = {"user": user.lower()}
    funds = {"user": user, "usd": "10000"}
    async with aiohttp.ClientSession() as http, http.post(f"{url}/paper/fund", json=funds) as answer:
        said["fund"] = await answer.json()
    exchange = connect(url, user)
    try:
        mid = await look(exchange, said)
        await rest_edit_and_cancel(exchange, said, mid)
        await trade(exchange, said, mid)
        await isolated(exchange, said)
        await twap(exchange, said)
        await watch(exchange, said, mid)
        said["builder"] = {key: exchange.options.get(key) for key in ("approvedBuilderFee", "builderFee", "refSet")}
    finally:
        await exchange.close()
    return said


if __name__ == "__main__":
    print(json.dumps(asyncio.run(session(sys.argv[1])), default=str))
