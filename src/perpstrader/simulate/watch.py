"""What a simulated run leaves behind: a fingerprint of everything that happened, and the figures that its report needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from perpstrader.domain import Approved, Candle, Fill, FundingPayment, Order, Purpose, Refused, Trace
from perpstrader.domain.money import ZERO
from perpstrader.execution.positions import FillEffect
from perpstrader.report import Decisions, HaltSpan, MarkDrawdown
from perpstrader.risk.contract import HaltChange
from perpstrader.simulate.stopwatch import Pulse

_ENCODER: Final = msgspec.json.Encoder(decimal_format="string", order="sorted")


class Watch:
    """An observer that keeps a running SHA-256 over the ordered decisions, orders, fills and funding, and the lists for
    a report.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.mid_of: Callable[[str], Decimal | None] = lambda symbol: None
        self.equity_usd: Callable[[], Decimal] = lambda: ZERO
        self.on_time: Callable[[int], None] = lambda close_ms: None
        self.curve: list[tuple[int, Decimal]] = []
        self.worst = MarkDrawdown()
        self._peak_usd: Decimal | None = None
        self.halts: list[HaltSpan] = []
        self._halted: dict[str, int] = {}
        self.pulse = Pulse()
        self.ambiguous_bars = 0
        self._bars = 0
        self._decided = 0
        self._acted = 0
        self._held = 0
        self._levels: dict[str, tuple[Decimal, Decimal]] = {}
        self._ended: dict[str, None] = {}
        self.events = 0
        self.fills: list[Fill] = []
        self.funding: list[FundingPayment] = []
        self.owner_of: dict[int, str] = {}
        self.purpose_of: dict[int, str] = {}
        self.slippage_usd = ZERO
        self.liquidations = 0
        self._signals: dict[str, int] = {}
        self._approved: dict[str, int] = {}
        self._refused: dict[str, dict[str, int]] = {}

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 over all that happened so far; wall time and file names are not in it."""
        return self._hash.hexdigest()

    def on_decision(self, trace: Trace) -> None:
        """Count it by strategy and reason."""
        self._add("decision", (trace.id, trace.signal, trace.verdict))
        self._decided += 1
        if trace.signal is None:
            return
        name = trace.strategy
        self._signals[name] = self._signals.get(name, 0) + 1
        if isinstance(trace.verdict, Refused) and not trace.signal.is_exit:
            for number in self._halted.values():
                span = self.halts[number]
                self.halts[number] = replace(span, refused=span.refused + 1)
        if isinstance(trace.verdict, Approved):
            self._approved[name] = self._approved.get(name, 0) + 1
        elif isinstance(trace.verdict, Refused):
            reasons = self._refused.setdefault(name, {})
            reasons[trace.verdict.reason] = reasons.get(trace.verdict.reason, 0) + 1

    def on_bar(self, candle: Candle) -> None:
        """One point of the equity curve a bar time; a bar that reached stop and target of what was held is ambiguous.
        """
        self._bars += 1
        levels = self._levels.get(candle.symbol)
        if levels is not None:
            self.ambiguous_bars += candle.low <= min(levels) and candle.high >= max(levels)
            if candle.symbol in self._ended:
                del self._levels[candle.symbol], self._ended[candle.symbol]
        if not self.curve or self.curve[-1][0] != candle.close_ms:
            equity_usd = self.equity_usd()
            self.curve.append((candle.close_ms, equity_usd))
            self.on_equity(equity_usd)
            self.pulse.beat(self._bars, quiet=not (self._decided or self._held), acted=self._acted)
            self._bars = self._decided = self._acted = 0
            self.on_time(candle.close_ms)

    def on_equity(self, equity_usd: Decimal) -> None:
        """How far below its peak the account has been, as the loss limits saw it: at every mark."""
        if self._peak_usd is None or equity_usd >= self._peak_usd:
            self._peak_usd = equity_usd
        else:
            self.worst = self.worst.deeper(self._peak_usd, equity_usd)

    def on_halt(self, change: HaltChange) -> None:
        """A halt of a kind that is in force already got stricter, and stays one halt; an end belongs to its kind."""
        kind = change.halt.kind.value
        if change.began and kind not in self._halted:
            self._halted[kind] = len(self.halts)
            self.halts.append(HaltSpan(kind=kind, reason=change.reason, actor=change.actor, since_ms=change.time_ms))
        elif change.began:
            number = self._halted[kind]
            self.halts[number] = replace(self.halts[number], reason=change.reason)
        elif (number := self._halted.pop(kind, -1)) >= 0:
            who = f"{change.actor}: {change.reason}"
            self.halts[number] = replace(self.halts[number], until_ms=change.time_ms, ended_by=who)

    def on_order(self, order: Order) -> None:
        """Only the fingerprint."""
        self._add(
            "order", (order.cloid, order.status, order.oid, order.filled, order.average_price, order.intent.purpose)
        )

    def on_fill(self, effect: FillEffect, order: Order | None) -> None:
        """Keep it, and what it cost against the mid of its moment."""
        fill = effect.fill
        self._add("fill", fill)
        self.fills.append(fill)
        self.owner_of[fill.tid] = (effect.ended or effect.holding).owner
        self.purpose_of[fill.tid] = order.intent.purpose.value if order is not None else "foreign"
        self.liquidations += fill.liquidation
        self._acted += order is not None and order.filled == fill.size
        self._held += effect.opened - (effect.ended is not None)
        self._note_levels(effect)
        mid = self.mid_of(fill.symbol)
        if mid is not None and fill.crossed and (order is None or order.intent.purpose is not Purpose.TARGET):
            paid = (fill.price - mid) if fill.buy else (mid - fill.price)
            self.slippage_usd += max(ZERO, paid) * fill.size

    def on_funding(self, payment: FundingPayment) -> None:
        """Keep it."""
        self._add("funding", payment)
        self.funding.append(payment)

    def decisions(self) -> dict[str, Decisions]:
        """What each strategy asked for and got."""
        return {
            name: Decisions(
                signals=count,
                approved=self._approved.get(name, 0),
                refused=sum(self._refused.get(name, {}).values()),
                refused_by_reason=dict(self._refused.get(name, {})),
            )
            for name, count in self._signals.items()
        }

    def _note_levels(self, effect: FillEffect) -> None:
        """Stop and target of what is held, until the bar in which it ended has closed."""
        symbol, plan = effect.fill.symbol, effect.holding.plan
        if effect.ended is not None and symbol in self._levels:
            self._ended[symbol] = None
        if effect.opened and plan.stop_price is not None and plan.target_price is not None:
            self._levels[symbol] = (plan.stop_price, plan.target_price)
            self._ended.pop(symbol, None)

    def _add(self, kind: str, value: object) -> None:
        self.events += 1
        self._hash.update(b"%d %s " % (self.events, kind.encode()))
        self._hash.update(_ENCODER.encode(value))
