"""Random actions as a client would write them: dictionaries in signing order."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

UINT = st.integers(0, 2**64 - 1)
TEXT = st.from_regex(r"[1-9][0-9]{0,6}(\.[0-9]{0,5}[1-9])?", fullmatch=True)
CLOIDS = st.integers(0, 2**128 - 1).map(lambda n: f"0x{n:032x}")
KINDS = st.one_of(
    st.sampled_from(["Gtc", "Ioc", "Alo", "FrontendMarket"]).map(lambda tif: {"limit": {"tif": tif}}),
    st.builds(
        lambda market, px, tpsl: {"trigger": {"isMarket": market, "triggerPx": px, "tpsl": tpsl}},
        st.booleans(), TEXT, st.sampled_from(["tp", "sl"]),
    ),
)  # fmt: skip


def _order(asset: int, buy: bool, price: str, size: str, reduce: bool, kind: dict[str, Any], cloid: str | None) -> Any:
    wire = {"a": asset, "b": buy, "p": price, "s": size, "r": reduce, "t": kind}
    return wire if cloid is None else {**wire, "c": cloid}


ORDERS = st.builds(_order, UINT, st.booleans(), TEXT, TEXT, st.booleans(), KINDS, st.none() | CLOIDS)
OIDS = UINT | CLOIDS
FAST = st.sampled_from([{}, {"f": True}])
ALWAYS = st.sampled_from([{}, {"a": True}])
ACTIONS = st.one_of(
    st.builds(
        lambda orders, grouping, builder: {"type": "order", "orders": orders, "grouping": grouping, **builder},
        st.lists(ORDERS, max_size=25),
        st.sampled_from(["na", "normalTpsl", "positionTpsl"]) | st.builds(lambda p: {"p": p}, UINT),
        st.sampled_from([{}, {"builder": {"b": "0x" + "12" * 20, "f": 10}}]),
    ),
    st.builds(
        lambda rows, f: {"type": "cancel", "cancels": [{"a": a, "o": o} for a, o in rows], **f},
        st.lists(st.tuples(UINT, UINT), max_size=20), FAST,
    ),
    st.builds(
        lambda rows, f: {"type": "cancelByCloid", "cancels": [{"asset": a, "cloid": c} for a, c in rows], **f},
        st.lists(st.tuples(UINT, CLOIDS), max_size=20), FAST,
    ),
    st.builds(lambda oid, order, a: {"type": "modify", "oid": oid, "order": order, **a}, OIDS, ORDERS, ALWAYS),
    st.builds(
        lambda rows, a: {"type": "batchModify", "modifies": [{"oid": i, "order": o} for i, o in rows], **a},
        st.lists(st.tuples(OIDS, ORDERS), max_size=5), ALWAYS,
    ),
    st.builds(lambda t: {"type": "scheduleCancel", **t}, st.just({}) | st.builds(lambda t: {"time": t}, UINT)),
    st.builds(
        lambda a, c, v: {"type": "updateLeverage", "asset": a, "isCross": c, "leverage": v},
        UINT, st.booleans(), st.integers(1, 50),
    ),
    st.builds(
        lambda a, v: {"type": "updateIsolatedMargin", "asset": a, "isBuy": True, "ntli": v},
        UINT, st.integers(-(2**63), 2**63 - 1),
    ),
    st.builds(lambda a, v: {"type": "topUpIsolatedOnlyMargin", "asset": a, "leverage": v}, UINT, TEXT),
    st.builds(
        lambda a, s, m: {"type": "twapOrder", "twap": {"a": a, "b": True, "s": s, "r": False, "m": m, "t": True}},
        UINT, TEXT, st.integers(5, 1440),
    ),
    st.builds(lambda a, t: {"type": "twapCancel", "a": a, "t": t}, UINT, UINT),
    st.builds(lambda w: {"type": "reserveRequestWeight", "weight": w}, UINT),
    st.just({"type": "noop"}),
    st.just({"type": "setReferrer", "code": "ABC"}),
)  # fmt: skip
