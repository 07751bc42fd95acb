"""ccxt (asyncio), in a process of its own, trades on the paper exchange as it would on Hyperliquid."""

from __future__ import annotations

from typing import Any

import pytest
from tests.oracle.sessions import answers_of

BTC, ETH = "BTC/USDC:USDC", "ETH/USDC:USDC"
TAKER, BUILDER = 0.00045, 0.0001


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, Any]:
    """What ccxt was answered in one session, step by step."""
    return answers_of("ccxt_client.py", tmp_path_factory, worker_id)


def test_ccxt_loads_the_markets(said: dict[str, Any]) -> None:
    market = said["market"]
    assert (market["baseId"], market["contract"], market["active"]) == ("0", True, True)
    assert market["precision"] == {"amount": 0.00001, "price": 1.0}
    assert market["limits"]["leverage"]["max"] == 40
    assert market["limits"]["cost"]["min"] == 10
    assert said["status"]["status"] == "ok"
    assert said["time"] > 1_600_000_000_000


def test_ccxt_reads_balance_prices_book_bars_and_fees(said: dict[str, Any]) -> None:
    assert said["balance"]["USDC"] == {"total": 10_000, "used": 0, "free": 10_000}
    assert set(said["tickers"]) == {BTC, ETH}
    assert said["book"]["bids"][0][0] < said["tickers"][BTC]["last"] < said["book"]["asks"][0][0]
    times = [bar[0] for bar in said["bars"]]
    assert times == list(range(times[0], times[0] + 5 * 60_000, 60_000))
    assert all(low <= min(begin, close) <= max(begin, close) <= high for _, begin, high, low, close, _ in said["bars"])
    assert said["funding_rates"][BTC]["interval"] == "1h"
    assert said["open_interest"]["openInterestAmount"] is not None
    assert (said["trading_fee"]["taker"], said["trading_fee"]["maker"]) == (TAKER, 0.00015)
    assert isinstance(said["funding_rate_history"], list)


def test_ccxt_rests_edits_and_cancels_an_order(said: dict[str, Any]) -> None:
    [listed] = said["open"]
    assert (listed["id"], listed["side"], listed["amount"], listed["timeInForce"]) == (
        said["rest"]["id"], "buy", 0.01, "GTC",
    )  # fmt: skip
    assert said["edit"]["id"] != said["rest"]["id"]
    assert (said["order"]["status"], said["order"]["amount"]) == ("open", 0.02)
    assert said["order"]["price"] == listed["price"] - 10
    assert said["cancel"]["info"] == "success"
    assert said["cancelled"]["status"] == "canceled"
    assert said["cancel_again"][0] == "OrderNotFound"


def test_ccxt_places_and_cancels_several_orders_in_one_action(said: dict[str, Any]) -> None:
    by_id = {order["id"]: order for order in said["batch_open"]}
    first, second = (by_id[order["id"]] for order in said["batch"])
    assert (first["symbol"], first["postOnly"], first["clientOrderId"]) == (BTC, True, "0x" + "ab" * 16)
    assert (second["symbol"], second["side"], second["clientOrderId"]) == (ETH, "sell", "0x" + "cd" * 16)
    assert said["cancel_by_cloid"]["info"] == "success"
    assert [row["info"] for row in said["cancel_many"]] == ["success"]


def test_ccxt_knows_the_venues_refusals(said: dict[str, Any]) -> None:
    assert said["too_small"][0] == "InvalidOrder"
    assert "minimum value of $10" in said["too_small"][1]
    assert said["would_match"][0] == "InvalidOrder"
    assert "Post only order would have immediately matched" in said["would_match"][1]
    assert said["nothing_to_reduce"][0] == "InvalidOrder"
    assert "Reduce only order would increase position" in said["nothing_to_reduce"][1]


def test_ccxt_opens_a_position_at_its_leverage_and_closes_it(said: dict[str, Any]) -> None:
    assert (said["open_market"]["filled"], said["open_market"]["remaining"]) == (0.05, 0)
    [position] = said["positions"]
    assert position == said["position"] | {"timestamp": position["timestamp"]}
    assert (position["side"], position["contracts"], position["leverage"], position["marginMode"]) == (
        "long", 0.05, 7, "cross",
    )  # fmt: skip
    assert position["entryPrice"] == said["open_market"]["average"]
    assert position["initialMargin"] == pytest.approx(position["notional"] / 7, abs=1e-6)
    assert said["close_market"]["filled"] == 0.05
    assert said["flat"] == []


def test_ccxt_places_stops_and_targets_alone_and_with_an_entry(said: dict[str, Any]) -> None:
    stop, target = said["protection"]
    assert (stop["id"], stop["type"], stop["reduceOnly"]) == (said["stop"]["id"], "market", True)
    assert stop["price"] < stop["triggerPrice"]
    assert (target["id"], target["type"], target["reduceOnly"]) == (said["target"]["id"], "take profit limit", True)
    entry = next(order for order in said["with_children"] if order["id"] == said["grouped"]["id"])
    children = entry["info"]["children"]
    assert sorted(child["orderType"] for child in children) == ["Stop Market", "Take Profit Limit"]
    assert {child["sz"] for child in children} == {"0.01"}


def test_ccxt_reads_its_trades_and_what_they_cost(said: dict[str, Any]) -> None:
    bought, sold = said["trades"]
    assert (bought["order"], sold["order"]) == (said["open_market"]["id"], said["close_market"]["id"])
    assert (bought["side"], sold["side"], bought["takerOrMaker"]) == ("buy", "sell", "taker")
    fees = [float(trade["info"]["fee"]) for trade in (bought, sold)]
    costs = [trade["cost"] * (TAKER + BUILDER) for trade in (bought, sold)]
    assert fees == pytest.approx(costs, abs=2e-6)  # the venue's fee holds the builder's, which ccxt asks for
    gained = sold["cost"] - bought["cost"] - sum(fees)
    assert said["balance_after"]["USDC"]["total"] == pytest.approx(10_000 + gained, abs=1e-6)


def test_ccxt_reads_its_histories(said: dict[str, Any]) -> None:
    statuses = {order["id"]: order["status"] for order in said["orders"]}
    assert statuses[said["rest"]["id"]] == "canceled"
    assert statuses[said["open_market"]["id"]] == "closed"
    assert {order["id"] for order in said["closed"]} == {said["open_market"]["id"], said["close_market"]["id"]}
    assert [row["amount"] for row in said["ledger"]] == [10_000]
    assert [row["amount"] for row in said["deposits"]] == [10_000]
    assert said["funding_history"] == []


def test_ccxt_adds_and_takes_isolated_margin(said: dict[str, Any]) -> None:
    before, after = said["isolated_before"], said["isolated_after"]
    assert (before["side"], before["contracts"], before["leverage"], before["marginMode"]) == (
        "short", 0.5, 5, "isolated",
    )  # fmt: skip
    assert float(after["info"]["position"]["leverage"]["rawUsd"]) == pytest.approx(
        float(before["info"]["position"]["leverage"]["rawUsd"]) + 50
    )
    assert after["liquidationPrice"] > before["liquidationPrice"]
    assert said["margin_added"]["info"]["status"] == said["margin_taken"]["info"]["status"] == "ok"
    assert said["isolated_closed"]["filled"] == 0.5


def test_ccxt_starts_and_ends_a_twap(said: dict[str, Any]) -> None:
    assert int(said["twap"]["id"]) > 0
    assert said["twap_cancel"]["info"]["status"] == "success"


def test_ccxt_watches_book_ticker_trades_and_bars(said: dict[str, Any]) -> None:
    assert said["ws_book"]["bids"][0][0] < said["ws_book"]["asks"][0][0]
    assert said["ws_ticker"]["bid"] < said["ws_ticker"]["ask"]
    assert all(trade["symbol"] == BTC for trade in said["ws_trades"])
    assert len(said["ws_bars"][-1]) == 6


def test_ccxt_trades_over_the_socket_and_hears_of_it(said: dict[str, Any]) -> None:
    assert said["ws_placed"]["filled"] == 0.02
    assert [(order["id"], order["status"]) for order in said["ws_orders"]] == [(said["ws_placed"]["id"], "closed")]
    heard = [trade["order"] for trade in said["ws_my_trades"]]
    assert said["open_market"]["id"] in heard
    assert said["ws_edit"]["id"] != said["ws_rest"]["id"]
    assert said["ws_cancel"]["info"] == "success"
