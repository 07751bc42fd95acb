"""The words of the field: signals, verdicts, orders, fills, positions, portfolios, traces; money and rounding.

Small frozen values that come in great numbers are ``gc=False``: nothing in them can lead back to them, and the garbage
collector, which would look at each of them again and again, takes up to half of the time of reading a trace.
"""

from perpstrader.domain.cloids import CloidParts, make_cloid, make_unrecorded_exit_cloid, read_cloid
from perpstrader.domain.errors import (
    AccountLockedError,
    MoneyError,
    PerpsTraderError,
    StateError,
    UnsafeError,
    VenueError,
)
from perpstrader.domain.market import INTERVAL_MS, BarHistory, BookLevel, Candle, MarketSnapshot, MarketView
from perpstrader.domain.money import ZERO, AssetSpec, MarginTier, dec, plain, usd
from perpstrader.domain.orders import (
    CashFlow,
    Fill,
    FundingPayment,
    Order,
    OrderIntent,
    OrderStatus,
    Purpose,
    TimeInForce,
    Trigger,
)
from perpstrader.domain.portfolio import Portfolio, Position, Protection, ProtectiveStop, Reservation
from perpstrader.domain.risk_state import Conduct, Halt, HaltKind, PastEntry, PastExit, PastSignal, RiskState
from perpstrader.domain.signals import Action, Side, Signal
from perpstrader.domain.traces import DecisionInputs, PortfolioDigest, Step, StoredBars, StrategyView, Trace, TraceKind
from perpstrader.domain.verdicts import Approved, Check, Reason, Refusal, Refused, Verdict

__all__ = [
    "INTERVAL_MS",
    "ZERO",
    "AccountLockedError",
    "Action",
    "Approved",
    "AssetSpec",
    "BarHistory",
    "BookLevel",
    "Candle",
    "CashFlow",
    "Check",
    "CloidParts",
    "Conduct",
    "Fill",
    "FundingPayment",
    "Halt",
    "HaltKind",
    "MarginTier",
    "MarketSnapshot",
    "MarketView",
    "MoneyError",
    "Order",
    "OrderIntent",
    "OrderStatus",
    "PastEntry",
    "PastExit",
    "PastSignal",
    "PerpsTraderError",
    "Portfolio",
    "DecisionInputs",
    "PortfolioDigest",
    "Position",
    "Protection",
    "ProtectiveStop",
    "Purpose",
    "Reason",
    "Refusal",
    "Refused",
    "Reservation",
    "RiskState",
    "Side",
    "Signal",
    "StateError",
    "Step",
    "StoredBars",
    "StrategyView",
    "TimeInForce",
    "Trace",
    "TraceKind",
    "Trigger",
    "UnsafeError",
    "VenueError",
    "Verdict",
    "dec",
    "make_cloid",
    "make_unrecorded_exit_cloid",
    "plain",
    "read_cloid",
    "usd",
]
