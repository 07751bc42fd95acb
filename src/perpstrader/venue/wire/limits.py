"""The venue's limits as constants (API sheet 2.4, 2.5, 4, 5.2, 5.3); what may change over time is read from the venue
instead.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

MIN_NOTIONAL_USD: Final = Decimal(10)
"""Least size times limit price of an order; a full close is exempt."""

MAX_ACTION_ORDERS: Final = 200
"""Most orders or cancels in one signed action."""

BASE_OPEN_ORDERS: Final = 1_000
MAX_OPEN_ORDERS: Final = 5_000
OPEN_ORDER_PER_USD: Final = Decimal(5_000_000)
"""One open order more for each of these USD of lifetime volume, between the two bounds above."""

PRICE_BAND_FRACTION: Final = Decimal("0.95")
"""A limit price further than this from the reference is refused."""

BASE_REQUESTS: Final = 10_000
"""Actions of an address before it has traded; one more for each USD of lifetime volume."""

EXTRA_CANCELS: Final = 100_000
"""Cancels may go on to ``min(cap + this, 2 * cap)``."""

EXHAUSTED_INTERVAL_MS: Final = 10_000
"""An address without budget is let through once in this time."""

EXPIRED_ACTION_WEIGHT: Final = 5
"""What an action that arrived after its expiry costs, times its usual weight."""

IP_WEIGHT_PER_MINUTE: Final = 1_200
WS_CONNECTIONS: Final = 10
WS_NEW_CONNECTIONS_PER_MINUTE: Final = 30
WS_SUBSCRIPTIONS: Final = 1_000
WS_USERS: Final = 10
WS_MESSAGES_PER_MINUTE: Final = 2_000
WS_IN_FLIGHT_POSTS: Final = 100
WS_IDLE_MS: Final = 60_000
"""The venue closes a connection on which it sent nothing for this long."""

HISTORY_ROWS: Final = 2_000
"""Most rows of fills and of historical orders in one answer; also how many orders an account's records keep."""

RANGE_ROWS: Final = 500
"""Most rows of the other time-range answers."""

REACHABLE_FILLS: Final = 10_000
CANDLES: Final = 5_000
BOOK_LEVELS: Final = 20

SCHEDULE_CANCEL_MIN_AHEAD_MS: Final = 5_000
SCHEDULE_CANCEL_FIRES_PER_DAY: Final = 10
SCHEDULE_CANCEL_VOLUME_USD: Final = Decimal(1_000_000)

NONCE_MAX_BEHIND_MS: Final = 2 * 86_400_000
NONCE_MAX_AHEAD_MS: Final = 86_400_000
NONCES_KEPT: Final = 100

EXPIRY_SLACK_MS: Final = 3_000
"""An expiry has passed for certain when a venue-stamped time is beyond it by this (S11)."""


def open_order_cap(lifetime_volume_usd: Decimal) -> int:
    """How many orders an account may have open."""
    return min(MAX_OPEN_ORDERS, BASE_OPEN_ORDERS + int(lifetime_volume_usd / OPEN_ORDER_PER_USD))


def request_cap(lifetime_volume_usd: Decimal) -> int:
    """How many actions an address may send in its life, bought weight apart."""
    return BASE_REQUESTS + int(lifetime_volume_usd)


def cancel_cap(cap: int) -> int:
    """The larger cap that cancels have, so that open orders can still be removed."""
    return min(cap + EXTRA_CANCELS, cap * 2)
