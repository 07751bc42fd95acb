"""What a person sees of risk: the portfolio, one position, the day; no decision reads a score (RM-09)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from perpstrader.domain import ZERO, AssetSpec, Check, Portfolio, Position, Reason, Reservation, RiskState
from perpstrader.risk import losses
from perpstrader.risk.contract import PortfolioRisk, PositionRisk, RiskMetrics
from perpstrader.risk.exposure import Book, market_order_cap_usd, open_book, usd_limits
from perpstrader.risk.liquidation import Distance, distances, maintenance_usd
from perpstrader.risk.rules.exposure import check_portfolio
from perpstrader.settings.limits import RiskSettings
from perpstrader.settings.trading import ExecutionSettings

_SCORED: Final = frozenset({
    Reason.DAILY_LOSS, Reason.DRAWDOWN, Reason.GROSS_NOTIONAL, Reason.NET_NOTIONAL, Reason.CLUSTER_NOTIONAL,
    Reason.SYMBOL_NOTIONAL, Reason.MARGIN_RATIO,
})  # fmt: skip


def utilisation(checks: Iterable[Check]) -> float:
    """The greatest share of a limit in use, 0 to 1, over losses and exposures; a profit uses nothing (RM-22)."""
    used = max((_share(check) for check in checks if check.rule in _SCORED), default=ZERO)
    return float(round(min(Decimal(1), used), 6))


def _share(check: Check) -> Decimal:
    try:
        value, limit = Decimal(check.value), Decimal(check.limit)
    except ArithmeticError:
        return ZERO
    if limit <= 0:
        return Decimal(1) if value > 0 else ZERO
    return max(ZERO, value / limit)


def portfolio_risk(
    portfolio: Portfolio,
    reservations: tuple[Reservation, ...],
    assets: Mapping[str, AssetSpec],
    limits: RiskSettings,
    execution: ExecutionSettings,
    leverage: int,
) -> PortfolioRisk:
    """See ``RiskManager.portfolio_risk``."""
    book = open_book(portfolio, reservations, limits, leverage)
    equity_usd = portfolio.equity_usd
    known = all(symbol in assets for symbol in book.symbols)
    found = list(distances(book.everything, equity_usd, assets, limits.joint_shock_fraction)) if known else []
    nearest = min((d for d in found if d.worst is not None), key=lambda d: d.worst or ZERO, default=None)
    largest = max((book.symbol_usd(symbol) for symbol in book.symbols), default=ZERO)
    usd = usd_limits(limits, execution, equity_usd)
    return PortfolioRisk(
        equity_usd=equity_usd, gross_notional_usd=book.gross_usd, net_notional_usd=book.net_usd,
        gross_leverage=_over(book.gross_usd, equity_usd), net_leverage=_over(book.net_usd, equity_usd),
        concentration_fraction=_over(largest, equity_usd),
        margin_ratio=_over(maintenance_usd(book.everything, assets), equity_usd) if known else None,
        nearest_liquidation_symbol=nearest.symbol if nearest is not None else "",
        nearest_liquidation_fraction=nearest.worst if nearest is not None else None,
        liquidity_ratio=_liquidity(book, assets, limits),
        score=utilisation(check_portfolio(book, usd, limits, equity_usd, assets)) if equity_usd > 0 else 1.0,
    )  # fmt: skip


def position_risk(
    position: Position,
    portfolio: Portfolio,
    reservations: tuple[Reservation, ...],
    assets: Mapping[str, AssetSpec],
    limits: RiskSettings,
    leverage: int,
) -> PositionRisk:
    """See ``RiskManager.position_risk``."""
    book = open_book(portfolio, reservations, limits, leverage)
    distance = _distance_of(position, book, portfolio.equity_usd, assets, limits)
    stop_fraction = distance.stop_fraction if distance is not None else limits.max_stop_distance_fraction
    least = max(limits.min_liquidation_distance_fraction, limits.min_liquidation_stop_ratio * stop_fraction)
    worst = distance.worst if distance is not None else None
    warnings = []
    if position.stop is None:
        warnings.append("no stop is listed at the venue")
    if distance is None:
        warnings.append("no margin table: its liquidation price is not known")
    elif worst is not None and worst < least:
        warnings.append(f"liquidation is {worst:.4f} away, at least {least:.4f} is wanted")
    return PositionRisk(
        symbol=position.symbol, notional_usd=position.notional_usd,
        equity_fraction=_over(position.notional_usd, portfolio.equity_usd),
        profit_fraction=position.unrealized_usd / (position.entry_price * position.size),
        stop_fraction=stop_fraction if position.stop is not None else None,
        risk_usd=stop_fraction * position.notional_usd,
        liquidation_price=distance.price if distance is not None else None, liquidation_fraction=worst,
        least_liquidation_fraction=least, warnings=tuple(warnings),
    )  # fmt: skip


def metrics(state: RiskState, equity_usd: Decimal | None, limits: RiskSettings) -> RiskMetrics:
    """See ``RiskManager.metrics``."""
    bounds = losses.day_bounds(limits, state)
    loss_usd = losses.day_loss_usd(state, equity_usd)
    stop_usd = bounds.entry_stop_usd if bounds is not None else None
    return RiskMetrics(
        day=state.day, realized_usd=state.realized_usd, fees_usd=state.fees_usd, funding_usd=state.funding_usd,
        loss_usd=loss_usd, entry_stop_usd=stop_usd,
        flatten_usd=bounds.flatten_usd if bounds is not None else None,
        loss_utilisation=_over(loss_usd, stop_usd) if stop_usd is not None else None,
        drawdown_fraction=losses.drawdown_fraction(state.peak_equity_usd, equity_usd),
        size_multiplier=losses.size_multiplier(limits, state.peak_equity_usd, equity_usd),
        loss_streak=state.loss_streak, entries=state.entries, halts=state.halts,
    )  # fmt: skip


def _distance_of(
    position: Position, book: Book, equity_usd: Decimal, assets: Mapping[str, AssetSpec], limits: RiskSettings
) -> Distance | None:
    if any(symbol not in assets for symbol in book.symbols):
        return None
    found = distances(book.everything, equity_usd, assets, limits.joint_shock_fraction, only=position.symbol)
    return next(found, None)


def _liquidity(book: Book, assets: Mapping[str, AssetSpec], limits: RiskSettings) -> Decimal:
    shares = [
        book.symbol_usd(symbol) / (limits.max_market_order_fraction * market_order_cap_usd(assets[symbol]))
        for symbol in book.symbols
        if symbol in assets
    ]
    return max(shares, default=ZERO)


def _over(amount: Decimal, by: Decimal) -> Decimal | None:
    return amount / by if by > 0 else None
