"""What recovery knows of each position right now, read afresh at each check; what cannot be read is left unknown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

from perpstrader.domain import ZERO, Candle, Check, PerpsTraderError, Portfolio, Position, Reason, RiskState, Side
from perpstrader.execution import Execution
from perpstrader.execution.positions import FOREIGN
from perpstrader.recovery.ranges import Ranges
from perpstrader.recovery.rules import Case, Limits
from perpstrader.risk.contract import PositionRisk, RiskManager

_OF_SYMBOL: Final = (Reason.SYMBOL_NOTIONAL, Reason.MARKET_ORDER_CAP)
_OF_ALL: Final = (Reason.GROSS_NOTIONAL, Reason.MARGIN_RATIO)
_OF_SIDE: Final = (Reason.NET_NOTIONAL, Reason.CLUSTER_NOTIONAL)
_FAILURES: Final = (PerpsTraderError, ArithmeticError, ValueError, LookupError, TypeError)


class EvidenceReader:
    """Makes the cases of the positions that are open now; of the past it keeps ranges of bars and a few times."""

    def __init__(
        self,
        execution: Execution,
        risk: RiskManager,
        limits: Limits,
        *,
        risk_state: Callable[[], RiskState],
        loaded: frozenset[str],
    ) -> None:
        self._execution = execution
        self._risk = risk
        self._limits = limits
        self._risk_state = risk_state
        self._loaded = loaded
        self._ranges = Ranges(limits.recovery.stuck_window_ms)
        self._uncovered_ms: dict[str, int] = {}
        self.once_loaded = loaded
        self.acted_ms: dict[str, int] = {}

    def keep(self, episodes: frozenset[str]) -> None:
        """Forget all episodes but these: they have ended."""
        self.acted_ms = {key: value for key, value in self.acted_ms.items() if key in episodes}
        self._uncovered_ms = {key: value for key, value in self._uncovered_ms.items() if key in episodes}

    def take(self, candle: Candle) -> None:
        """A closed bar."""
        if self._limits.recovery.stuck_window_ms:
            self._ranges.take(candle)

    def cases(self) -> list[Case]:
        """A case for each open position; one whose evidence cannot even be put together is told, and hides no other."""
        if not self._execution.desk.positions.holdings:
            return []
        portfolio = self._execution.view.build()
        equity_usd = self._equity_usd(portfolio)
        failed = self._failed_limits(portfolio)
        cases = []
        for position in portfolio.positions.values():
            try:
                cases.append(self._case(position, portfolio, equity_usd, failed))
            except _FAILURES as error:
                text, episode = f"nothing can be said of it: {type(error).__name__}: {error}", position.episode
                self._execution.desk.say("recovery-unjudged", position.symbol, text, episode=episode, grave=True)
        return cases

    def _case(
        self, position: Position, portfolio: Portfolio, equity_usd: Decimal | None, failed: Sequence[Check] | None
    ) -> Case:
        execution, symbol = self._execution, position.symbol
        desk, account = execution.desk, execution.account
        now_ms = desk.venue_clock.now_ms()
        snapshot = desk.prices.snapshot(symbol)
        theirs = account.state.positions.get(symbol) if account.state is not None else None
        return Case(
            position=position, now_ms=now_ms, loaded=self._loaded, once_loaded=self.once_loaded,
            is_foreign=position.owner == FOREIGN,
            mark=snapshot.mark if snapshot is not None else None,
            mark_age_ms=now_ms - snapshot.context_ms if snapshot is not None else None,
            equity_usd=equity_usd,
            account_age_ms=desk.clock.now_ms() - account.read_ms if account.state is not None else None,
            risk=self._position_risk(position, portfolio),
            exceeded=None if failed is None else tuple(c for c in failed if _answers_for(c, position, portfolio)),
            venue_leverage=theirs.leverage if theirs is not None else None,
            range_fraction=self._ranges.fraction(symbol, now_ms),
            acted_ms=self.acted_ms.get(position.episode),
            unprotected_ms=self._unprotected_ms(position),
            is_protecting=execution.protector.is_busy(symbol),
            is_closing=execution.exits.in_progress(symbol),
            difference=self._difference(symbol),
        )  # fmt: skip

    def _equity_usd(self, portfolio: Portfolio) -> Decimal | None:
        """Equity is our ledger at the newest marks, so it is as old as the oldest of them."""
        desk, oldest = self._execution.desk, self._limits.recovery.max_mark_age_ms
        now_ms = desk.venue_clock.now_ms()
        for symbol in portfolio.positions:
            snapshot = desk.prices.snapshot(symbol)
            if snapshot is None or snapshot.mark is None or now_ms - snapshot.context_ms > oldest:
                return None
        return portfolio.equity_usd

    def _failed_limits(self, portfolio: Portfolio) -> list[Check] | None:
        try:
            checks = self._risk.within_limits(portfolio, self._risk_state(), self._execution.desk.assets)
        except _FAILURES:
            return None
        return [check for check in checks if not check.passed]

    def _position_risk(self, position: Position, portfolio: Portfolio) -> PositionRisk | None:
        """``None`` where a number of it is none, or a coin of the account has no margin table."""
        assets = self._execution.desk.assets
        if any(symbol not in assets for symbol in portfolio.positions):
            return None
        try:
            return self._risk.position_risk(position, portfolio, assets)
        except _FAILURES:
            return None

    def _unprotected_ms(self, position: Position) -> int:
        """No longer than recovery has seen it so: protection has its turn first, however late a fill was heard of."""
        unprotected_ms = self._execution.protector.unprotected_ms(position.symbol)
        if not unprotected_ms:
            self._uncovered_ms.pop(position.episode, None)
            return 0
        now_ms = self._execution.desk.clock.now_ms()
        return min(unprotected_ms, now_ms - self._uncovered_ms.setdefault(position.episode, now_ms))

    def _difference(self, symbol: str) -> str:
        """How our book was wrong, until an operator has resumed."""
        followed = self._execution.reconciler.followed.get(symbol)
        if followed is None or symbol not in self._execution.view.frozen:
            return ""
        return f"our fills said {followed.ours:f}, the venue says {followed.venues:f}"


def _answers_for(check: Check, position: Position, portfolio: Portfolio) -> bool:
    """True where this position is the one to make smaller for that limit: the coin's own, else the largest one."""
    if check.rule in _OF_SYMBOL:
        return check.unit.endswith(f" in {position.symbol}")
    others = list(portfolio.positions.values())
    if check.rule in _OF_SIDE:
        heavier = Side.LONG if portfolio.net_notional_usd >= ZERO else Side.SHORT
        others = [other for other in others if other.side is heavier]
    elif check.rule not in _OF_ALL:
        return False
    largest = max(others, key=lambda other: other.notional_usd, default=None)
    return largest is not None and largest.symbol == position.symbol
