"""What a request costs: per IP and minute for all, per address for actions (API sheet 5.1, 5.2)."""

from __future__ import annotations

from typing import Final

from perpstrader.venue.wire import actions
from perpstrader.venue.wire.actions import Action, UnknownAction, UserSigned

_LIGHT: Final = frozenset(
    {"l2Book", "allMids", "clearinghouseState", "orderStatus", "spotClearinghouseState", "exchangeStatus"}
)
_PER_20_ROWS: Final = frozenset(
    {
        "recentTrades", "historicalOrders", "userFills", "userFillsByTime", "fundingHistory", "userFunding",
        "userNonFundingLedgerUpdates", "nonUserFundingUpdates", "twapHistory", "userTwapSliceFills",
        "userTwapSliceFillsByTime", "delegatorHistory", "delegatorRewards", "validatorStats",
    }
)  # fmt: skip


def info_weight(kind: str) -> int:
    """The IP weight of asking, before the answer's rows are known."""
    if kind in _LIGHT:
        return 2
    return 60 if kind == "userRole" else 20


def is_light(kind: str) -> bool:
    """True for the reads that weigh 2."""
    return kind in _LIGHT


def row_weight(kind: str, rows: int) -> int:
    """The IP weight charged after the answer, for the rows that it had."""
    if kind == "candleSnapshot":
        return rows // 60
    return rows // 20 if kind in _PER_20_ROWS else 0


def exchange_weight(orders: int) -> int:
    """The IP weight of an action with this many orders, cancels or modifies."""
    return 1 + orders // 40


def batch_size(action: Action | UserSigned | UnknownAction) -> int:
    """How many orders, cancels or modifies an action holds, at least 1: what the address budget is charged."""
    if isinstance(action, actions.Order):
        return max(1, len(action.orders))
    if isinstance(action, actions.Cancel | actions.CancelByCloid):
        return max(1, len(action.cancels))
    if isinstance(action, actions.BatchModify):
        return max(1, len(action.modifies))
    return 1


def is_cancel(action: object) -> bool:
    """True for actions that may use the larger cap of cancels."""
    return isinstance(action, actions.Cancel | actions.CancelByCloid)
