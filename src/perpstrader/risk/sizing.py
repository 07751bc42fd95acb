"""How large: the risk budget over what one unit can lose, then the smallest of every limit's room, floored to the lot.

    budget   = min(fraction x equity, USD cap) x (0.5 + 0.5 x confidence'), confidence' from 0 at the least allowed to 1
    per unit = |worst - stop| + stop x max(0.3 %, 3 x spread) + fee x (worst + stop)
    size     = floor to lot (multiplier x min(budget / per unit, room of each limit / price))

``worst`` is the worst entry price, so that no fill loses more than the budget; ``fee`` is the venue's dearest taker fee
(API sheet 7.5); the multiplier is 1/2 in a drawdown, and 1/2 in a fast market.
A size under the least entry is refused, never rounded up (S33).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from perpstrader.domain import ZERO, AssetSpec
from perpstrader.domain.money import MIN_NOTIONAL_USD
from perpstrader.risk.case import Case
from perpstrader.risk.exposure import Book, UsdLimits, divide_down, market_order_cap_usd
from perpstrader.risk.losses import HALF, ONE, size_multiplier
from perpstrader.risk.stops import EntryPrices, worst_price

TAKER_FEE_FRACTION: Final = Decimal("0.00045")
_STOP_LEG_MARGIN: Final = Decimal("1.2")


@dataclass(frozen=True, slots=True)
class Sizing:
    """A size in base units, the name of what bound it, and the numbers behind it in USD.

    ``minimum_usd`` is the least entry notional, ``depth`` the book's size within the slip cap (``None``: not known).
    """

    size: Decimal
    bound: str
    unit_loss_usd: Decimal
    budget_usd: Decimal
    minimum_usd: Decimal
    depth: Decimal | None
    multiplier: Decimal
    halved_by: tuple[str, ...] = ()

    @property
    def risk_usd(self) -> Decimal:
        """The loss at the stop with stressed slip and both fees."""
        return self.size * self.unit_loss_usd


def size_entry(case: Case, asset: AssetSpec, prices: EntryPrices, book: Book, limits: UsdLimits) -> Sizing:
    """The largest size that every limit allows; zero where one allows nothing. Asks for a stop on the right side."""
    unit_loss = unit_loss_usd(case, prices)
    budget = limits.risk * confidence_scale(case)
    depth = depth_within_cap(case, asset)
    bounds = _bounds(case, asset, prices, book, limits, depth)
    bounds["risk_budget"] = divide_down(budget, unit_loss)
    bound = min(bounds, key=lambda name: bounds[name])
    halved_by = tuple(halvings(case))
    multiplier = HALF ** len(halved_by)
    return Sizing(
        size=asset.floor_size(bounds[bound] * multiplier), bound=bound, unit_loss_usd=unit_loss, budget_usd=budget,
        minimum_usd=minimum_notional_usd(case, prices), depth=depth, multiplier=multiplier,
        halved_by=halved_by,
    )  # fmt: skip


def halvings(case: Case) -> Iterator[str]:
    """What halves the size, each once."""
    if size_multiplier(case.limits, case.state.peak_equity_usd, case.portfolio.equity_usd) < ONE:
        yield "in a drawdown"
    if (case.state.market_move_fraction or ZERO) > case.limits.volatility_reduce_fraction:
        yield "in a fast market"


def unit_loss_usd(case: Case, prices: EntryPrices) -> Decimal:
    """What one base unit loses from the worst entry to a stressed stop, both taker fees included."""
    spread = case.market.spread_fraction or ZERO
    slip = max(case.limits.stress_slip_fraction, case.limits.stress_slip_spread_ratio * spread)
    fees = TAKER_FEE_FRACTION * (prices.worst + prices.stop)
    return abs(prices.worst - prices.stop) + slip * prices.stop + fees


def confidence_scale(case: Case) -> Decimal:
    """Half the budget at the least confidence allowed, all of it at 1, on a straight line between."""
    least = case.limits.min_confidence
    if least == ONE:
        return ONE
    above = (Decimal(repr(case.signal.confidence)) - least) / (ONE - least)
    return HALF + HALF * min(ONE, max(ZERO, above))


def minimum_notional_usd(case: Case, prices: EntryPrices) -> Decimal:
    """The least entry: the setting, twice the venue's minimum, and what keeps the stop's own limit price above it."""
    stop_leg = _STOP_LEG_MARGIN * MIN_NOTIONAL_USD * prices.cheapest_price / prices.stop_limit
    return max(case.limits.min_entry_notional_usd, 2 * MIN_NOTIONAL_USD, stop_leg)


def depth_within_cap(case: Case, asset: AssetSpec) -> Decimal | None:
    """Base units that the book offers to the entry within the slip cap; ``None`` where no book is known."""
    levels = case.market.asks if case.buys else case.market.bids
    if not levels:
        return None
    cap, sign = worst_price(case, asset), case.signal.side.sign
    return sum((level.size for level in levels if (level.price - cap) * sign <= 0), ZERO)


def _bounds(
    case: Case, asset: AssetSpec, prices: EntryPrices, book: Book, limits: UsdLimits, depth: Decimal | None
) -> dict[str, Decimal]:
    symbol, side, price = case.signal.symbol, case.signal.side, prices.exposure_price
    here, towards = book.symbol_usd(symbol), book.side_usd(side)
    cap = case.limits.max_market_order_fraction * market_order_cap_usd(asset)
    rooms_usd = {
        "order_notional": limits.order,
        "symbol_notional": limits.symbol - here,
        "gross_notional": limits.gross - book.gross_usd,
        "net_notional": limits.net - towards,
        "cluster_notional": limits.cluster - towards,
        "market_order_cap": cap - here,
        "crash_exposure": limits.crash - book.in_flight_usd,
        "margin": (limits.margin - book.margin_usd) * case.leverage,
    }
    bounds = {name: divide_down(room, price) for name, room in rooms_usd.items()}
    bounds["available_margin"] = divide_down(available_usd(case, book), margin_per_unit_usd(case, price))
    if depth is not None:
        bounds["depth"] = depth * case.limits.max_depth_fraction
    if case.signal.size_hint is not None:
        bounds["size_hint"] = case.signal.size_hint
    return bounds


def available_usd(case: Case, book: Book) -> Decimal:
    """What the venue lets us use, less what reservations will take of it."""
    return case.portfolio.available_usd - sum(
        (e.notional_usd / case.leverage + TAKER_FEE_FRACTION * e.notional_usd for e in book.reserved), ZERO
    )


def margin_per_unit_usd(case: Case, price: Decimal) -> Decimal:
    """What one base unit takes of the available margin: its initial margin and the entry's fee."""
    return price / case.leverage + TAKER_FEE_FRACTION * price
