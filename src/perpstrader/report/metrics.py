"""What a run's equity and trades amount to: pure functions with the formula in each docstring.

Money is ``Decimal``; ratios are floats. A figure that cannot be computed (no trades, no variation, no losses) is
``None`` and never a zero that looks like a result.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain.money import ZERO
from perpstrader.report.trades import TradeRow

YEAR_MS: Final = 365 * 86_400_000
MAX_CURVE_POINTS: Final = 2_000

Curve = Sequence[tuple[int, Decimal]]
"""Times in UTC milliseconds with the account's equity in USD, one a bar, in order."""


class EquityPoint(msgspec.Struct, frozen=True):
    """Equity in USD at a time, and how far it is below its peak so far, as a fraction of that peak."""

    time_ms: int
    equity_usd: Decimal
    drawdown_fraction: float


class MarkDrawdown(msgspec.Struct, frozen=True, kw_only=True):
    """The deepest that equity was below its peak so far, as a fraction of that peak and in USD (not always of the same
    moment), at every mark and not only at bar closes.
    """

    fraction: float = 0.0
    usd: Decimal = ZERO

    def deeper(self, peak_usd: Decimal, equity_usd: Decimal) -> MarkDrawdown:
        """This one, or that of ``equity_usd`` below ``peak_usd`` where it is deeper."""
        depth_usd = peak_usd - equity_usd
        fraction = float(depth_usd / peak_usd) if peak_usd > 0 else 0.0
        if depth_usd <= self.usd and fraction <= self.fraction:
            return self
        return MarkDrawdown(fraction=max(fraction, self.fraction), usd=max(depth_usd, self.usd))


class EquityStats(msgspec.Struct, frozen=True, kw_only=True):
    """The equity curve in numbers.

    ``max_drawdown_fraction`` and ``max_drawdown_usd`` are at every mark, as the trader's own limit on drawdown sees it,
    ``closes_drawdown_fraction`` at the closes of bars alone, which the drawn curve shows.
    ``sharpe``: mean over standard deviation of the returns from bar to bar, times the square root of bars per 365
    days, risk-free rate 0. ``sortino``: the same with the root mean square of the negative returns.
    ``volatility_fraction`` is annual. ``longest_drawdown_ms`` is the longest time below a former peak, the last one
    counted up to the end.
    """

    max_drawdown_fraction: float
    max_drawdown_usd: Decimal
    closes_drawdown_fraction: float
    longest_drawdown_ms: int
    volatility_fraction: float | None
    sharpe: float | None
    sortino: float | None
    bars_per_year: float


NO_DRAWDOWN: Final = MarkDrawdown()


class TradeStats(msgspec.Struct, frozen=True, kw_only=True):
    """Closed trades in numbers, all net of fees and funding.

    ``profit_factor`` is the sum of the wins over the sum of the losses, ``expectancy_usd`` the mean of all.
    """

    trades: int
    wins: int
    losses: int
    win_fraction: float | None
    profit_factor: float | None
    expectancy_usd: Decimal | None
    average_win_usd: Decimal | None
    average_loss_usd: Decimal | None
    best_usd: Decimal | None
    worst_usd: Decimal | None
    average_holding_ms: int | None
    longest_losing_streak: int


class CostMultiple(msgspec.Struct, frozen=True):
    """What would have been left had trading cost ``multiple`` times as much."""

    multiple: int
    net_pnl_usd: Decimal


def cost_multiples(
    net_pnl_usd: Decimal, fees_usd: Decimal, slippage_usd: Decimal, multiples: Iterable[int] = (1, 2, 3)
) -> tuple[CostMultiple, ...]:
    """Net PnL at multiples of the trading costs: ``net - (k - 1) * (fees + slippage)``.

    ``slippage_usd`` is what the fills lost against the mid at the decision. A rebate (a negative sum) is not
    multiplied, and funding is not a cost of trading and stays as it was. The trades are those of the run: nothing is
    decided anew under other costs.
    """
    costs = max(ZERO, fees_usd) + max(ZERO, slippage_usd)
    return tuple(CostMultiple(k, net_pnl_usd - (k - 1) * costs) for k in multiples)


def equity_stats(curve: Curve, interval_ms: int, seen: MarkDrawdown = NO_DRAWDOWN) -> EquityStats:
    """The stats of a curve with one point a bar of ``interval_ms``; an empty or single-point curve has no variation.

    ``seen`` is the drawdown that marks between the points have shown.
    """
    bars_per_year = YEAR_MS / interval_ms
    returns = _returns(curve)
    mean = math.fsum(returns) / len(returns) if returns else 0.0
    deviation = downside = None
    if len(returns) >= 2:
        deviation = math.sqrt(math.fsum((r - mean) ** 2 for r in returns) / (len(returns) - 1)) or None
        downside = math.sqrt(math.fsum(r * r for r in returns if r < 0) / len(returns)) or None
    depth, depth_usd, longest = _drawdown(curve)
    scale = math.sqrt(bars_per_year)
    return EquityStats(
        max_drawdown_fraction=max(depth, seen.fraction),
        max_drawdown_usd=max(depth_usd, seen.usd),
        closes_drawdown_fraction=depth,
        longest_drawdown_ms=longest,
        volatility_fraction=None if deviation is None else deviation * scale,
        sharpe=None if deviation is None else mean / deviation * scale,
        sortino=None if downside is None else mean / downside * scale,
        bars_per_year=bars_per_year,
    )


def _returns(curve: Curve) -> list[float]:
    """Returns from point to point; none is defined from an equity that is not positive."""
    values = [float(equity) for _, equity in curve]
    return [after / before - 1.0 for before, after in itertools.pairwise(values) if before > 0]


def _drawdown(curve: Curve) -> tuple[float, Decimal, int]:
    depth, depth_usd, longest = 0.0, ZERO, 0
    peak: Decimal | None = None
    peak_ms = 0
    for time_ms, equity in curve:
        if peak is None or equity >= peak:
            peak, peak_ms = equity, time_ms
            continue
        longest = max(longest, time_ms - peak_ms)
        depth_usd = max(depth_usd, peak - equity)
        if peak > 0:
            depth = max(depth, float((peak - equity) / peak))
    return depth, depth_usd, longest


def curve_points(curve: Curve, limit: int = MAX_CURVE_POINTS) -> tuple[EquityPoint, ...]:
    """At most ``limit`` points of the curve with their drawdowns; first, last and each stretch's extremes are kept.

    So a chart of the points shows the same highs and lows as a chart of the whole curve.
    """
    points: list[EquityPoint] = []
    peak: Decimal | None = None
    for time_ms, equity in curve:
        peak = equity if peak is None or equity > peak else peak
        points.append(EquityPoint(time_ms, equity, float((peak - equity) / peak) if peak > 0 else 0.0))
    if len(points) <= limit:
        return tuple(points)
    stretches = max(1, (limit - 2) // 2)
    kept = [points[0]]
    for n in range(stretches):
        stretch = points[1 + n * (len(points) - 2) // stretches : 1 + (n + 1) * (len(points) - 2) // stretches]
        if stretch:
            extremes = {min(stretch, key=_equity).time_ms, max(stretch, key=_equity).time_ms}
            kept.extend(point for point in stretch if point.time_ms in extremes)
    return (*kept, points[-1])


def _equity(point: EquityPoint) -> Decimal:
    return point.equity_usd


def trade_stats(trades: Iterable[TradeRow]) -> TradeStats:
    """The stats of the trades that are closed; a trade with net 0 is neither a win nor a loss."""
    closed = sorted((t for t in trades if t.closed_ms is not None), key=lambda t: (t.closed_ms or 0, t.opened_ms))
    wins = [t.net_usd for t in closed if t.net_usd > 0]
    losses = [t.net_usd for t in closed if t.net_usd < 0]
    streak = longest = 0
    for trade in closed:
        streak = streak + 1 if trade.net_usd < 0 else 0
        longest = max(longest, streak)
    count = len(closed)
    net = [t.net_usd for t in closed]
    return TradeStats(
        trades=count,
        wins=len(wins),
        losses=len(losses),
        win_fraction=len(wins) / count if count else None,
        profit_factor=float(sum(wins, ZERO) / -sum(losses, ZERO)) if losses else None,
        expectancy_usd=sum(net, ZERO) / count if count else None,
        average_win_usd=sum(wins, ZERO) / len(wins) if wins else None,
        average_loss_usd=sum(losses, ZERO) / len(losses) if losses else None,
        best_usd=max(net, default=None),
        worst_usd=min(net, default=None),
        average_holding_ms=sum((t.closed_ms or 0) - t.opened_ms for t in closed) // count if count else None,
        longest_losing_streak=longest,
    )
