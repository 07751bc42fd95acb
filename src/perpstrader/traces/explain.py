"""Why a trade happened, or did not, in plain words: pure functions from what is recorded to lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

from perpstrader.domain.market import INTERVAL_MS, MarketSnapshot
from perpstrader.domain.money import plain
from perpstrader.domain.orders import Fill, Order, Purpose
from perpstrader.domain.signals import Action, Signal
from perpstrader.domain.traces import Trace, TraceKind
from perpstrader.domain.verdicts import Approved, Check, Refused
from perpstrader.traces.records import CycleNote, Nearby, NoteCode, TraceSummary

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ORDER_NAMES = {Purpose.ENTRY: "Entry", Purpose.STOP: "Stop", Purpose.TARGET: "Target", Purpose.EXIT: "Exit"}

_NOTE_WORDS = {
    NoteCode.NO_SIGNAL: "saw no reason to trade",
    NoteCode.WARM_UP: "was still warming up",
    NoteCode.DATA_STALE: "was not asked, because the market data was too old",
    NoteCode.MARKET_HALTED: "was not asked, because the market stood still",
    NoteCode.TRADER_HALTED: "saw no reason to trade, and entries were halted",
    NoteCode.NOT_READY: "was not asked, because the trader was not ready",
    NoteCode.STRATEGY_FAILED: "failed",
    NoteCode.STRATEGY_SKIPPED: "was not asked",
}


def moment(time_ms: int) -> str:
    """The instant in UTC, such as ``2025-05-12 14:05:00.120 UTC``; milliseconds only where there are any."""
    try:
        at = _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        return f"time {time_ms}"
    text = at.strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{time_ms % 1000:03d} UTC" if time_ms % 1000 else f"{text} UTC"


def explain(trace: Trace) -> list[str]:
    """The whole story of one trace, a line a fact, in the order in which it happened; rules and steps are indented."""
    lines = [_headline(trace)]
    parts: tuple[Callable[[Trace], Iterator[str]], ...] = (
        _inputs, _wish, _rules, _verdict, _orders, _fills, _afterwards,
    )  # fmt: skip
    for part in parts:
        lines.extend(part(trace))
    return lines


def explain_at(nearby: Nearby) -> list[str]:
    """Why there was or was not a trade at an instant: each decision of that moment, or why there is none."""
    if not nearby.exact or not nearby.decisions:
        return explain_silence(nearby)
    lines: list[str] = []
    for trace in nearby.decisions:
        lines.extend([""] if lines else [])
        lines.extend(explain(trace))
    lines.extend(_note(note) for note in nearby.notes)
    return lines


def explain_silence(nearby: Nearby) -> list[str]:
    """Why no decision stands at the instant: how the cycle on that bar ended, or why there was none; never empty."""
    asked = f"{nearby.symbol} at {moment(nearby.time_ms)}"
    if nearby.exact and nearby.notes:
        lines = [f"{asked}: no decision was made.", *(_note(note) for note in nearby.notes)]
    elif nearby.first_ms is None or nearby.last_ms is None:
        return [
            f"{asked}: nothing is recorded of {nearby.symbol}. Was it traded, and is it spelled as the venue spells it?"
        ]
    elif not nearby.first_ms <= nearby.time_ms <= nearby.last_ms:
        side = "before" if nearby.time_ms < nearby.first_ms else "after"
        covered = f"{moment(nearby.first_ms)} to {moment(nearby.last_ms)}"
        lines = [f"{asked}: that is {side} what is recorded of it, {covered}.", *_bar_in_force(nearby)]
    else:
        lines = [f"{asked}: no bar closed and no decision was made then.", *_bar_in_force(nearby)]
    lines.extend(_neighbours(nearby))
    return lines


def _headline(trace: Trace) -> str:
    what = {
        TraceKind.DECISION: "decision", TraceKind.EXIT: "exit", TraceKind.PROTECTION: "protection",
        TraceKind.COMMAND: "command", TraceKind.HALT: "halt", TraceKind.INCIDENT: "incident",
    }[trace.kind]  # fmt: skip
    market = f"{trace.symbol} {trace.interval}".strip()
    by = f" of {trace.strategy}" if trace.strategy else ""
    return f"{moment(trace.accepted_ms)} · {market} · {what} {trace.sequence}{by} · id {trace.id}"


def _inputs(trace: Trace) -> Iterator[str]:
    candle = trace.candle
    if candle is not None:
        yield (
            f"Bar {moment(candle.open_ms)} to {moment(candle.close_ms + 1)}: open {_number(candle.open)},"
            f" high {_number(candle.high)}, low {_number(candle.low)}, close {_number(candle.close)},"
            f" volume {_number(candle.volume)} in {_count(candle.trades, 'trade')}."
        )
    if trace.market is not None:
        yield _market(trace.market, trace.accepted_ms)
    if trace.portfolio is not None:
        account = trace.portfolio
        yield (
            f"Account: equity ${_money(account.equity_usd)}, available ${_money(account.available_usd)}, gross notional"
            f" ${_money(account.gross_notional_usd)} in {_count(account.positions, 'position')},"
            f" {_age(trace.accepted_ms - account.as_of_ms)} old."
        )
    if trace.ages_ms:
        ages = ", ".join(f"{name.removesuffix('_ms')} {_age(age)}" for name, age in trace.ages_ms.items())
        yield f"Age of what was known: {ages}."
    if trace.regime:
        yield f"Regime: {trace.regime}."
    if trace.indicators:
        yield f"Indicators: {', '.join(f'{name} {value:,.6g}' for name, value in trace.indicators.items())}."


def _market(market: MarketSnapshot, at_ms: int) -> str:
    words: list[str] = []
    if market.bid is not None and market.ask is not None:
        bps = _spread(market)
        age = f", {_age(at_ms - market.book_ms)} old" if market.book_ms else ""
        words.append(f"bid {_number(market.bid)}, ask {_number(market.ask)}{bps}{age}")
    series = (("mark", market.mark), ("oracle", market.oracle), ("last", market.last), ("ATR", market.atr))
    words.extend(f"{name} {_number(value)}" for name, value in series if value is not None)
    if market.context_ms:
        words.append(f"context {_age(at_ms - market.context_ms)} old")
    if market.funding_rate is not None:
        words.append(f"funding {_number(market.funding_rate * 100)} % an hour")
    if market.day_volume_usd is not None:
        words.append(f"day volume ${_money(market.day_volume_usd)}")
    return f"Market: {'; '.join(words)}." if words else "Market: no price was known."


def _spread(market: MarketSnapshot) -> str:
    try:
        spread = market.spread_fraction
        return f", spread {spread * 10_000:.2f} bps" if spread is not None else ""
    except ArithmeticError:
        return ", no spread follows from these"


def _wish(trace: Trace) -> Iterator[str]:
    signal = trace.signal
    if signal is None and trace.verdict is not None:
        signal = trace.verdict.signal
    if signal is None:
        return
    terms = [
        f"{name} {_number(value)}"
        for name, value in (
            ("entry", signal.entry_price), ("stop", signal.stop_price),
            ("target", signal.target_price), ("size", signal.size_hint),
        )
        if value is not None
    ]  # fmt: skip
    because = f": {signal.reason}" if signal.reason else ""
    asked = f" ({', '.join(terms)})" if terms else ""
    who = signal.strategy or "Somebody"
    yield f"{who} wanted to {_action(signal)} with confidence {signal.confidence:.2f}{asked}{because}{_stop(because)}"


def _action(signal: Signal) -> str:
    if signal.action is Action.HOLD:
        return f"hold {signal.symbol}"
    article = "the" if signal.is_exit else "a"
    return f"{signal.action.value} {article} {signal.side.value} position in {signal.symbol}"


def _rules(trace: Trace) -> Iterator[str]:
    checks = trace.verdict.checks if trace.verdict is not None else ()
    if checks:
        failed = sum(not check.passed for check in checks)
        yield f"Rules: {len(checks)} checked, {failed} failed."
        yield from (_check(check) for check in checks)


def _check(check: Check) -> str:
    unit = f" {check.unit}" if check.unit else ""
    limit = f", limit {check.limit}{unit}" if check.limit else ""
    return f"  {'passed' if check.passed else 'FAILED'}  {check.rule}: {check.value}{unit}{limit}"


def _verdict(trace: Trace) -> Iterator[str]:
    verdict = trace.verdict
    if isinstance(verdict, Refused):
        reasons = [refusal.sentence() for refusal in verdict.refusals] or ["no reason was recorded"]
        yield f"Refused: {reasons[0]}."
        yield from (f"  also {reason}." for reason in reasons[1:])
    elif isinstance(verdict, Approved):
        yield _approval(verdict)
        yield from (f"  warning: {warning}" for warning in verdict.warnings)
    elif trace.kind is TraceKind.DECISION:
        yield "No verdict: nothing was put to the risk manager."


def _approval(verdict: Approved) -> str:
    signal = verdict.signal
    how = (
        f"resting at {_number(verdict.worst_price)}"
        if verdict.resting
        else f"no worse than {_number(verdict.worst_price)}"
    )
    target = f", target {_number(verdict.target_price)}" if verdict.target_price is not None else ""
    bound = f"; {verdict.size_bound} set the size" if verdict.size_bound else ""
    return (
        f"Approved: {signal.side.value} {_number(verdict.size)} {signal.symbol}"
        f" (${_money(verdict.notional_usd)}) {how}, leverage {verdict.leverage}x,"
        f" stop {_number(verdict.stop_price)}{target}, at risk ${_money(verdict.risk_usd)},"
        f" risk score {verdict.risk_score:.2f}{bound}."
    )


def _orders(trace: Trace) -> Iterator[str]:
    yield from (_order(order) for order in trace.orders)
    if not trace.orders and trace.led_to_order:
        yield "An order followed; what became of it is not recorded here."
    elif not trace.orders and isinstance(trace.verdict, Approved):
        yield "No order was sent."


def _order(order: Order) -> str:
    intent = order.intent
    kind = f"{'buy' if intent.buy else 'sell'} {_number(intent.size)} {intent.symbol}"
    if intent.trigger is not None:
        kind += f" when mark reaches {_number(intent.trigger.price)}, bound {_number(intent.limit_price)}"
    else:
        kind += f" at {_number(intent.limit_price)} or better ({intent.tif.value})"
    flags = ", reduce-only" if intent.reduce_only else ""
    filled = f", filled {_number(order.filled)}" if order.filled else ""
    price = f" at {_number(order.average_price)}" if order.average_price is not None else ""
    detail = f" ({order.detail})" if order.detail else ""
    oid = f", oid {order.oid}" if order.oid is not None else ""
    status = order.status.value.replace("_", " ")
    attempt = f", attempt {order.attempt}" if order.attempt > 1 else ""
    return (
        f"{_ORDER_NAMES[intent.purpose]} sent {moment(order.sent_ms)}: {kind}{flags}: {status}{filled}{price}{detail}."
        f" cloid {order.cloid}{oid}{attempt}"
    )


def _fills(trace: Trace) -> Iterator[str]:
    yield from (_fill(fill) for fill in trace.fills)


def _fill(fill: Fill) -> str:
    role = "taker" if fill.crossed else "maker"
    closed = f", closed PnL ${_money(fill.closed_pnl_usd)}" if fill.closed_pnl_usd else ""
    forced = ", LIQUIDATION by the venue" if fill.liquidation else ""
    trade = f"{'bought' if fill.buy else 'sold'} {_number(fill.size)} {fill.symbol} at {_number(fill.price)}"
    return (
        f"Filled {moment(fill.time_ms)}: {trade} as {role}, fee ${_money(fill.fee_usd)}{closed}{forced}. tid {fill.tid}"
    )


def _afterwards(trace: Trace) -> Iterator[str]:
    yield from (f"  {moment(step.time_ms)}  {step.text}" for step in trace.steps)
    yield from (f"Error: {error}" for error in trace.errors)
    if not trace.completed:
        yield "The run did not complete."
    if trace.outcome_usd is not None:
        when = f" at {moment(trace.outcome_ms)}" if trace.outcome_ms is not None else ""
        yield f"Outcome{when}: ${_money(trace.outcome_usd)} net."
    elif trace.led_to_order:
        yield "Outcome: not known yet."


def _bar_in_force(nearby: Nearby) -> Iterator[str]:
    """What the newest bar before the instant ended with, and whether it still held then."""
    bar = _last_bar(nearby)
    if bar is None:
        return
    ended_ms, interval = bar
    length_ms = INTERVAL_MS.get(interval)
    if length_ms is not None and nearby.time_ms - ended_ms > length_ms:
        gap = _age(nearby.time_ms - ended_ms)
        yield (
            f"The newest {interval} bar before it closed at {moment(ended_ms)}, {gap} earlier: no bars came in between,"
            " so the trader did not run, had no market data, or notes were not being kept."
        )
    else:
        yield f"The bar in force had closed at {moment(ended_ms)}; the next one had not closed yet."
    yield from (_note(note) for note in nearby.notes)
    for trace in nearby.decisions:
        yield from explain(trace)


def _last_bar(nearby: Nearby) -> tuple[int, str] | None:
    """When the newest bar before the instant ended, and its interval."""
    bars = [(note.bar_close_ms + 1, note.interval) for note in nearby.notes]
    bars.extend(
        (trace.accepted_ms if trace.candle is None else trace.candle.close_ms + 1, trace.interval)
        for trace in nearby.decisions
    )
    return max(bars, default=None)


def _note(note: CycleNote) -> str:
    who = note.strategy or "The strategy"
    detail = f": {note.text}" if note.text else ""
    bar = f"{note.interval} bar to {moment(note.bar_close_ms + 1)}"
    return f"{who}, {bar}, {_NOTE_WORDS[note.code]}{detail}{_stop(detail)}"


def _neighbours(nearby: Nearby) -> Iterator[str]:
    for word, summary in (("before", nearby.before), ("after", nearby.after)):
        if summary is not None:
            yield f"The decision {word}: {_in_short(summary)}."


def _in_short(summary: TraceSummary) -> str:
    verdict = {"refused": f"refused for {summary.reason}", "approved": "approved"}.get(summary.verdict, "no verdict")
    wish = f"{summary.action} {summary.side}, " if summary.action else ""
    return f"{moment(summary.accepted_ms)}, {summary.strategy or summary.kind.value}, {wish}{verdict} (id {summary.id})"


def _number(value: Decimal) -> str:
    return plain(value) if value.is_finite() else str(value)


def _money(value: Decimal | str) -> str:
    """An amount with separators and cents; text that is no number is shown as it is."""
    try:
        return f"{Decimal(value):,.2f}"
    except InvalidOperation:
        return str(value)


def _age(age_ms: int) -> str:
    if abs(age_ms) < 1_000:
        return f"{age_ms} ms"
    seconds = age_ms / 1_000
    return (
        f"{seconds:.1f} s"
        if abs(seconds) < 120
        else f"{seconds / 60:.0f} min"
        if abs(seconds) < 7_200
        else f"{seconds / 3_600:.1f} h"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _stop(text: str) -> str:
    """The full stop that a sentence still needs."""
    return "" if text.endswith((".", "!", "?")) else "."
