"""Each rule below, at and beyond its edge: a limit allows its own value (S33), and what is missing refuses (S30)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.unit.risk.risk_samples import (
    ASSETS,
    MIDNIGHT,
    NOW,
    PRICES,
    D,
    approved,
    execution,
    judged,
    limits,
    manager,
    market,
    portfolio,
    position,
    reasons,
    signal,
    state,
)

from perpstrader.domain import Action, BookLevel, Halt, HaltKind, Reason, Refused, Side, Verdict

Judge = Callable[[Any], Verdict]


def _around(mid: Decimal, spread_bps: Decimal) -> dict[str, Decimal]:
    half = mid * spread_bps / 20_000
    return {"bid": mid - half, "ask": mid + half}


def _held(symbol: str, notional: int, **changes: Any) -> dict[str, Any]:
    return {symbol: position(symbol, notional=D(notional), **changes)}


EDGES: dict[str, tuple[Reason, Judge, Any, Any]] = {
    # the rule: its reason, the judgement of a value, the value at the edge, the nearest value beyond it
    "signal age": (Reason.SIGNAL_EXPIRED, lambda v: judged(signal(created_ms=NOW - v)), 30_000, 30_001),
    "time to live": (Reason.SIGNAL_EXPIRED, lambda v: judged(signal(created_ms=NOW - v, ttl_ms=50)), 50, 51),
    "signal ahead": (Reason.SIGNAL_FROM_FUTURE, lambda v: judged(signal(created_ms=NOW + v)), 2_000, 2_001),
    "confidence": (Reason.CONFIDENCE_TOO_LOW, lambda v: judged(signal(confidence=v)), 0.5, 0.4999),
    "confidence range": (Reason.CONFIDENCE_OUT_OF_RANGE, lambda v: judged(signal(confidence=v)), 1.0, 1.0001),
    "account age": (Reason.STALE_ACCOUNT, lambda v: judged(account=portfolio(as_of_ms=NOW - v)), 5_000, 5_001),
    "book age": (Reason.STALE_PRICE, lambda v: judged(prices=market(book_ms=NOW - v)), 2_000, 2_001),
    "mark age": (Reason.STALE_PRICE, lambda v: judged(prices=market(context_ms=NOW - v)), 6_000, 6_001),
    "evidence ahead": (Reason.CLOCK_SKEW, lambda v: judged(prices=market(book_ms=NOW + v)), 2_000, 2_001),
    "least equity": (
        Reason.EQUITY_TOO_SMALL,
        lambda v: judged(account=portfolio(equity_usd=v), memory=state(day_start_equity_usd=v, peak_equity_usd=v),
                         risk_per_trade_fraction=D("0.05"), max_order_notional_fraction=D("0.5")),
        D(100), D("99.99"),
    ),
    "daily loss, realised": (
        Reason.DAILY_LOSS, lambda v: judged(memory=state(realized_usd=-v)), D(30), D("30.01")
    ),
    "daily loss, equity": (
        Reason.DAILY_LOSS, lambda v: judged(account=portfolio(equity_usd=D(1_000) - v)), D(30), D("30.01")
    ),
    "daily loss in USD": (
        Reason.DAILY_LOSS, lambda v: judged(memory=state(realized_usd=-v), daily_loss_entry_stop_usd=D(20)), D(20),
        D("20.01"),
    ),
    "drawdown": (
        Reason.DRAWDOWN,
        lambda v: judged(account=portfolio(equity_usd=D(1_000) - v),
                         memory=state(day_start_equity_usd=D(1_000) - v)), D(100), D("100.01"),
    ),
    "address budget": (
        Reason.ADDRESS_BUDGET, lambda v: judged(account=portfolio(address_budget_left=v)), 1_000, 999
    ),
    "address budget a position": (
        Reason.ADDRESS_BUDGET,
        lambda v: judged(account=portfolio(address_budget_left=v, positions=_held("ETH", 100)),
                         by=manager(orders=execution(min_address_budget=100))), 100, 99,
    ),
    "open orders": (Reason.OPEN_ORDERS, lambda v: judged(account=portfolio(open_orders=v)), 799, 800),
    "entries a day": (Reason.ENTRIES_PER_DAY, lambda v: judged(memory=state(entries=v)), 49, 50),
    "entries a symbol": (
        Reason.ENTRIES_PER_SYMBOL_DAY, lambda v: judged(memory=state(entries_by_symbol={"BTC": v})), 9, 10
    ),
    "entries a minute": (
        Reason.ENTRIES_PER_MINUTE, lambda v: judged(memory=state(recent_entries_ms=(NOW - 1,) * v)), 1, 2
    ),
    "a minute ends": (
        Reason.ENTRIES_PER_MINUTE, lambda v: judged(memory=state(recent_entries_ms=(NOW - v,) * 2)), 60_000, 59_999
    ),
    "spread, major": (
        Reason.SPREAD_TOO_WIDE, lambda v: judged(prices=market(**_around(PRICES["BTC"], v))), D(5), D("5.2")
    ),
    "spread, other": (
        Reason.SPREAD_TOO_WIDE,
        lambda v: judged(signal("SOL"), prices=market("SOL", **_around(PRICES["SOL"], v))), D(15), D(16),
    ),
    "mark from mid": (
        Reason.MARK_AWAY_FROM_MID,
        lambda v: judged(prices=market(bid=v - 1, ask=v + 1, oracle=v)), D(100_500), D(100_501),
    ),
    "oracle from mid": (
        Reason.ORACLE_AWAY_FROM_MID,
        lambda v: judged(prices=market(bid=v - 1, ask=v + 1, mark=v)), D(100_500), D(100_501),
    ),
    "funding of a long": (
        Reason.ADVERSE_FUNDING, lambda v: judged(prices=market(funding_rate=v)), D("0.0001"), D("0.000101")
    ),
    "funding of a short": (
        Reason.ADVERSE_FUNDING, lambda v: judged(signal(side=Side.SHORT), prices=market(funding_rate=v)),
        D("-0.0001"), D("-0.000101"),
    ),
    "volume": (
        Reason.VOLUME_TOO_SMALL, lambda v: judged(prices=market(day_volume_usd=v)), D(50_000_000), D(49_999_999)
    ),
    "leverage of the coin": (
        Reason.SYMBOL_MAX_LEVERAGE, lambda v: judged(signal("XRP"), min_symbol_max_leverage=v), 20, 21
    ),
    "nearest stop": (
        Reason.STOP_TOO_CLOSE, lambda v: judged(signal(stop_price=v), prices=market(mark=D(100_001))),
        D(99_500), D(99_502),
    ),
    "nearest stop of the mark": (
        Reason.STOP_TOO_CLOSE,
        lambda v: judged(signal(stop_price=v), prices=market(mark=D(99_900), oracle=D(100_000))), D(99_400), D(99_401),
    ),
    "nearest stop of the ATR": (
        Reason.STOP_TOO_CLOSE,
        lambda v: judged(signal(stop_price=D(97_001)), prices=market(mark=D(100_001), atr=v)), D(3_000), D(3_001),
    ),
    "farthest stop": (
        Reason.STOP_TOO_FAR,
        lambda v: judged(signal(stop_price=v, target_price=D(120_000)), prices=market(bid=D(99_998), ask=D(100_000))),
        D(92_000), D(91_999),
    ),
    "reward to risk": (
        Reason.REWARD_TO_RISK, lambda v: judged(signal(stop_price=D(99_001), target_price=v)), D(101_001), D(101_000)
    ),
    "stop's side": (Reason.STOP_WRONG_SIDE, lambda v: judged(signal(stop_price=v)), D(99_000), D(100_000)),
    "target's side": (Reason.TARGET_WRONG_SIDE, lambda v: judged(signal(target_price=v)), D(104_000), D(100_200)),
    "resting entry": (
        Reason.INVALID_PRICE, lambda v: judged(signal(entry_price=v)), D(100_200), D(100_201)
    ),
    "positions": (
        Reason.POSITION_COUNT,
        lambda v: judged(account=portfolio(positions={s: position(s, notional=D(50)) for s in v})),
        ("ETH", "SOL"), ("ETH", "SOL", "XRP"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_S33_a_limit_allows_its_own_value_and_nothing_beyond_it(name: str) -> None:
    reason, judge, at_edge, beyond = EDGES[name]
    assert reason not in reasons(judge(at_edge)), f"{name}: the edge itself must pass"
    assert reason in reasons(judge(beyond)), f"{name}: beyond the edge must be refused"


@pytest.mark.parametrize("name", [name for name in EDGES if name != "address budget a position"])
def test_S33_at_each_edge_nothing_else_stands_in_the_way(name: str) -> None:
    _, judge, at_edge, _ = EDGES[name]
    approved(judge(at_edge))


def test_S33_exposure_is_refused_only_beyond_its_limit() -> None:
    full = portfolio(positions=_held("ETH", 500, leverage=50))
    fits = judged(account=full, max_net_notional_ratio=D("0.5"), max_cluster_notional_ratio=D("0.5"))
    assert Reason.NET_NOTIONAL not in reasons(fits), "500 of 500 is within the limit"
    assert Reason.SIZE_BELOW_MINIMUM in reasons(fits), "but it leaves no room"
    over = judged(account=full, max_net_notional_ratio=D("0.499"))
    assert Reason.NET_NOTIONAL in reasons(over)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"max_net_notional_ratio": D("0.1")}, Reason.NET_NOTIONAL),
        ({"max_net_notional_usd": D(150)}, Reason.NET_NOTIONAL),
        ({"max_cluster_notional_ratio": D("0.1")}, Reason.CLUSTER_NOTIONAL),
        ({"max_gross_notional_ratio": D("0.1")}, Reason.GROSS_NOTIONAL),
        ({"max_gross_notional_usd": D(150)}, Reason.GROSS_NOTIONAL),
        ({"max_margin_fraction": D("0.05")}, Reason.MARGIN_RATIO),
        ({"max_position_fraction": D("0.1")}, Reason.SYMBOL_NOTIONAL),
        ({"max_position_usd": D(150)}, Reason.SYMBOL_NOTIONAL),
        ({"max_positions": 0}, Reason.POSITION_COUNT),
        ({"max_leverage": 2}, Reason.LEVERAGE),
        ({"emergency_stop": True}, Reason.EMERGENCY_STOP),
        ({"blocked_symbols": ("BTC",)}, Reason.BLOCKED_SYMBOL),
    ],
)  # fmt: skip
def test_a_portfolio_beyond_a_limit_admits_nothing_more(changes: dict[str, Any], reason: Reason) -> None:
    if reason is Reason.POSITION_COUNT:
        changes = {"max_positions": 1}
    assert reason in reasons(judged(account=portfolio(positions=_held("ETH", 200)), **changes))


def test_S01_an_exit_is_never_judged_by_limits() -> None:
    for action in (Action.CLOSE, Action.REDUCE):
        with pytest.raises(ValueError, match="exits are never judged"):
            judged(signal(action=action))


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (signal(action=Action.HOLD), Reason.HOLD),
        (signal(confidence=float("nan")), Reason.CONFIDENCE_OUT_OF_RANGE),
        (signal(confidence=-0.1), Reason.CONFIDENCE_OUT_OF_RANGE),
        (signal("DOGE"), Reason.UNKNOWN_SYMBOL),
        (signal("btc"), Reason.UNKNOWN_SYMBOL),
        (signal(stop_price=D(0)), Reason.INVALID_PRICE),
        (signal(stop_price=D("NaN")), Reason.INVALID_PRICE),
        (signal(entry_price=D("-1")), Reason.INVALID_PRICE),
        (signal(target_price=D("Infinity")), Reason.INVALID_PRICE),
        (signal(size_hint=D(0)), Reason.INVALID_PRICE),
        (signal(entry_price=D(1_000), stop_price=D(950)), Reason.INVALID_PRICE),
    ],
)
def test_S36_what_cannot_be_acted_on_is_refused_with_that_reason(wish: Any, reason: Reason) -> None:
    assert reason in reasons(judged(wish))


def test_S36_a_delisted_or_isolated_coin_is_refused() -> None:
    for changes, reason in (
        ({"is_delisted": True}, Reason.DELISTED_SYMBOL),
        ({"only_isolated": True}, Reason.ISOLATED_ONLY_SYMBOL),
        ({"index": 100_000}, Reason.ISOLATED_ONLY_SYMBOL),
    ):
        asset = msgspec.structs.replace(ASSETS["BTC"], **changes)
        verdict = manager().evaluate(signal(), portfolio(), market(), asset, state(), NOW)
        assert reason in reasons(verdict)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"account": portfolio(as_of_ms=0)}, Reason.NO_ACCOUNT_STATE),
        ({"account": portfolio(equity_usd=D("NaN"))}, Reason.EQUITY_INVALID),
        ({"account": portfolio(equity_usd=D(0))}, Reason.EQUITY_INVALID),
        ({"account": portfolio(available_usd=D("Infinity"))}, Reason.NO_ACCOUNT_STATE),
        ({"account": portfolio(positions=_held("ETH", 100, size=D("NaN")))}, Reason.NO_ACCOUNT_STATE),
        ({"account": portfolio(leverage={})}, Reason.LEVERAGE_UNCONFIRMED),
        ({"account": portfolio(leverage={"BTC": 20})}, Reason.LEVERAGE_UNCONFIRMED),
        ({"account": portfolio(reconciled=False)}, Reason.NOT_RECONCILED),
        ({"prices": market(bid=None)}, Reason.NO_PRICE),
        ({"prices": market(ask=D("NaN"))}, Reason.NO_PRICE),
        ({"prices": market(mark=None)}, Reason.NO_PRICE),
        ({"prices": market(bid=D(100_001), ask=D(100_001))}, Reason.NO_PRICE),
        ({"prices": market("ETH")}, Reason.NO_PRICE),
        ({"prices": market(oracle=None)}, Reason.ORACLE_AWAY_FROM_MID),
        ({"prices": market(funding_rate=None)}, Reason.ADVERSE_FUNDING),
        ({"memory": state(day_start_equity_usd=None)}, Reason.DAILY_LOSS),
        ({"memory": state(peak_equity_usd=None)}, Reason.DRAWDOWN),
        ({"memory": state(day="2025-06-14")}, Reason.DAILY_LOSS),
        ({"by": manager(assets={}), "account": portfolio(positions=_held("ETH", 100))}, Reason.LIQUIDATION_DISTANCE),
    ],
)
def test_S30_missing_evidence_never_opens(given: dict[str, Any], reason: Reason) -> None:
    assert reason in reasons(judged(**given))


def test_S34_the_leverage_is_within_what_the_coin_allows_at_that_notional() -> None:
    small = msgspec.structs.replace(ASSETS["BTC"], max_leverage=2, tiers=())
    verdict = manager(limits(min_symbol_max_leverage=1)).evaluate(
        signal(), portfolio(), market(), small, state(), NOW
    )
    assert reasons(verdict) == [Reason.LEVERAGE]


@pytest.mark.parametrize("kind", list(HaltKind))
def test_S40_every_halt_in_force_refuses_an_entry(kind: HaltKind) -> None:
    halt = Halt(kind=kind, since_ms=NOW, reason="why", actor="anna")
    assert isinstance(judged(memory=state(halts=(halt,))), Refused)
    timed = msgspec.structs.replace(halt, until_ms=NOW + 1)
    assert isinstance(judged(memory=state(halts=(timed,))), Refused)
    approved(judged(memory=state(halts=(msgspec.structs.replace(halt, until_ms=NOW),))))


@pytest.mark.parametrize(
    ("holding", "reason"),
    [
        ({"owner": "other", "side": Side.SHORT}, Reason.OWNED_BY),
        ({"owner": "trend", "side": Side.SHORT}, Reason.OWNED_BY),
        ({"owner": "other", "side": Side.LONG}, Reason.OWNED_BY),
        ({"owner": "trend", "side": Side.LONG}, Reason.POSITION_EXISTS),
    ],
)
def test_S38_one_owner_a_symbol_and_no_flip_by_an_open(holding: dict[str, Any], reason: Reason) -> None:
    held = portfolio(positions={"BTC": position("BTC", notional=D(50), **holding)})
    assert reason in reasons(judged(account=held))


def test_S03_no_entry_while_an_exit_of_the_symbol_is_out() -> None:
    assert reasons(judged(account=portfolio(exits_in_flight=frozenset({"BTC"})))) == [Reason.EXIT_IN_PROGRESS]
    approved(judged(account=portfolio(exits_in_flight=frozenset({"ETH"}))))


def test_S54_a_symbol_with_foreign_activity_is_frozen_for_entries() -> None:
    assert reasons(judged(account=portfolio(frozen_symbols={"BTC": "a fill is not ours"}))) == [Reason.SYMBOL_FROZEN]


def test_S32_an_entry_in_flight_whose_size_is_not_reserved_stops_every_entry() -> None:
    account = portfolio(entries_in_flight=frozenset({"ETH"}))
    assert reasons(judged(account=account)) == [Reason.ENTRY_IN_FLIGHT]


def test_yesterdays_counts_do_not_stop_todays_entries_but_an_unrolled_state_does() -> None:
    fresh = {"book_ms": MIDNIGHT, "context_ms": MIDNIGHT}
    verdict = judged(
        signal(created_ms=MIDNIGHT), account=portfolio(as_of_ms=MIDNIGHT), prices=market(**fresh),
        memory=state(entries=50), now_ms=MIDNIGHT,
    )  # fmt: skip
    assert reasons(verdict) == [Reason.DAILY_LOSS]


def test_the_depth_of_a_known_book_bounds_the_size_and_an_unknown_one_is_said_to_be() -> None:
    asks = (BookLevel(D(100_001), D("0.004")), BookLevel(D(100_200), D("0.004")), BookLevel(D(100_201), D(9)))
    verdict = approved(judged(prices=market(asks=asks)))
    assert (verdict.size, verdict.size_bound) == (D("0.00080"), "depth")
    thin = judged(prices=market(asks=asks[:1] + asks[2:], bids=asks))
    assert approved(thin).size == D("0.00040")
    assert "DEPTH_TOO_THIN not judged: input unknown" in approved(judged()).warnings


def test_a_trace_shows_each_value_beside_its_limit() -> None:
    verdict = judged(signal(confidence=0.4), account=portfolio(open_orders=900))
    assert isinstance(verdict, Refused)
    assert {check.rule for check in verdict.checks} >= {
        Reason.DAILY_LOSS, Reason.STALE_PRICE, Reason.SPREAD_TOO_WIDE, Reason.STOP_TOO_CLOSE, Reason.GROSS_NOTIONAL,
        Reason.LIQUIDATION_DISTANCE, Reason.SIZE_BELOW_MINIMUM,
    }  # fmt: skip
    assert [r.reason for r in verdict.refusals] == [Reason.CONFIDENCE_TOO_LOW, Reason.OPEN_ORDERS]
    assert verdict.refusals[1].sentence() == "OPEN_ORDERS: 901 orders with this one, limit 800 orders"
