"""The ratchet: looks at each mark of what is held and has a stop moved where a rule of ``risk.trailing`` asks for it.

It is driven by the market's own events, at most once a second a symbol, and never stands in anybody's way: a look is
arithmetic, a move is a task of its own, and exits, protection and the reserve of requests go first.
"""

from __future__ import annotations

from typing import Final

from perpstrader.domain import MarketSnapshot
from perpstrader.execution import Execution
from perpstrader.execution.positions import FOREIGN, Holding
from perpstrader.risk.trailing import EpisodeFacts, StopMove, next_stop
from perpstrader.settings.limits import RiskSettings
from perpstrader.venue.market_data import MarketData

LOOK_MS: Final = 1_000
PAUSE_MS: Final = 30_000
"""After a move that did not come about, so that a venue that refuses is not asked each second."""
_KEEP_MS: Final = 5_000
_BUDGET_PER_POSITION: Final = 50


class Ratchet:
    """Trailing, breakeven and time stops of every position that a strategy or a person here opened.

    A position of an owner in ``fixed`` keeps the stop that it was opened with; so does a foreign one, whose profit is
    not ours to take.
    """

    def __init__(
        self, execution: Execution, market: MarketData, limits: RiskSettings, *, fixed: frozenset[str] = frozenset()
    ) -> None:
        self._execution = execution
        self._desk = execution.desk
        self._market = market
        self._limits = limits
        self._fixed = fixed | {FOREIGN}
        self._next_ms: dict[str, int] = {}
        self._kept: dict[str, tuple[str, int]] = {}
        self._moving: dict[str, None] = {}
        self.moved = 0

    def on_market(self, symbol: str) -> None:
        """A new price; raises nothing for what the market or the venue does."""
        holding, mark = self._desk.positions.holdings.get(symbol), self._market.mark(symbol)
        if holding is None or mark is None:
            return
        before = holding.stops.best_mark
        holding.see_mark(mark)
        now_ms = self._desk.clock.now_ms()
        if now_ms < self._next_ms.get(symbol, 0) or symbol in self._moving:
            return
        self._next_ms[symbol] = now_ms + LOOK_MS
        if holding.stops.best_mark != before or self._kept.get(symbol, ("", 0))[0] != holding.episode:
            self._keep(holding, now_ms)
        move = self._wanted(holding)
        if move is not None:
            self._moving[symbol] = None
            self._desk.pool.spawn(f"move-stop-{symbol}", self._move(holding, move))

    def why_fixed(self, owner: str) -> str:
        """Why an owner's stops are not moved, empty where they are."""
        if owner == FOREIGN:
            return "it is not ours: its stop only guards it"
        return "its strategy keeps its stops where it set them" if owner in self._fixed else ""

    def _keep(self, holding: Holding, now_ms: int) -> None:
        """The best mark on disk, every few seconds: a restart goes on where it was."""
        episode, kept_ms = self._kept.get(holding.symbol, ("", 0))
        if episode != holding.episode or now_ms - kept_ms >= _KEEP_MS:
            self._kept[holding.symbol] = (holding.episode, now_ms)
            self._execution.accountant.book_stop(holding)

    def _wanted(self, holding: Holding) -> StopMove | None:
        symbol, stop = holding.symbol, self._execution.protector.stop_of(holding.symbol)
        market, asset = self._market.snapshot(symbol), self._desk.assets.get(symbol)
        if holding.owner in self._fixed or stop is None or market is None or asset is None:
            return None
        best, first = holding.stops.best_mark, holding.first_stop
        if best is None or first is None or market.mark is None or not self._is_fresh(market):
            return None
        facts = EpisodeFacts(
            side=holding.side, entry_price=holding.entry_price, first_stop=first, stop=stop.trigger_price,
            best_mark=best, mark=market.mark, opened_ms=holding.opened_ms, now_ms=self._desk.venue_clock.now_ms(),
            atr=market.atr,
        )  # fmt: skip
        move = next_stop(facts, asset, self._limits, self._desk.settings)
        if move is None or not self._is_quiet(symbol) or not self._has_budget():
            return None
        return move if self._execution.mover.moves_left(holding) else None

    def _is_quiet(self, symbol: str) -> bool:
        """Nothing else is under way there: no exit, and protection has nothing left to do."""
        return self._execution.protector.is_settled(symbol) and not self._execution.exits.in_progress(symbol)

    def _is_fresh(self, market: MarketSnapshot) -> bool:
        """Missing evidence moves nothing (S30)."""
        return self._desk.venue_clock.now_ms() - market.context_ms <= self._limits.max_mark_age_ms

    def _has_budget(self) -> bool:
        """A move is no exit: it leaves to exits what is kept for them (S18); what is not known allows."""
        left = self._execution.view.address_budget_left
        least = max(
            self._desk.settings.min_address_budget, _BUDGET_PER_POSITION * len(self._desk.positions.holdings)
        )
        return left is None or left >= least

    async def _move(self, holding: Holding, move: StopMove) -> None:
        try:
            if await self._execution.mover.move(holding, move.price, f"{move.rule}: {move.why}"):
                self.moved += 1
            else:
                self._next_ms[holding.symbol] = self._desk.clock.now_ms() + PAUSE_MS
        finally:
            self._moving.pop(holding.symbol, None)
