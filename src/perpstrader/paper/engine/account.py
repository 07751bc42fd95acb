"""One account of the paper exchange: cash, positions, leverage, orders, and the rows of its history."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from perpstrader.paper.engine import margin
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.config import EngineConfig, FeeTier
from perpstrader.paper.engine.events import Fill, FundingEvent, LedgerEvent, TwapEvent
from perpstrader.paper.engine.orders import Order, OrderStatus, Where

DAY_MS: Final = 86_400_000
VOLUME_DAYS: Final = 14


class Position(msgspec.Struct, eq=False):
    """An open position: signed lots, the exact positive entry notional, and funding paid (a cost is positive).

    An isolated one has cash of its own, ``raw_usd``: its collateral less what it paid for its lots. A cross one has 0
    there and lives from the account's.
    """

    market: Market
    size: int
    entry_notional: int
    funding_since_open: int = 0
    funding_since_change: int = 0
    is_isolated: bool = False
    raw_usd: int = 0

    @property
    def notional(self) -> int:
        """Lots at mark, unsigned."""
        return abs(self.size) * self.market.mark_or_zero

    @property
    def equity(self) -> int:
        """What an isolated position is worth: collateral and unrealized PnL (the wire's ``marginUsed``)."""
        return self.raw_usd + self.size * self.market.mark_or_zero

    @property
    def maintenance(self) -> int:
        """Its own maintenance margin at mark."""
        return margin.maintenance_margin(self.notional, self.market.asset.margin_tiers)


class Account:
    """State of one user. Money moves only through :meth:`trade` and the explicit ``cash`` changes of funding, deposits,
    liquidation, and the margin of isolated positions. ``cash`` is what cross margin has.

    A sub-account has a ``master`` (whose fee tier it shares) and a ``name``.
    """

    def __init__(
        self,
        user: str,
        config: EngineConfig,
        *,
        is_liquidator: bool = False,
        master: Account | None = None,
        name: str = "",
    ) -> None:
        self.user = user
        self.is_liquidator = is_liquidator
        self.master = master
        self.name = name
        self.cash = 0
        self.positions: dict[str, Position] = {}
        self.leverage: dict[str, int] = {}
        self.isolated: dict[str, bool] = {}
        self.reserved_weight = 0
        self.builder_fees: dict[str, int] = {}
        self.open_orders: dict[int, Order] = {}
        self.records: dict[int, Order] = {}
        self.done_oids: deque[int] = deque()
        self.cloids: dict[str, int] = {}
        self.history: deque[OrderStatus] = deque(maxlen=config.order_history)
        self.fills: deque[Fill] = deque(maxlen=config.fill_history)
        self.funding: deque[FundingEvent] = deque(maxlen=config.fill_history)
        self.ledger: list[LedgerEvent] = []
        self.twap_history: deque[TwapEvent] = deque(maxlen=config.order_history)
        self.funding_all_time: dict[str, int] = {}
        self.volume = 0
        self.version = 0
        self.fees_paid = 0
        self.schedule_ms: int | None = None
        self.schedule_fires: tuple[int, int] = (0, 0)
        self.liquidation_cooldown: dict[str, int] = {}
        self._config = config
        self._daily_volume: dict[int, int] = {}
        self._daily_added: dict[int, int] = {}
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

    def is_isolated(self, market: Market) -> bool:
        """Whether the coin's margin mode is isolated: as set, or the coin's only one; cross if never touched."""
        if self.is_liquidator:
            return False
        return market.asset.is_isolated_only or self.isolated.get(market.asset.coin, False)

    def value(self) -> int:
        """Account value at mark, isolated positions included, in micro-USD."""
        return margin.account_value(
            self.raw_usd(), sum([p.size * p.market.mark_or_zero for p in self.positions.values()])
        )

    def raw_usd(self) -> int:
        """All cash: cross, and that of isolated positions."""
        return self.cash + sum([p.raw_usd for p in self.positions.values()])

    def cross_value(self) -> int:
        """What cross margin has: cash and cross positions at mark."""
        return margin.account_value(self.cash, sum([p.size * p.market.mark_or_zero for p in self.cross_positions()]))

    def cross_positions(self) -> list[Position]:
        """The positions that live from the account's cash."""
        return [p for p in self.positions.values() if not p.is_isolated]

    def cross_margin(self) -> int:
        """Initial margin of the cross positions at mark."""
        return sum([margin.margin_used(p.notional, self.leverage_of(p.market)) for p in self.cross_positions()])

    def margin_used(self) -> int:
        """Initial margin of the cross positions, and what the isolated ones hold."""
        return self.cross_margin() + sum([p.equity for p in self.positions.values() if p.is_isolated])

    def maintenance(self) -> int:
        """Maintenance margin of the cross positions at mark."""
        return sum([p.maintenance for p in self.cross_positions()])

    def free(self) -> int:
        """Cross margin that neither a position nor a resting order holds; negative when there is too little."""
        return self.cross_value() - self.cross_margin() - self.reserved()

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
        if self.is_isolated(market):
            opened = abs(signed_lots) if held * after >= 0 else abs(after)
            return self.cross_value() - self.cross_margin() >= margin.margin_used(opened * px, leverage)
        value = self.cross_value() + signed_lots * (mark - px) - fee
        used = (
            self.cross_margin()
            - margin.margin_used(abs(held) * mark, leverage)
            + margin.margin_used(abs(after) * mark, leverage)
        )
        return value >= used

    def trade(self, market: Market, signed_lots: int, px: int, fee: int) -> tuple[int, int]:
        """Book a trade: returns (position before, gross closed PnL). Cash takes the exact notional, so nothing is lost
        to rounding.

        An isolated position gets its initial margin from cash when it grows and pays its own fees; what is closed of
        it gives back its share of the position's equity, all of it at the end (recorded positions: API sheet 7.3).
        """
        coin, before = market.asset.coin, self.size(market.asset.coin)
        after = before + signed_lots
        self.fees_paid += fee
        if before * after < 0 and self.positions[coin].is_isolated:
            _, pnl = self._trade(market, -before, px, 0)
            self._trade(market, after, px, fee)
            return before, pnl
        return self._trade(market, signed_lots, px, fee)

    def _trade(self, market: Market, signed_lots: int, px: int, fee: int) -> tuple[int, int]:
        coin = market.asset.coin
        position = self.positions.get(coin)
        if position is None:
            position = self._open(market, signed_lots, px)
            self._pay(position, abs(signed_lots), signed_lots * px + fee, px)
            return 0, 0
        before = position.size
        position.funding_since_change = 0
        after = before + signed_lots
        if before * signed_lots > 0:
            position.entry_notional += abs(signed_lots) * px
            position.size = after
            self._pay(position, abs(signed_lots), signed_lots * px + fee, px)
            return before, 0
        closed = -signed_lots if abs(signed_lots) <= abs(before) else before
        pnl = margin.closed_pnl(closed, margin.entry_price(before, position.entry_notional), px)
        self._pay(position, 0, signed_lots * px + fee, px)
        if after == 0:
            self.cash += position.raw_usd
            del self.positions[coin]
            market.holders.pop(self.user, None)
            self.liquidation_cooldown.pop(coin, None)
        elif before * after > 0:
            position.entry_notional = position.entry_notional * abs(after) // abs(before)
            position.size = after
            if position.is_isolated:
                left = position.raw_usd + after * px
                released = max(left, 0) * abs(signed_lots) // abs(before)
                position.raw_usd -= released
                self.cash += released
        else:
            self._open(market, after, px)
        return before, pnl

    def _open(self, market: Market, lots: int, px: int) -> Position:
        position = Position(market, lots, abs(lots) * px, is_isolated=self.is_isolated(market))
        self.positions[market.asset.coin] = position
        if not self.is_liquidator:
            market.holders[self.user] = self
        return position

    def _pay(self, position: Position, opened: int, cost: int, px: int) -> None:
        """Take ``cost`` from the position's purse; its own first gets its margin for ``opened`` lots."""
        if not position.is_isolated:
            self.cash -= cost
            return
        collateral = margin.margin_used(opened * px, self.leverage_of(position.market))
        self.cash -= collateral
        position.raw_usd += collateral - cost

    def add_volume(self, notional: int, now_ms: int, *, crossed: bool = True) -> None:
        """Count traded notional; it lowers fees from the next UTC day on."""
        self.volume += notional
        owner = self.master or self
        day = now_ms // DAY_MS
        owner._daily_volume[day] = owner._daily_volume.get(day, 0) + notional
        if not crossed:
            owner._daily_added[day] = owner._daily_added.get(day, 0) + notional

    def daily_volume(self) -> dict[int, tuple[int, int]]:
        """Notional taken and made by UTC day, of account and sub-accounts together, as far as fees look back."""
        owner = self.master or self
        added = owner._daily_added
        return {day: (all_ - added.get(day, 0), added.get(day, 0)) for day, all_ in owner._daily_volume.items()}

    def fee_tier(self, now_ms: int) -> FeeTier:
        """The tier of today, by the volume of the 14 UTC days before today; a sub-account has its master's."""
        if self.master is not None:
            return self.master.fee_tier(now_ms)
        day = now_ms // DAY_MS
        if day != self._fee_day:
            self._daily_volume = {d: v for d, v in self._daily_volume.items() if d >= day - VOLUME_DAYS}
            self._daily_added = {d: v for d, v in self._daily_added.items() if d >= day - VOLUME_DAYS}
            recent = sum(v for d, v in self._daily_volume.items() if d < day)
            self._fee_tier = [tier for tier in self._config.fee_tiers if recent > tier.volume][-1]
            self._fee_day = day
        return self._fee_tier

    def order_cap(self) -> int:
        """How many orders may be open: 1000, and one more for each $5M ever traded, at most 5000."""
        config = self._config
        return min(config.open_order_cap + self.volume // config.open_order_cap_step, config.open_order_cap_max)
