"""What the proof by ``kill -9`` looks at can fail: each loss, made by hand, is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from tests.e2e.killing import Disk, Exchange, Round

from perpstrader.domain.cloids import make_cloid

NOW_MS = 1_700_049_630_000
CLOID = make_cloid(77, 5, 1)
Rows = dict[str, list[dict[str, Any]]]


def books() -> tuple[Rows, Exchange]:
    """A store and a venue that agree: one entry of 2 coins, filled in halves."""
    venue = Exchange(0, cast("Any", None))
    for tid in (1, 2):
        venue.fills[tid] = {
            "tid": tid, "oid": 9, "px": "100.5", "sz": "1.0", "closedPnl": "0.0", "fee": "0.04", "time": NOW_MS,
        }  # fmt: skip
    venue.oids[CLOID].add(9)
    venue.cloids[9] = CLOID
    fill = {"price": "100.5", "size": "1", "closed_pnl_usd": "0", "fee_usd": "0.04"}
    rows: Rows = {
        "fills": [{"tid": 1, **fill}, {"tid": 2, **fill}],
        "ledger_days": [{"day": "2023-11-15", "closed_pnl_usd": "0", "fees_usd": "0.08"}],
        "intents": [{"number": 5, "purpose": "entry", "created_ms": NOW_MS, "body": json.dumps({"size": "2"})}],
        "halts": [],
    }
    return rows, venue


def check(rows: Rows, venue: Exchange) -> None:
    look, disk = Round(Path(), venue, "0x"), Disk(rows)
    look.compare_fills(disk)
    look._orders(disk, list(venue.oids), set(venue.fills))


def test_books_that_agree_pass() -> None:
    check(*books())


LOSSES: dict[str, Callable[[Rows, Exchange], object]] = {
    "a fill that never was": lambda rows, venue: rows["fills"].append({**rows["fills"][0], "tid": 3}),
    "a changed fill": lambda rows, venue: rows["fills"][0].update(size="1.1"),
    "a day that does not add up": lambda rows, venue: rows["ledger_days"][0].update(fees_usd="0.04"),
    "an order sent twice": lambda rows, venue: venue.oids[CLOID].add(10),
    "an order without an intent": lambda rows, venue: rows["intents"].clear(),
    "more than was wanted": lambda rows, venue: rows["intents"][0].update(body=json.dumps({"size": "1.5"})),
    "an entry under a halt": lambda rows, venue: rows["halts"].append(
        {"kind": "operator", "since_ms": NOW_MS - 5, "released_ms": NOW_MS + 5, "reason": "", "actor": ""}
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_S10_S40_S54_each_loss_is_found(loss: str) -> None:
    rows, venue = books()
    LOSSES[loss](rows, venue)
    with pytest.raises((AssertionError, KeyError)):
        check(rows, venue)


@pytest.mark.parametrize(
    ("order", "bare"),
    [
        ({"sz": "2.0"}, []),
        ({"sz": "1.9"}, ["BTC 2"]),
        ({"sz": "2.0", "side": "B"}, ["BTC 2"]),
        ({"sz": "2.0", "reduceOnly": False}, ["BTC 2"]),
        ({"sz": "2.0", "orderType": "Take Profit Market"}, ["BTC 2"]),
    ],
)
def test_S20_only_a_reduce_only_stop_of_the_positions_size_counts(
    order: dict[str, Any], bare: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = {"coin": "BTC", "side": "A", "isTrigger": True, "reduceOnly": True, "orderType": "Stop Market", **order}
    data = {
        "openOrders": [stop], "clearinghouseState": {"assetPositions": [{"position": {"coin": "BTC", "szi": "2"}}]},
    }  # fmt: skip
    venue = Exchange(0, cast("Any", None))
    monkeypatch.setattr(venue, "info", lambda **question: data)
    assert venue.unprotected("0x") == bare
