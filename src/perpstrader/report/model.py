"""The report of a replay as one frozen value; terminal, HTML and JSON are three views of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain.money import ZERO, plain
from perpstrader.report.halts import HaltSpan, halted_ms, trading_ended
from perpstrader.report.metrics import (
    NO_DRAWDOWN,
    CostMultiple,
    Curve,
    EquityPoint,
    EquityStats,
    MarkDrawdown,
    TradeStats,
    cost_multiples,
    curve_points,
    equity_stats,
    trade_stats,
)
from perpstrader.report.trades import TradeRow

GRADES: Final = {
    "synthetic": "Synthetic market: made by a seeded generator, it exercises the machinery. Not evidence of profit.",
    "candle": "Candle-grade data: paths inside a bar, spread and depth are assumed. Not evidence of profit.",
    "bbo": "Best-bid-offer data: spread is recorded, depth beyond the touch is assumed. Weak evidence.",
    "book": "Book-grade data: spread and depth are recorded; queue position and our own impact are modelled.",
}
"""What each grade of data allows one to conclude (the data's grade must be said wherever its results are shown)."""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """The market that was replayed; ``bars`` counts all symbols together, ``ambiguous_bars`` those whose inner path
    decided a fill."""

    source: str
    grade: str
    symbols: tuple[str, ...]
    interval: str
    interval_ms: int
    start_ms: int
    end_ms: int
    bars: int
    ambiguous_bars: int = 0
    halted_bars: int = 0

    @property
    def ambiguous_fraction(self) -> float:
        """The share of bars in which the order of high and low had to be assumed."""
        return self.ambiguous_bars / self.bars if self.bars else 0.0


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """Signals and what became of them, in all or for one strategy; ``refused_by_reason`` counts the first reason of
    each refusal."""

    signals: int
    approved: int
    refused: int
    refused_by_reason: dict[str, int] = msgspec.field(default_factory=dict)


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """The account, in USD; ``fees_usd`` is positive when paid, ``funding_usd`` positive when received.

    ``identity_error_usd`` is the sum of all net PnL minus the change of equity, which must be 0 to the cent.
    ``slippage_usd`` is what the fills lost against the mid at the decision.
    """

    start_equity_usd: Decimal
    end_equity_usd: Decimal
    net_pnl_usd: Decimal
    fees_usd: Decimal
    funding_usd: Decimal
    slippage_usd: Decimal
    identity_error_usd: Decimal

    @property
    def return_fraction(self) -> float | None:
        """Net PnL over the equity at the start; ``None`` where that was not positive."""
        return float(self.net_pnl_usd / self.start_equity_usd) if self.start_equity_usd > 0 else None


class Safety(msgspec.Struct, frozen=True, kw_only=True):
    """The longest time that a position had no confirmed stop while the venue could be reached, and what must not
    happen."""

    max_unprotected_ms: int
    liquidations: int
    strategy_errors: int = 0


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """How long the run took on this machine; ``breakdown`` gives seconds a step, largest first."""

    wall_seconds: float
    bars_per_second: float
    decisions_per_second: float | None = None
    quiet_bars_per_second: float | None = None
    breakdown: tuple[tuple[str, float], ...] = ()


class GroupRow(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy or symbol: stats of its closed trades, ``net_usd`` of all its trades, and its decisions where
    those are counted."""

    name: str
    stats: TradeStats
    net_usd: Decimal
    decisions: Decisions | None = None


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that a replay has to say; equal runs give equal reports but for ``speed``."""

    title: str
    version: str
    seed: int
    fingerprint: str
    recording: Recording
    decisions: Decisions
    orders: int
    fills: int
    money: Money
    safety: Safety
    speed: Speed
    equity: tuple[EquityPoint, ...]
    equity_stats: EquityStats
    trade_stats: TradeStats
    trades: tuple[TradeRow, ...]
    costs: tuple[CostMultiple, ...]
    by_strategy: tuple[GroupRow, ...]
    by_symbol: tuple[GroupRow, ...]
    halts: tuple[HaltSpan, ...] = ()

    @property
    def grade_sentence(self) -> str:
        """What the data's grade allows one to conclude."""
        return GRADES[self.recording.grade]

    def summary(self) -> dict[str, object]:
        """The one JSON line: numbers, with money as text so that no digit is lost."""
        recording, money = self.recording, self.money
        return {
            "title": self.title,
            "data_grade": recording.grade,
            "symbols": list(recording.symbols),
            "interval": recording.interval,
            "start_ms": recording.start_ms,
            "end_ms": recording.end_ms,
            "bars": recording.bars,
            "ambiguous_bar_fraction": round(recording.ambiguous_fraction, 6),
            "halted_bars": recording.halted_bars,
            "signals": self.decisions.signals,
            "approved": self.decisions.approved,
            "refused": self.decisions.refused,
            "refused_by_reason": self.decisions.refused_by_reason,
            "orders": self.orders,
            "fills": self.fills,
            "trades": self.trade_stats.trades,
            "fees_usd": plain(money.fees_usd),
            "funding_usd": plain(money.funding_usd),
            "net_pnl_usd": plain(money.net_pnl_usd),
            "net_pnl_usd_at_cost_multiple": {str(cost.multiple): plain(cost.net_pnl_usd) for cost in self.costs},
            "equity_usd": plain(money.end_equity_usd),
            "equity_identity_error_usd": plain(money.identity_error_usd),
            "max_drawdown_fraction": round(self.equity_stats.max_drawdown_fraction, 6),
            "closes_drawdown_fraction": round(self.equity_stats.closes_drawdown_fraction, 6),
            "halts": [msgspec.to_builtins(span) for span in self.halts],
            "halted_ms": halted_ms(self.halts, recording.end_ms),
            "trading_ended_ms": None if (last := trading_ended(self.halts)) is None else last.since_ms,
            "strategy_errors": self.safety.strategy_errors,
            "max_unprotected_ms": self.safety.max_unprotected_ms,
            "liquidations": self.safety.liquidations,
            "fingerprint": self.fingerprint,
            "bars_per_second": round(self.speed.bars_per_second, 1),
            "quiet_bars_per_second": _rounded(self.speed.quiet_bars_per_second),
            "decisions_per_second": _rounded(self.speed.decisions_per_second),
            "seconds_by_part": {name: round(spent, 3) for name, spent in self.speed.breakdown},
        }


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 1)


def replay_report(
    *,
    title: str,
    version: str,
    seed: int,
    fingerprint: str,
    recording: Recording,
    decisions_by_strategy: dict[str, Decisions],
    orders: int,
    fills: int,
    money: Money,
    safety: Safety,
    speed: Speed,
    curve: Curve,
    trades: Sequence[TradeRow],
    seen: MarkDrawdown = NO_DRAWDOWN,
    halts: Sequence[HaltSpan] = (),
) -> ReplayReport:
    """The report with everything that follows from these facts worked out; ``ValueError`` for a grade that is not
    known.

    ``curve`` has one point a bar time, ``trades`` come from ``trades_of``; ``seen`` is the drawdown at marks, ``halts``
    are in the order of their beginnings.
    """
    if recording.grade not in GRADES:
        raise ValueError(f"data grade {recording.grade!r} is not known; allowed are {', '.join(GRADES)}")
    strategies = dict.fromkeys([*decisions_by_strategy, *(trade.strategy for trade in trades)])
    symbols = dict.fromkeys([*recording.symbols, *(trade.symbol for trade in trades)])
    return ReplayReport(
        title=title,
        version=version,
        seed=seed,
        fingerprint=fingerprint,
        recording=recording,
        decisions=_total(decisions_by_strategy.values()),
        orders=orders,
        fills=fills,
        money=money,
        safety=safety,
        speed=speed,
        equity=curve_points(curve),
        equity_stats=equity_stats(curve, recording.interval_ms, seen),
        trade_stats=trade_stats(trades),
        trades=tuple(trades),
        halts=tuple(halts),
        costs=cost_multiples(money.net_pnl_usd, money.fees_usd, money.slippage_usd),
        by_strategy=tuple(
            _group(name, [t for t in trades if t.strategy == name], decisions_by_strategy.get(name))
            for name in strategies
        ),
        by_symbol=tuple(_group(name, [t for t in trades if t.symbol == name]) for name in symbols),
    )


def _group(name: str, trades: Sequence[TradeRow], decisions: Decisions | None = None) -> GroupRow:
    net = sum((trade.net_usd for trade in trades), ZERO)
    return GroupRow(name=name, stats=trade_stats(trades), net_usd=net, decisions=decisions)


def _total(parts: Iterable[Decisions]) -> Decisions:
    parts = list(parts)
    reasons: dict[str, int] = {}
    for part in parts:
        for reason, count in part.refused_by_reason.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return Decisions(
        signals=sum(part.signals for part in parts),
        approved=sum(part.approved for part in parts),
        refused=sum(part.refused for part in parts),
        refused_by_reason=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    )
