"""Every trading action and every read of the venue, typed, in both builds; and no transfer in either (S72)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from tests.contract.venue.test_client_contract import (
    BUILDS,
    FILLED,
    MODIFY_GONE,
    RESTING,
    agrees,
    err,
    limit,
    ok,
    play,
    posted,
    trigger,
)
from tests.contract.venue.test_client_contract import OTHER as SECOND
from tests.unit.venue.scripted import ACCOUNT, CLOID, META, Step, order

from perpstrader.domain import PerpsTraderError, TimeInForce, Trigger, VenueError
from perpstrader.runtime import Answer, TransportError
from perpstrader.venue import HyperliquidClient
from perpstrader.venue import contract as c
from perpstrader.venue.baseline import HyperliquidClient as BaselineClient
from perpstrader.venue.signer import ALLOWED_ACTIONS, SigningRefusedError
from perpstrader.venue.wire import WireError, actions
from perpstrader.venue.wire.errors import ErrorCode

STOP = Trigger(price=Decimal("60000"), is_stop=True)
TWAP = c.TwapRequest(symbol="ETH", buy=False, size=Decimal("1.50"), reduce_only=True, minutes=30)
DEFAULT: Step = {"status": "ok", "response": {"type": "default"}}


@pytest.fixture(params=sorted(BUILDS))
def build(request: pytest.FixtureRequest) -> str:
    return str(request.param)


ASKED: list[tuple[str, Any, object]] = [
    (
        "position stop",
        lambda v: v.place([order(trigger=STOP, reduce_only=True)], grouping=c.Grouping.POSITION),
        actions.Order([trigger(True, "60000", "sl")], "positionTpsl"),
    ),
    (
        "fast cancel",
        lambda v: v.cancel([("BTC", CLOID)], fast=True),
        actions.CancelByCloid([actions.CancelByCloidWire(0, CLOID)], True),
    ),
    (
        "fast cancel by oid",
        lambda v: v.cancel_oids([("ETH", 7)], fast=True),
        actions.Cancel([actions.CancelWire(1, 7)], True),
    ),
    (
        "modify whatever happens",
        lambda v: v.modify(CLOID, order(SECOND, tif=TimeInForce.ALO), always=True),
        actions.BatchModify([actions.ModifyWire(CLOID, limit(actions.ALO, cloid=SECOND))], True),
    ),
    (
        "modify several",
        lambda v: v.modify_all([(CLOID, order(SECOND)), (77, order())]),
        actions.BatchModify(
            [actions.ModifyWire(CLOID, limit(actions.IOC, cloid=SECOND)), actions.ModifyWire(77, limit(actions.IOC))]
        ),
    ),
    ("schedule cancel", lambda v: v.schedule_cancel(1_700_000_060_000), actions.ScheduleCancel(1_700_000_060_000)),
    ("no longer", lambda v: v.schedule_cancel(None), actions.ScheduleCancel()),
    ("twap", lambda v: v.place_twap(TWAP), actions.TwapOrder(actions.TwapWire(1, False, "1.5", True, 30, True))),
    ("cancel twap", lambda v: v.cancel_twap("ETH", 9), actions.TwapCancel(1, 9)),
    (
        "isolated margin",
        lambda v: v.change_isolated_margin("BTC", Decimal("-12.5")),
        actions.UpdateIsolatedMargin(0, True, -12_500_000),
    ),
    (
        "top up",
        lambda v: v.top_up_isolated_margin("BTC", Decimal("3.50")),
        actions.TopUpIsolatedOnlyMargin(0, "3.5"),
    ),
    ("reserve weight", lambda v: v.reserve_request_weight(100), actions.ReserveRequestWeight(100)),
    ("noop", lambda v: v.noop(), actions.Noop()),
    (
        "any other",
        lambda v: v.action(actions.Modify(7, limit(actions.GTC), True)),
        actions.Modify(7, limit(actions.GTC), True),
    ),
]


@pytest.mark.parametrize(("call", "meant"), [row[1:] for row in ASKED], ids=[row[0] for row in ASKED])
def test_an_action_says_what_was_meant_and_is_signed_by_the_agent(build: str, call: Any, meant: object) -> None:
    assert posted(build, call).action == meant


def test_every_type_that_may_be_signed_has_a_method_of_its_own_or_goes_through_action() -> None:
    own = {type(row[2]) for row in ASKED} | {
        actions.Order,
        actions.Cancel,
        actions.CancelByCloid,
        actions.UpdateLeverage,
    }
    assert set(ALLOWED_ACTIONS) <= own


RUNNING = {"status": "ok", "response": {"type": "twapOrder", "data": {"status": {"running": {"twapId": 77}}}}}
SHORT = "Invalid TWAP duration: 1 min(s)"
GONE = "TWAP was never placed, already canceled, or filled."
LOST = TransportError("x", sent=True)
ANSWERED: list[tuple[str, Any, Step, Any]] = [
    ("scheduled", lambda v: v.schedule_cancel(None), DEFAULT, c.Done()),
    ("too early", lambda v: v.schedule_cancel(1), err("Scheduled cancel time too early, must be at least"), c.Rejected),
    ("running", lambda v: v.place_twap(TWAP), RUNNING, c.TwapRunning(77)),
    (
        "twap refused",
        lambda v: v.place_twap(TWAP),
        {"status": "ok", "response": {"type": "twapOrder", "data": {"status": {"error": SHORT}}}},
        c.Rejected(ErrorCode.TWAP_DURATION, SHORT),
    ),
    ("twap of no words", lambda v: v.place_twap(TWAP), DEFAULT, c.Unknown),
    ("twap lost", lambda v: v.place_twap(TWAP), LOST, c.Unknown("x")),
    (
        "twap cancelled",
        lambda v: v.cancel_twap("ETH", 9),
        {"status": "ok", "response": {"type": "twapCancel", "data": {"status": "success"}}},
        c.Canceled(),
    ),
    (
        "twap gone",
        lambda v: v.cancel_twap("ETH", 9),
        {"status": "ok", "response": {"type": "twapCancel", "data": {"status": {"error": GONE}}}},
        c.AlreadyGone(),
    ),
    ("margin", lambda v: v.change_isolated_margin("BTC", Decimal(1)), DEFAULT, c.Done()),
    (
        "not isolated",
        lambda v: v.change_isolated_margin("BTC", Decimal(1)),
        err("Position does not use isolated margin."),
        c.Rejected(ErrorCode.NOT_ISOLATED, "Position does not use isolated margin."),
    ),
    ("topped up", lambda v: v.top_up_isolated_margin("BTC", Decimal(2)), Answer(500, b""), c.Unknown),
    ("reserved", lambda v: v.reserve_request_weight(1), DEFAULT, c.Done()),
    ("noop never left", lambda v: v.noop(), TransportError("x", sent=False), c.NotSent("x")),
    ("several modified", lambda v: v.modify_all([(CLOID, order()), (7, order(SECOND))]), ok(RESTING, FILLED), list),
    ("modify refused", lambda v: v.modify(CLOID, order()), MODIFY_GONE, c.Rejected),
    ("an action", lambda v: v.action(actions.Noop()), DEFAULT, c.Answered("default")),
    ("an action refused", lambda v: v.action(actions.Noop()), err("Unable to recover signer."), c.Rejected),
]


@pytest.mark.parametrize(("call", "step", "ack"), [row[1:] for row in ANSWERED], ids=[row[0] for row in ANSWERED])
def test_S11_each_answer_means_the_same_and_is_asked_for_once(build: str, call: Any, step: Step, ack: Any) -> None:
    got, posts = play(build, call, step)
    assert agrees(got, ack), got
    assert len(posts) == 1


@pytest.mark.parametrize("usd", ["0.0000001", "NaN", "Infinity"])
def test_S13_margin_that_the_wire_cannot_carry_is_never_sent(build: str, usd: str) -> None:
    got, posts = play(build, lambda v: v.change_isolated_margin("BTC", Decimal(usd)))
    assert isinstance(got, PerpsTraderError)
    assert posts == []


def test_nothing_to_modify_is_not_sent(build: str) -> None:
    assert play(build, lambda v: v.modify_all([])) == ([], [])


# --- S72 ---

MOVES_MONEY = sorted(
    {
        *actions.USER_SIGNED_TYPES, "vaultTransfer", "subAccountTransfer", "subAccountSpotTransfer", "createSubAccount",
        "subAccountModify", "agentSendAsset", "agentSetAbstraction", "setReferrer",
    }
)  # fmt: skip


@pytest.mark.parametrize("kind", MOVES_MONEY)
def test_S72_no_client_sends_what_moves_money_or_changes_who_may(build: str, kind: str) -> None:
    raw = json.dumps({"type": kind, "code": "X", "amount": "1", "destination": ACCOUNT})
    got, posts = play(build, lambda v: v.action(actions.decode_action(raw)))
    assert isinstance(got, SigningRefusedError)
    assert posts == []


@pytest.mark.parametrize(
    "action",
    [
        actions.ReserveRequestWeight(1, "0x" + "22" * 20),
        actions.Order([limit(actions.IOC)], "na", actions.Builder("0x" + "22" * 20, 10)),
        {"type": "withdraw3", "amount": "1"},
    ],
)
def test_S72_no_client_pays_others_or_takes_an_untyped_action(build: str, action: Any) -> None:
    got, posts = play(build, lambda v: v.action(action))
    assert isinstance(got, SigningRefusedError)
    assert posts == []


def test_S72_no_client_has_a_method_that_moves_money() -> None:
    words = ("transfer", "withdraw", "send_asset", "usd_send", "approve", "referrer", "sub_account_create", "vault")
    for client in (HyperliquidClient, BaselineClient):
        assert [name for name in dir(client) if any(word in name.lower() for word in words)] == []


# --- reads ---

SUB = {"name": "one", "subAccountUser": "0x01", "master": ACCOUNT, "clearinghouseState": {
    "marginSummary": {"accountValue": "1.0", "totalNtlPos": "0.0", "totalRawUsd": "1.0", "totalMarginUsed": "0.0"},
    "crossMarginSummary": {"accountValue": "1.0", "totalNtlPos": "0.0", "totalRawUsd": "1.0", "totalMarginUsed": "0.0"},
    "crossMaintenanceMarginUsed": "0.0", "withdrawable": "1.0", "assetPositions": [], "time": 1,
}, "spotState": {"balances": []}}  # fmt: skip
FILL = {
    "coin": "BTC", "px": "64000.0", "sz": "0.01", "side": "B", "time": 1, "startPosition": "0.0", "dir": "Open Long",
    "closedPnl": "0.0", "hash": "0x", "oid": 77, "crossed": True, "fee": "0.1", "tid": 5,
}  # fmt: skip
STATE = {
    "coin": "BTC", "user": ACCOUNT, "side": "B", "sz": "1.0", "executedSz": "0.5", "executedNtl": "30000.0",
    "minutes": 30, "reduceOnly": False, "randomize": True, "timestamp": 1,
}  # fmt: skip
SPOT = {"tokens": [], "universe": []}
PERIOD = {"accountValueHistory": [[1, "2.0"]], "pnlHistory": [[1, "0.0"]], "vlm": "3.0"}
TIERS = {"description": "", "marginTiers": [{"lowerBound": "0.0", "maxLeverage": 40}]}
QUERIES: list[tuple[str, Any, dict[str, Any], Any, Any]] = [
    ("trades", lambda q: q.trades("BTC"), {"coin": "BTC"}, [], 0),
    ("funding rates", lambda q: q.funding_rates("BTC", 1, 2), {"coin": "BTC", "startTime": 1, "endTime": 2}, [], 0),
    ("predicted", lambda q: q.predicted_fundings(), {}, [["BTC", [["HlPerp", None]]]], 1),
    ("at cap", lambda q: q.at_open_interest_cap(), {}, ["PANDORA"], 1),
    ("margin table", lambda q: q.margin_table(51), {"id": 51}, TIERS, None),
    ("market orders", lambda q: q.max_market_orders(), {}, [[40, "30000000.0"]], 1),
    ("dexs", lambda q: q.dexs(), {}, [None, {"name": "x", "assetToStreamingOiCap": [["x:A", "1.0"]]}], 2),
    ("all metas", lambda q: q.all_metas(), {}, [META], 1),
    ("dex limits", lambda q: q.dex_limits("x"), {"dex": "x"}, {"totalOiCap": "1.0"}, 1),
    ("dex status", lambda q: q.dex_status("x"), {"dex": "x"}, {"totalNetDeposit": "1.0"}, 1),
    ("spot meta", lambda q: q.spot_meta(), {}, SPOT, None),
    ("spot contexts", lambda q: q.spot_contexts(), {}, [SPOT, []], 2),
    ("open orders", lambda q: q.plain_open_orders(), {"user": ACCOUNT}, [], 0),
    ("order history", lambda q: q.order_history(), {"user": ACCOUNT}, [], 0),
    ("fills", lambda q: q.latest_fills("0xAB"), {"user": "0xab"}, [FILL], 1),
    ("balances", lambda q: q.spot_balances(), {"user": ACCOUNT}, {"balances": []}, None),
    ("portfolio", lambda q: q.portfolio(), {"user": ACCOUNT}, [["day", PERIOD]], 1),
    ("sub accounts", lambda q: q.sub_accounts(), {"user": ACCOUNT}, [SUB], 1),
    ("no sub accounts", lambda q: q.sub_accounts(), {"user": ACCOUNT}, None, 0),
    (
        "twaps", lambda q: q.twap_history(), {"user": ACCOUNT},
        [{"time": 1, "state": STATE, "status": {"status": "finished"}, "twapId": 7}], 1,
    ),
    ("twap fills", lambda q: q.twap_fills(), {"user": ACCOUNT}, [{"fill": FILL, "twapId": 7}], 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "fields", "step", "count"), [row[1:] for row in QUERIES], ids=[row[0] for row in QUERIES]
)
def test_each_read_asks_what_was_meant_and_is_typed(
    build: str, call: Any, fields: dict[str, Any], step: Any, count: int | None
) -> None:
    got, [(path, body)] = play(build, lambda v: call(v.queries), step)
    assert not isinstance(got, Exception), got
    assert path == "/info"
    assert {name: value for name, value in body.items() if name != "type"} == fields
    assert count is None or len(got) == count


def test_a_read_without_a_method_is_asked_in_the_venues_words(build: str) -> None:
    got, [(path, body)] = play(build, lambda v: v.info({"type": "referral", "user": ACCOUNT}), {"cumVlm": "1.0"})
    assert (path, body["type"], got) == ("/info", "referral", {"cumVlm": "1.0"})
    got, posts = play(build, lambda v: v.info({"user": ACCOUNT}))
    assert isinstance(got, WireError)
    assert posts == []
    got, _ = play(build, lambda v: v.info({"type": "referral"}), Answer(502, b"<html>"))
    assert isinstance(got, VenueError)
