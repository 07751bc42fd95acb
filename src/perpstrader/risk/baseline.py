"""The plain risk manager: sequential, uncached, a direct statement of the rules; the executable specification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from perpstrader.domain import (
    Approved,
    AssetSpec,
    Check,
    MarketSnapshot,
    Portfolio,
    Position,
    Reservation,
    RiskState,
    Signal,
    Verdict,
)
from perpstrader.risk import views
from perpstrader.risk.case import Case
from perpstrader.risk.contract import PortfolioRisk, PositionRisk, RiskMetrics, Wish
from perpstrader.risk.exposure import open_book, usd_limits
from perpstrader.risk.judge import judge
from perpstrader.risk.reservations import Reservations
from perpstrader.risk.rules.exposure import check_portfolio
from perpstrader.settings.limits import RiskSettings
from perpstrader.settings.trading import ExecutionSettings


class RiskManager:
    """Judges each signal afresh; see ``perpstrader.risk.contract.RiskManager`` for what it promises.

    ``leverage`` is the one configured and confirmed at the venue (S34); ``assets`` the venue's metadata of all coins,
    read anew at each judgement, because a trade moves the liquidation price of every position.
    """

    def __init__(
        self, limits: RiskSettings, execution: ExecutionSettings, leverage: int, assets: Mapping[str, AssetSpec]
    ) -> None:
        if leverage < 1:
            raise ValueError(f"leverage {leverage} must be at least 1")
        self._limits = limits
        self._execution = execution
        self._leverage = leverage
        self._assets = assets
        self._reservations = Reservations()

    @property
    def reservations(self) -> tuple[Reservation, ...]:
        """Exposure that is approved or in flight, oldest first."""
        return self._reservations.all

    def evaluate(
        self,
        signal: Signal,
        portfolio: Portfolio,
        market: MarketSnapshot,
        asset: AssetSpec | None,
        state: RiskState,
        now_ms: int,
    ) -> Verdict:
        """What ``approve`` would answer, without reserving."""
        return judge(
            Case(
                signal=signal, portfolio=portfolio, market=market, asset=asset, state=state, now_ms=now_ms,
                limits=self._limits, execution=self._execution, leverage=self._leverage, assets=self._assets,
                reservations=self._reservations.all,
            )
        )  # fmt: skip

    def approve(
        self,
        signal: Signal,
        portfolio: Portfolio,
        market: MarketSnapshot,
        asset: AssetSpec | None,
        state: RiskState,
        now_ms: int,
    ) -> Verdict:
        """The verdict; an approval's exposure is reserved before this returns (S32)."""
        verdict = self.evaluate(signal, portfolio, market, asset, state, now_ms)
        return self._reservations.reserve(verdict) if isinstance(verdict, Approved) else verdict

    def evaluate_batch(
        self, items: Sequence[Wish], portfolio: Portfolio, state: RiskState, now_ms: int
    ) -> tuple[Verdict, ...]:
        """The verdicts in the given order, each reserved before the next is judged; an exit among them raises first."""
        for signal, _, _ in items:
            if signal.is_exit:
                raise ValueError(f"{signal.action.value} of {signal.symbol} is an exit; exits are never judged here")
        return tuple(self.approve(signal, portfolio, market, asset, state, now_ms) for signal, market, asset in items)

    def release(self, reservation: int) -> None:
        """Its exposure is settled or will never be."""
        self._reservations.release(reservation)

    def settle(self, reservation: int, filled_size: Decimal, price: Decimal) -> None:
        """``filled_size`` more of it is a position now; the rest stays reserved."""
        self._reservations.settle(reservation, filled_size, price)

    def portfolio_risk(self, portfolio: Portfolio, assets: Mapping[str, AssetSpec]) -> PortfolioRisk:
        """The risk of the whole account, everything in flight included."""
        return views.portfolio_risk(
            portfolio, self._reservations.all, assets, self._limits, self._execution, self._leverage
        )

    def position_risk(
        self, position: Position, portfolio: Portfolio, assets: Mapping[str, AssetSpec]
    ) -> PositionRisk:
        """The risk of one position of the portfolio."""
        return views.position_risk(
            position, portfolio, self._reservations.all, assets, self._limits, self._leverage
        )

    def within_limits(
        self, portfolio: Portfolio, state: RiskState, assets: Mapping[str, AssetSpec]
    ) -> tuple[Check, ...]:
        """Each limit of the portfolio, everything in flight included."""
        equity_usd = portfolio.equity_usd
        base = equity_usd if state.limits_equity_usd is None else min(equity_usd, state.limits_equity_usd)
        book = open_book(portfolio, self._reservations.all, self._limits, self._leverage)
        usd = usd_limits(self._limits, self._execution, base)
        return tuple(check_portfolio(book, usd, self._limits, equity_usd, assets))

    def metrics(self, state: RiskState, equity_usd: Decimal | None) -> RiskMetrics:
        """The day so far against its limits."""
        return views.metrics(state, equity_usd, self._limits)
