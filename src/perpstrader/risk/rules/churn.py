"""Churn: has this just been tried, or left? Rules over what was tried lately; entries alone ask them (S01)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Final

from perpstrader.domain import Check, PastEntry, Reason
from perpstrader.domain.wording import moment_text
from perpstrader.risk.case import Case
from perpstrader.risk.rules.checks import at_least, at_most, holds, show
from perpstrader.risk.stops import EntryPrices

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 3_600_000


def check_churn(case: Case) -> Iterator[Check]:
    """Signals a minute, entries an hour, and the pauses after an exit and after entries that did not fill."""
    symbol, strategy, limits, conduct = case.signal.symbol, case.signal.strategy, case.limits, case.state.conduct
    signals = sum(
        s.symbol == symbol and s.strategy == strategy and case.now_ms - s.time_ms < _MINUTE_MS for s in conduct.signals
    )
    shown = f"signals of {strategy} for {symbol} in {_MINUTE_MS // 1000} s"
    yield at_most(Reason.SIGNALS_PER_MINUTE, signals, limits.max_signals_per_minute, shown)
    here = [entry for entry in conduct.entries if entry.symbol == symbol]
    recent = sum(entry.failed_ms is None and case.now_ms - entry.time_ms < _HOUR_MS for entry in here)
    shown = f"entries with this one in {symbol} within an hour"
    yield at_most(Reason.ENTRIES_PER_SYMBOL_HOUR, recent + 1, limits.max_entries_per_symbol_hour, shown)
    yield from _check_exit(case)
    yield from _check_failures(case, here)


def check_duplicate(case: Case, prices: EntryPrices) -> Iterator[Check]:
    """The same entry once: symbol, side, strategy and price, within a while."""
    signal, limits = case.signal, case.limits
    window_ms, apart = limits.duplicate_entry_window_ms, limits.duplicate_entry_fraction
    if not window_ms:
        return
    same = [
        entry for entry in case.state.conduct.entries
        if (entry.symbol, entry.side, entry.strategy) == (signal.symbol, signal.side, signal.strategy)
        and entry.failed_ms is None and case.now_ms - entry.time_ms < window_ms
        and abs(entry.price / prices.worst - 1) <= apart
    ]  # fmt: skip
    value = "the first"
    if same:
        until = moment_text(same[-1].time_ms + window_ms)
        value = f"sent {case.now_ms - same[-1].time_ms} ms ago at {show(same[-1].price)}"
        value += f", the same within {show(apart * 100)} % until {until} UTC"
    yield holds(Reason.DUPLICATE_ENTRY, not same, value, f"sent once in {window_ms} ms")


def _check_exit(case: Case) -> Iterator[Check]:
    limits = case.limits
    last = next((e for e in reversed(case.state.conduct.exits) if e.symbol == case.signal.symbol), None)
    if last is None:
        return
    lost = last.net_usd < 0
    pause_ms = limits.loss_cooldown_ms if lost else limits.exit_cooldown_ms
    yield _pause(case, last.time_ms, pause_ms, "its last exit, a loss" if lost else "its last exit")


def _check_failures(case: Case, here: list[PastEntry]) -> Iterator[Check]:
    """The pause doubles with each entry in a row that did not fill; one that did ends the row."""
    failures = list(takewhile(lambda entry: entry.failed_ms is not None, reversed(here)))
    if not failures or failures[0].failed_ms is None or not case.limits.failed_entry_cooldown_ms:
        return
    longest, doublings = case.limits.max_failed_entry_cooldown_ms, min(len(failures) - 1, 32)
    pause_ms = min(case.limits.failed_entry_cooldown_ms << doublings, longest)
    yield _pause(case, failures[0].failed_ms, pause_ms, f"{len(failures)} entries that did not fill")


def _pause(case: Case, since_ms: int, pause_ms: int, after: str) -> Check:
    until = moment_text(since_ms + pause_ms)
    shown = f"ms in {case.signal.symbol} since {after}, until {until} UTC"
    return at_least(Reason.COOLDOWN, case.now_ms - since_ms, pause_ms, shown)
