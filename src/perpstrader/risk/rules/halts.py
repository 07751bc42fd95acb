"""Halts, losses, ownership and frequency: may this account enter, and this symbol, now (S18, S38-S41)?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perpstrader.domain import Check, HaltKind, Reason
from perpstrader.domain.risk_state import Halt
from perpstrader.risk import losses
from perpstrader.risk.case import Case
from perpstrader.risk.rules.checks import at_least, at_most, holds, missing, show, unjudged
from perpstrader.state import utc_day

_OF_KIND: Final = {
    HaltKind.EMERGENCY: Reason.EMERGENCY_STOP,
    HaltKind.DAILY_LOSS: Reason.DAILY_LOSS,
    HaltKind.DRAWDOWN: Reason.DRAWDOWN,
    HaltKind.LOSS_STREAK: Reason.LOSS_STREAK,
}
_MINUTE_MS: Final = 60_000
_BUDGET_PER_POSITION: Final = 50


def check_halts(case: Case) -> Iterator[Check]:
    """Each halt in force, the emergency switch, the day's loss and the drawdown."""
    emergency = case.limits.emergency_stop
    yield holds(Reason.EMERGENCY_STOP, not emergency, "on" if emergency else "off", "off")
    in_force = [halt for halt in case.state.halts if halt.until_ms is None or case.now_ms < halt.until_ms]
    for halt in in_force:
        yield holds(_OF_KIND.get(halt.kind, Reason.HALTED), False, _words(halt))
    if not in_force:
        yield holds(Reason.HALTED, True, "no halt", "no halt")
    if case.knows_account:
        yield from _check_losses(case)


def _words(halt: Halt) -> str:
    """Its words, after its kind where the reason's name does not say it already."""
    return halt.words if halt.kind in _OF_KIND else f"{halt.kind.value}: {halt.words}"


def _check_losses(case: Case) -> Iterator[Check]:
    state, equity_usd, today = case.state, case.portfolio.equity_usd, utc_day(case.now_ms)
    bounds = losses.day_bounds(case.limits, state)
    if state.day != today:
        yield holds(Reason.DAILY_LOSS, False, f"counted for {state.day}", f"counted for {today}")
    elif bounds is None:
        yield holds(Reason.DAILY_LOSS, False, "equity at 00:00 UTC unknown", "known")
    else:
        loss_usd = losses.day_loss_usd(state, equity_usd)
        yield at_most(Reason.DAILY_LOSS, loss_usd, bounds.entry_stop_usd, "USD lost today")
    drawdown = losses.drawdown_fraction(state.peak_equity_usd, equity_usd)
    if drawdown is None:
        yield missing(Reason.DRAWDOWN, case.limits.max_drawdown_fraction, "of peak equity")
    else:
        yield at_most(Reason.DRAWDOWN, drawdown, case.limits.max_drawdown_fraction, "of peak equity")


def check_ownership(case: Case) -> Iterator[Check]:
    """One owner and one entry a symbol, nothing while an exit is out, and room for the exits to come."""
    symbol, portfolio, execution = case.signal.symbol, case.portfolio, case.execution
    position = portfolio.positions.get(symbol)
    if position is None:
        yield holds(Reason.POSITION_EXISTS, True, "flat", "flat")
    else:
        same = position.owner == case.signal.strategy and position.side is case.signal.side
        reason = Reason.POSITION_EXISTS if same else Reason.OWNED_BY
        yield holds(reason, False, f"{position.side.value} of {position.owner}", "flat")
    yield holds(Reason.EXIT_IN_PROGRESS, symbol not in portfolio.exits_in_flight, symbol, "no exit in progress")
    reserved = {reservation.symbol for reservation in case.reservations}
    unreserved = sorted(portfolio.entries_in_flight - reserved - {symbol})
    mine = symbol in reserved or symbol in portfolio.entries_in_flight
    yield holds(Reason.ENTRY_IN_FLIGHT, not mine, f"{symbol}: {'one' if mine else 'none'}", "none")
    if unreserved:
        yield holds(Reason.ENTRY_IN_FLIGHT, False, f"{', '.join(unreserved)}: size not reserved", "all reserved")
    frozen = portfolio.frozen_symbols.get(symbol)
    yield holds(Reason.SYMBOL_FROZEN, frozen is None, frozen or "not frozen", "not frozen")
    held = len({*portfolio.positions, *reserved})
    least = max(execution.min_address_budget, _BUDGET_PER_POSITION * held)
    left = portfolio.address_budget_left
    rule = Reason.ADDRESS_BUDGET
    yield unjudged(rule, least, "requests left") if left is None else at_least(rule, left, least, "requests left")
    yield at_most(Reason.OPEN_ORDERS, portfolio.open_orders + 1, execution.max_open_orders, "orders with this one")


def check_frequency(case: Case) -> Iterator[Check]:
    """Entries a day, a day and symbol, and a minute, those in flight and this one included."""
    state, limits, symbol = case.state, case.limits, case.signal.symbol
    flying = len(case.reservations) + 1
    here = sum(reservation.symbol == symbol for reservation in case.reservations) + 1
    today = state.day == utc_day(case.now_ms)
    entries, of_symbol = (state.entries, state.entries_by_symbol.get(symbol, 0)) if today else (0, 0)
    yield at_most(Reason.ENTRIES_PER_DAY, entries + flying, limits.max_entries_per_day, "entries with this one")
    shown = f"entries with this one in {symbol}"
    yield at_most(Reason.ENTRIES_PER_SYMBOL_DAY, of_symbol + here, limits.max_entries_per_symbol_day, shown)
    recent = sum(case.now_ms - time_ms < _MINUTE_MS for time_ms in state.recent_entries_ms)
    shown = f"entries with this one in {show(_MINUTE_MS // 1000)} s"
    yield at_most(Reason.ENTRIES_PER_MINUTE, recent + flying, limits.max_entries_per_minute, shown)
