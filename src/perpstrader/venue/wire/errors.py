"""The venue's words for no (API sheet 2.6), in one table for both sides: the client classifies, the exchange produces.

Also the statuses of orders, grouped (sheet 1.2). Texts are matched by prefix and case-insensitively; the suffix
``asset=N`` is dropped.
"""

from __future__ import annotations

import enum
import re
from typing import Final

import msgspec


class ErrorClass(enum.StrEnum):
    """What a refusal means for who asked."""

    PERMANENT = "permanent"
    """The same request is refused again until something of ours changes: not retried."""
    TRANSIENT = "transient"
    """The market's momentary state refused it: a new attempt from fresh prices may pass."""
    FLAT_EVIDENCE = "flat_evidence"
    """A reduce-only order found nothing to reduce: probably flat, to be read again; reduce-only stays."""
    GONE = "gone"
    """The order that was to be cancelled or replaced is no longer there; its record tells why."""
    RATE_LIMITED = "rate_limited"
    """A budget is used up; this request was not executed."""
    HALTED = "halted"
    """The venue takes no such orders now: a halt, or the post-only minutes after an upgrade."""
    EXPIRED = "expired"
    """The request's own expiry had passed: it was not and will not be executed."""
    AUTH = "auth"
    """The signer, its nonce or its account is not accepted; more of the same is refused too."""
    UNKNOWN = "unknown"
    """A text that the table does not hold: a definite refusal, of unknown meaning."""


class ErrorCode(enum.StrEnum):
    """The refusals that are known, by the name in the venue's docs where it has one."""

    TICK = "tick"
    MIN_TRADE_NTL = "min_trade_ntl"
    PERP_MARGIN = "perp_margin"
    REDUCE_ONLY = "reduce_only"
    BAD_ALO_PX = "bad_alo_px"
    IOC_CANCEL = "ioc_cancel"
    BAD_TRIGGER_PX = "bad_trigger_px"
    NO_LIQUIDITY = "market_order_no_liquidity"
    OI_CAP_INCREASE = "position_increase_at_open_interest_cap"
    OI_CAP_FLIP = "position_flip_at_open_interest_cap"
    OI_CAP_AGGRESSIVE = "too_aggressive_at_open_interest_cap"
    OI_INCREASE = "open_interest_increase"
    SPOT_BALANCE = "insufficient_spot_balance"
    ORACLE = "oracle"
    PERP_MAX_POSITION = "perp_max_position"
    MISSING_ORDER = "missing_order"
    PRICE_BAND = "price_band"
    VALUE_TOO_LARGE = "value_too_large"
    INVALID_MODIFY = "invalid_modify"
    MODIFY_GONE = "modify_gone"
    MODIFY_PLACING = "modify_placing"
    INVALID_PRICE = "invalid_price"
    INVALID_SIZE = "invalid_size"
    ZERO_SIZE = "zero_size"
    POST_ONLY_WINDOW = "post_only_window"
    TRADING_HALTED = "trading_halted"
    TRIGGER_COUNT = "trigger_count"
    TOO_MANY_OPEN_ORDERS = "too_many_open_orders"
    DUPLICATE_CLOID = "duplicate_cloid"
    UNKNOWN_ASSET = "unknown_asset"
    EMPTY_BATCH = "empty_batch"
    TWAP_REDUCE_ONLY = "twap_reduce_only"
    TWAP_DURATION = "twap_duration"
    TWAP_MISSING = "twap_missing"
    TOO_MANY_REQUESTS = "too_many_requests"
    ACTION_WEIGHT = "action_weight"
    DUPLICATE_NONCE = "duplicate_nonce"
    NONCE_TOO_LOW = "nonce_too_low"
    NONCE_WINDOW = "nonce_window"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_SIGNER = "unknown_signer"
    MUST_DEPOSIT = "must_deposit"
    UNKNOWN_VAULT = "unknown_vault"
    EXPIRED = "expired"
    LEVERAGE_SWITCH = "leverage_switch"
    NOT_ISOLATED = "not_isolated"
    INVALID_LEVERAGE = "invalid_leverage"
    UNIFIED_ACCOUNT = "unified_account"
    AGENT_EXPIRED = "agent_expired"
    AGENT_PENDING_REMOVAL = "agent_pending_removal"
    AGENT_USED = "agent_used"
    TOO_MANY_AGENTS = "too_many_agents"
    WITHDRAWAL_BALANCE = "withdrawal_balance"
    REFERRAL_CODE = "referral_code"
    SCHEDULE_VOLUME = "schedule_volume"
    SCHEDULE_TOO_EARLY = "schedule_too_early"
    SHARED_ACTION = "shared_action"
    UNKNOWN = "unknown"


class ErrorRow(msgspec.Struct, frozen=True):
    """A refusal: its text with ``{numbers}``, its class, the status string of the order if it got one, and other
    spellings seen.
    """

    code: ErrorCode
    text: str
    kind: ErrorClass
    status: str | None = None
    also: tuple[str, ...] = ()


_P, _T, _A = ErrorClass.PERMANENT, ErrorClass.TRANSIENT, ErrorClass.AUTH
_C = ErrorCode
_OI_CAPPED: Final = "Order would increase open interest while open interest is capped"

TABLE: Final = (
    ErrorRow(_C.TICK, "Price must be divisible by tick size.", _P, "tickRejected"),
    ErrorRow(
        _C.MIN_TRADE_NTL,
        "Order must have minimum value of ${minimum}.",
        _P,
        "minTradeNtlRejected",
        ("Order must have minimum value of",),
    ),
    ErrorRow(_C.PERP_MARGIN, "Insufficient margin to place order.", _P, "perpMarginRejected"),
    ErrorRow(
        _C.REDUCE_ONLY, "Reduce only order would increase position.", ErrorClass.FLAT_EVIDENCE, "reduceOnlyRejected"
    ),
    ErrorRow(
        _C.BAD_ALO_PX,
        "Post only order would have immediately matched, bbo was {bid}@{ask}.",
        _T,
        "badAloPxRejected",
    ),
    ErrorRow(
        _C.IOC_CANCEL, "Order could not immediately match against any resting orders.", _T, "iocCancelRejected"
    ),
    ErrorRow(_C.BAD_TRIGGER_PX, "Invalid TP/SL price.", _P, "badTriggerPxRejected"),
    ErrorRow(_C.NO_LIQUIDITY, "No liquidity available for market order.", _T, "marketOrderNoLiquidityRejected"),
    ErrorRow(_C.OI_CAP_INCREASE, _OI_CAPPED, _P, "positionIncreaseAtOpenInterestCapRejected"),
    ErrorRow(_C.OI_CAP_FLIP, _OI_CAPPED, _P, "positionFlipAtOpenInterestCapRejected"),
    ErrorRow(
        _C.OI_CAP_AGGRESSIVE,
        "Order rejected due to price more aggressive than oracle while at open interest cap",
        _P,
        "tooAggressiveAtOpenInterestCapRejected",
    ),
    ErrorRow(
        _C.OI_INCREASE, "Order would increase open interest too quickly", _T, "openInterestIncreaseRejected"
    ),
    ErrorRow(
        _C.SPOT_BALANCE, "Order has insufficient spot balance to trade", _P, "insufficientSpotBalanceRejected"
    ),
    ErrorRow(_C.ORACLE, "Price too far from oracle", _P, "oracleRejected", ("Order price too far from oracle",)),
    ErrorRow(
        _C.PERP_MAX_POSITION,
        "Order would cause position to exceed margin tier limit at current leverage",
        _P,
        "perpMaxPositionRejected",
    ),
    ErrorRow(_C.MISSING_ORDER, "Order was never placed, already canceled, or filled.", ErrorClass.GONE),
    ErrorRow(_C.PRICE_BAND, "Order price cannot be more than 95% away from the reference price", _P),
    ErrorRow(_C.VALUE_TOO_LARGE, "Order value too large. Max is ${maximum}.", _P),
    ErrorRow(_C.INVALID_MODIFY, "Attempted to modify to invalid new order", _P),
    ErrorRow(_C.MODIFY_GONE, "Cannot modify canceled or filled order", ErrorClass.GONE),
    ErrorRow(_C.MODIFY_PLACING, "Error placing new order during modify: {reason}", _P),
    ErrorRow(_C.INVALID_PRICE, "Order has invalid price.", _P),
    ErrorRow(_C.INVALID_SIZE, "Order has invalid size.", _P),
    ErrorRow(_C.ZERO_SIZE, "Order has zero size.", _P),
    ErrorRow(
        _C.POST_ONLY_WINDOW,
        "Only post-only orders allowed immediately after a network upgrade",
        ErrorClass.HALTED,
    ),
    ErrorRow(_C.TRADING_HALTED, "Trading is halted", ErrorClass.HALTED),
    ErrorRow(_C.TRIGGER_COUNT, "Unexpected number of trigger orders", _P),
    ErrorRow(
        _C.TOO_MANY_OPEN_ORDERS, "Too many open orders. Max is {maximum}.", _P, "tooManyOpenOrdersRejected"
    ),
    ErrorRow(_C.DUPLICATE_CLOID, "Order with this client order id is already open.", _P),
    ErrorRow(_C.UNKNOWN_ASSET, "Asset does not exist or is not traded.", _P),
    ErrorRow(_C.EMPTY_BATCH, "Action has no orders.", _P),
    ErrorRow(_C.TWAP_REDUCE_ONLY, "Reduce-only TWAP order would increase position.", ErrorClass.FLAT_EVIDENCE),
    ErrorRow(_C.TWAP_DURATION, "Invalid TWAP duration: {minutes} min(s)", _P),
    ErrorRow(_C.TWAP_MISSING, "TWAP was never placed, already canceled, or filled.", ErrorClass.GONE),
    ErrorRow(
        _C.TOO_MANY_REQUESTS,
        "Too many cumulative requests sent ({used} > {cap}) for cumulative volume traded ${volume}. "
        "Place taker orders to free up 1 request per USDC traded.",
        ErrorClass.RATE_LIMITED,
    ),
    ErrorRow(_C.ACTION_WEIGHT, "Signed action over weight limit of {maximum}.", _P),
    ErrorRow(_C.DUPLICATE_NONCE, "Invalid nonce: duplicate nonce {nonce}", _A),
    ErrorRow(_C.NONCE_TOO_LOW, "Invalid nonce: nonce too low {nonce} < {minimum}", _A),
    ErrorRow(_C.NONCE_WINDOW, "Invalid nonce: nonce {nonce} is outside of the allowed time window", _A),
    ErrorRow(_C.BAD_SIGNATURE, "Unable to recover signer.", _A),
    ErrorRow(_C.UNKNOWN_SIGNER, "User or API Wallet {address} does not exist.", _A),
    ErrorRow(_C.MUST_DEPOSIT, "Must deposit before performing actions. User: {address}", _A),
    ErrorRow(_C.UNKNOWN_VAULT, "Vault not registered: {address}", _A),
    ErrorRow(_C.EXPIRED, "Action already expired", ErrorClass.EXPIRED),
    ErrorRow(_C.LEVERAGE_SWITCH, "Cannot switch leverage type with open position.", _P),
    ErrorRow(_C.NOT_ISOLATED, "Position does not use isolated margin.", _P),
    ErrorRow(_C.INVALID_LEVERAGE, "Invalid leverage value", _P),
    ErrorRow(_C.UNIFIED_ACCOUNT, "Action disabled when unified account is active", _P),
    ErrorRow(_C.AGENT_EXPIRED, "Agent valid_until already expired.", _A),
    ErrorRow(_C.AGENT_PENDING_REMOVAL, "User has pending agent removal", _A),
    ErrorRow(_C.AGENT_USED, "Extra agent already used.", _A),
    ErrorRow(
        _C.TOO_MANY_AGENTS,
        "Too many extra agents for cumulative volume traded. Current limit is {maximum}",
        _A,
    ),
    ErrorRow(_C.WITHDRAWAL_BALANCE, "Insufficient balance for withdrawal", _P),
    ErrorRow(_C.REFERRAL_CODE, "Referral code not registered", _P),
    ErrorRow(
        _C.SCHEDULE_VOLUME,
        "Cannot set scheduled cancel time until enough volume traded. Required: ${required}. Traded: ${traded}.",
        _P,
    ),
    ErrorRow(
        _C.SCHEDULE_TOO_EARLY, "Scheduled cancel time too early, must be at least 5 seconds from now.", _P
    ),
    ErrorRow(_C.SHARED_ACTION, "Refused with others in one action, perhaps for one of them: {reason}", _T),
)
"""Every refusal; the texts of open-order cap, duplicate cloid, unknown asset, empty batch and nonce window are our own
(sheet 11), and that of the shared action is the client's.
"""

_ROWS: Final = {row.code: row for row in TABLE}
_ASSET_SUFFIX = re.compile(r"\s+asset=\d+\s*$")
_PREFIXES: Final = sorted(
    ((text.partition("{")[0].lower().rstrip(". $"), row.code) for row in TABLE for text in (row.text, *row.also)),
    key=lambda pair: -len(pair[0]),
)


def classify(text: str) -> ErrorCode:
    """The code of a refusal's text: longest known prefix, any case, with or without asset suffix; or ``UNKNOWN``."""
    lowered = _ASSET_SUFFIX.sub("", text).strip().lower().removeprefix("l1 error: ")
    for prefix, code in _PREFIXES:
        if lowered.startswith(prefix):
            return code
    return ErrorCode.UNKNOWN


def error_class(code: ErrorCode) -> ErrorClass:
    """What a code means for who asked (S17)."""
    return ErrorClass.UNKNOWN if code is ErrorCode.UNKNOWN else _ROWS[code].kind


def error_text(code: ErrorCode, asset: int | None = None, **numbers: object) -> str:
    """The text that the venue would write, its numbers filled in, with ``asset=N`` where an asset is given.

    Raises ``KeyError`` when the text has a number that was not handed in.
    """
    text = _ROWS[code].text.format_map(numbers)
    return text if asset is None else f"{text} asset={asset}"


def reject_status(code: ErrorCode) -> str | None:
    """The status that an order refused with ``code`` has in the venue's records; ``None`` when it has no record."""
    return _ROWS[code].status if code in _ROWS else None


class Lifecycle(enum.StrEnum):
    """The families of order statuses; only ``LIVE`` orders can still execute, ``UNKNOWN`` asks for an alarm."""

    LIVE = "live"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


_STATUS: Final = {
    "open": Lifecycle.LIVE,
    "triggered": Lifecycle.LIVE,
    "filled": Lifecycle.FILLED,
    "canceled": Lifecycle.CANCELED,
    "rejected": Lifecycle.REJECTED,
}


def lifecycle(status: str) -> Lifecycle:
    """The family of an order's status string; one that is new is told by its suffix, ``…Rejected`` or
    ``…Canceled``/``…Cancel``.
    """
    known = _STATUS.get(status)
    if known is not None:
        return known
    if status.endswith("Rejected"):
        return Lifecycle.REJECTED
    if status.endswith(("Canceled", "Cancelled", "Cancel")):
        return Lifecycle.CANCELED
    return Lifecycle.UNKNOWN
