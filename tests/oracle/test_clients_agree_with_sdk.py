"""The same business through the official SDK and through both builds of our client gives equal results.

Each has an account of its own on one exchange whose market stands still, so that prices, fees and margins are the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import eth_account
import pytest
from hyperliquid.exchange import Exchange as SdkExchange
from hyperliquid.info import Info
from hyperliquid.utils.signing import get_timestamp_ms, sign_l1_action
from hyperliquid.utils.types import Cloid
from tests.scenario.market import ScriptedFeed, calm

from perpstrader.domain import TimeInForce, Trigger
from perpstrader.paper.engine import EngineConfig, Exchange
from perpstrader.paper.server import PaperVenue
from perpstrader.paper.server.http import serve
from perpstrader.runtime import SystemClock
from perpstrader.runtime.http import HttpTransport
from perpstrader.venue import HyperliquidClient, NonceSource, Signer, WireEncoder
from perpstrader.venue import contract as c
from perpstrader.venue.baseline import HyperliquidClient as BaselineClient
from perpstrader.venue.calls import VenueCalls

FUNDS_USD = 10_000
NAMES = ("sdk", "optimized", "baseline")
KEYS = {name: "0x" + f"{number:02x}" * 32 for number, name in enumerate(NAMES, start=0x41)}
TIFS = {TimeInForce.GTC: "Gtc", TimeInForce.ALO: "Alo", TimeInForce.IOC: "Ioc"}
Results = dict[str, Any]


def cloid(number: int) -> str:
    return f"0x{number:032x}"


def request(number: int, price: int, size: str = "0.01", tif: TimeInForce = TimeInForce.GTC, **more: Any) -> Any:
    """A bid for BTC, unless it is said otherwise."""
    plain = {"symbol": "BTC", "buy": True, "reduce_only": False}
    return c.OrderRequest(
        size=Decimal(size), limit_price=Decimal(price), tif=tif, cloid=cloid(number), **(plain | more)
    )  # fmt: skip


def stop(price: int, *, is_stop: bool) -> Trigger:
    return Trigger(price=Decimal(price), is_stop=is_stop)


BULK = (
    request(1, 54_000, tif=TimeInForce.ALO), request(2, 54_000, tif=TimeInForce.IOC), request(3, 54_001),
    request(4, 54_002, "0.0001"),
)  # fmt: skip
CROSSING = request(5, 66_000, tif=TimeInForce.ALO)
CHANGED = request(1, 53_990, "0.02", TimeInForce.ALO)
ENTRY = (
    request(6, 66_000, "0.05", TimeInForce.IOC),
    request(7, 70_000, "0.05", buy=False, reduce_only=True, trigger=stop(70_000, is_stop=False)),
    request(8, 49_000, "0.05", buy=False, reduce_only=True, trigger=stop(55_000, is_stop=True)),
)
WRONG_SIDE = request(9, 49_000, "0.05", buy=False, reduce_only=True, trigger=stop(65_000, is_stop=True))
CLOSE = request(10, 55_000, "0.05", TimeInForce.IOC, buy=False, reduce_only=True)
AGAIN = request(11, 55_000, "0.05", TimeInForce.IOC, buy=False, reduce_only=True)
SHORT = request(12, 2_900, "1", TimeInForce.IOC, symbol="ETH", buy=False)
COVER = request(13, 3_100, "1", TimeInForce.IOC, symbol="ETH", reduce_only=True)
LATE = request(14, 54_000)


class Sdk:
    """The steps as the SDK has them."""

    def __init__(self, url: str, key: str) -> None:
        self.wallet = eth_account.Account.from_key(key)
        self.user = self.wallet.address
        self.info = Info(url, skip_ws=True, timeout=10)
        self.exchange = SdkExchange(self.wallet, url, timeout=10)

    def place(self, *orders: c.OrderRequest, grouping: str = "na") -> list[Any]:
        return _told(self.exchange.bulk_orders([_plain(order) for order in orders], grouping=grouping))

    def cancel(self, *numbers: int) -> list[Any]:
        wanted = [{"coin": "BTC", "cloid": Cloid(cloid(number))} for number in numbers]
        return _told(self.exchange.bulk_cancel_by_cloid(wanted))

    def raw(self, action: dict[str, Any]) -> list[Any]:
        nonce = get_timestamp_ms()
        signature = sign_l1_action(self.wallet, action, None, nonce, None, False)
        return _told(self.exchange._post_action(action, signature, nonce))

    def change(self, number: int, order: c.OrderRequest) -> list[Any]:
        plain = _plain(order)
        return _told(self.exchange.bulk_modify_orders_new([{"oid": Cloid(cloid(number)), "order": plain}]))

    def expired(self, order: c.OrderRequest) -> list[Any]:
        self.exchange.set_expires_after(get_timestamp_ms() - 1_000)
        told = self.place(order)
        self.exchange.set_expires_after(None)
        return told

    def listed(self) -> list[Any]:
        return sorted(
            (row["cloid"], row["side"] == "B", Decimal(row["sz"]), Decimal(row["limitPx"]), row["reduceOnly"],
             Decimal(row["triggerPx"]) if row["isTrigger"] else None)
            for row in self.info.frontend_open_orders(self.user)
        )  # fmt: skip

    def account(self) -> Any:
        state = self.info.user_state(self.user)
        positions = {
            row["position"]["coin"]: (
                Decimal(row["position"]["szi"]), Decimal(row["position"]["entryPx"]),
                Decimal(row["position"]["marginUsed"]), row["position"]["leverage"]["value"],
                row["position"]["leverage"]["type"] == "cross", row["position"]["liquidationPx"],
            )
            for row in state["assetPositions"]
        }  # fmt: skip
        return Decimal(state["marginSummary"]["accountValue"]), Decimal(state["withdrawable"]), positions

    def statuses(self, *numbers: int) -> list[str]:
        found = [self.info.query_order_by_cloid(self.user, Cloid(cloid(number))) for number in numbers]
        return [row["order"]["status"] if row["status"] == "order" else row["status"] for row in found]

    def fills(self) -> list[Any]:
        rows = self.info.user_fills_by_time(self.user, 0)
        return [
            (row["coin"], row["side"] == "B", Decimal(row["px"]), Decimal(row["sz"]), Decimal(row["fee"]),
             Decimal(row["closedPnl"]), row["crossed"]) for row in rows
        ]  # fmt: skip

    def run(self) -> Results:
        """Every step, in their order."""
        x, said = self.exchange, Results()
        said["leverage"] = _told(x.update_leverage(5, "BTC"))
        said["leverage too high"] = _told(x.update_leverage(1_000, "BTC"))
        said["bulk"] = self.place(*BULK)
        said["crossing"] = self.place(CROSSING)
        said["change"] = self.change(1, CHANGED)
        said["listed"] = self.listed()
        said["cancel"] = self.cancel(1, 3)
        said["cancel again"] = self.cancel(1)
        said["entry"] = self.place(*ENTRY, grouping="normalTpsl")
        said["protected"] = self.listed()
        said["account"] = self.account()
        said["wrong side"] = self.place(WRONG_SIDE)
        said["close"] = self.place(CLOSE)
        said["close again"] = self.place(AGAIN)
        said["isolated"] = _told(x.update_leverage(3, "ETH", is_cross=False))
        said["short"] = self.place(SHORT)
        said["margin"] = _told(x.update_isolated_margin(100.0, "ETH"))
        said["isolated account"] = self.account()
        said["cover"] = self.place(COVER)
        said["expired"] = self.expired(LATE)
        said["scheduled"] = _told(x.schedule_cancel(get_timestamp_ms() + 60_000))
        said["unscheduled"] = self.raw({"type": "scheduleCancel"})
        said["twap"] = self.raw(
            {"type": "twapOrder", "twap": {"a": 0, "b": True, "s": "1", "r": False, "m": 1, "t": False}}
        )
        said["noop"] = _told(x.noop(get_timestamp_ms()))
        said["flat"] = self.account()
        said["statuses"] = self.statuses(*range(1, 16))
        said["fills"] = self.fills()
        limit = self.info.user_rate_limit(self.user)
        said["rate limit"] = (limit["nRequestsUsed"], limit["nRequestsCap"])
        said["role"] = self.info.user_role(self.user)["role"]
        said["mids"] = {coin: Decimal(mid) for coin, mid in self.info.all_mids().items()}
        said["universe"] = {
            row["name"]: (row["szDecimals"], row["maxLeverage"]) for row in self.info.meta()["universe"]
        }
        book = self.info.l2_snapshot("BTC")["levels"]
        said["book"] = [[Decimal(row["px"]) for row in side] for side in book]
        return said


class Ours:
    """The same steps as our contract has them."""

    def __init__(self, client: VenueCalls, clock: SystemClock) -> None:
        self.client = client
        self.clock = clock

    async def place(self, *orders: c.OrderRequest, **more: Any) -> list[Any]:
        return [_of(ack) for ack in await self.client.place(orders, **more)]

    async def cancel(self, *numbers: int) -> list[Any]:
        return [_of(ack) for ack in await self.client.cancel([("BTC", cloid(number)) for number in numbers])]

    async def listed(self) -> list[Any]:
        return sorted(
            (row.cloid, row.buy, row.size, row.limit_price, row.reduce_only, row.trigger_price)
            for row in await self.client.open_orders()
        )

    async def account(self) -> Any:
        state = await self.client.account()
        positions = {
            symbol: (
                row.size, row.entry_price, row.margin_used_usd, row.leverage, row.is_cross,
                None if row.liquidation_price is None else f"{row.liquidation_price:f}",
            )
            for symbol, row in state.positions.items()
        }  # fmt: skip
        return state.equity_usd, state.available_usd, positions

    async def run(self) -> Results:
        """Every step, in their order."""
        k, said = self.client, Results()
        metadata = await k.metadata()
        said["leverage"] = [_of(await k.set_leverage("BTC", 5))]
        said["leverage too high"] = [_of(await k.set_leverage("BTC", 1_000))]
        said["bulk"] = await self.place(*BULK)
        said["crossing"] = await self.place(CROSSING)
        said["change"] = [_of(await k.modify(cloid(1), CHANGED))]
        said["listed"] = await self.listed()
        said["cancel"] = await self.cancel(1, 3)
        said["cancel again"] = await self.cancel(1)
        said["entry"] = await self.place(*ENTRY, grouping=c.Grouping.ENTRY_WITH_CHILDREN)
        said["protected"] = await self.listed()
        said["account"] = await self.account()
        said["wrong side"] = await self.place(WRONG_SIDE)
        said["close"] = await self.place(CLOSE)
        said["close again"] = await self.place(AGAIN)
        said["isolated"] = [_of(await k.set_leverage("ETH", 3, cross=False))]
        said["short"] = await self.place(SHORT)
        said["margin"] = [_of(await k.change_isolated_margin("ETH", Decimal(100)))]
        said["isolated account"] = await self.account()
        said["cover"] = await self.place(COVER)
        said["expired"] = await self.place(LATE, expires_ms=self.clock.now_ms() - 1_000)
        said["scheduled"] = [_of(await k.schedule_cancel(self.clock.now_ms() + 60_000))]
        said["unscheduled"] = [_of(await k.schedule_cancel(None))]
        twap = c.TwapRequest(symbol="BTC", buy=True, size=Decimal(1), reduce_only=False, minutes=1, randomize=False)
        said["twap"] = [_of(await k.place_twap(twap))]
        said["noop"] = [_of(await k.noop())]
        said["flat"] = await self.account()
        said["statuses"] = [(await k.order(cloid(number))).status for number in range(1, 16)]
        said["fills"] = [
            (fill.symbol, fill.buy, fill.price, fill.size, fill.fee_usd, fill.closed_pnl_usd, fill.crossed)
            for fill in await k.fills(0)
        ]
        limit = await k.rate_limit()
        said["rate limit"] = (limit.used, limit.cap)
        said["role"] = (await k.role(k.account_address))[0]
        said["mids"] = dict(await k.mids())
        said["universe"] = {name: (asset.size_decimals, asset.max_leverage) for name, asset in metadata.items()}
        book = await k.book("BTC")
        said["book"] = [[level.price for level in side] for side in (book.bids, book.asks)]
        return said


def _plain(order: c.OrderRequest) -> dict[str, Any]:
    kind: dict[str, Any] = {"limit": {"tif": TIFS[order.tif]}}
    if order.trigger is not None:
        tpsl = "sl" if order.trigger.is_stop else "tp"
        kind = {"trigger": {"isMarket": True, "triggerPx": float(order.trigger.price), "tpsl": tpsl}}
    return {
        "coin": order.symbol, "is_buy": order.buy, "sz": float(order.size), "limit_px": float(order.limit_price),
        "order_type": kind, "reduce_only": order.reduce_only, "cloid": Cloid(order.cloid),
    }  # fmt: skip


def _told(answer: Mapping[str, Any]) -> list[Any]:
    """The SDK's answer in common words, one an order."""
    if answer["status"] == "err":
        return [("rejected", answer["response"])]
    if answer["response"]["type"] == "default":
        return ["done"]
    data = answer["response"]["data"]
    return [_status(status) for status in data.get("statuses") or [data["status"]]]


def _status(status: Any) -> Any:
    if isinstance(status, str):
        return "canceled" if status == "success" else ("waiting", status)
    if "filled" in status:
        return "filled", Decimal(status["filled"]["totalSz"]), Decimal(status["filled"]["avgPx"])
    if "error" in status:
        gone = status["error"].startswith("Order was never placed")
        return "already gone" if gone else ("rejected", status["error"])
    return next(iter(status))


def _of(ack: Any) -> Any:
    """One acknowledgement of ours in common words."""
    match ack:
        case c.Filled():
            return "filled", ack.size, ack.average_price
        case c.Rejected():
            return "rejected", ack.text
        case c.Waiting():
            return "waiting", ack.text
        case c.Resting():
            return "resting"
        case c.Canceled():
            return "canceled"
        case c.AlreadyGone():
            return "already gone"
        case c.Done() | c.LeverageSet():
            return "done"
    raise AssertionError(f"nobody foresaw {ack}")


def _client(name: str, url: str, clock: SystemClock) -> VenueCalls:
    signer, nonces = Signer(KEYS[name], mainnet=False), NonceSource(clock, 0, lambda mark: None)
    if name == "baseline":
        return BaselineClient(HttpTransport(url), clock, KEYS[name], nonces, account=signer.address)
    return HyperliquidClient(
        HttpTransport(url), clock, WireEncoder(signer), nonces, account=signer.address, coalesce_ms=5
    )


async def _all_three() -> dict[str, Results]:
    clock = SystemClock()
    feed = ScriptedFeed({"BTC": calm(60_000), "ETH": calm(3_000)}, start_ms=time.time_ns() // 1_000_000)
    venue = PaperVenue(Exchange(feed.assets, EngineConfig(schedule_cancel_min_volume=0)), feed, clock)
    server = await serve(venue, port=0)
    results: dict[str, Results] = {}
    try:
        async with asyncio.TaskGroup() as group:
            market = group.create_task(venue.run())
            await venue.opened.wait()
            for name in NAMES:
                venue.fund(Signer(KEYS[name], mainnet=False).address, FUNDS_USD * 1_000_000)
                results[name] = await _one(name, server.url, clock)
            market.cancel()
    finally:
        await server.close()
    return results


async def _one(name: str, url: str, clock: SystemClock) -> Results:
    if name == "sdk":
        return await asyncio.to_thread(lambda: Sdk(url, KEYS[name]).run())
    client = _client(name, url, clock)
    try:
        return await Ours(client, clock).run()
    finally:
        await client.close()


@pytest.fixture(scope="module")
def results() -> dict[str, Results]:
    """What each of the three was told, step by step."""
    return asyncio.run(_all_three())


@pytest.mark.parametrize("build", NAMES[1:])
def test_the_same_calls_give_equal_results(build: str, results: dict[str, Results]) -> None:
    theirs, ours = results["sdk"], results[build]
    assert list(ours) == list(theirs)
    different = {step: (theirs[step], ours[step]) for step in theirs if theirs[step] != ours[step]}
    assert different == {}


def test_the_steps_meet_every_kind_of_answer(results: dict[str, Results]) -> None:
    said = results["sdk"]
    assert said["bulk"] == [
        "resting", ("rejected", "Order could not immediately match against any resting orders. asset=0"), "resting",
        ("rejected", "Order must have minimum value of $10. asset=0"),
    ]  # fmt: skip
    assert said["cancel"] == ["canceled", "canceled"]
    assert said["cancel again"] == ["already gone"]
    assert [answer[0] for answer in said["entry"]] == ["filled", "waiting", "waiting"]
    assert [row[0] for row in said["protected"]] == [cloid(7), cloid(8)]
    assert said["expired"] == [("rejected", "Action already expired")]
    assert said["statuses"][-1] == "unknownOid"
    assert said["flat"][2] == {}
    assert len(said["fills"]) == 4
