"""The engine's view of an account in the venue's shapes (API sheet 1.2, 6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from perpstrader.paper.engine import (
    AccountView,
    AssetAccountView,
    EngineAsset,
    Fill,
    FillLiquidation,
    FundingEvent,
    LedgerEvent,
    LiquidationEvent,
    OrderStatus,
    OrderView,
    PositionView,
    Tif,
    Tpsl,
    TwapEvent,
    TwapView,
    fixed_text,
    usd_text,
)
from perpstrader.paper.server.market_shapes import RATE_DECIMALS
from perpstrader.venue.wire import account, ws

ZERO_HASH: Final = "0x" + "0" * 64
_RATIO_DECIMALS: Final = 10
Assets = dict[str, EngineAsset]


def action_hash(action: int) -> str:
    """The hash shown for what an action caused; the venue's own doings have the zero hash."""
    return f"0x{action:064x}"


def side(is_buy: bool) -> account.Side:
    """``B`` or ``A``."""
    return "B" if is_buy else "A"


def clearinghouse_state(
    assets: Assets, view: AccountView, time_ms: int, *, unified: bool = False
) -> account.ClearinghouseState:
    """The account: all of it, and beside it what is cross; of a ``unified`` one the collateral is elsewhere."""
    summary = account.MarginSummary(
        usd_text(view.account_value), usd_text(view.total_notional), usd_text(view.total_raw_usd),
        usd_text(view.total_margin_used),
    )  # fmt: skip
    cross = account.MarginSummary(
        usd_text(view.cross_value), usd_text(view.cross_notional), usd_text(view.cross_raw_usd),
        usd_text(view.cross_margin_used),
    )  # fmt: skip
    withdrawable = usd_text(view.withdrawable)
    if unified:
        summary, cross, withdrawable = _without_cash(summary), _without_cash(cross), "0.0"
    return account.ClearinghouseState(
        asset_positions=[account.AssetPosition(_position(assets[row.coin], row)) for row in view.positions],
        cross_margin_summary=cross,
        withdrawable=withdrawable,
        margin_summary=summary,
        cross_maintenance_margin_used=usd_text(view.maintenance_margin),
        time=time_ms,
    )


def _without_cash(summary: account.MarginSummary) -> account.MarginSummary:
    return account.MarginSummary("0.0", summary.total_ntl_pos, "0.0", summary.total_margin_used)


def _position(asset: EngineAsset, row: PositionView) -> account.PositionWire:
    liquidation = None if row.liquidation_px is None else fixed_text(row.liquidation_px, _RATIO_DECIMALS)
    return account.PositionWire(
        coin=row.coin,
        szi=asset.size_text(row.size),
        leverage=_leverage(row.leverage, row.raw_usd),
        position_value=usd_text(row.position_value),
        unrealized_pnl=usd_text(row.unrealized_pnl),
        margin_used=usd_text(row.margin_used),
        return_on_equity=fixed_text(row.return_on_equity, _RATIO_DECIMALS),
        entry_px=asset.price_text(row.entry_px),
        liquidation_px=liquidation,
        max_leverage=row.max_leverage,
        cum_funding=account.CumFunding(
            usd_text(row.funding_all_time), usd_text(row.funding_since_open), usd_text(row.funding_since_change)
        ),
    )


def _leverage(times: int, raw_usd: int | None) -> account.LeverageWire:
    if raw_usd is None:
        return account.LeverageWire("cross", times)
    return account.LeverageWire("isolated", times, usd_text(raw_usd))


def active_asset_data(asset: EngineAsset, view: AssetAccountView, user: str) -> account.ActiveAssetData:
    """Leverage and room to trade of one coin."""
    buy, sell = view.max_trade_sizes
    return account.ActiveAssetData(
        user=user,
        coin=view.coin,
        leverage=account.LeverageWire("isolated" if view.is_isolated else "cross", view.leverage),
        max_trade_szs=(asset.size_text(buy), asset.size_text(sell)),
        available_to_trade=(usd_text(view.available_to_trade[0]), usd_text(view.available_to_trade[1])),
        mark_px=asset.price_text(view.mark or 0),
    )


def open_order(asset: EngineAsset, view: OrderView) -> account.OpenOrder:
    """An order without its trigger, as ``openOrders`` and ``orderUpdates`` show it."""
    return account.OpenOrder(
        coin=view.coin,
        side=side(view.is_buy),
        limit_px=asset.price_text(view.limit_px),
        sz=asset.size_text(view.size),
        oid=view.oid,
        timestamp=view.time_ms,
        orig_sz=asset.size_text(view.orig_size),
        cloid=UNSET if view.cloid is None else view.cloid,
        reduce_only=True if view.reduce_only else UNSET,
    )


def frontend_order(
    asset: EngineAsset, view: OrderView, children: Sequence[account.FrontendOrder] = ()
) -> account.FrontendOrder:
    """An order with its trigger, its kind and its waiting children."""
    trigger = view.trigger
    return account.FrontendOrder(
        coin=view.coin,
        side=side(view.is_buy),
        limit_px=asset.price_text(view.limit_px),
        sz=asset.size_text(view.size),
        oid=view.oid,
        timestamp=view.time_ms,
        orig_sz=asset.size_text(view.orig_size),
        order_type=_order_type(view),
        trigger_condition=_trigger_condition(asset, view),
        is_trigger=trigger is not None,
        trigger_px="0.0" if trigger is None else asset.price_text(trigger.trigger_px),
        children=list(children),
        is_position_tpsl=view.is_position_tpsl,
        reduce_only=view.reduce_only,
        tif=None if trigger is not None or view.tif is None else view.tif.value,
        cloid=view.cloid,
    )


def _order_type(view: OrderView) -> str:
    if view.is_twap_slice:
        return "Twap Slice"
    if view.trigger is not None:
        name = "Stop" if view.trigger.tpsl is Tpsl.SL else "Take Profit"
        return f"{name} {'Market' if view.trigger.is_market else 'Limit'}"
    return "Market" if view.tif in (Tif.FRONTEND_MARKET, Tif.LIQUIDATION_MARKET) else "Limit"


def _trigger_condition(asset: EngineAsset, view: OrderView) -> str:
    if view.trigger is None:
        return "N/A"
    if view.triggered:
        return "Triggered"
    price = asset.price_text(view.trigger.trigger_px).removesuffix(".0")
    return f"Price {'above' if view.fires_above else 'below'} {price}"


def frontend_orders(assets: Assets, views: Sequence[OrderView]) -> list[account.FrontendOrder]:
    """All open orders; children that wait for a parent's fill are shown inside it."""
    held = {view.oid: view for view in views if view.held}
    return [
        frontend_order(
            assets[view.coin],
            view,
            [frontend_order(assets[view.coin], held[oid]) for oid in view.children if oid in held],
        )
        for view in views
        if not view.held
    ]


def order_record(assets: Assets, status: OrderStatus) -> account.OrderRecord:
    """An order as of its last change of status."""
    return account.OrderRecord(frontend_order(assets[status.order.coin], status.order), status.status, status.status_ms)


def fill(asset: EngineAsset, row: Fill) -> account.FillWire:
    """One trade of a user."""
    return account.FillWire(
        coin=row.coin,
        px=asset.price_text(row.px),
        sz=asset.size_text(row.size),
        side=side(row.is_buy),
        time=row.time_ms,
        start_position=asset.size_text(row.start_position),
        dir=row.dir,
        closed_pnl=usd_text(row.closed_pnl),
        hash=action_hash(row.action),
        oid=row.oid,
        crossed=row.crossed,
        fee=usd_text(row.fee),
        tid=row.tid,
        twap_id=row.twap_id,
        cloid=UNSET if row.cloid is None else row.cloid,
        builder_fee=usd_text(row.builder_fee) if row.builder_fee else UNSET,
        liquidation=UNSET if row.liquidation is None else _liquidation(asset, row.liquidation),
    )


def _liquidation(asset: EngineAsset, row: FillLiquidation) -> account.Liquidation:
    return account.Liquidation(asset.price_text(row.mark_px), row.method, row.liquidated_user)


def twap_slice_fill(asset: EngineAsset, row: Fill) -> dict[str, object]:
    """A fill of a TWAP beside its id; inside, the id is null, as was recorded of the venue."""
    return {"fill": msgspec.structs.replace(fill(asset, row), twap_id=None), "twapId": row.twap_id}


def twap_state(asset: EngineAsset, row: TwapView) -> dict[str, object]:
    """A TWAP as it is."""
    return {
        "coin": row.coin, "user": row.user, "side": side(row.is_buy), "sz": asset.size_text(row.size),
        "executedSz": asset.size_text(row.executed), "executedNtl": usd_text(row.executed_notional),
        "minutes": row.minutes, "reduceOnly": row.reduce_only, "randomize": row.randomize, "timestamp": row.time_ms,
    }  # fmt: skip


def twap_event(asset: EngineAsset, row: TwapEvent) -> dict[str, object]:
    """A change of a TWAP's status; its time is in seconds."""
    return {
        "time": row.time_ms // 1_000, "state": twap_state(asset, row.twap), "status": {"status": row.status},
        "twapId": row.twap.twap_id,
    }  # fmt: skip


def funding_delta(asset: EngineAsset, row: FundingEvent) -> account.FundingDelta:
    """One funding payment as a row's delta."""
    rate = fixed_text(row.rate, RATE_DECIMALS)
    return account.FundingDelta(row.coin, usd_text(row.usdc), asset.size_text(row.szi), rate, row.samples)


def funding_event(asset: EngineAsset, row: FundingEvent) -> ws.FundingEvent:
    """One funding payment as a stream's entry."""
    rate = fixed_text(row.rate, RATE_DECIMALS)
    return ws.FundingEvent(row.time_ms, row.coin, usd_text(row.usdc), asset.size_text(row.szi), rate, row.samples)


def liquidation_event(row: LiquidationEvent) -> ws.LiquidationEvent:
    """A liquidation as a stream's entry."""
    return ws.LiquidationEvent(
        row.lid, row.liquidator, row.user, usd_text(row.notional), usd_text(row.account_value)
    )


def ledger_update(assets: Assets, row: LedgerEvent) -> account.LedgerUpdate:
    """A cash flow or liquidation."""
    delta: dict[str, object]
    if row.liquidation is not None:
        positions = [
            {"coin": coin, "szi": assets[coin].size_text(size)} for coin, size in row.liquidation.positions
        ]
        delta = {
            "type": "liquidation", "liquidatedNtlPos": usd_text(row.liquidation.notional),
            "accountValue": usd_text(row.liquidation.account_value),
            "leverageType": "Isolated" if row.liquidation.is_isolated else "Cross",
            "liquidatedPositions": positions,
        }  # fmt: skip
    elif row.kind == "withdraw":
        delta = {"type": "withdraw", "usdc": usd_text(abs(row.usdc)), "nonce": row.time_ms, "fee": "0.0"}
    elif row.counterparty is not None:
        user, destination = (row.user, row.counterparty) if row.usdc < 0 else (row.counterparty, row.user)
        delta = {"type": row.kind, "usdc": usd_text(abs(row.usdc)), "user": user, "destination": destination}
        if row.kind == "internalTransfer":
            delta["fee"] = "0.0"
    else:
        delta = {"type": row.kind, "usdc": usd_text(row.usdc)}
    return account.LedgerUpdate(row.time_ms, ZERO_HASH, delta)


def aggregated(rows: Sequence[Fill]) -> list[Fill]:
    """Fills of one order at one instant as one: sizes, fees and PnL summed, the price their average, the first's id."""
    groups: dict[tuple[int, int], list[Fill]] = {}
    for row in rows:
        groups.setdefault((row.oid, row.time_ms), []).append(row)
    return [_joined(group) for group in groups.values()]


def _joined(group: list[Fill]) -> Fill:
    first = group[0]
    if len(group) == 1:
        return first
    size = sum(row.size for row in group)
    notional = sum(row.size * row.px for row in group)
    return Fill(
        coin=first.coin, px=(2 * notional + size) // (2 * size), size=size, is_buy=first.is_buy,
        time_ms=first.time_ms, start_position=first.start_position, dir=first.dir,
        closed_pnl=sum(row.closed_pnl for row in group), oid=first.oid, cloid=first.cloid, crossed=first.crossed,
        fee=sum(row.fee for row in group), builder_fee=sum(row.builder_fee for row in group), tid=first.tid,
        action=first.action, liquidation=first.liquidation, twap_id=first.twap_id,
    )  # fmt: skip
