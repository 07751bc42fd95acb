"""The portfolio after the trade, everything in flight filled: is it within every limit (S22, S25, S32)?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from perpstrader.domain import ZERO, AssetSpec, Check, Reason
from perpstrader.risk.case import Case
from perpstrader.risk.exposure import Book, UsdLimits, market_order_cap_usd, unknown_coins
from perpstrader.risk.liquidation import distances
from perpstrader.risk.rules.checks import at_least, at_most, holds, show, unjudged
from perpstrader.risk.sizing import Sizing, available_usd, margin_per_unit_usd
from perpstrader.risk.stops import EntryPrices
from perpstrader.settings.limits import RiskSettings


def check_portfolio(
    book: Book, usd: UsdLimits, limits: RiskSettings, equity_usd: Decimal, assets: Mapping[str, AssetSpec]
) -> Iterator[Check]:
    """The limits of a whole portfolio with everything in flight, ``book.new`` included where there is one."""
    yield at_most(Reason.POSITION_COUNT, len(book.symbols), limits.max_positions, "positions")
    yield at_most(Reason.GROSS_NOTIONAL, book.gross_usd, usd.gross, "USD")
    yield at_most(Reason.NET_NOTIONAL, book.net_usd, usd.net, "USD")
    yield at_most(Reason.CLUSTER_NOTIONAL, book.net_usd, usd.cluster, "USD")
    yield at_most(Reason.MARGIN_RATIO, book.margin_usd, usd.margin, "USD of initial margin")
    yield at_most(Reason.CRASH_EXPOSURE, book.in_flight_usd, usd.crash, "USD in flight")
    for symbol in book.symbols:
        notional = book.symbol_usd(symbol)
        yield at_most(Reason.SYMBOL_NOTIONAL, notional, usd.symbol, f"USD in {symbol}")
        if symbol in assets:
            cap = limits.max_market_order_fraction * market_order_cap_usd(assets[symbol])
            yield at_most(Reason.MARKET_ORDER_CAP, notional, cap, f"USD in {symbol}")
    yield from check_liquidation(book, limits, equity_usd, assets)


def check_liquidation(
    book: Book, limits: RiskSettings, equity_usd: Decimal, assets: Mapping[str, AssetSpec]
) -> Iterator[Check]:
    """Every position keeps its distance to liquidation, alone and after the joint shock of the others (S22)."""
    unknown = unknown_coins(book, assets)
    if unknown:
        yield holds(Reason.LIQUIDATION_DISTANCE, False, f"no margin table of {', '.join(unknown)}", "known")
        return
    for found in distances(book.everything, equity_usd, assets, limits.joint_shock_fraction):
        least = max(
            limits.min_liquidation_distance_fraction, limits.min_liquidation_stop_ratio * found.stop_fraction
        )
        unit = f"of mark in {found.symbol}"
        if found.worst is None:
            yield holds(Reason.LIQUIDATION_DISTANCE, True, "no price liquidates it", show(least), unit)
        else:
            yield at_least(Reason.LIQUIDATION_DISTANCE, found.worst, least, unit)


def check_order(
    case: Case, asset: AssetSpec, prices: EntryPrices, sizing: Sizing, book: Book, usd: UsdLimits
) -> Iterator[Check]:
    """The order itself; ``book`` holds it as ``new``."""
    notional = sizing.size * prices.exposure_price
    yield at_most(Reason.ORDER_NOTIONAL, notional, usd.order, "USD")
    yield at_most(Reason.RISK_PER_TRADE, sizing.risk_usd, sizing.budget_usd, "USD lost at the stop")
    allowed = min(case.limits.max_leverage, asset.max_leverage_at(book.symbol_usd(asset.name)))
    yield at_most(Reason.LEVERAGE, case.leverage, allowed, "x")
    needed = sizing.size * margin_per_unit_usd(case, prices.exposure_price)
    yield at_most(Reason.AVAILABLE_MARGIN, needed, available_usd(case, book), "USD of available margin")
    share = case.limits.max_depth_fraction
    if sizing.depth is None:
        yield unjudged(Reason.DEPTH_TOO_THIN, share, "of depth within the slip cap")
    else:
        yield at_most(Reason.DEPTH_TOO_THIN, sizing.size, share * sizing.depth, "base units of the book")
    hint = case.signal.size_hint
    if hint is not None:
        yield at_most(Reason.SIZE_HINT, sizing.size, hint, "base units asked for")
    least = sizing.size * prices.cheapest_price
    passed = sizing.size > ZERO and least >= sizing.minimum_usd
    unit = f"USD (bound by {sizing.bound})"
    yield holds(Reason.SIZE_BELOW_MINIMUM, passed, show(least), show(sizing.minimum_usd), unit)
