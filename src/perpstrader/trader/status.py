"""What a person sees of a running trader: one frozen value for the terminal, the control port and ``--json``."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Final

import msgspec

from perpstrader.alerts import ChannelState, Incident
from perpstrader.domain import Approved, Position, Refused, Trace, plain
from perpstrader.domain.money import CENT, ZERO
from perpstrader.domain.wording import moment_text, plural
from perpstrader.traces.postgres import Shipping
from perpstrader.trader.earnings import Earnings, earnings_of
from perpstrader.trader.recovering import IssueRow, report_of
from perpstrader.trader.trader import Trader

_SHOWN: Final = 12
_SHOWN_AS_STATE: Final = frozenset({"strategy-failed"})
_SEVEN_FIGURES: Final = Context(prec=7)


class PositionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One open position; money in USD, ``liquidation_distance_pct`` and ``stop_distance_pct`` in percent of mark.

    ``mark_age_ms`` is how old the mark is that all of it is valued at (``None``: none was heard since the start),
    ``protection_age_ms`` how long ago the venue was last heard or asked about the stop.
    """

    symbol: str
    side: str
    size: str
    entry_price: str
    mark_price: str
    notional_usd: str
    unrealized_usd: str
    stop_price: str
    protection: str
    stop_distance_pct: str
    target_price: str
    liquidation_price: str
    liquidation_distance_pct: str
    leverage: int
    owner: str
    episode: str
    opened_ms: int
    mark_age_ms: int | None = None
    protection_age_ms: int | None = None


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """One order that the venue may still execute."""

    symbol: str
    purpose: str
    side: str
    size: str
    filled: str
    limit_price: str
    trigger_price: str
    status: str
    oid: int | None
    cloid: str
    episode: str
    sent_ms: int


class DecisionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One decision in a line: what was wanted, what was said, why."""

    id: str
    time_ms: int
    kind: str
    symbol: str
    strategy: str
    wanted: str
    verdict: str
    why: str


class HaltRow(msgspec.Struct, frozen=True, kw_only=True):
    """One halt in force."""

    kind: str
    since_ms: int
    until_ms: int | None
    reason: str
    actor: str


class AlertRow(msgspec.Struct, frozen=True, kw_only=True):
    """One alert as it went out: ``change`` is ``new``, ``worse``, ``again`` or ``over``; ``open`` in a list of
    the incidents that stand.
    """

    time_ms: int
    severity: str
    change: str
    title: str
    text: str


class StrategyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy since the start: bars it was asked about, errors, bars it was not asked about for having failed;
    ``failing_since_ms`` only while it fails.
    """

    name: str
    asked: int
    signals: int
    errors: int
    skipped: int
    failing_since_ms: int | None
    last_error: str
    last_error_ms: int | None

    @property
    def trouble(self) -> str:
        """What went wrong with it, in one line; empty when nothing did."""
        if not self.errors:
            return ""
        counted = f"{plural(self.errors, 'error')}, {plural(self.skipped, 'bar')} skipped"
        since_ms = self.failing_since_ms
        state = "works again" if since_ms is None else f"fails since {moment_text(since_ms)} UTC"
        return f"strategy {self.name} {state}: {counted}; last: {self.last_error}"


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The trader now, and how old what it says is.

    ``may_trade`` is what the gate in front of every entry says now: true while at least one symbol may be entered.
    ``no_entries`` has the reason of each symbol that may not, ``why_not`` the same in one line. Ages in milliseconds,
    ``None`` for what was never heard: of the oldest mark that counts, of the account, of the newest stream frame, of
    the last whole comparison with the venue. ``unreachable_since_ms`` while the venue does not answer requests.
    ``net_pnl_usd`` is ``earnings.realized_usd``: what this process booked, open profit left out. ``shared_record`` is
    how shipping to a shared database stands, where the settings name one.
    """

    network: str
    account: str
    time_ms: int
    started_ms: int
    equity_usd: str
    available_usd: str
    day_realized_usd: str
    net_pnl_usd: str
    fees_usd: str
    funding_usd: str
    drawdown_pct: str
    may_trade: bool
    why_not: str
    halts: tuple[HaltRow, ...]
    positions: tuple[PositionRow, ...]
    orders: tuple[OrderRow, ...]
    decisions: tuple[DecisionRow, ...]
    incidents: tuple[str, ...]
    connected: bool
    stopping: bool = False
    reconciled: bool
    journal_pending: int
    bars: int
    cycles: int
    signals: int
    approved: int
    refused: int
    orders_sent: int
    fills: int
    refused_by_reason: dict[str, int]
    max_unprotected_ms: int
    heartbeats_late: tuple[str, ...]
    inactive: tuple[str, ...] = ()
    alerts: tuple[AlertRow, ...] = ()
    open_incidents: tuple[AlertRow, ...] = ()
    alert_channels: tuple[ChannelState, ...] = ()
    health: str = ""
    health_text: str = ""
    open_breakers: tuple[str, ...] = ()
    recovery: tuple[IssueRow, ...] = ()
    recovery_check_ms: int = 0
    recovery_attempts: dict[str, int] = msgspec.field(default_factory=dict)
    strategies: tuple[StrategyRow, ...] = ()
    no_entries: dict[str, str] = msgspec.field(default_factory=dict)
    mark_ages_ms: dict[str, int] = msgspec.field(default_factory=dict)
    account_age_ms: int | None = None
    stream_age_ms: int | None = None
    compared_age_ms: int | None = None
    unreachable_since_ms: int | None = None
    earnings: Earnings | None = None
    shared_record: Shipping | None = None


def status_of(trader: Trader) -> Status:
    """The trader now; reads only."""
    portfolio, state, counters = trader.execution.view.build(), trader.keeper.state, trader.counters
    accountant = trader.execution.accountant
    peak = state.peak_equity_usd
    drawdown = (peak - portfolio.equity_usd) / peak * 100 if peak else ZERO
    desk, health = trader.alarms.desk if trader.alarms is not None else None, trader.guard.health.report()
    no_entries = {symbol: refusal.sentence() for symbol, refusal in trader.no_entries().items()}
    ages, recovery = ages_of(trader), report_of(trader)
    return Status(
        network=trader.settings.venue.network,
        account=trader.execution.desk.client.account_address,
        time_ms=trader.clock.now_ms(),
        started_ms=trader.started_ms,
        equity_usd=_usd(portfolio.equity_usd),
        available_usd=_usd(portfolio.available_usd),
        day_realized_usd=_usd(state.realized_usd),
        net_pnl_usd=_usd(accountant.net_pnl_usd),
        earnings=earnings_of(trader),
        fees_usd=_usd(accountant.fees_usd),
        funding_usd=_usd(accountant.funding_usd),
        drawdown_pct=_usd(max(drawdown, ZERO)),
        may_trade=len(no_entries) < len(trader.settings.trader.symbols),
        why_not=_why_not(no_entries, len(trader.settings.trader.symbols)),
        halts=tuple(
            HaltRow(kind=h.kind.value, since_ms=h.since_ms, until_ms=h.until_ms, reason=h.reason, actor=h.actor)
            for h in state.halts
        ),
        positions=tuple(_position(p, ages) for p in portfolio.positions.values()),
        orders=order_rows(trader),
        decisions=tuple(decision_row(t) for t in list(trader.recorder.recent_decisions)[-_SHOWN:]),
        incidents=_events(trader),
        connected=trader.connected,
        stopping=trader.is_stopping,
        reconciled=portfolio.reconciled,
        journal_pending=trader.execution.desk.journal.pending,
        bars=counters.bars, cycles=counters.cycles, signals=counters.signals,
        approved=counters.approved, refused=counters.refused,
        orders_sent=counters.orders,
        fills=counters.fills,
        refused_by_reason=dict(counters.refused_by_reason),
        max_unprotected_ms=trader.execution.protector.max_unprotected_ms,
        inactive=trader.keeper.inactive,
        heartbeats_late=tuple(beat.name for beat in trader.heartbeats() if beat.late),
        alerts=tuple(_alert(a.incident, a.change.value) for a in desk.shown()[-_SHOWN:]) if desk is not None else (),
        open_incidents=tuple(_alert(i, "open") for i in desk.book.open()) if desk is not None else (),
        alert_channels=desk.channels() if desk is not None else (),
        health=health.status.value, health_text=health.text, open_breakers=health.open_breakers,
        recovery=recovery.issues,
        recovery_check_ms=recovery.last_check_ms,
        recovery_attempts=recovery.attempts,
        strategies=strategy_rows(trader),
        no_entries=no_entries,
        mark_ages_ms=ages.marks,
        account_age_ms=ages.account,
        stream_age_ms=ages.stream,
        compared_age_ms=ages.compared,
        unreachable_since_ms=trader.execution.desk.reach.since_ms,
        shared_record=trader.shipper.state if trader.shipper is not None else None,
    )  # fmt: skip


class Ages(msgspec.Struct, frozen=True, kw_only=True):
    """How old what the trader knows is, in milliseconds; ``None`` for what was never heard."""

    marks: dict[str, int]
    account: int | None
    stream: int | None
    compared: int | None

    @property
    def protection(self) -> int | None:
        """The stream tells of each change of a stop while it is heard; the comparison reads all of them."""
        return min((age for age in (self.stream, self.compared) if age is not None), default=None)


def ages_of(trader: Trader) -> Ages:
    """How old the marks of the traded and held symbols, the account, the stream and the comparison are."""
    execution, now_ms = trader.execution, trader.clock.now_ms()
    venue_ms = execution.desk.venue_clock.now_ms()
    marks = {}
    for symbol in dict.fromkeys([*trader.settings.trader.symbols, *execution.desk.positions.holdings]):
        snapshot = trader.market.snapshot(symbol)
        if snapshot is not None and snapshot.context_ms:
            marks[symbol] = max(0, venue_ms - snapshot.context_ms)
    return Ages(
        marks=marks, account=now_ms - execution.account.read_ms if execution.account.read_ms else None,
        stream=min(trader.streams.staleness_ms().values(), default=None),
        compared=now_ms - execution.reconciler.compared_ms if execution.reconciler.compared_ms else None,
    )  # fmt: skip


def _why_not(no_entries: dict[str, str], symbols: int) -> str:
    """The reason where one stops all of them, else each symbol with its own."""
    reasons = list(dict.fromkeys(no_entries.values()))
    if len(reasons) == 1 and len(no_entries) == symbols:
        return reasons[0]
    return "; ".join(f"{symbol}: {reason}" for symbol, reason in no_entries.items())


def strategy_rows(trader: Trader) -> tuple[StrategyRow, ...]:
    """How each strategy does."""
    return tuple(
        StrategyRow(
            name=runner.name, asked=runner.calls, signals=trader.counters.signals_by_strategy.get(runner.name, 0),
            errors=runner.errors, skipped=runner.skipped_cycles, failing_since_ms=runner.failing_since_ms,
            last_error=runner.last_error or "", last_error_ms=runner.last_error_ms,
        )
        for runner in trader.cycle.runners
    )  # fmt: skip


def _events(trader: Trader) -> tuple[str, ...]:
    """The newest grave notes, without those that are shown as a state."""
    grave = [note for note in trader.recorder.recent if note.grave and note.kind not in _SHOWN_AS_STATE]
    return tuple(f"{note.kind} {note.symbol} {note.text}".replace("  ", " ") for note in grave[-_SHOWN:])


def order_rows(trader: Trader) -> tuple[OrderRow, ...]:
    """Our live orders."""
    return tuple(
        OrderRow(
            symbol=o.intent.symbol,
            purpose=o.intent.purpose.value,
            side="buy" if o.intent.buy else "sell",
            size=plain(o.intent.size),
            filled=plain(o.filled),
            limit_price=plain(o.intent.limit_price),
            trigger_price=plain(o.intent.trigger.price) if o.intent.trigger is not None else "",
            status=o.status.value,
            oid=o.oid,
            cloid=o.cloid,
            episode=o.intent.episode,
            sent_ms=o.sent_ms,
        )
        for o in trader.execution.desk.orders.live()
    )


def decision_row(trace: Trace) -> DecisionRow:
    """One trace in a line."""
    signal, verdict = trace.signal, trace.verdict
    wanted = f"{signal.action.value} {signal.side.value}" if signal is not None else ""
    word, why = trace.kind.value, trace.steps[-1].text if trace.steps else ""
    if isinstance(verdict, Approved):
        word = "approved"
        why = (
            f"{plain(verdict.size)} for {_usd(verdict.notional_usd)} USD, "
            f"stop {plain(verdict.stop_price)}, risk {_usd(verdict.risk_usd)} USD"
        )
    elif isinstance(verdict, Refused):
        word, why = "refused", "; ".join(refusal.sentence() for refusal in verdict.refusals[:2])
    return DecisionRow(
        id=trace.id,
        time_ms=trace.accepted_ms,
        kind=trace.kind.value,
        symbol=trace.symbol,
        strategy=trace.strategy,
        wanted=wanted,
        verdict=word,
        why=why,
    )


def _position(position: Position, ages: Ages) -> PositionRow:
    stop, distance = position.stop, position.liquidation_distance_fraction
    stop_distance = (
        abs(position.mark_price - stop.trigger_price) / position.mark_price * 100 if stop is not None else None
    )
    return PositionRow(
        symbol=position.symbol,
        side=position.side.value,
        size=plain(position.size),
        entry_price=_price(position.entry_price),
        mark_price=plain(position.mark_price),
        notional_usd=_usd(position.notional_usd),
        unrealized_usd=_usd(position.unrealized_usd),
        stop_price=plain(stop.trigger_price) if stop is not None else "",
        protection=position.protection.value,
        stop_distance_pct=_usd(stop_distance) if stop_distance is not None else "",
        target_price=plain(position.target_price) if position.target_price is not None else "",
        liquidation_price=_price(position.liquidation_price) if position.liquidation_price is not None else "",
        liquidation_distance_pct=_usd(distance * 100) if distance is not None else "",
        leverage=position.leverage,
        owner=position.owner,
        episode=position.episode,
        opened_ms=position.opened_ms,
        mark_age_ms=ages.marks.get(position.symbol),
        protection_age_ms=ages.protection,
    )


def _alert(incident: Incident, change: str) -> AlertRow:
    return AlertRow(
        time_ms=incident.time_ms, severity=incident.severity.name.lower(), change=change, title=incident.title,
        text=incident.text,
    )  # fmt: skip


def _usd(value: Decimal) -> str:
    return plain(value.quantize(CENT))


def _price(value: Decimal) -> str:
    return plain(_SEVEN_FIGURES.plus(value))
