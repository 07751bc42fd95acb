"""Verdicts: a signal is either ``Approved`` with its size and prices, or ``Refused`` with reasons and numbers."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain.signals import Signal
from perpstrader.domain.wording import against

UNKNOWN: Final = "unknown"
"""The value of a rule whose input is not known."""


class Reason(enum.StrEnum):
    """Why a signal was not acted on; each refusal carries the number and the limit beside it."""

    # the signal itself (S36)
    HOLD = "HOLD"
    DUPLICATE_SIGNAL = "DUPLICATE_SIGNAL"
    SIGNAL_EXPIRED = "SIGNAL_EXPIRED"
    SIGNAL_FROM_FUTURE = "SIGNAL_FROM_FUTURE"
    CONFIDENCE_OUT_OF_RANGE = "CONFIDENCE_OUT_OF_RANGE"
    CONFIDENCE_TOO_LOW = "CONFIDENCE_TOO_LOW"
    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    BLOCKED_SYMBOL = "BLOCKED_SYMBOL"
    DELISTED_SYMBOL = "DELISTED_SYMBOL"
    ISOLATED_ONLY_SYMBOL = "ISOLATED_ONLY_SYMBOL"
    INVALID_PRICE = "INVALID_PRICE"
    # evidence (S30)
    NO_ACCOUNT_STATE = "NO_ACCOUNT_STATE"
    STALE_ACCOUNT = "STALE_ACCOUNT"
    NO_PRICE = "NO_PRICE"
    STALE_PRICE = "STALE_PRICE"
    LEVERAGE_UNCONFIRMED = "LEVERAGE_UNCONFIRMED"
    EQUITY_INVALID = "EQUITY_INVALID"
    EQUITY_TOO_SMALL = "EQUITY_TOO_SMALL"
    NOT_RECONCILED = "NOT_RECONCILED"
    NOT_ENOUGH_HISTORY = "NOT_ENOUGH_HISTORY"
    STALE_BARS = "STALE_BARS"
    MARKET_HALTED = "MARKET_HALTED"
    CLOCK_SKEW = "CLOCK_SKEW"
    # halts and the account (S38-S41, S18)
    HALTED = "HALTED"
    EMERGENCY_STOP = "EMERGENCY_STOP"
    DAILY_LOSS = "DAILY_LOSS"
    DRAWDOWN = "DRAWDOWN"
    LOSS_STREAK = "LOSS_STREAK"
    OWNED_BY = "OWNED_BY"
    NOT_OWNER = "NOT_OWNER"
    POSITION_EXISTS = "POSITION_EXISTS"
    EXIT_IN_PROGRESS = "EXIT_IN_PROGRESS"
    ENTRY_IN_FLIGHT = "ENTRY_IN_FLIGHT"
    NO_POSITION = "NO_POSITION"
    EPISODE_ENDED = "EPISODE_ENDED"
    SYMBOL_FROZEN = "SYMBOL_FROZEN"
    ADDRESS_BUDGET = "ADDRESS_BUDGET"
    OPEN_ORDERS = "OPEN_ORDERS"
    VENUE_UNREACHABLE = "VENUE_UNREACHABLE"
    BREAKER_OPEN = "BREAKER_OPEN"
    AGENT_EXPIRES = "AGENT_EXPIRES"
    # frequency
    ENTRIES_PER_DAY = "ENTRIES_PER_DAY"
    ENTRIES_PER_SYMBOL_DAY = "ENTRIES_PER_SYMBOL_DAY"
    ENTRIES_PER_MINUTE = "ENTRIES_PER_MINUTE"
    ENTRIES_PER_SYMBOL_HOUR = "ENTRIES_PER_SYMBOL_HOUR"
    SIGNALS_PER_MINUTE = "SIGNALS_PER_MINUTE"
    DUPLICATE_ENTRY = "DUPLICATE_ENTRY"
    COOLDOWN = "COOLDOWN"
    # the market
    VOLATILITY = "VOLATILITY"
    SPREAD_TOO_WIDE = "SPREAD_TOO_WIDE"
    DEPTH_TOO_THIN = "DEPTH_TOO_THIN"
    MARK_AWAY_FROM_MID = "MARK_AWAY_FROM_MID"
    ORACLE_AWAY_FROM_MID = "ORACLE_AWAY_FROM_MID"
    ADVERSE_FUNDING = "ADVERSE_FUNDING"
    VOLUME_TOO_SMALL = "VOLUME_TOO_SMALL"
    SYMBOL_MAX_LEVERAGE = "SYMBOL_MAX_LEVERAGE"
    # stop, target, size
    STOP_WRONG_SIDE = "STOP_WRONG_SIDE"
    STOP_TOO_CLOSE = "STOP_TOO_CLOSE"
    STOP_TOO_FAR = "STOP_TOO_FAR"
    TARGET_WRONG_SIDE = "TARGET_WRONG_SIDE"
    REWARD_TO_RISK = "REWARD_TO_RISK"
    SIZE_BELOW_MINIMUM = "SIZE_BELOW_MINIMUM"
    ORDER_NOTIONAL = "ORDER_NOTIONAL"
    RISK_PER_TRADE = "RISK_PER_TRADE"
    SIZE_HINT = "SIZE_HINT"
    # the portfolio
    POSITION_COUNT = "POSITION_COUNT"
    SYMBOL_NOTIONAL = "SYMBOL_NOTIONAL"
    GROSS_NOTIONAL = "GROSS_NOTIONAL"
    NET_NOTIONAL = "NET_NOTIONAL"
    CLUSTER_NOTIONAL = "CLUSTER_NOTIONAL"
    MARGIN_RATIO = "MARGIN_RATIO"
    AVAILABLE_MARGIN = "AVAILABLE_MARGIN"
    LIQUIDATION_DISTANCE = "LIQUIDATION_DISTANCE"
    CRASH_EXPOSURE = "CRASH_EXPOSURE"
    LEVERAGE = "LEVERAGE"
    MARKET_ORDER_CAP = "MARKET_ORDER_CAP"
    # execution
    SUBMISSION_FAILED = "SUBMISSION_FAILED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class Check(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """One rule with what it saw and what it allows: ``passed`` is ``value`` compared with ``limit`` at the documented
    edge.
    """

    rule: Reason
    passed: bool
    value: str
    limit: str
    unit: str = ""


class Refusal(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """One reason against a signal: the number, the limit, and what a person can do about it."""

    reason: Reason
    value: str = ""
    limit: str = ""
    unit: str = ""
    hint: str = ""

    def sentence(self) -> str:
        """The refusal in one line: what, value, limit, what to do, as ``SPREAD_TOO_WIDE: 7.2 bps of mid, limit 5 bps``.
        """
        compared = against(self.value, self.limit, self.unit)
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.reason}{f': {compared}' if compared else ''}{hint}"


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """A signal that is not acted on; ``refusals`` is never empty and the first one is the gravest."""

    signal: Signal
    refusals: tuple[Refusal, ...]
    checks: tuple[Check, ...] = ()
    decided_ms: int = 0

    @property
    def reason(self) -> Reason:
        """The first reason."""
        return self.refusals[0].reason


class Approved(msgspec.Struct, frozen=True, kw_only=True, tag="approved"):
    """An entry that every limit allows; only this can be handed to the executor.

    ``size`` in base units, floored to the lot. ``worst_price`` bounds the fill (a limit entry: its own price).
    ``stop_price`` is the trigger against mark, ``stop_limit_price`` the bound ``p`` beyond it. ``risk_usd`` is the loss
    at the stop with stressed slip and both fees. ``size_bound`` names the limit that determined the size.
    ``reservation`` is the number under which its exposure is held until it settles.
    """

    signal: Signal
    size: Decimal
    reference_price: Decimal
    worst_price: Decimal
    stop_price: Decimal
    stop_limit_price: Decimal
    target_price: Decimal | None
    notional_usd: Decimal
    risk_usd: Decimal
    leverage: int
    risk_score: float
    size_bound: str
    portfolio_version: int
    decided_ms: int
    post_only: bool = False
    resting: bool = False
    reservation: int = 0
    checks: tuple[Check, ...] = ()
    warnings: tuple[str, ...] = ()


Verdict = Approved | Refused
