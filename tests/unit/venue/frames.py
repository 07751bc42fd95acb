"""Frames of the venue's streams, as it writes them."""

from __future__ import annotations

from typing import Any

from tests.unit.venue.scripted import ACCOUNT, CLOID

MINUTE = 60_000
START = 1_700_000_040_000  # on a minute


def bbo(time_ms: int, bid: str | None = "64000.0", ask: str | None = "64001.0", coin: str = "BTC") -> dict[str, Any]:
    sides = [None if price is None else {"px": price, "sz": "1.5", "n": 3} for price in (bid, ask)]
    return {"coin": coin, "time": time_ms, "bbo": sides}


def context(mark: str = "64000.5", oracle: str = "64010.0", coin: str = "BTC") -> dict[str, Any]:
    ctx = {
        "funding": "0.0000125", "openInterest": "688.11", "prevDayPx": "63000.0", "dayNtlVlm": "1169046.29",
        "premium": "0.0003", "oraclePx": oracle, "markPx": mark, "midPx": mark, "impactPxs": [mark, mark],
        "dayBaseVlm": "100.0",
    }  # fmt: skip
    return {"coin": coin, "ctx": ctx}


def candle(open_ms: int, close: str = "64005.0", coin: str = "BTC", interval: str = "1m") -> dict[str, Any]:
    length = {"1m": MINUTE, "5m": 5 * MINUTE}[interval]
    return {
        "t": open_ms, "T": open_ms + length - 1, "s": coin, "i": interval, "o": "64000.0", "c": close, "h": "64100.0",
        "l": "63900.0", "v": "12.5", "n": 7,
    }  # fmt: skip


def fill(tid: int = 1, coin: str = "BTC") -> dict[str, Any]:
    return {
        "coin": coin, "px": "64000.0", "sz": "0.01", "side": "B", "time": START, "startPosition": "0.0",
        "dir": "Open Long", "closedPnl": "0.0", "hash": "0x" + "0" * 64, "oid": 77, "crossed": True, "fee": "0.288",
        "tid": tid, "feeToken": "USDC", "cloid": CLOID,
    }  # fmt: skip


def fills(*tids: int, user: str = ACCOUNT, snapshot: bool = False) -> dict[str, Any]:
    return {"user": user, "fills": [fill(tid) for tid in tids], **({"isSnapshot": True} if snapshot else {})}


def order_update(status: str = "open", cloid: str | None = CLOID) -> dict[str, Any]:
    listed = {
        "coin": "BTC", "side": "B", "limitPx": "64000.0", "sz": "0.01", "oid": 77, "timestamp": START, "origSz": "0.01",
        **({"cloid": cloid} if cloid else {}),
    }  # fmt: skip
    return {"order": listed, "status": status, "statusTimestamp": START + 1}


def funding() -> dict[str, Any]:
    return {"time": START, "coin": "BTC", "usdc": "-1.25", "szi": "0.5", "fundingRate": "0.0000125", "nSamples": None}


def ledger(**delta: Any) -> dict[str, Any]:
    return {"time": START, "hash": "0x" + "1" * 64, "delta": delta}
