"""Why the engine refuses: the venue's codes, with the numbers that its texts quote. The texts themselves belong to the
wire.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec


class RejectCode(enum.StrEnum):
    """The documented codes by their names in the venue's docs (API sheet 2.6), and names of ours for the texts seen
    without a code.
    """

    TICK = "Tick"
    MIN_TRADE_NTL = "MinTradeNtl"
    PERP_MARGIN = "PerpMargin"
    REDUCE_ONLY = "ReduceOnly"
    BAD_ALO_PX = "BadAloPx"
    IOC_CANCEL = "IocCancel"
    BAD_TRIGGER_PX = "BadTriggerPx"
    MARKET_ORDER_NO_LIQUIDITY = "MarketOrderNoLiquidity"
    ORACLE = "Oracle"
    PERP_MAX_POSITION = "PerpMaxPosition"
    OI_CAP_INCREASE = "PositionIncreaseAtOpenInterestCap"
    OI_CAP_FLIP = "PositionFlipAtOpenInterestCap"
    OI_CAP_AGGRESSIVE = "TooAggressiveAtOpenInterestCap"
    OI_INCREASE = "OpenInterestIncrease"
    MISSING_ORDER = "MissingOrder"
    INVALID_PRICE = "InvalidPrice"
    INVALID_SIZE = "InvalidSize"
    ZERO_SIZE = "ZeroSize"
    VALUE_TOO_LARGE = "ValueTooLarge"
    PRICE_BAND = "PriceBand"
    TOO_MANY_OPEN_ORDERS = "TooManyOpenOrders"
    DUPLICATE_CLOID = "DuplicateCloid"
    TRIGGER_COUNT = "TriggerCount"
    GROUPED_NOT_REDUCE_ONLY = "GroupedNotReduceOnly"
    MODIFY_DEAD = "ModifyDead"
    MODIFY_INVALID = "ModifyInvalid"
    POST_ONLY_WINDOW = "PostOnlyWindow"
    HALTED = "Halted"
    UNKNOWN_ASSET = "UnknownAsset"
    MUST_DEPOSIT = "MustDeposit"
    INVALID_LEVERAGE = "InvalidLeverage"
    LEVERAGE_SWITCH = "LeverageSwitch"
    NO_CROSS = "NoCross"
    NOT_ISOLATED = "NotIsolated"
    ISOLATED_FUNDS = "IsolatedFunds"
    ISOLATED_REMOVAL = "IsolatedRemoval"
    NOT_OWN_ACCOUNT = "NotOwnAccount"
    SUB_ACCOUNT_VOLUME = "SubAccountVolume"
    SUB_ACCOUNT_NAME = "SubAccountName"
    SUB_ACCOUNT_COUNT = "SubAccountCount"
    TWAP_REDUCE_ONLY = "TwapReduceOnly"
    TWAP_DURATION = "TwapDuration"
    TWAP_MISSING = "TwapMissing"
    INSUFFICIENT_WITHDRAWAL = "InsufficientWithdrawal"
    SCHEDULE_TOO_EARLY = "ScheduleTooEarly"
    SCHEDULE_VOLUME = "ScheduleVolume"
    SCHEDULE_FIRES = "ScheduleFires"


REJECTED_STATUS: Final[dict[RejectCode, str]] = {
    RejectCode.MIN_TRADE_NTL: "minTradeNtlRejected",
    RejectCode.PERP_MARGIN: "perpMarginRejected",
    RejectCode.REDUCE_ONLY: "reduceOnlyRejected",
    RejectCode.BAD_ALO_PX: "badAloPxRejected",
    RejectCode.IOC_CANCEL: "iocCancelRejected",
    RejectCode.BAD_TRIGGER_PX: "badTriggerPxRejected",
    RejectCode.MARKET_ORDER_NO_LIQUIDITY: "marketOrderNoLiquidityRejected",
    RejectCode.ORACLE: "oracleRejected",
    RejectCode.PERP_MAX_POSITION: "perpMaxPositionRejected",
    RejectCode.OI_CAP_INCREASE: "positionIncreaseAtOpenInterestCapRejected",
    RejectCode.OI_CAP_FLIP: "positionFlipAtOpenInterestCapRejected",
    RejectCode.OI_CAP_AGGRESSIVE: "tooAggressiveAtOpenInterestCapRejected",
    RejectCode.OI_INCREASE: "openInterestIncreaseRejected",
    RejectCode.TOO_MANY_OPEN_ORDERS: "tooManyOpenOrdersRejected",
}
"""The order status of a refusal that gets an oid and is recorded; the other codes are found before an order exists (API
sheet 2.6).
"""


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """One refusal. ``asset`` is the index for the text's suffix; prices are in the asset's units, ``limit`` and
    ``value`` as the code says.

    ``BAD_ALO_PX``: ``bid``, ``ask`` (``None`` where a side is empty). ``limit`` (allowed or required) and ``value``
    (met) are counts with ``TOO_MANY_OPEN_ORDERS``, ``INVALID_LEVERAGE``, ``SCHEDULE_FIRES``, ``SUB_ACCOUNT_COUNT`` and
    ``TWAP_DURATION``, else micro-USD.
    """

    code: RejectCode
    asset: int | None = None
    bid: int | None = None
    ask: int | None = None
    limit: int | None = None
    value: int | None = None
