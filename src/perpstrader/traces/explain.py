"""One decision and its whole life in plain words: pure functions from what is recorded to lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Context, Decimal

from perpstrader.domain.market import MarketSnapshot
from perpstrader.domain.orders import Order, Purpose
from perpstrader.domain.signals import Action, Signal
from perpstrader.domain.traces import StrategyView, Trace, TraceKind
from perpstrader.domain.verdicts import UNKNOWN, Approved, Check, Refused
from perpstrader.domain.wording import against, plural
from perpstrader.traces.life import ALONE, Life, timeline, what_came_of_it
from perpstrader.traces.words import age, full_stop, moment, number, usd

_SEVEN_FIGURES = Context(prec=7)
_ORDER_NAMES = {Purpose.ENTRY: "Entry", Purpose.STOP: "Stop", Purpose.TARGET: "Target", Purpose.EXIT: "Exit"}


def explain(trace: Trace, life: Life = ALONE, *, brief: bool = False) -> list[str]:
    """The whole story of one trace, a line a fact, in the order in which it happened; rules and steps are indented.

    Rules that failed come first. ``life`` is what else is recorded of the position that it led to or ended
    (``life_of``). With ``brief`` the rules that passed are only counted.
    """
    lines = [_headline(trace), *_inputs(trace), *_wish(trace), *_rules(trace, brief), *_verdict(trace)]
    return [*lines, *_orders(trace), *timeline(trace, life), *_errors(trace), *what_came_of_it(trace, life)]


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
            f"Bar {moment(candle.open_ms)} to {moment(candle.close_ms + 1)}: open {number(candle.open)},"
            f" high {number(candle.high)}, low {number(candle.low)}, close {number(candle.close)},"
            f" volume {number(candle.volume)} in {plural(candle.trades, 'trade')}."
        )
    if trace.view is not None and (trace.view.history or trace.view.stored):
        yield _history(trace.view)
    if trace.market is not None:
        yield _market(trace.market, trace.accepted_ms)
    if trace.portfolio is not None:
        account = trace.portfolio
        yield (
            f"Account: equity {usd(account.equity_usd)}, available {usd(account.available_usd)}, gross notional"
            f" {usd(account.gross_notional_usd)} in {plural(account.positions, 'position')},"
            f" {age(trace.accepted_ms - account.as_of_ms)} old."
        )
    if trace.ages_ms:
        ages = ", ".join(f"{name.removesuffix('_ms')} {age(old_ms)}" for name, old_ms in trace.ages_ms.items())
        yield f"Age of what was known: {ages}."
    if trace.regime:
        yield f"Regime: {trace.regime}."
    if trace.indicators:
        yield f"Indicators: {', '.join(f'{name} {value:,.6g}' for name, value in trace.indicators.items())}."


def _history(view: StrategyView) -> str:
    if view.stored is not None:
        return f"Shown before it: {plural(view.stored.count, 'bar')}, which cannot be read any more."
    first, last = view.history[0], view.history[-1]
    span = f"{moment(first.open_ms)} to {moment(last.close_ms + 1)}"
    return f"Shown before it: {plural(len(view.history), 'bar')}, {span}, close {number(last.close)}."


def _market(market: MarketSnapshot, at_ms: int) -> str:
    words: list[str] = []
    if market.bid is not None and market.ask is not None:
        bps = _spread(market)
        old = f", {age(at_ms - market.book_ms)} old" if market.book_ms else ""
        words.append(f"bid {number(market.bid)}, ask {number(market.ask)}{bps}{old}")
    series = (("mark", market.mark), ("oracle", market.oracle), ("last", market.last), ("ATR", _short(market.atr)))
    words.extend(f"{name} {number(value)}" for name, value in series if value is not None)
    if market.context_ms:
        words.append(f"context {age(at_ms - market.context_ms)} old")
    if market.funding_rate is not None:
        words.append(f"funding {number(market.funding_rate * 100)} % an hour")
    if market.day_volume_usd is not None:
        words.append(f"day volume {usd(market.day_volume_usd)}")
    return f"Market: {'; '.join(words)}." if words else "Market: no price was known."


def _short(value: Decimal | None) -> Decimal | None:
    """A computed number without the digits that say nothing."""
    return _SEVEN_FIGURES.plus(value) if value is not None and value.is_finite() else value


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
        f"{name} {number(value)}"
        for name, value in (
            ("entry", signal.entry_price), ("stop", signal.stop_price),
            ("target", signal.target_price), ("size", signal.size_hint),
        )
        if value is not None
    ]  # fmt: skip
    because = f": {signal.reason}" if signal.reason else ""
    asked = f" ({', '.join(terms)})" if terms else ""
    who = signal.strategy or "Somebody"
    sure = f"with confidence {signal.confidence:.2f}"
    yield f"{who} wanted to {_action(signal)} {sure}{asked}{because}{full_stop(because)}"


def _action(signal: Signal) -> str:
    if signal.action is Action.HOLD:
        return f"hold {signal.symbol}"
    article = "the" if signal.is_exit else "a"
    return f"{signal.action.value} {article} {signal.side.value} position in {signal.symbol}"


def _rules(trace: Trace, brief: bool) -> Iterator[str]:
    checks = trace.verdict.checks if trace.verdict is not None else ()
    if not checks:
        return
    failed = [check for check in checks if not check.passed]
    passed = [check for check in checks if check.passed]
    yield f"Rules: {len(checks)} checked, {len(failed)} failed."
    yield from (_check(check) for check in failed)
    if brief and passed:
        yield f"  passed  {plural(len(passed), 'rule')}; each with its value: perpstrader traces explain {trace.id}"
    else:
        yield from (_check(check) for check in passed)


def _check(check: Check) -> str:
    compared = against(check.value, check.limit, check.unit)
    word = "FAILED" if not check.passed else "not judged" if check.value == UNKNOWN else "passed"
    return f"  {word}  {check.rule}{f': {compared}' if compared else ''}"


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
        f"resting at {number(verdict.worst_price)}"
        if verdict.resting
        else f"no worse than {number(verdict.worst_price)}"
    )
    target = f", target {number(verdict.target_price)}" if verdict.target_price is not None else ""
    bound = f"; {verdict.size_bound} set the size" if verdict.size_bound else ""
    return (
        f"Approved: {signal.side.value} {number(verdict.size)} {signal.symbol}"
        f" ({usd(verdict.notional_usd)}) {how}, leverage {verdict.leverage}x,"
        f" stop {number(verdict.stop_price)}{target}, at risk {usd(verdict.risk_usd)},"
        f" risk score {verdict.risk_score:.2f}{bound}."
    )


def _orders(trace: Trace) -> Iterator[str]:
    yield from (_order(order) for order in trace.orders)
    if not trace.orders and trace.led_to_order and trace.kind is not TraceKind.EXIT:
        yield "An order followed; what became of it is not recorded here."
    elif not trace.orders and isinstance(trace.verdict, Approved):
        yield "No order was sent."


def _order(order: Order) -> str:
    intent = order.intent
    kind = f"{'buy' if intent.buy else 'sell'} {number(intent.size)} {intent.symbol}"
    if intent.trigger is not None:
        kind += f" when mark reaches {number(intent.trigger.price)}, bound {number(intent.limit_price)}"
    else:
        kind += f" at {number(intent.limit_price)} or better ({intent.tif.value})"
    flags = ", reduce-only" if intent.reduce_only else ""
    filled = f", filled {number(order.filled)}" if order.filled else ""
    price = f" at {number(order.average_price)}" if order.average_price is not None else ""
    detail = f" ({order.detail})" if order.detail else ""
    oid = f", oid {order.oid}" if order.oid is not None else ""
    status = order.status.value.replace("_", " ")
    attempt = f", attempt {order.attempt}" if order.attempt > 1 else ""
    return (
        f"{_ORDER_NAMES[intent.purpose]} sent {moment(order.sent_ms)}: {kind}{flags}: {status}{filled}{price}{detail}."
        f" cloid {order.cloid}{oid}{attempt}"
    )


def _errors(trace: Trace) -> Iterator[str]:
    yield from (f"Error: {error}" for error in trace.errors)
    if not trace.completed:
        yield "The run did not complete."
