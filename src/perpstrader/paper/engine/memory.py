"""What an exchange must remember to go on after a restart: counters, prices, accounts; and how they are taken up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from perpstrader.paper.engine.account import Account, Position
from perpstrader.paper.engine.events import Fill, FundingEvent, LedgerEvent, TwapEvent
from perpstrader.paper.engine.orders import Builder, Order, OrderStatus, OrderView, Tif, Trigger, Where
from perpstrader.paper.engine.state import EngineState
from perpstrader.paper.engine.twap import Twap


class OrderMemory(msgspec.Struct, frozen=True, kw_only=True):
    """An open order; ``parent_oid`` also of a parent that is done, as its other children are siblings."""

    coin: str
    oid: int
    is_buy: bool
    limit_px: int
    size: int
    orig_size: int
    reduce_only: bool
    tif: Tif
    trigger: Trigger | None
    cloid: str | None
    time_ms: int
    seq: int
    builder: Builder | None
    is_position_tpsl: bool
    where: Where
    triggered: bool
    queue_ahead: int
    filled: int
    filled_notional: int
    status: str
    status_ms: int
    view_at_status: OrderView | None
    parent_oid: int | None


class PositionMemory(msgspec.Struct, frozen=True):
    """An open position."""

    coin: str
    size: int
    entry_notional: int
    funding_since_open: int
    funding_since_change: int
    is_isolated: bool = False
    raw_usd: int = 0


class AccountMemory(msgspec.Struct, frozen=True, kw_only=True):
    """An account without the rows of its history."""

    user: str
    cash: int
    positions: list[PositionMemory]
    leverage: dict[str, int]
    open_orders: list[OrderMemory]
    funding_all_time: dict[str, int]
    volume: int
    daily_volume: dict[int, int]
    version: int
    fees_paid: int
    schedule_ms: int | None
    schedule_fires: tuple[int, int]
    liquidation_cooldown: dict[str, int]
    isolated: dict[str, bool] = {}
    master: str | None = None
    name: str = ""
    reserved_weight: int = 0
    builder_fees: dict[str, int] = {}
    twaps: list[Twap] = []
    daily_added: dict[int, int] = {}


class AccountRows(msgspec.Struct, kw_only=True):
    """The history of an account, oldest first."""

    fills: list[Fill]
    statuses: list[OrderStatus]
    funding: list[FundingEvent]
    ledger: list[LedgerEvent]
    twaps: list[TwapEvent]


class MarketMemory(msgspec.Struct, frozen=True):
    """The last prices of a coin, and what the outside market holds against the accounts."""

    coin: str
    size_decimals: int
    mark: int | None
    oracle: int | None
    last: int | None
    last_rate: int
    outside_size: int
    outside_cash: int
    previous_mark: int | None = None
    premium_sum: int = 0
    premium_samples: int = 0


class VenueMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything beside the accounts."""

    now_ms: int
    action: int
    oid: int
    tid: int
    seq: int
    lid: int
    twap_id: int = 0
    house_cash: int
    deposited: int
    markets: list[MarketMemory]
    liquidator: AccountMemory


def venue_memory(state: EngineState) -> VenueMemory:
    """The venue as it is now."""
    return VenueMemory(
        now_ms=state.now_ms, action=state.action, oid=state._oid, tid=state._tid, seq=state._seq, lid=state._lid,
        twap_id=state._twap_id,
        house_cash=state.house_cash, deposited=state.deposited,
        markets=[
            MarketMemory(
                coin, market.asset.size_decimals, market.mark, market.oracle, market.last, market.last_rate,
                market.outside_size, market.outside_cash, market.previous_mark, market.premium_sum,
                market.premium_samples,
            )
            for coin, market in state.markets.items()
        ],
        liquidator=account_memory(state, state.config.liquidator),
    )  # fmt: skip


def account_memory(state: EngineState, user: str) -> AccountMemory:
    """The account as it is now."""
    account = state.account(user)
    return AccountMemory(
        user=user,
        cash=account.cash,
        positions=[
            PositionMemory(
                coin, p.size, p.entry_notional, p.funding_since_open, p.funding_since_change, p.is_isolated, p.raw_usd
            )
            for coin, p in account.positions.items()
        ],
        leverage=dict(account.leverage),
        open_orders=[_order_memory(order) for order in account.open_orders.values()],
        funding_all_time=dict(account.funding_all_time),
        volume=account.volume,
        daily_volume=dict(account._daily_volume),
        daily_added=dict(account._daily_added),
        version=account.version,
        fees_paid=account.fees_paid,
        schedule_ms=state.timers.get(user),
        schedule_fires=account.schedule_fires,
        liquidation_cooldown=dict(account.liquidation_cooldown),
        isolated=dict(account.isolated),
        master=None if account.master is None else account.master.user,
        name=account.name,
        reserved_weight=account.reserved_weight,
        builder_fees=dict(account.builder_fees),
        twaps=[twap for twap in state.twaps.values() if twap.user == user],
    )


def _order_memory(order: Order) -> OrderMemory:
    return OrderMemory(
        coin=order.coin, oid=order.oid, is_buy=order.is_buy, limit_px=order.limit_px, size=order.size,
        orig_size=order.orig_size, reduce_only=order.reduce_only, tif=order.tif, trigger=order.trigger,
        cloid=order.cloid, time_ms=order.time_ms, seq=order.seq, builder=order.builder,
        is_position_tpsl=order.is_position_tpsl, where=order.where, triggered=order.triggered,
        queue_ahead=order.queue_ahead, filled=order.filled, filled_notional=order.filled_notional,
        status=order.status, status_ms=order.status_ms, view_at_status=order.view_at_status,
        parent_oid=None if order.parent is None else order.parent.oid,
    )  # fmt: skip


def recall(
    state: EngineState, venue: VenueMemory, accounts: Iterable[tuple[AccountMemory, AccountRows]]
) -> None:
    """Take up a fresh state where a former one ended: every coin of ``venue`` must be in it, with equal size decimals.

    Prices are the last ones until the feed shows new ones; the book is empty until then.
    """
    state.now_ms, state.action = venue.now_ms, venue.action
    state._oid, state._tid, state._seq, state._lid = venue.oid, venue.tid, venue.seq, venue.lid
    state._twap_id = max(venue.twap_id, state._twap_id)
    state.house_cash, state.deposited = venue.house_cash, venue.deposited
    for row in venue.markets:
        market = state.markets[row.coin]
        market.oracle, market.last, market.last_rate = row.oracle, row.last, row.last_rate
        market.outside_size, market.outside_cash = row.outside_size, row.outside_cash
        market.previous_mark = row.previous_mark
        market.premium_sum, market.premium_samples = row.premium_sum, row.premium_samples
        if row.mark is not None:
            market.set_mark(row.mark)
    _fill_account(state, state.liquidator, venue.liquidator)
    for memory, rows in accounts:
        master = None if memory.master is None else state.accounts[memory.master]  # it was opened before
        account = state.accounts[memory.user] = Account(memory.user, state.config, master=master, name=memory.name)
        _fill_account(state, account, memory)
        account.fills.extend(rows.fills)
        account.history.extend(rows.statuses)
        account.funding.extend(rows.funding)
        account.ledger.extend(rows.ledger)
        account.twap_history.extend(rows.twaps)
        state.twaps.update((twap.twap_id, twap) for twap in memory.twaps)
        _recall_done(state, account, rows.statuses)
        _recall_open(state, account, memory.open_orders)


def _fill_account(state: EngineState, account: Account, memory: AccountMemory) -> None:
    account.cash = memory.cash
    account.leverage, account.isolated = dict(memory.leverage), dict(memory.isolated)
    account.funding_all_time = dict(memory.funding_all_time)
    account.volume, account.version, account.fees_paid = memory.volume, memory.version, memory.fees_paid
    account.reserved_weight, account.builder_fees = memory.reserved_weight, dict(memory.builder_fees)
    account.schedule_fires = memory.schedule_fires
    account.liquidation_cooldown = dict(memory.liquidation_cooldown)
    account._daily_volume, account._daily_added = dict(memory.daily_volume), dict(memory.daily_added)
    if memory.schedule_ms is not None:
        state.timers[memory.user] = memory.schedule_ms
    for row in memory.positions:
        market = state.markets[row.coin]
        account.positions[row.coin] = Position(
            market, row.size, row.entry_notional, row.funding_since_open, row.funding_since_change,
            row.is_isolated, row.raw_usd,
        )  # fmt: skip
        if not account.is_liquidator:
            market.holders[account.user] = account


def _recall_done(state: EngineState, account: Account, statuses: Sequence[OrderStatus]) -> None:
    """Records of done orders from the newest status that is known of each."""
    newest = {row.order.oid: row for row in statuses}
    for oid, row in newest.items():
        account.records[oid] = _from_view(state, account.user, row)
        account.done_oids.append(oid)
        if row.order.cloid is not None:
            account.cloids[row.order.cloid] = max(oid, account.cloids.get(row.order.cloid, oid))


def _from_view(state: EngineState, user: str, row: OrderStatus) -> Order:
    view = row.order
    return Order(
        user=user, oid=view.oid, market=state.markets[view.coin], coin=view.coin, is_buy=view.is_buy,
        limit_px=view.limit_px, size=view.size, orig_size=view.orig_size, reduce_only=view.reduce_only,
        tif=view.tif or Tif.GTC, trigger=view.trigger, cloid=view.cloid, time_ms=view.time_ms, seq=0,
        is_position_tpsl=view.is_position_tpsl, triggered=view.triggered, status=row.status,
        status_ms=row.status_ms, view_at_status=view,
    )  # fmt: skip


def _recall_open(state: EngineState, account: Account, memories: Sequence[OrderMemory]) -> None:
    for memory in memories:
        order = Order(
            user=account.user, market=state.markets[memory.coin],
            **{name: getattr(memory, name) for name in memory.__struct_fields__ if name not in ("where", "parent_oid")},
        )  # fmt: skip
        if memory.oid in account.records:
            account.done_oids.remove(memory.oid)
        account.records[memory.oid] = order
        account.open_orders[memory.oid] = order
        if order.cloid is not None:
            account.cloids[order.cloid] = max(order.oid, account.cloids.get(order.cloid, order.oid))
        state.open_count += 1
        _put_back(order, memory)
    _recall_families(account, memories)


def _put_back(order: Order, memory: OrderMemory) -> None:
    if memory.where is Where.RESTING:
        order.market.rest(order)
        order.queue_ahead = memory.queue_ahead
    elif memory.where is Where.TRIGGER:
        order.market.arm(order)
    else:
        order.where = memory.where


def _recall_families(account: Account, memories: Sequence[OrderMemory]) -> None:
    families: dict[int, list[Order]] = {}
    for memory in memories:
        if memory.parent_oid is not None:
            families.setdefault(memory.parent_oid, []).append(account.open_orders[memory.oid])
    for parent_oid, children in families.items():
        parent = account.records.get(parent_oid)
        if parent is None:
            continue
        parent.children = tuple(children)
        for child in children:
            child.parent = parent
