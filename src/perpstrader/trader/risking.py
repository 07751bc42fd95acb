"""Risk as a person asks for it: the day, each position with its stop, each limit with what is used of it, the halts."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain import ZERO, Check, Position, Reason, RiskState, plain
from perpstrader.execution.positions import Holding
from perpstrader.risk import losses
from perpstrader.risk.contract import PortfolioRisk, PositionRisk, RiskMetrics
from perpstrader.risk.rules.checks import at_most, missing
from perpstrader.settings.limits import RiskSettings
from perpstrader.trader.status import HaltRow
from perpstrader.trader.trader import Trader

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 3_600_000
_AT_LEAST: Final = frozenset({Reason.LIQUIDATION_DISTANCE})


class StopRow(msgspec.Struct, frozen=True, kw_only=True):
    """One position with its stop: prices in USD, ``moved_by`` what moved it last, ``fixed`` why nothing ever does."""

    risk: PositionRisk
    side: str
    owner: str
    episode: str
    entry_price: Decimal
    mark_price: Decimal
    stop_price: Decimal | None
    first_stop: Decimal | None
    best_mark: Decimal | None
    moved_by: str
    moves_left: int
    fixed: str


class LimitRow(msgspec.Struct, frozen=True, kw_only=True):
    """One limit now; ``used_pct`` is empty where its value is not known."""

    rule: str
    value: str
    limit: str
    unit: str
    used_pct: str
    passed: bool


class RiskReport(msgspec.Struct, frozen=True, kw_only=True):
    """The account's risk now; ``waiting`` says by symbol what would hold an entry back, ``inactive`` which limits have
    no live input.
    """

    day: RiskMetrics
    portfolio: PortfolioRisk
    positions: tuple[StopRow, ...]
    limits: tuple[LimitRow, ...]
    halts: tuple[HaltRow, ...]
    waiting: dict[str, str]
    inactive: tuple[str, ...]


def report_of(trader: Trader) -> RiskReport:
    """The risk now; reads only."""
    portfolio, state, assets = trader.execution.view.build(), trader.keeper.judged_state, trader.execution.desk.assets
    limits, risk = trader.settings.risk, trader.risk
    checks = (
        *_day(state, portfolio.equity_usd, limits, trader.clock.now_ms()),
        *risk.within_limits(portfolio, state, assets),
    )
    return RiskReport(
        day=risk.metrics(state, portfolio.equity_usd),
        portfolio=risk.portfolio_risk(portfolio, assets),
        positions=tuple(
            _stop(trader, position, risk.position_risk(position, portfolio, assets))
            for position in portfolio.positions.values()
        ),
        limits=tuple(_row(check) for check in checks),
        halts=tuple(
            HaltRow(kind=h.kind.value, since_ms=h.since_ms, until_ms=h.until_ms, reason=h.reason, actor=h.actor)
            for h in state.halts
        ),
        waiting={symbol: refusal.sentence() for symbol, refusal in trader.no_entries().items()},
        inactive=trader.keeper.inactive,
    )


def _day(state: RiskState, equity_usd: Decimal, limits: RiskSettings, now_ms: int) -> Iterator[Check]:
    """The limits of the day and of the account's course: those that halt, halve or count."""
    bounds, lost = losses.day_bounds(limits, state), losses.day_loss_usd(state, equity_usd)
    stop_usd, flatten_usd = (bounds.entry_stop_usd, bounds.flatten_usd) if bounds is not None else (None, None)
    yield _known(Reason.DAILY_LOSS, max(ZERO, lost), stop_usd, "USD lost today (stops entries)")
    yield _known(Reason.DAILY_LOSS, max(ZERO, lost), flatten_usd, "USD lost today (flattens)")
    drawdown = losses.drawdown_fraction(state.peak_equity_usd, equity_usd)
    yield _known(Reason.DRAWDOWN, drawdown, limits.drawdown_halve_fraction, "of peak equity (halves sizes)")
    yield _known(Reason.DRAWDOWN, drawdown, limits.max_drawdown_fraction, "of peak equity (halts and flattens)")
    row = f"losses in a row ({limits.loss_streak_limit} halt)"
    yield at_most(Reason.LOSS_STREAK, state.loss_streak, limits.loss_streak_limit - 1, row)
    yield at_most(Reason.ENTRIES_PER_DAY, state.entries, limits.max_entries_per_day, "entries today")
    for symbol, count in sorted(state.entries_by_symbol.items()):
        shown = f"entries today in {symbol}"
        yield at_most(Reason.ENTRIES_PER_SYMBOL_DAY, count, limits.max_entries_per_symbol_day, shown)
        hour = sum(
            e.symbol == symbol and e.failed_ms is None and now_ms - e.time_ms < _HOUR_MS for e in state.conduct.entries
        )
        shown = f"entries within an hour in {symbol}"
        yield at_most(Reason.ENTRIES_PER_SYMBOL_HOUR, hour, limits.max_entries_per_symbol_hour, shown)
    minute = sum(now_ms - time_ms < _MINUTE_MS for time_ms in state.recent_entries_ms)
    yield at_most(Reason.ENTRIES_PER_MINUTE, minute, limits.max_entries_per_minute, "entries within a minute")
    move = state.market_move_fraction
    moved = "move of BTC within an hour"
    yield _known(Reason.VOLATILITY, move, limits.volatility_reduce_fraction, f"{moved} (halves sizes)")
    yield _known(Reason.VOLATILITY, move, limits.volatility_stop_fraction, f"{moved} (stops entries)")


def _known(rule: Reason, value: Decimal | None, limit: Decimal | None, unit: str) -> Check:
    if value is None or limit is None:
        return missing(rule, ZERO if limit is None else limit, unit)
    return at_most(rule, value, limit, unit)


def _row(check: Check) -> LimitRow:
    return LimitRow(
        rule=check.rule.value, value=check.value, limit=check.limit, unit=check.unit, used_pct=_used(check),
        passed=check.passed,
    )  # fmt: skip


def _used(check: Check) -> str:
    """The value over its limit in percent, for a minimum the limit over the value."""
    try:
        value, limit = Decimal(check.value), Decimal(check.limit)
        share = limit / value if check.rule in _AT_LEAST else value / limit
    except ArithmeticError:
        return ""
    return plain((share * 100).quantize(Decimal("0.1")))


def _stop(trader: Trader, position: Position, risk: PositionRisk) -> StopRow:
    holding: Holding | None = trader.execution.desk.positions.holdings.get(position.symbol)
    return StopRow(
        risk=risk, side=position.side.value, owner=position.owner, episode=position.episode,
        entry_price=position.entry_price, mark_price=position.mark_price,
        stop_price=position.stop.trigger_price if position.stop is not None else None,
        first_stop=holding.first_stop if holding is not None else None,
        best_mark=holding.stops.best_mark if holding is not None else None,
        moved_by=holding.stops.why if holding is not None else "",
        moves_left=trader.execution.mover.moves_left(holding) if holding is not None else 0,
        fixed=trader.ratchet.why_fixed(position.owner),
    )  # fmt: skip
