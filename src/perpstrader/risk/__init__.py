"""May a signal be traded, and how large; the limits of the portfolio; the halts."""

from perpstrader.risk.baseline import RiskManager
from perpstrader.risk.contract import PortfolioRisk, PositionRisk, RiskEvents, RiskMetrics, Wish
from perpstrader.risk.contract import RiskManager as RiskManagerContract
from perpstrader.risk.keeper import RiskKeeper
from perpstrader.risk.liquidation import liquidation_prices

__all__ = [
    "PortfolioRisk", "PositionRisk", "RiskEvents", "RiskKeeper", "RiskManager", "RiskManagerContract", "RiskMetrics",
    "Wish", "liquidation_prices",
]  # fmt: skip
