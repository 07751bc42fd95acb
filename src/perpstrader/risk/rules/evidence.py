"""Evidence: without a fresh account, a fresh price and a confirmed leverage there is no entry (S30, S34)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perpstrader.domain import ZERO, Check, Reason
from perpstrader.risk.case import Case
from perpstrader.risk.rules.checks import at_least, at_most, holds, missing, unjudged

BAR_GRACE_MS: Final = 5_000
"""A bar counts as closed a little after its end, and its last frame is on its way for a while."""


def check_evidence(case: Case) -> Iterator[Check]:
    """Account, prices, leverage, reconciliation, and how old each is."""
    portfolio, market, limits = case.portfolio, case.market, case.limits
    yield holds(Reason.NO_ACCOUNT_STATE, case.knows_account, "known" if case.knows_account else "unusable", "known")
    yield at_most(Reason.STALE_ACCOUNT, case.now_ms - portfolio.as_of_ms, limits.max_account_age_ms, "ms old")
    if not portfolio.equity_usd.is_finite() or portfolio.equity_usd <= 0:
        yield holds(Reason.EQUITY_INVALID, False, str(portfolio.equity_usd), "above 0", "USD")
    else:
        yield at_least(Reason.EQUITY_TOO_SMALL, case.limits_equity_usd, limits.min_equity_usd, "USD")
    shown = f"bid {market.bid}, ask {market.ask}, mark {market.mark} of {market.symbol}"
    yield holds(Reason.NO_PRICE, case.knows_prices, shown, "bid below ask, all above 0")
    yield at_most(Reason.STALE_PRICE, case.now_ms - market.book_ms, limits.max_bbo_age_ms, "ms old (book)")
    yield at_most(Reason.STALE_PRICE, case.now_ms - market.context_ms, limits.max_mark_age_ms, "ms old (mark)")
    ahead_ms = max(portfolio.as_of_ms, market.book_ms, market.context_ms) - case.now_ms
    yield at_most(Reason.CLOCK_SKEW, ahead_ms, case.execution.max_clock_skew_ms, "ms ahead")
    confirmed = portfolio.leverage.get(case.signal.symbol)
    if confirmed is None:
        yield missing(Reason.LEVERAGE_UNCONFIRMED, case.leverage, "x")
    else:
        same = confirmed == case.leverage
        yield holds(Reason.LEVERAGE_UNCONFIRMED, same, str(confirmed), str(case.leverage), "x")
    yield holds(Reason.NOT_RECONCILED, portfolio.reconciled, "compared" if portfolio.reconciled else "not compared", "")


def check_history(case: Case) -> Iterator[Check]:
    """Enough bars without a gap, a newest one that is new, and a market that trades; who has no bars is not judged by
    them.
    """
    bars, limits, symbol = case.market.bars, case.limits, case.signal.symbol
    if bars is None:
        yield unjudged(Reason.NOT_ENOUGH_HISTORY, limits.min_history_bars, "bars")
        return
    shown = f"bars of {symbol} without a gap"
    yield at_least(Reason.NOT_ENOUGH_HISTORY, bars.unbroken, limits.min_history_bars, shown)
    if not bars.unbroken:
        return
    oldest_ms = int(limits.max_bar_age_ratio * bars.bar_ms) + BAR_GRACE_MS
    yield at_most(Reason.STALE_BARS, case.now_ms - bars.newest_close_ms, oldest_ms, "ms old (newest bar)")
    trades = bars.volume is None or bars.volume > ZERO
    yield holds(Reason.MARKET_HALTED, trades, "trading" if trades else f"nothing traded in the newest bar of {symbol}")
