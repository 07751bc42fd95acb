"""What the prices of protective orders must satisfy, and how the venue's record of one is recognised."""

from __future__ import annotations

from decimal import Decimal

from perpstrader.domain import ZERO, AssetSpec, Order, PerpsTraderError, ProtectiveStop, Side
from perpstrader.domain.money import MIN_NOTIONAL_USD
from perpstrader.venue.contract import OrderRecord


def sendable_limit(asset: AssetSpec, side: Side, size: Decimal, trigger: Decimal, limit: Decimal) -> Decimal:
    """The limit, raised where ``p x size`` falls below the venue's minimum (S13, S22); an error where none fits."""
    if limit * size >= MIN_NOTIONAL_USD:
        return limit
    least = asset.price_up(MIN_NOTIONAL_USD / size)
    if side is Side.LONG and least > trigger:
        text = f"{size:f} at a trigger of {trigger:f} is below the venue's minimum of {MIN_NOTIONAL_USD} USD"
        raise PerpsTraderError(f"{asset.name}: {text}")
    return least


def looseness(order: Order) -> Decimal:
    """Sorts the tightest stop first: a long's highest trigger, a short's lowest."""
    trigger = order.intent.trigger
    return -trigger.price * order.intent.side.sign if trigger is not None else ZERO


def listed_stop(record: OrderRecord, order: Order, needed: Decimal, now_ms: int) -> ProtectiveStop | None:
    """The record as a stop, if oid, side, trigger and size are what they must be."""
    listed, trigger = record.order, order.intent.trigger
    if listed is None or trigger is None or listed.trigger_price is None:
        return None
    right = (
        listed.reduce_only
        and listed.buy is order.intent.buy
        and listed.trigger_price == trigger.price
        and listed.original_size == needed
    )
    if not right:
        return None
    return ProtectiveStop(
        oid=listed.oid,
        cloid=order.cloid,
        trigger_price=listed.trigger_price,
        limit_price=listed.limit_price,
        size=needed,
        confirmed_ms=now_ms,
    )
