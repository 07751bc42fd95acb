"""Everything that a trading desk does through the official SDK's public API, against any Hyperliquid URL.

``python sdk_desk.py URL`` funds an account through ``/paper/fund`` and writes one JSON object: the answer of each step,
or what the SDK raised.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import eth_account
import requests
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info
from hyperliquid.utils.signing import get_timestamp_ms, sign_l1_action
from hyperliquid.utils.types import Cloid

WAIT_SECONDS = 30
KEY = "0x" + "3c" * 32
GTC, ALO, IOC = ({"limit": {"tif": tif}} for tif in ("Gtc", "Alo", "Ioc"))
CHANNELS = (
    "allMids", "bbo", "l2Book", "trades", "candle", "activeAssetCtx", "activeAssetData", "userEvents", "userFills",
    "orderUpdates", "userFundings", "userNonFundingLedgerUpdates", "webData2",
)  # fmt: skip
_COIN = ("bbo", "l2Book", "trades", "candle", "activeAssetCtx", "activeAssetData")
_USER = CHANNELS[6:]


class Session:
    """The SDK's two halves, and what they were answered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.wallet = eth_account.Account.from_key(KEY)
        self.user = self.wallet.address
        self.said: dict[str, Any] = {"user": self.user.lower()}
        requests.post(f"{url}/paper/fund", json={"user": self.user, "usd": "1000000"}, timeout=10).raise_for_status()
        self.info = Info(url, timeout=10)
        self.exchange = Exchange(self.wallet, url, timeout=10)
        self.mid = float(self.info.all_mids()["BTC"])
        self.low, self.high = float(round(self.mid * 0.9)), float(round(self.mid * 1.1))

    def step(self, name: str, call: Callable[[], Any]) -> Any:
        """Note the answer, or the error, and go on."""
        try:
            self.said[name] = call()
        except Exception as error:
            self.said[name] = {"raised": f"{type(error).__name__}: {error}"}
        return self.said[name]

    def raw(self, name: str, action: dict[str, Any]) -> Any:
        """An action that the SDK has no method for, signed and posted by its own parts."""
        nonce = get_timestamp_ms()
        signature = sign_l1_action(self.wallet, action, None, nonce, None, False)
        return self.step(name, lambda: self.exchange._post_action(action, signature, nonce))


def listen(session: Session) -> Callable[[], None]:
    """Subscribe to every channel that the SDK knows; the function returned waits until each was heard, and notes it."""
    heard: dict[str, Any] = {}
    changed = threading.Condition()

    def take(channel: str) -> Callable[[Any], None]:
        def on(message: Any) -> None:
            with changed:
                heard.setdefault(channel, message["data"])
                changed.notify_all()

        return on

    for channel in CHANNELS:
        asked = {"type": channel}
        if channel in _COIN:
            asked["coin"] = "BTC"
        if channel in _USER:
            asked["user"] = session.user
        if channel == "candle":
            asked["interval"] = "1s"
        session.info.subscribe(asked, take(channel))

    def wait() -> None:
        with changed:
            changed.wait_for(lambda: len(heard) == len(CHANNELS), timeout=WAIT_SECONDS)
            session.said["heard"] = dict(heard)

    return wait


def orders_of_every_kind(s: Session) -> None:
    """Several in one action, changed and taken back by both kinds of id."""
    first, second, third = (Cloid.from_int(number) for number in (1, 2, 3))

    def order(cloid: Cloid, kind: dict[str, Any], price: float, size: float = 0.01) -> dict[str, Any]:
        return {
            "coin": "BTC", "is_buy": True, "sz": size, "limit_px": price, "order_type": kind, "reduce_only": False,
            "cloid": cloid,
        }  # fmt: skip

    s.step("bulk", lambda: s.exchange.bulk_orders(
        [order(first, ALO, s.low), order(second, GTC, s.low + 5), order(third, IOC, s.low)]
    ))  # fmt: skip
    s.step("status_of_missed", lambda: s.info.query_order_by_cloid(s.user, third))
    s.step("alo_crosses", lambda: s.exchange.order("BTC", True, 0.01, s.high, ALO))
    s.step("off_tick", lambda: s.exchange.order("BTC", True, 0.01, s.low + 0.25, GTC))
    s.step("modify_by_cloid", lambda: s.exchange.modify_order(first, "BTC", True, 0.02, s.low - 1, ALO, cloid=first))
    s.step("bulk_modify", lambda: s.exchange.bulk_modify_orders_new(
        [{"oid": first, "order": order(first, GTC, s.low - 2)}, {"oid": second, "order": order(second, GTC, s.low - 3)}]
    ))  # fmt: skip
    s.step("modified", lambda: s.info.open_orders(s.user))
    s.step("cancel_by_cloid", lambda: s.exchange.cancel_by_cloid("BTC", first))
    s.step("bulk_cancel_by_cloid", lambda: s.exchange.bulk_cancel_by_cloid(
        [{"coin": "BTC", "cloid": first}, {"coin": "BTC", "cloid": second}]
    ))  # fmt: skip
    rests = [s.exchange.order("BTC", False, 0.01, s.high + n, GTC) for n in range(2)]
    oids = [rest["response"]["data"]["statuses"][0]["resting"]["oid"] for rest in rests]
    s.step("bulk_cancel", lambda: s.exchange.bulk_cancel([{"coin": "BTC", "oid": oid} for oid in oids]))
    s.step("none_left", lambda: s.info.open_orders(s.user))
    s.exchange.set_expires_after(get_timestamp_ms() - 1_000)
    s.step("expired", lambda: s.exchange.order("BTC", True, 0.01, s.low, GTC))
    s.exchange.set_expires_after(None)
    s.step("noop", lambda: s.exchange.noop(get_timestamp_ms()))


def stops(s: Session) -> None:
    """Children of an entry, stops of a position, and one that is a limit order once it fires."""

    def trigger(tpsl: str, share: float, *, market: bool, size: float) -> dict[str, Any]:
        price = float(round(s.mid * share))
        kind = {"trigger": {"isMarket": market, "triggerPx": price, "tpsl": tpsl}}
        limit = float(round(price * 0.9)) if market and tpsl == "sl" else price
        return {
            "coin": "BTC", "is_buy": False, "sz": size, "limit_px": limit, "order_type": kind, "reduce_only": True,
        }  # fmt: skip

    entry = {"coin": "BTC", "is_buy": True, "sz": 0.1, "limit_px": s.high, "order_type": IOC, "reduce_only": False}
    target, stop = trigger("tp", 1.2, market=False, size=0.1), trigger("sl", 0.8, market=True, size=0.1)
    s.step("normal_tpsl", lambda: s.exchange.bulk_orders([entry, target, stop], grouping="normalTpsl"))
    s.step("armed", lambda: s.info.frontend_open_orders(s.user))
    s.step("position_tpsl", lambda: s.exchange.bulk_orders(
        [trigger("tp", 1.3, market=True, size=0), trigger("sl", 0.7, market=True, size=0)], grouping="positionTpsl"
    ))  # fmt: skip
    s.step("of_position", lambda: s.info.frontend_open_orders(s.user))
    limit = trigger("sl", 0.75, market=False, size=0.1)
    limit["limit_px"] = float(round(s.mid * 0.74))
    s.step("stop_limit", lambda: s.exchange.bulk_orders([limit]))
    s.step("wrong_side", lambda: s.exchange.bulk_orders([trigger("sl", 1.2, market=True, size=0.1)]))
    s.step("market_close", lambda: s.exchange.market_close("BTC"))
    s.step("after_close", lambda: s.info.frontend_open_orders(s.user))
    for order in s.said["after_close"]:
        s.exchange.cancel("BTC", order["oid"])


def margin(s: Session) -> None:
    """Leverage of both kinds, and margin of a position."""
    s.step("too_much", lambda: s.exchange.update_leverage(1_000, "ETH"))
    s.step("isolated", lambda: s.exchange.update_leverage(3, "ETH", is_cross=False))
    s.step("isolated_open", lambda: s.exchange.market_open("ETH", False, 1.0))
    s.step("switch", lambda: s.exchange.update_leverage(3, "ETH", is_cross=True))
    s.step("isolated_before", lambda: s.info.user_state(s.user))
    s.step("margin_in", lambda: s.exchange.update_isolated_margin(100.0, "ETH"))
    s.step("isolated_after", lambda: s.info.user_state(s.user))
    s.step("margin_out", lambda: s.exchange.update_isolated_margin(-50.0, "ETH"))
    s.step("isolated_close", lambda: s.exchange.market_close("ETH"))


def others(s: Session) -> None:
    """Agents and sub-accounts."""
    s.step("unnamed", lambda: list(s.exchange.approve_agent()))
    key = s.said["unnamed"][1]
    agent = eth_account.Account.from_key(key)
    hand = Exchange(agent, s.url, account_address=s.user, timeout=10)
    s.step("agent_order", lambda: hand.order("BTC", True, 0.01, s.low, ALO))
    s.step("named", lambda: list(s.exchange.approve_agent("night")))
    s.step("agents", lambda: s.info.extra_agents(s.user))
    s.step("role", lambda: s.info.user_role(s.user))
    stranger = Exchange(eth_account.Account.from_key("0x" + "77" * 32), s.url, account_address=s.user, timeout=10)
    s.step("stranger", lambda: stranger.order("BTC", True, 0.01, s.low, ALO))
    s.step("sub_account_too_soon", lambda: s.exchange.create_sub_account("second"))
    s.exchange.market_open("BTC", True, 0.6)  # sub-accounts are for those who have traded 100,000 USD
    s.exchange.market_close("BTC")
    s.step("sub_account", lambda: s.exchange.create_sub_account("second"))
    sub = s.said["sub_account"]["response"]["data"]
    s.step("sub_deposit", lambda: s.exchange.sub_account_transfer(sub, True, 5_000_000_000))
    second = Exchange(s.wallet, s.url, vault_address=sub, timeout=10)
    s.step("sub_order", lambda: second.order("BTC", True, 0.01, s.low, GTC))
    s.step("sub_open", lambda: s.info.open_orders(sub))
    s.step("sub_accounts", lambda: s.info.query_sub_accounts(s.user))
    s.step("sub_role", lambda: s.info.user_role(sub))
    s.step("sub_withdraw", lambda: s.exchange.sub_account_transfer(sub, False, 1_000_000_000))
    s.step("cancel_agents", lambda: s.exchange.cancel(
        "BTC", s.said["agent_order"]["response"]["data"]["statuses"][0]["resting"]["oid"]
    ))  # fmt: skip


def slices(s: Session) -> None:
    """A TWAP by raw action, which the SDK has no method for; and the dead man's switch."""
    twap = {"a": 0, "b": True, "s": "1", "r": False, "m": 30, "t": False}
    s.raw("twap", {"type": "twapOrder", "twap": twap})
    with contextlib.suppress(KeyError, TypeError):
        number = s.said["twap"]["response"]["data"]["status"]["running"]["twapId"]
        s.raw("twap_cancel", {"type": "twapCancel", "a": 0, "t": number})
        s.raw("twap_cancel_again", {"type": "twapCancel", "a": 0, "t": number})
    s.raw("twap_too_short", {"type": "twapOrder", "twap": twap | {"m": 1}})
    s.step("twap_fills", lambda: s.info.user_twap_slice_fills(s.user))
    s.step("close_twap", lambda: s.exchange.market_close("BTC"))
    s.step("rest", lambda: s.exchange.order("BTC", True, 0.01, s.low, GTC))
    s.step("too_early", lambda: s.exchange.schedule_cancel(get_timestamp_ms() + 1_000))
    s.step("schedule", lambda: s.exchange.schedule_cancel(get_timestamp_ms() + 6_000))
    end = time.monotonic() + WAIT_SECONDS
    while s.info.open_orders(s.user) and time.monotonic() < end:
        time.sleep(0.25)
    oid = s.said["rest"]["response"]["data"]["statuses"][0]["resting"]["oid"]
    s.step("scheduled", lambda: s.info.query_order_by_oid(s.user, oid))


def reads(s: Session) -> None:
    """What is asked of the venue and of the account, by the SDK's own methods."""
    user, info = s.user, s.info
    calls: dict[str, Callable[[], Any]] = {
        "meta": info.meta, "contexts": info.meta_and_asset_ctxs, "perp_dexs": info.perp_dexs,
        "spot_meta": info.spot_meta, "spot_contexts": info.spot_meta_and_asset_ctxs,
        "book": lambda: info.l2_snapshot("BTC"), "candles": lambda: info.candles_snapshot("BTC", "1m", 0, 2**42),
        "funding_history": lambda: info.funding_history("BTC", 0),
        "state": lambda: info.user_state(user), "spot_state": lambda: info.spot_user_state(user),
        "fills": lambda: info.user_fills(user), "fills_by_time": lambda: info.user_fills_by_time(user, 0),
        "fills_together": lambda: info.user_fills_by_time(user, 0, None, True),
        "history": lambda: info.historical_orders(user), "fees": lambda: info.user_fees(user),
        "funding": lambda: info.user_funding_history(user, 0),
        "ledger": lambda: info.user_non_funding_ledger_updates(user, 0),
        "rate_limit": lambda: info.user_rate_limit(user), "portfolio": lambda: info.portfolio(user),
        "abstraction": lambda: info.query_user_abstraction_state(user),
        "referral": lambda: info.query_referral_state(user), "vaults": lambda: info.user_vault_equities(user),
    }  # fmt: skip
    for name, call in calls.items():
        s.step(name, call)
    s.step("unknown_order", lambda: info.query_order_by_oid(user, 1))


def desk(url: str) -> dict[str, Any]:
    """All of it; what was answered, step by step."""
    session = Session(url)
    try:
        heard = listen(session)
        for part in (orders_of_every_kind, stops, margin, others, slices, reads):
            part(session)
        heard()
    finally:
        session.info.disconnect_websocket()
    return session.said


if __name__ == "__main__":
    print(json.dumps(desk(sys.argv[1])))
