"""Funding: the premium sampled every 5 s, averaged over the hour, charged on the hour at the oracle price (API sheet
7.4).
"""

from __future__ import annotations

from typing import Final

from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.events import FundingEvent
from perpstrader.paper.engine.margin import truncated
from perpstrader.paper.engine.state import EngineState
from perpstrader.paper.engine.views import FundingRate

PICO: Final = 10**12
INTEREST: Final = 100_000_000
"""0.01 % for eight hours, in 1e-12."""
CLAMP: Final = 500_000_000
"""0.05 % either way."""


def premium(impact_bid: int, impact_ask: int, oracle: int) -> int:
    """How far the impact prices lie beyond the oracle price, over the oracle price, in 1e-12, truncated."""
    return truncated((max(impact_bid - oracle, 0) - max(oracle - impact_ask, 0)) * PICO, oracle)


def hourly_rate(average_premium: int, cap: int) -> int:
    """An eighth of ``P + clamp(0.0001 - P, -0.0005, +0.0005)``, within ``cap``; all in 1e-12."""
    eight_hours = average_premium + max(-CLAMP, min(CLAMP, INTEREST - average_premium))
    return max(-cap, min(cap, truncated(eight_hours, 8)))


def payment(size: int, oracle: int, rate: int) -> int:
    """What a position of ``size`` signed lots receives (negative: pays) in micro-USD, truncated toward zero."""
    return truncated(-size * oracle * rate, PICO)


def market_premium(market: Market) -> int | None:
    """The premium now; ``None`` without an oracle price or with a book too thin for impact prices."""
    return shown_premium(market.impact(True), market.impact(False), market.oracle)


def shown_premium(impact_bid: int | None, impact_ask: int | None, oracle: int | None) -> int | None:
    """As ``market_premium``, from what is known already."""
    if impact_bid is None or impact_ask is None or not oracle:
        return None
    return premium(impact_bid, impact_ask, oracle)


def current_rate(market: Market, cap: int) -> int:
    """The rate that the next tick would charge: the one handed in, else the one of the samples so far, else the last
    one charged.
    """
    if market.handed_rate is not None:
        return market.handed_rate
    if market.premium_samples:
        return hourly_rate(truncated(market.premium_sum, market.premium_samples), cap)
    return market.last_rate


def sample(state: EngineState) -> None:
    """Take one premium sample of every market that has one and is not halted."""
    for market in state.markets.values():
        if market.halted:
            continue
        value = market_premium(market)
        if value is not None:
            market.premium_sum += value
            market.premium_samples += 1


def tick(state: EngineState) -> None:
    """Charge every open position; the house takes what truncation leaves. Samples and handed-in rates are used up."""
    for coin, market in state.markets.items():
        handed, samples = market.handed_rate is not None, market.premium_samples
        if not handed and not samples:
            rate, average = INTEREST // 8, 0
        else:
            rate = current_rate(market, state.config.funding_cap)
            average = truncated(market.premium_sum, samples) if samples else 0
        market.last_rate = rate
        market.handed_rate = None
        market.premium_sum = market.premium_samples = 0
        state.funding_rates[coin].append(FundingRate(coin, state.now_ms, rate, average))
        if market.oracle is None:
            continue
        for account in market.holders.values():
            position = account.positions[coin]
            usdc = payment(position.size, market.oracle, rate)
            if position.is_isolated:
                position.raw_usd += usdc
            else:
                account.cash += usdc
            state.house_cash -= usdc
            position.funding_since_open -= usdc
            position.funding_since_change -= usdc
            account.funding_all_time[coin] = account.funding_all_time.get(coin, 0) - usdc
            account.version += 1
            event = FundingEvent(account.user, state.now_ms, coin, usdc, position.size, rate, samples or None)
            account.funding.append(event)
            state.events.append(event)
