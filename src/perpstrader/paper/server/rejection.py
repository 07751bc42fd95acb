"""The engine's refusals in the venue's words (``venue.wire.errors``), with their numbers and the asset's suffix."""

from __future__ import annotations

from typing import Final

from perpstrader.paper.engine import EngineAsset, Reject, RejectCode
from perpstrader.venue.wire.errors import ErrorCode, error_text
from perpstrader.venue.wire.numbers import format_scaled

_CODES: Final = {
    RejectCode.TICK: ErrorCode.TICK,
    RejectCode.MIN_TRADE_NTL: ErrorCode.MIN_TRADE_NTL,
    RejectCode.PERP_MARGIN: ErrorCode.PERP_MARGIN,
    RejectCode.REDUCE_ONLY: ErrorCode.REDUCE_ONLY,
    RejectCode.BAD_ALO_PX: ErrorCode.BAD_ALO_PX,
    RejectCode.IOC_CANCEL: ErrorCode.IOC_CANCEL,
    RejectCode.BAD_TRIGGER_PX: ErrorCode.BAD_TRIGGER_PX,
    RejectCode.MARKET_ORDER_NO_LIQUIDITY: ErrorCode.NO_LIQUIDITY,
    RejectCode.ORACLE: ErrorCode.ORACLE,
    RejectCode.PERP_MAX_POSITION: ErrorCode.PERP_MAX_POSITION,
    RejectCode.OI_CAP_INCREASE: ErrorCode.OI_CAP_INCREASE,
    RejectCode.OI_CAP_FLIP: ErrorCode.OI_CAP_FLIP,
    RejectCode.OI_CAP_AGGRESSIVE: ErrorCode.OI_CAP_AGGRESSIVE,
    RejectCode.OI_INCREASE: ErrorCode.OI_INCREASE,
    RejectCode.DUPLICATE_CLOID: ErrorCode.DUPLICATE_CLOID,
    RejectCode.MISSING_ORDER: ErrorCode.MISSING_ORDER,
    RejectCode.INVALID_PRICE: ErrorCode.INVALID_PRICE,
    RejectCode.INVALID_SIZE: ErrorCode.INVALID_SIZE,
    RejectCode.ZERO_SIZE: ErrorCode.ZERO_SIZE,
    RejectCode.VALUE_TOO_LARGE: ErrorCode.VALUE_TOO_LARGE,
    RejectCode.PRICE_BAND: ErrorCode.PRICE_BAND,
    RejectCode.TOO_MANY_OPEN_ORDERS: ErrorCode.TOO_MANY_OPEN_ORDERS,
    RejectCode.TRIGGER_COUNT: ErrorCode.TRIGGER_COUNT,
    RejectCode.GROUPED_NOT_REDUCE_ONLY: ErrorCode.TRIGGER_COUNT,
    RejectCode.MODIFY_DEAD: ErrorCode.MODIFY_GONE,
    RejectCode.MODIFY_INVALID: ErrorCode.INVALID_MODIFY,
    RejectCode.POST_ONLY_WINDOW: ErrorCode.POST_ONLY_WINDOW,
    RejectCode.HALTED: ErrorCode.TRADING_HALTED,
    RejectCode.UNKNOWN_ASSET: ErrorCode.UNKNOWN_ASSET,
    RejectCode.MUST_DEPOSIT: ErrorCode.MUST_DEPOSIT,
    RejectCode.LEVERAGE_SWITCH: ErrorCode.LEVERAGE_SWITCH,
    RejectCode.NOT_ISOLATED: ErrorCode.NOT_ISOLATED,
    RejectCode.TWAP_REDUCE_ONLY: ErrorCode.TWAP_REDUCE_ONLY,
    RejectCode.TWAP_DURATION: ErrorCode.TWAP_DURATION,
    RejectCode.TWAP_MISSING: ErrorCode.TWAP_MISSING,
    RejectCode.INVALID_LEVERAGE: ErrorCode.INVALID_LEVERAGE,
    RejectCode.INSUFFICIENT_WITHDRAWAL: ErrorCode.WITHDRAWAL_BALANCE,
    RejectCode.SCHEDULE_TOO_EARLY: ErrorCode.SCHEDULE_TOO_EARLY,
    RejectCode.SCHEDULE_VOLUME: ErrorCode.SCHEDULE_VOLUME,
}

_OWN_TEXTS: Final = {
    RejectCode.NO_CROSS: "Cross margin is not allowed for this asset.",
    RejectCode.ISOLATED_FUNDS: "Insufficient cross margin to add {asked} to the position. Available: ${limit}.",
    RejectCode.ISOLATED_REMOVAL: "Cannot remove {asked} of isolated margin. Available: ${limit}.",
    RejectCode.NOT_OWN_ACCOUNT: "Invalid sub-account transfer from {address}",
    RejectCode.SUB_ACCOUNT_VOLUME: "Cannot create sub-accounts until enough volume traded. "
    "Required: ${required}. Traded: ${traded}.",
    RejectCode.SUB_ACCOUNT_NAME: "Sub-account name is in use, empty or longer than 16 characters.",
    RejectCode.SUB_ACCOUNT_COUNT: "Too many sub-accounts. Max is {maximum}.",
    RejectCode.SCHEDULE_FIRES: "Scheduled cancel fired too often today. Max is {maximum}.",
}
"""Refusals that the API sheet has no words for."""

_IN_USD: Final = frozenset({RejectCode.MIN_TRADE_NTL, RejectCode.VALUE_TOO_LARGE, RejectCode.SCHEDULE_VOLUME,
    RejectCode.ISOLATED_FUNDS, RejectCode.ISOLATED_REMOVAL, RejectCode.SUB_ACCOUNT_VOLUME,
})  # fmt: skip
_ACTION_LEVEL: Final = frozenset(
    {
        RejectCode.MUST_DEPOSIT, RejectCode.INSUFFICIENT_WITHDRAWAL, RejectCode.SCHEDULE_TOO_EARLY,
        RejectCode.SCHEDULE_VOLUME, RejectCode.SCHEDULE_FIRES, RejectCode.INVALID_LEVERAGE,
        RejectCode.LEVERAGE_SWITCH, RejectCode.NOT_ISOLATED, RejectCode.TWAP_REDUCE_ONLY, RejectCode.TWAP_DURATION,
        RejectCode.TWAP_MISSING,
    }
)  # fmt: skip
"""Refusals of a whole action; their texts carry no asset."""


def reject_text(reject: Reject, user: str, assets: tuple[EngineAsset, ...]) -> str:
    """What the venue would write for ``reject``; ``assets`` in the order of their index."""
    asset = None if reject.asset is None else assets[reject.asset]
    numbers = {
        "minimum": _number(reject, reject.limit),
        "maximum": _number(reject, reject.limit),
        "required": _number(reject, reject.limit),
        "minutes": _number(reject, reject.value),
        "limit": _number(reject, reject.limit),
        "asked": _number(reject, reject.value),
        "traded": _number(reject, reject.value),
        "bid": _price(asset, reject.bid),
        "ask": _price(asset, reject.ask),
        "address": user,
    }
    if reject.code in _OWN_TEXTS:
        return _OWN_TEXTS[reject.code].format_map(numbers)
    suffix = None if reject.code in _ACTION_LEVEL else reject.asset
    return error_text(_CODES[reject.code], suffix, **numbers)


def _number(reject: Reject, value: int | None) -> str:
    if value is None:
        return "0"
    return format_scaled(value, 6) if reject.code in _IN_USD else str(value)


def _price(asset: EngineAsset | None, price: int | None) -> str:
    return "none" if asset is None or price is None else format_scaled(price, asset.price_decimals)
