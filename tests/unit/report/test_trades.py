"""Fills become trades whose money adds up to the last digit."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.report.report_samples import fill, funding

from perpstrader.domain import Fill, Side
from perpstrader.report import trades_of

D = Decimal


def test_a_round_trip_is_one_trade_with_its_costs() -> None:
    [trade] = trades_of(
        [
            fill(1, buy=True, price="100", size="1", time_ms=10, fee="0.05"),
            fill(2, buy=True, price="110", size="1", time_ms=20, fee="0.05"),
            fill(3, buy=False, price="120", size="2", time_ms=40, fee="0.10"),
        ],
        [funding("-0.30", 30), funding("-9", 5), funding("-9", 50), funding("-9", 30, "ETH")],
        strategy_of=lambda f: f"s{f.tid}",
        exit_of=lambda f: f"by {f.tid}",
    )
    assert (trade.side, trade.strategy, trade.exit) == (Side.LONG, "s1", "by 3")
    assert (trade.opened_ms, trade.closed_ms, trade.size, trade.fills) == (10, 40, D(2), 3)
    assert (trade.entry_price, trade.exit_price) == (D(105), D(120))
    assert (trade.gross_usd, trade.fees_usd, trade.funding_usd, trade.net_usd) == (
        D(30),
        D("0.20"),
        D("-0.30"),
        D("29.50"),
    )
    assert trade.return_fraction == 29.5 / 210


def test_a_short_earns_when_price_falls() -> None:
    [trade] = trades_of([fill(1, buy=False, price="100", size="2"), fill(2, buy=True, price="90", size="2", time_ms=1)])
    assert trade.side is Side.SHORT
    assert trade.net_usd == D(20)


def test_a_fill_beyond_flat_ends_one_trade_and_opens_the_next() -> None:
    first, second = trades_of(
        [
            fill(1, buy=True, price="100", size="1", time_ms=1),
            fill(2, buy=False, price="104", size="3", time_ms=2, fee="0.3"),
            fill(3, buy=True, price="100", size="2", time_ms=3),
        ]
    )
    assert (first.side, first.gross_usd, first.fees_usd) == (Side.LONG, D(4), D("0.1"))
    assert (second.side, second.gross_usd, second.fees_usd) == (Side.SHORT, D(8), D("0.2"))


def test_an_open_trade_shows_what_has_been_realised() -> None:
    [trade] = trades_of(
        [fill(1, buy=True, price="100", size="2"), fill(2, buy=False, price="110", size="1", time_ms=1)]
    )
    assert (trade.closed_ms, trade.exit_price, trade.exit) == (None, None, "open")
    assert trade.gross_usd == D(10)


def test_a_forced_exit_says_so() -> None:
    fills = [
        fill(1, buy=True, price="100", size="1"),
        fill(2, buy=False, price="50", size="1", time_ms=1, liquidation=True),
    ]
    [trade] = trades_of(fills, exit_of=lambda _: "stop")
    assert trade.exit == "liquidation"


CENTS = st.integers(min_value=100, max_value=100_000).map(lambda n: D(n) / 100)
FILLS = st.lists(
    st.tuples(st.booleans(), CENTS, st.integers(min_value=1, max_value=9), st.sampled_from(["BTC", "ETH"])), max_size=40
)


@given(FILLS)
def test_no_cent_is_lost_between_fills_and_trades(rows: list[tuple[bool, Decimal, int, str]]) -> None:
    fills: list[Fill] = []
    held = {"BTC": 0, "ETH": 0}
    for n, (buy, price, size, symbol) in enumerate(rows):
        fills.append(fill(n, buy=buy, price=str(price), size=str(size), time_ms=n, fee="0.37", symbol=symbol))
        held[symbol] += size if buy else -size
    for symbol, size in held.items():  # flatten, so that nothing is unrealised
        if size:
            n = len(fills)
            fills.append(fill(n, buy=size < 0, price="50", size=str(abs(size)), time_ms=n, fee="0.37", symbol=symbol))
    trades = trades_of(fills)
    cash = sum((-f.signed_size * f.price - f.fee_usd for f in fills), D(0))
    assert all(trade.closed_ms is not None for trade in trades)
    assert abs(sum((trade.net_usd for trade in trades), D(0)) - cash) < D("1e-18")
