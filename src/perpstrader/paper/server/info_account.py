"""Answers of ``POST /info`` about accounts (API sheet 1.2). An unknown user has empty answers, never an error.

``visible_ms`` bounds what the reads of orders and fills may know: records that are newer are left out, as at a venue
whose info servers lag.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final, TypeVar

import msgspec

from perpstrader.paper.engine import Fill, FundingEvent, LedgerEvent, OrderStatus, fixed_text, usd_text
from perpstrader.paper.server import account_shapes as shapes
from perpstrader.paper.server.rate import AddressBudget
from perpstrader.paper.server.world import World, address
from perpstrader.venue.wire import WireError, account
from perpstrader.venue.wire.info import InfoRequest
from perpstrader.venue.wire.limits import HISTORY_ROWS, RANGE_ROWS

Handler = Callable[[World, InfoRequest, int], object]
_Row = TypeVar("_Row", Fill, FundingEvent, LedgerEvent)
_time: Final = attrgetter("time_ms")
_FEE_DECIMALS: Final = 9
_DAY_S: Final = 86_400
_MAKER_TIERS: Final = [
    {"makerFractionCutoff": "0.005", "add": "-0.00001"},
    {"makerFractionCutoff": "0.015", "add": "-0.00002"},
    {"makerFractionCutoff": "0.03", "add": "-0.00003"},
]
"""Rebates for a share of the venue's maker volume (API sheet 7.5), which nobody here reaches."""
_PERIODS: Final = ("day", "week", "month", "allTime", "perpDay", "perpWeek", "perpMonth", "perpAllTime")


def clearinghouse_state(world: World, request: InfoRequest, _: int) -> object:
    """``clearinghouseState``."""
    return account_state(world, address(request.user))


def account_state(world: World, user: str) -> account.ClearinghouseState:
    """The account as of now."""
    view = world.exchange.account_state(user)
    return shapes.clearinghouse_state(world.assets, view, world.now_ms(), unified=world.is_unified(user))


def spot_state(world: World, user: str) -> account.SpotClearinghouseState:
    """The collateral of a unified account; other accounts have no spot balances here."""
    if not world.is_unified(user):
        return account.SpotClearinghouseState([])
    view = world.exchange.account_state(user)
    balance = account.SpotBalance("USDC", 0, usd_text(view.account_value), usd_text(view.total_margin_used))
    return account.SpotClearinghouseState([balance])


def active_asset_data(world: World, request: InfoRequest, _: int) -> object:
    """``activeAssetData``."""
    user = address(request.user)
    if request.coin not in world.assets:
        raise WireError(f"activeAssetData has no coin {request.coin!r}")
    view = world.exchange.asset_account(user, request.coin)
    return shapes.active_asset_data(world.assets[request.coin], view, user)


def open_orders(world: World, request: InfoRequest, visible_ms: int) -> object:
    """``openOrders``: children that wait for their parent are not listed."""
    views = world.exchange.open_orders(address(request.user))
    return [
        shapes.open_order(world.assets[view.coin], view)
        for view in views
        if not view.held and view.time_ms <= visible_ms
    ]


def frontend_open_orders(world: World, request: InfoRequest, visible_ms: int) -> object:
    """``frontendOpenOrders``: waiting children are inside their parent."""
    views = world.exchange.open_orders(address(request.user))
    return shapes.frontend_orders(world.assets, [view for view in views if view.time_ms <= visible_ms])


def order_status(world: World, request: InfoRequest, visible_ms: int) -> object:
    """``orderStatus`` by oid or cloid."""
    user, oid = address(request.user), request.oid
    if isinstance(oid, str):
        status = world.exchange.order_by_cloid(user, oid.lower())
    else:
        status = None if oid is None else world.exchange.order_by_oid(user, oid)
    if status is not None and status.status_ms > visible_ms:
        status = _earlier(world, user, status.order.oid, visible_ms)
    if status is None:
        return account.OrderStatusAnswer("unknownOid")
    return account.OrderStatusAnswer("order", shapes.order_record(world.assets, status))


def _earlier(world: World, user: str, oid: int, visible_ms: int) -> OrderStatus | None:
    """The newest status of an order that an info server of that time knew."""
    history = world.exchange.historical_orders(user)
    return next((row for row in history if row.order.oid == oid and row.status_ms <= visible_ms), None)


def historical_orders(world: World, request: InfoRequest, visible_ms: int) -> object:
    """``historicalOrders``: newest first."""
    rows = world.exchange.historical_orders(address(request.user))
    return [shapes.order_record(world.assets, row) for row in rows if row.status_ms <= visible_ms][:HISTORY_ROWS]


def user_fills(world: World, request: InfoRequest, visible_ms: int) -> object:
    """``userFills``: the newest 2000, newest first."""
    return newest_fills(world, address(request.user), visible_ms, aggregate=bool(request.aggregate_by_time))


def newest_fills(world: World, user: str, visible_ms: int, *, aggregate: bool) -> list[account.FillWire]:
    """At most 2000 fills, newest first."""
    rows = _between(world.exchange.fills(user), 0, visible_ms)
    if aggregate:
        rows = shapes.aggregated(rows)
    return [shapes.fill(world.assets[row.coin], row) for row in reversed(rows[-HISTORY_ROWS:])]


def user_fills_by_time(world: World, request: InfoRequest, visible_ms: int) -> object:
    """``userFillsByTime``: from ``startTime``, at most 2000, oldest first; newest first with ``reversed``."""
    start = request.start_time or 0
    end = visible_ms if request.end_time is None else min(request.end_time, visible_ms)
    rows = _between(world.exchange.fills(address(request.user)), start, end)
    if request.aggregate_by_time:
        rows = shapes.aggregated(rows)
    if request.reversed:
        rows.reverse()
    return [shapes.fill(world.assets[row.coin], row) for row in rows[:HISTORY_ROWS]]


def user_funding(world: World, request: InfoRequest, visible_ms: int) -> object:
    """``userFunding``: at most 500 rows, oldest first."""
    start = request.start_time or 0
    end = visible_ms if request.end_time is None else min(request.end_time, visible_ms)
    rows = _between(world.exchange.funding(address(request.user)), start, end)
    return [
        account.UserFunding(row.time_ms, shapes.ZERO_HASH, shapes.funding_delta(world.assets[row.coin], row))
        for row in rows[:RANGE_ROWS]
    ]


def user_ledger(world: World, request: InfoRequest, visible_ms: int) -> object:
    """``userNonFundingLedgerUpdates``: at most 500 rows, oldest first."""
    start = request.start_time or 0
    end = visible_ms if request.end_time is None else min(request.end_time, visible_ms)
    rows = _between(world.exchange.ledger(address(request.user)), start, end)
    return [shapes.ledger_update(world.assets, row) for row in rows[:RANGE_ROWS]]


def _between(rows: Sequence[_Row], start_ms: int, end_ms: int) -> list[_Row]:
    """Those of an inclusive span; the engine keeps its rows oldest first."""
    begin = bisect_left(rows, start_ms, key=_time)
    return list(rows[begin : bisect_right(rows, end_ms, lo=begin, key=_time)])


def twap_history(world: World, request: InfoRequest, visible_ms: int) -> object:
    """``twapHistory``: newest first."""
    return newest_twap_history(world, address(request.user), visible_ms)


def newest_twap_history(world: World, user: str, visible_ms: int) -> list[object]:
    """Changes of TWAPs, newest first."""
    rows = world.exchange.twap_history(user)
    return [shapes.twap_event(world.assets[row.twap.coin], row) for row in reversed(rows) if row.time_ms <= visible_ms]


def twap_slice_fills(world: World, request: InfoRequest, visible_ms: int) -> object:
    """``userTwapSliceFills``: the newest 2000, newest first."""
    return newest_slice_fills(world, address(request.user), visible_ms)


def newest_slice_fills(world: World, user: str, visible_ms: int) -> list[object]:
    """At most 2000 fills of TWAPs, newest first."""
    rows = _between(_slices(world, user), 0, visible_ms)
    return [shapes.twap_slice_fill(world.assets[row.coin], row) for row in reversed(rows[-HISTORY_ROWS:])]


def twap_slice_fills_by_time(world: World, request: InfoRequest, visible_ms: int) -> object:
    """``userTwapSliceFillsByTime``: from ``startTime``, at most 2000, oldest first."""
    end = visible_ms if request.end_time is None else min(request.end_time, visible_ms)
    rows = _between(_slices(world, address(request.user)), request.start_time or 0, end)
    return [shapes.twap_slice_fill(world.assets[row.coin], row) for row in rows[:HISTORY_ROWS]]


def _slices(world: World, user: str) -> list[Fill]:
    return [row for row in world.exchange.fills(user) if row.twap_id is not None]


def user_rate_limit(world: World, request: InfoRequest, _: int) -> object:
    """``userRateLimit``."""
    user = address(request.user)
    volume, bought = world.exchange.user_volume(user), world.exchange.reserved_weight(user)
    cap = AddressBudget.cap(volume) + bought
    return account.UserRateLimit(usd_text(volume), world.budget.used.get(user, 0), cap, bought)


def user_fees(world: World, request: InfoRequest, _: int) -> object:
    """``userFees``: the rates of today and the schedule that they come from."""
    user = address(request.user)
    taker, maker = world.exchange.fee_rates(user)
    daily = [
        {
            "date": _date(day), "userCross": usd_text(crossed), "userAdd": usd_text(added),
            "exchange": usd_text(world.exchange.volume_of_day(day)),
        }
        for day, (crossed, added) in world.exchange.daily_volume(user).items()
    ]  # fmt: skip
    tiers = world.exchange.config.fee_tiers
    vip = [
        {
            "ntlCutoff": usd_text(tier.volume), "cross": fixed_text(tier.taker, _FEE_DECIMALS),
            "add": fixed_text(tier.maker, _FEE_DECIMALS),
        }
        for tier in tiers[1:]
    ]  # fmt: skip
    schedule = {
        "cross": fixed_text(tiers[0].taker, _FEE_DECIMALS), "add": fixed_text(tiers[0].maker, _FEE_DECIMALS),
        "spotCross": "0.0", "spotAdd": "0.0", "tiers": {"vip": vip, "mm": _MAKER_TIERS}, "referralDiscount": "0.0",
        "stakingDiscountTiers": [],
    }  # fmt: skip
    return {
        "dailyUserVlm": daily, "feeSchedule": schedule, "userCrossRate": fixed_text(taker, _FEE_DECIMALS),
        "userAddRate": fixed_text(maker, _FEE_DECIMALS), "userSpotCrossRate": "0.0", "userSpotAddRate": "0.0",
        "activeReferralDiscount": fixed_text(world.exchange.config.fee_discount, 6), "trial": None,
        "feeTrialEscrow": "0.0", "nextTrialAvailableTimestamp": None, "stakingLink": None,
        "activeStakingDiscount": None,
    }  # fmt: skip


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY_S, UTC).date().isoformat()


def user_role(world: World, request: InfoRequest, _: int) -> object:
    """``userRole``."""
    user = address(request.user)
    master = world.agents.master_of(user, world.now_ms())
    if master is not None:
        return account.UserRole("agent", account.RoleData(user=master))
    owner = world.exchange.master_of(user)
    if owner is not None:
        return account.UserRole("subAccount", account.RoleData(master=owner))
    return account.UserRole("user" if world.exchange.has_account(user) else "missing")


def extra_agents(world: World, request: InfoRequest, _: int) -> object:
    """``extraAgents``: the named ones."""
    agents = world.agents.named(address(request.user), world.now_ms())
    return [account.ExtraAgent(agent.name, agent.address, agent.valid_until_ms) for agent in agents]


def sub_accounts(world: World, request: InfoRequest, _: int) -> object:
    """``subAccounts``: null without any."""
    master = address(request.user)
    rows = [
        {
            "name": name, "subAccountUser": user, "master": master, "clearinghouseState": account_state(world, user),
            "spotState": spot_state(world, user),
        }
        for user, name in world.exchange.sub_accounts(master)
    ]  # fmt: skip
    return rows or None


def spot_clearinghouse_state(world: World, request: InfoRequest, _: int) -> object:
    """``spotClearinghouseState``."""
    return spot_state(world, address(request.user))


def user_abstraction(world: World, request: InfoRequest, _: int) -> object:
    """``userAbstraction``: the account's mode."""
    return world.mode(address(request.user))


def portfolio(world: World, request: InfoRequest, _: int) -> object:
    """``portfolio``: value and PnL of now in every period, as no history of equity is kept here."""
    user, now_ms = address(request.user), world.now_ms()
    value = world.exchange.account_state(user).account_value
    deposited = sum(row.usdc for row in world.exchange.ledger(user) if row.kind in ("deposit", "withdraw"))
    figures = {
        "accountValueHistory": [[now_ms, usd_text(value)]],
        "pnlHistory": [[now_ms, usd_text(value - deposited)]],
        "vlm": usd_text(world.exchange.user_volume(user)),
    }
    return [[period, figures] for period in _PERIODS]


def web_data(world: World, user: str) -> dict[str, object]:
    """The fields of ``webData2`` that a trader reads: account, open orders, universe, figures, time."""
    now_ms = world.now_ms()
    return {
        "clearinghouseState": account_state(world, user),
        "openOrders": shapes.frontend_orders(world.assets, world.exchange.open_orders(user)),
        "user": user, "serverTime": now_ms, "isVault": False, "agentAddress": None, "agentValidUntil": None,
        "meta": msgspec.to_builtins(world.meta), "assetCtxs": [world.ctx(coin, now_ms) for coin in world.assets],
        "spotAssetCtxs": [], "twapStates": twap_states(world, user),
    }  # fmt: skip


def twap_states(world: World, user: str) -> list[list[object]]:
    """The running TWAPs as (id, state)."""
    return [[row.twap_id, shapes.twap_state(world.assets[row.coin], row)] for row in world.exchange.twaps(user)]


HANDLERS: Final[dict[str, Handler]] = {
    "clearinghouseState": clearinghouse_state, "activeAssetData": active_asset_data, "openOrders": open_orders,
    "frontendOpenOrders": frontend_open_orders, "orderStatus": order_status, "historicalOrders": historical_orders,
    "userFills": user_fills, "userFillsByTime": user_fills_by_time, "userFunding": user_funding,
    "userNonFundingLedgerUpdates": user_ledger, "userRateLimit": user_rate_limit, "userFees": user_fees,
    "twapHistory": twap_history, "userTwapSliceFills": twap_slice_fills,
    "userTwapSliceFillsByTime": twap_slice_fills_by_time,
    "userRole": user_role, "extraAgents": extra_agents, "subAccounts": sub_accounts,
    "spotClearinghouseState": spot_clearinghouse_state, "userAbstraction": user_abstraction, "portfolio": portfolio,
    "webData2": lambda world, request, _: web_data(world, address(request.user)),
}  # fmt: skip
