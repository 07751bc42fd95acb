"""What was tried lately: entries sent, positions ended, signals heard; the memory of the rules against churn.

Entries and exits have one source of truth each, the intents and the episodes on disk, and are read from there again at
a start; signals are kept in memory alone, since their rule looks back one minute.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from perpstrader.domain import ZERO, Conduct, Order, PastEntry, PastExit, PastSignal, Purpose, Signal
from perpstrader.settings.limits import RiskSettings
from perpstrader.state import Episode, Transaction

HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000
_MOST: Final = 10_000
"""Of each kind, whatever the windows are (S64)."""


@dataclass(frozen=True, slots=True)
class SavedConduct:
    """What a start finds on disk."""

    entries: tuple[Order, ...]
    episodes: tuple[Episode, ...]


def read_conduct(tx: Transaction, since_ms: int) -> SavedConduct:
    """Entries and ended positions since a time."""
    return SavedConduct(tx.intents.entries_since(since_ms), tx.episodes.ended_since(since_ms))


class ConductMemory:
    """Remembers as far back as the longest rule looks; all times are those of the trader's clock."""

    def __init__(self, limits: RiskSettings) -> None:
        self.horizon_ms = max(
            HOUR_MS, limits.duplicate_entry_window_ms, limits.exit_cooldown_ms, limits.loss_cooldown_ms,
            2 * limits.max_failed_entry_cooldown_ms,
        )  # fmt: skip
        self._entries: OrderedDict[str, PastEntry] = OrderedDict()
        self._exits: deque[PastExit] = deque(maxlen=_MOST)
        self._signals: deque[PastSignal] = deque(maxlen=_MOST)

    def restore(self, saved: SavedConduct) -> None:
        """Take what was on disk for what happened before this process."""
        self.on_orders(saved.entries)
        for episode in saved.episodes:
            if episode.ended_ms is not None:
                self.on_exit(episode.symbol, episode.net_usd, episode.ended_ms)

    def on_orders(self, orders: Iterable[Order]) -> None:
        """As ``on_order``, for each."""
        for order in orders:
            self.on_order(order)

    def on_order(self, order: Order) -> None:
        """A change of one of our orders; entries alone matter, each once by its cloid."""
        intent = order.intent
        if intent.purpose is not Purpose.ENTRY:
            return
        failed = order.status.is_terminal and order.filled == ZERO
        self._entries[order.cloid] = PastEntry(
            time_ms=intent.created_ms, symbol=intent.symbol, side=intent.side, strategy=intent.strategy,
            price=intent.limit_price, failed_ms=max(order.updated_ms, intent.created_ms) if failed else None,
        )  # fmt: skip
        while len(self._entries) > _MOST:
            self._entries.popitem(last=False)

    def on_exit(self, symbol: str, net_usd: Decimal, time_ms: int) -> None:
        """A position is flat."""
        ended = PastExit(time_ms=time_ms, symbol=symbol, net_usd=net_usd)
        if ended not in self._exits:  # a second reading of the disk finds what is known
            self._exits.append(ended)

    def on_signal(self, signal: Signal, now_ms: int) -> None:
        """A signal to open has come, whatever becomes of it; its own time is what its sender says, and is not used."""
        self._signals.append(PastSignal(time_ms=now_ms, symbol=signal.symbol, strategy=signal.strategy))

    def now(self, now_ms: int) -> Conduct:
        """What any rule may still ask for."""
        oldest = now_ms - self.horizon_ms
        while self._exits and self._exits[0].time_ms < oldest:
            self._exits.popleft()
        while self._signals and now_ms - self._signals[0].time_ms >= MINUTE_MS:
            self._signals.popleft()
        for cloid in [cloid for cloid, entry in self._entries.items() if _last_ms(entry) < oldest]:
            del self._entries[cloid]
        return Conduct(
            entries=tuple(self._entries.values()), exits=tuple(self._exits), signals=tuple(self._signals)
        )


def _last_ms(entry: PastEntry) -> int:
    return entry.failed_ms if entry.failed_ms is not None else entry.time_ms
