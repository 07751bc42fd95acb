"""What the performance monitor shows of a trader besides its stages: counts and levels that are kept elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perpstrader.breakers import BreakerState
from perpstrader.monitor import PerformanceMonitor
from perpstrader.trader.counters import RunCounters
from perpstrader.trader.trader import Trader

_COUNTED: Final = (
    "bars", "cycles", "signals", "refused", "exits", "orders", "fills", "strategy_errors", "trace_gaps",
)  # fmt: skip


def watch_counts(monitor: PerformanceMonitor, trader: Trader) -> None:
    """From now on a snapshot has the run's counters and what waits or is open; nothing is read before that."""
    for name in _COUNTED:
        monitor.watch_count(name, _reader(trader.counters, name))
    desk = trader.execution.desk
    # An approval is taken back where the entry is stopped right before it goes out, so it is no count.
    monitor.watch_level("approved", lambda: trader.counters.approved)
    monitor.watch_level("journal_pending", lambda: desk.journal.pending)
    monitor.watch_level("open_positions", lambda: len(desk.positions.holdings))
    monitor.watch_level("live_orders", lambda: len(desk.orders.live()))
    if (shipper := trader.shipper) is not None:
        monitor.watch_level("shared_record_waiting", lambda: shipper.state.waiting)
    for name in trader.guard.breakers.names:
        monitor.watch_level(f"breaker_{name}", _level(trader, name))
    monitor.watch_level("health", lambda: trader.guard.health.report().status.rank)
    monitor.watch_level("clock_skew_ms", lambda: desk.venue_clock.skew_ms)


def _level(trader: Trader, name: str) -> Callable[[], int]:
    """0 closed, 1 open, 2 half open, 3 latched."""
    return lambda: tuple(BreakerState).index(trader.guard.breakers.status(name).state)


def _reader(counters: RunCounters, name: str) -> Callable[[], int]:
    return lambda: int(getattr(counters, name))
