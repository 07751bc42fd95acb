"""One account of the paper exchange: cash, positions, leverage, orders, and the rows of its history."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from perpstrader.paper.engine import margin
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.config import EngineConfig, FeeTier
from perpstrader.paper.engine.events import Fill, FundingEvent, LedgerEvent
from perpstrader.paper.engine.orders import Order, OrderStatus, Where

DAY_MS: Final = 86_400_000
VOLUME_DAYS: Final = 14


class Position(msgspec.Struct, eq=False):
    """An open position: signed lots, the exact positive entry notional, and funding paid (a cost is positive)."""

    market: Market
    size: int
    entry_notional: int
    funding_since_open: int = 0
    funding_since_change: int = 0


class Account:
    """State of one user. Money moves only through :meth:`trade` and the explicit ``cash`` changes of funding, deposits
    and liquidation.
    """

    def __init__(self, user: str, config: EngineConfig, *, is_liquidator: bool = False) -> None:
        self.user = user
        self.is_liquidator = is_liquidator
        self.cash = 0
        self.positions: dict[str, Position] = {}
        self.leverage: dict[str, int] = {}
        self.open_orders: dict[int, Order] = {}
        self.records: dict[int, Order] = {}
        self.done_oids: deque[int] = deque()
        self.cloids: dict[str, int] = {}
        self.history: deque[OrderStatus] = deque(maxlen=config.order_history)
        self.fills: deque[Fill] = deque(maxlen=config.fill_history)
        self.funding: deque[FundingEvent] = deque(maxlen=config.fill_history)
        self.ledger: list[LedgerEvent] = []
        self.funding_all_time: dict[str, int] = {}
        self.volume = 0
        self.version = 0
        self.fees_paid = 0
        self.schedule_ms: int | None = None
        self.schedule_fires: tuple[int, int] = (0, 0)
        self.liquidation_cooldown: dict[str, int] = {}
        self._config = config
        self._daily_volume: dict[int, int] = {}
        self._fee_day = -1
        self._fee_tier: FeeTier = config.fee_tiers[0]

    def size(self, coin: str) -> int:
        """Signed lots held in ``coin``."""
        position = self.positions.get(coin)
        return 0 if position is None else position.size

    def leverage_of(self, market: Market) -> int:
        """The leverage set, or the venue's default for a coin never touched: 20, or the coin's maximum if lower."""
        asset = market.asset
        return self.leverage.get(asset.coin) or min(self._config.default_leverage, asset.max_leverage)

    def value(self) -> int:
        """Account value at mark, in micro-USD."""
        return margin.account_value(self.cash, sum([p.size * p.market.mark_or_zero for p in self.positions.values()]))

    def margin_used(self) -> int:
        """Initial margin of all positions at mark."""
        return sum(
            [
                margin.margin_used(margin.position_value(p.size, p.market.mark_or_zero), self.leverage_of(p.market))
                for p in self.positions.values()
            ]
        )

    def maintenance(self) -> int:
        """Maintenance margin of all positions at mark."""
        return sum(
            [
                margin.maintenance_margin(
                    margin.position_value(p.size, p.market.mark_or_zero), p.market.asset.margin_tiers
                )
                for p in self.positions.values()
            ]
        )

    def reserved(self, extra: Order | None = None) -> int:
        """Margin held by resting orders that would open something, and by ``extra`` as if it rested; both sides count
        in full.

        What an order would close is free: per coin and side, the lots beyond the position need their share of the
        notional over the leverage. Sells are counted at mark where that is above their limit. Triggers and waiting
        children hold nothing (API sheet 7.8).
        """
        sides: dict[tuple[str, bool], tuple[Market, int, int]] = {}
        if extra is not None:
            self._add_reserved(sides, extra)
        for order in self.open_orders.values():
            if order.where is Where.RESTING and not order.reduce_only:
                self._add_reserved(sides, order)
        total = 0
        for (coin, is_buy), (market, lots, notional) in sides.items():
            held = self.size(coin)
            closing = max(-held if is_buy else held, 0)
            if lots > closing:
                total += notional * (lots - closing) // lots // self.leverage_of(market)
        return total

    @staticmethod
    def _add_reserved(sides: dict[tuple[str, bool], tuple[Market, int, int]], order: Order) -> None:
        market = order.market
        price = order.limit_px if order.is_buy else max(order.limit_px, market.mark_or_zero)
        key = (order.coin, order.is_buy)
        _, lots, notional = sides.get(key, (market, 0, 0))
        sides[key] = (market, lots + order.size, notional + order.size * price)

    def can_carry(self, market: Market, signed_lots: int, px: int, fee: int) -> bool:
        """Whether the account would still cover its initial margin at mark after this trade; what only reduces is
        always carried.
        """
        held = self.size(market.asset.coin)
        after = held + signed_lots
        if abs(after) <= abs(held) and held * after >= 0:
            return True
        mark = market.mark_or_zero
        leverage = self.leverage_of(market)
        value = self.value() + signed_lots * (mark - px) - fee
        used = (
            self.margin_used()
            - margin.margin_used(abs(held) * mark, leverage)
            + margin.margin_used(abs(after) * mark, leverage)
        )
        return value >= used

    def trade(self, market: Market, signed_lots: int, px: int, fee: int) -> tuple[int, int]:
        """Book a trade: returns (position before, gross closed PnL). Cash takes the exact notional, so nothing is lost
        to rounding.
        """
        coin = market.asset.coin
        self.cash -= signed_lots * px + fee
        self.fees_paid += fee
        position = self.positions.get(coin)
        if position is None:
            self.positions[coin] = Position(market, signed_lots, abs(signed_lots) * px)
            if not self.is_liquidator:
                market.holders[self.user] = self
            return 0, 0
        before = position.size
        position.funding_since_change = 0
        after = before + signed_lots
        if before * signed_lots > 0:
            position.entry_notional += abs(signed_lots) * px
            position.size = after
            return before, 0
        closed = -signed_lots if abs(signed_lots) <= abs(before) else before
        pnl = margin.closed_pnl(closed, margin.entry_price(before, position.entry_notional), px)
        if after == 0:
            del self.positions[coin]
            market.holders.pop(self.user, None)
            self.liquidation_cooldown.pop(coin, None)
        elif before * after > 0:
            position.entry_notional = position.entry_notional * abs(after) // abs(before)
            position.size = after
        else:
            self.positions[coin] = Position(market, after, abs(after) * px)
        return before, pnl

    def add_volume(self, notional: int, now_ms: int) -> None:
        """Count traded notional; it lowers fees from the next UTC day on."""
        self.volume += notional
        day = now_ms // DAY_MS
        self._daily_volume[day] = self._daily_volume.get(day, 0) + notional

    def fee_tier(self, now_ms: int) -> FeeTier:
        """The tier of today, by the volume of the 14 UTC days before today."""
        day = now_ms // DAY_MS
        if day != self._fee_day:
            self._daily_volume = {d: v for d, v in self._daily_volume.items() if d >= day - VOLUME_DAYS}
            recent = sum(v for d, v in self._daily_volume.items() if d < day)
            self._fee_tier = [tier for tier in self._config.fee_tiers if recent > tier.volume][-1]
            self._fee_day = day
        return self._fee_tier

    def order_cap(self) -> int:
        """How many orders may be open: 1000, and one more for each $5M ever traded, at most 5000."""
        config = self._config
        return min(config.open_order_cap + self.volume // config.open_order_cap_step, config.open_order_cap_max)
