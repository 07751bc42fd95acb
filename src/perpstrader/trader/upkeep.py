"""Upkeep between decisions: what the venue or a person may have changed since the last approval is looked at again."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from perpstrader.domain import ZERO, Position, Reason, VenueError
from perpstrader.execution import Execution
from perpstrader.risk.contract import RiskManager
from perpstrader.risk.keeper import RiskKeeper

METADATA_MS: Final = 3_600_000
"""The age at which delistings, leverage caps and margin tiers are read again."""


class Upkeep:
    """Keeps the assets' facts fresh, and every position at its distance from liquidation (S22)."""

    def __init__(self, execution: Execution, risk: RiskManager, keeper: RiskKeeper) -> None:
        self._execution = execution
        self._risk = risk
        self._keeper = keeper
        self._read_ms = execution.desk.clock.now_ms()

    async def look(self) -> None:
        """After each comparison with the venue; raises nothing for a venue that cannot be read."""
        await self._refresh_assets()
        await self._keep_distance()

    async def _refresh_assets(self) -> None:
        desk = self._execution.desk
        if desk.clock.now_ms() - self._read_ms < METADATA_MS:
            return
        try:
            fresh = await desk.client.metadata()
        except VenueError as error:
            desk.say("metadata-unread", "", str(error))
            return
        self._read_ms = desk.clock.now_ms()
        desk.assets.update(fresh)

    async def _keep_distance(self) -> None:
        """A cash flow, or a change of leverage, mode or tier, may have brought a position too near: it is halved."""
        desk = self._execution.desk
        if not desk.positions.holdings:
            return
        portfolio = self._execution.view.build()
        checks = self._risk.within_limits(portfolio, self._keeper.state, desk.assets)
        near = [c for c in checks if c.rule is Reason.LIQUIDATION_DISTANCE and not c.passed]
        if not near:
            return
        worst = min(portfolio.positions.values(), key=_distance)
        text = f"too near to liquidation: {near[0].value} {near[0].unit}, limit {near[0].limit}"
        desk.say("liquidation-near", worst.symbol, text, episode=worst.episode, grave=True)
        half = desk.asset(worst.symbol).ceil_size(worst.size / 2)
        await self._execution.reduce(worst.symbol, half, text)


def _distance(position: Position) -> tuple[bool, Decimal, Decimal]:
    """The nearest to liquidation first; where none has a price, the largest."""
    near = position.liquidation_distance_fraction
    return (near is None, near if near is not None else ZERO, -position.notional_usd)
