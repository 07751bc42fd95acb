"""The figures of a report are those of cases worked out by hand; what cannot be known is not shown as zero."""

from __future__ import annotations

import itertools
import math
import statistics
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.report.report_samples import sample_trades

from perpstrader.report import TradeRow, cost_multiples, curve_points, equity_stats, trade_stats

D = Decimal
DAY_MS = 86_400_000


def curve(*values: float) -> list[tuple[int, Decimal]]:
    return [(n * DAY_MS, D(str(value))) for n, value in enumerate(values)]


def trades(*net: str) -> list[TradeRow]:
    [model, *_] = sample_trades(400)
    return [
        msgspec.structs.replace(model, opened_ms=n * 10, closed_ms=n * 10 + 4, net_usd=D(value))
        for n, value in enumerate(net)
    ]


def test_drawdown_is_measured_from_the_highest_equity_so_far() -> None:
    stats = equity_stats(curve(100, 120, 90, 110, 130, 117), DAY_MS)
    assert stats.max_drawdown_fraction == 0.25
    assert stats.max_drawdown_usd == D(30)
    assert stats.longest_drawdown_ms == 2 * DAY_MS


def test_a_drawdown_that_has_not_ended_counts_up_to_the_end() -> None:
    assert equity_stats(curve(100, 90, 95, 99, 98), DAY_MS).longest_drawdown_ms == 4 * DAY_MS


def test_sharpe_and_sortino_follow_their_stated_formulas() -> None:
    values = [100, 102, 101, 105, 103]
    stats = equity_stats(curve(*values), DAY_MS)
    returns = [b / a - 1 for a, b in itertools.pairwise(values)]
    mean = statistics.fmean(returns)
    assert stats.bars_per_year == 365
    assert stats.sharpe == pytest.approx(mean / statistics.stdev(returns) * math.sqrt(365))
    downside = math.sqrt(sum(min(r, 0) ** 2 for r in returns) / len(returns))
    assert stats.sortino == pytest.approx(mean / downside * math.sqrt(365))
    assert stats.volatility_fraction == pytest.approx(statistics.stdev(returns) * math.sqrt(365))


def test_a_curve_without_variation_has_no_ratios() -> None:
    for flat in ([], curve(100), curve(100, 100, 100)):
        stats = equity_stats(flat, DAY_MS)
        assert (stats.sharpe, stats.sortino, stats.max_drawdown_fraction) == (None, None, 0.0)


def test_ruin_is_a_drawdown_and_no_division_by_zero() -> None:
    stats = equity_stats(curve(100, 90, 0, -20, 10), DAY_MS)
    assert stats.max_drawdown_fraction == 1.2
    assert stats.sharpe is not None
    assert math.isfinite(stats.sharpe)


def test_trade_stats_of_a_case_worked_out_by_hand() -> None:
    stats = trade_stats(trades("10", "-4", "-6", "0", "30", "-5"))
    assert (stats.trades, stats.wins, stats.losses) == (6, 2, 3)
    assert stats.win_fraction == 2 / 6
    assert stats.profit_factor == 40 / 15
    assert stats.expectancy_usd == D(25) / 6
    assert (stats.average_win_usd, stats.average_loss_usd) == (D(20), D(-5))
    assert (stats.best_usd, stats.worst_usd, stats.longest_losing_streak) == (D(30), D(-6), 2)
    assert stats.average_holding_ms == 4


def test_what_no_trade_can_tell_is_none() -> None:
    stats = trade_stats([])
    assert (stats.win_fraction, stats.profit_factor, stats.expectancy_usd, stats.average_holding_ms) == (None,) * 4
    assert trade_stats(trades("3", "2")).profit_factor is None


def test_open_trades_are_not_counted() -> None:
    [trade] = trades("10")
    assert trade_stats([msgspec.structs.replace(trade, closed_ms=None)]).trades == 0


def test_costs_multiply_fees_and_slippage_and_never_a_rebate() -> None:
    assert [(c.multiple, c.net_pnl_usd) for c in cost_multiples(D(10), D(3), D(2))] == [
        (1, D(10)),
        (2, D(5)),
        (3, D(0)),
    ]
    assert [c.net_pnl_usd for c in cost_multiples(D(10), D(-3), D(0))] == [D(10)] * 3


@given(st.lists(st.integers(min_value=1, max_value=10_000), min_size=1, max_size=300), st.integers(4, 60))
def test_a_thinned_curve_keeps_its_ends_extremes_and_drawdown(values: list[int], limit: int) -> None:
    whole = curve(*values)
    points = curve_points(whole, limit)
    assert len(points) <= max(limit, 2)
    kept = [(p.time_ms, p.equity_usd) for p in points]
    assert kept[0] == whole[0]
    assert kept[-1] == whole[-1]
    assert set(kept) <= set(whole)
    assert [t for t, _ in kept] == sorted({t for t, _ in kept})
    assert max(v for _, v in kept) == max(v for _, v in whole)
    assert min(v for _, v in kept) == min(v for _, v in whole)


def test_a_thinned_curve_shows_the_drawdown_of_the_whole() -> None:
    whole = curve(*[100 + 10 * math.sin(n / 5) for n in range(3_000)])
    points = curve_points(whole, 200)
    assert len(points) <= 200
    worst = max(p.drawdown_fraction for p in points)
    assert worst == pytest.approx(equity_stats(whole, DAY_MS).max_drawdown_fraction)
