"""The life of a position in its record: who opened it, what was done to it and why, who ended it, what it made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from perpstrader.domain.money import ZERO
from perpstrader.domain.orders import Fill
from perpstrader.domain.traces import Trace, TraceKind
from perpstrader.domain.verdicts import Approved
from perpstrader.domain.wording import plural
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.records import TraceSummary
from perpstrader.traces.words import moment, number, usd

_PAGE: Final = 500
_MOST_PAGES: Final = 20
_MOST_EXITS: Final = 20
_TOLD_LATE_MS: Final = 60_000
"""What ended a position may be recorded once the venue has shown that it did."""

_CENT: Final = Decimal("0.01")
_STEP: Final = re.compile(r"([a-z]+(?:-[a-z]+)+|fill|flatten|liquidation): (.*)", re.DOTALL)
_WORDS: Final = {
    "stop-confirmed": "protected", "stop-moved": "stop moved", "stop-not-moved": "stop not moved",
    "stop-rejected": "stop refused by the venue", "exit-started": "exit begins", "exit-done": "exit",
    "exit-not-filling": "exit does not fill", "episode-ended": "position over", "entry-ended": "rest of the entry",
    "recovery-issue": "recovery found", "recovery-acts": "recovery acts", "recovery-done": "recovery done",
    "recovery-exhausted": "recovery at its end", "recovery-late": "recovery late", "flatten": "flatten",
    "liquidation": "LIQUIDATION by the venue",
}  # fmt: skip
"""What a kind of step is called; a kind that is not here is called by its name."""

_BEGINNINGS: Final = ("", "exit-started", "recovery-issue", "recovery-acts")
"""Kinds that come before the fills of their instant; what is told in words alone is one of them."""

_INVOLVED: Final = {"recovery": "recovery", "breaker": "a circuit breaker", "liquidation": "the venue's liquidation"}


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What else is recorded of a position: the decision that opened it, and the exits that were asked for."""

    opened: Trace | None = None
    exits: tuple[Trace, ...] = ()


ALONE: Final = Life()


async def life_of(store: TraceStore, trace: Trace) -> Life:
    """What the store holds of the position that ``trace`` led to or ended; nothing for what led to none."""
    if not trace.episode or trace.kind not in (TraceKind.DECISION, TraceKind.EXIT):
        return ALONE
    if trace.kind is TraceKind.EXIT:
        rows = await _of_episode(store, trace, TraceKind.DECISION, until_ms=trace.accepted_ms)
        return Life(opened=await store.get(rows[0].id) if rows else None)
    until_ms = None if trace.outcome_ms is None else trace.outcome_ms + _TOLD_LATE_MS
    rows = await _of_episode(store, trace, TraceKind.EXIT, since_ms=trace.accepted_ms, until_ms=until_ms)
    found = [await store.get(row.id) for row in rows[-_MOST_EXITS:]]
    return Life(exits=tuple(exit_ for exit_ in found if exit_ is not None))


async def _of_episode(
    store: TraceStore, trace: Trace, kind: TraceKind, *, since_ms: int | None = None, until_ms: int | None = None
) -> list[TraceSummary]:
    """The traces of a kind that led to an order in the episode, oldest first."""
    rows: list[TraceSummary] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await store.find(
            symbol=trace.symbol, kind=kind, executed=True, since_ms=since_ms, until_ms=until_ms, limit=_PAGE,
            cursor=cursor,
        )  # fmt: skip
        rows += [row for row in page.rows if row.episode == trace.episode and row.id != trace.id]
        cursor = page.cursor
        if cursor is None or (kind is TraceKind.DECISION and rows):
            break
    return rows[::-1]


def timeline(trace: Trace, life: Life = ALONE) -> Iterator[str]:
    """Fills, stops, moves and exits in the order in which they happened, each with its time."""
    happened = [(fill.time_ms, 1, _fill(fill)) for fill in trace.fills]
    for step in trace.steps:
        kind, text = _read_step(step.text)
        if kind == "fill" and trace.fills:
            continue
        rank = 0 if kind in _BEGINNINGS else 2
        happened.append((step.time_ms, rank, f"{_WORDS.get(kind, kind.replace('-', ' '))}: {text}" if kind else text))
    for exit_ in life.exits:
        why = _why_out(exit_)
        who = exit_.strategy or "somebody"
        happened.append((exit_.accepted_ms, 1, f"{who} asked for its exit{why} (id {exit_.id})"))
    yield from (f"  {moment(time_ms)}  {text}" for time_ms, _, text in sorted(happened, key=lambda row: row[:2]))


def _why_out(exit_: Trace) -> str:
    """The reason that its signal gave, or the first words of its record."""
    signal = exit_.signal
    text = signal.reason if signal is not None else exit_.steps[0].text if exit_.steps else ""
    return f": {text}" if text else ""


def _read_step(text: str) -> tuple[str, str]:
    """The kind of a step and its words; no kind where it is told in words alone."""
    found = _STEP.fullmatch(text)
    return (found[1], found[2]) if found is not None else ("", text)


def _fill(fill: Fill) -> str:
    role = "taker" if fill.crossed else "maker"
    closed = f", closed PnL {usd(fill.closed_pnl_usd)}" if fill.closed_pnl_usd else ""
    forced = ", LIQUIDATION by the venue" if fill.liquidation else ""
    trade = f"{'bought' if fill.buy else 'sold'} {number(fill.size)} {fill.symbol} at {number(fill.price)}"
    return f"filled: {trade} as {role}, fee {usd(fill.fee_usd)}{closed}{forced}. tid {fill.tid}"


def what_came_of_it(trace: Trace, life: Life = ALONE) -> Iterator[str]:
    """Who else had a hand in it, and what it made: net, gross, fees, funding, and in multiples of what was at risk."""
    if trace.kind is TraceKind.EXIT:
        yield from _of_exit(trace, life)
        return
    kinds = [_read_step(step.text)[0] for step in trace.steps]
    hands = [words for name, words in _INVOLVED.items() if any(kind.startswith(name) for kind in kinds)]
    if hands:
        yield f"Involved: {' and '.join(hands)}; see the steps above."
    if trace.outcome_usd is not None:
        when = f" at {moment(trace.outcome_ms)}" if trace.outcome_ms is not None else ""
        yield f"Outcome{when}: {_outcome(trace)}"
    elif trace.led_to_order:
        yield f"Outcome: {_not_over(trace)}"


def _of_exit(trace: Trace, life: Life) -> Iterator[str]:
    opened = life.opened
    if opened is None:
        return
    yield (
        f"It was to end the position that {opened.strategy or 'somebody'} opened by the decision of "
        f"{moment(opened.accepted_ms)} (id {opened.id})."
    )
    if opened.outcome_usd is not None:
        yield f"Outcome of that position: {_outcome(opened)}"


def _not_over(trace: Trace) -> str:
    if trace.fills:
        return "the position was still open when this was last written."
    if trace.orders and all(order.status.is_terminal for order in trace.orders):
        return "nothing was filled, so nothing was won or lost."
    return "not known yet."


def _outcome(trace: Trace) -> str:
    """Net, and what it is made of as far as the fills tell it."""
    net = _decimal(trace.outcome_usd)
    if net is None or not trace.fills:
        return f"{usd(trace.outcome_usd or '')} net{_in_risks(trace, net)}."
    fees = sum((fill.fee_usd for fill in trace.fills), ZERO)
    gross = sum((fill.closed_pnl_usd for fill in trace.fills), ZERO)
    funding = net - gross + fees
    paid = f"fees {usd(fees)}, funding {usd(funding)}" if abs(funding) >= _CENT else f"fees {usd(fees)}"
    fills = plural(len(trace.fills), "fill")
    return f"{usd(net)} net in {fills}: {usd(gross)} by the price, {paid}{_in_risks(trace, net)}."


def _in_risks(trace: Trace, net: Decimal | None) -> str:
    """The outcome as a multiple of what was at risk at the stop, for the part of the entry that was filled."""
    verdict = trace.verdict
    if net is None or not isinstance(verdict, Approved) or verdict.risk_usd <= 0 or verdict.size <= 0:
        return ""
    buy = verdict.signal.side.sign > 0
    entered = sum((fill.size for fill in trace.fills if fill.buy == buy), ZERO)
    share = min(entered / verdict.size, Decimal(1)) if entered else Decimal(1)
    risk_usd = verdict.risk_usd * share
    return f"; {net / risk_usd:+.2f} times the {usd(risk_usd)} at risk (R)"


def _decimal(text: str | None) -> Decimal | None:
    try:
        value = Decimal(text) if text is not None else None
    except InvalidOperation:
        return None
    return value if value is not None and value.is_finite() else None
