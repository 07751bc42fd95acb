"""From the wire's words to the domain's and back: the only place where a wire struct becomes a Decimal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from msgspec import UNSET

from perpstrader.domain import AssetSpec, BookLevel, Candle, CashFlow, Fill, FundingPayment, MarginTier, VenueError
from perpstrader.venue.contract import (
    AccountState,
    AssetContext,
    Book,
    OpenOrder,
    OrderGroup,
    OrderRecord,
    VenuePosition,
)
from perpstrader.venue.wire import account as wire_account
from perpstrader.venue.wire import market as wire_market
from perpstrader.venue.wire import ws
from perpstrader.venue.wire.errors import Lifecycle, lifecycle
from perpstrader.venue.wire.numbers import parse_decimal

_GROUPS: Final = {
    Lifecycle.LIVE: OrderGroup.LIVE,
    Lifecycle.FILLED: OrderGroup.FILLED,
    Lifecycle.CANCELED: OrderGroup.CANCELED,
    Lifecycle.REJECTED: OrderGroup.REJECTED,
}

_IN: Final = {"deposit", "rewardsClaim", "vaultDistribution", "vaultWithdraw"}
_OUT: Final = {"withdraw", "vaultDeposit", "vaultCreate"}
_MOVES_NOTHING: Final = {"liquidation", "spotTransfer", "spotGenesis"}
_AMOUNT_FIELDS: Final = {
    "deposit": "usdc",
    "rewardsClaim": "amount",
    "vaultDistribution": "usdc",
    "vaultWithdraw": "netWithdrawnUsd",
    "withdraw": "usdc",
    "vaultDeposit": "usdc",
    "vaultCreate": "usdc",
    "accountClassTransfer": "usdc",
    "internalTransfer": "usdc",
    "subAccountTransfer": "usdc",
    "send": "usdcValue",
}


def assets(meta: wire_market.Meta) -> dict[str, AssetSpec]:
    """Every perpetual of the universe by name; the index is its place in the list, delisted ones keep theirs."""
    tables = dict(meta.margin_tables)
    found = {}
    for index, info in enumerate(meta.universe):
        table = tables.get(info.margin_table_id) if info.margin_table_id is not None else None
        tiers = (
            tuple(MarginTier(parse_decimal(t.lower_bound), t.max_leverage) for t in table.margin_tiers) if table else ()
        )
        found[info.name] = AssetSpec(
            name=info.name,
            index=index,
            size_decimals=info.sz_decimals,
            max_leverage=info.max_leverage,
            tiers=tiers,
            only_isolated=bool(info.only_isolated) or info.margin_mode in ("strictIsolated", "noCross"),
            is_delisted=bool(info.is_delisted),
        )
    return found


def context(symbol: str, ctx: wire_market.AssetCtx) -> AssetContext:
    """The live figures of one perpetual."""
    return AssetContext(
        symbol=symbol,
        mark=parse_decimal(ctx.mark_px),
        oracle=parse_decimal(ctx.oracle_px),
        mid=parse_decimal(ctx.mid_px) if ctx.mid_px is not None else None,
        funding_rate=parse_decimal(ctx.funding),
        day_volume_usd=parse_decimal(ctx.day_ntl_vlm),
        open_interest=parse_decimal(ctx.open_interest),
    )


def contexts(meta: wire_market.Meta, listed: Sequence[wire_market.AssetCtx]) -> dict[str, AssetContext]:
    """The live figures of all perpetuals that still trade; ``ValueError`` where the two lists differ in length."""
    pairs = zip(meta.universe, listed, strict=True)
    return {asset.name: context(asset.name, ctx) for asset, ctx in pairs if not asset.is_delisted}


def mids(answer: wire_market.AllMids) -> dict[str, Decimal]:
    """The mid price of every coin."""
    return {coin: parse_decimal(price, f"mid of {coin}") for coin, price in answer.items()}


def book(answer: wire_market.L2Book) -> Book:
    """A book with its levels."""
    bids, asks = (
        tuple(BookLevel(parse_decimal(level.px), parse_decimal(level.sz)) for level in side) for side in answer.levels
    )
    return Book(symbol=answer.coin, time_ms=answer.time, bids=bids, asks=asks)


def optional_book(answer: wire_market.L2Book | None) -> Book | None:
    """A book, or ``None`` for a coin that has none."""
    return book(answer) if answer is not None else None


def candles(answer: Iterable[wire_market.CandleWire]) -> list[Candle]:
    """Bars, oldest first."""
    return sorted((candle(wire) for wire in answer), key=lambda bar: bar.open_ms)


def candle(wire: wire_market.CandleWire) -> Candle:
    """One bar."""
    return Candle(
        symbol=wire.coin,
        interval=wire.interval,
        open_ms=wire.open_ms,
        close_ms=wire.close_ms,
        open=parse_decimal(wire.open),
        high=parse_decimal(wire.high),
        low=parse_decimal(wire.low),
        close=parse_decimal(wire.close),
        volume=parse_decimal(wire.volume),
        trades=wire.trades,
    )


def account_state(state: wire_account.ClearinghouseState) -> AccountState:
    """Equity, margin and positions; raises ``VenueError`` where an answer lacks what sizing needs."""
    if state.margin_summary is UNSET:
        raise VenueError("the venue's account answer lacks marginSummary; equity is unknown")
    positions = {}
    for entry in state.asset_positions:
        wire = entry.position
        positions[wire.coin] = VenuePosition(
            symbol=wire.coin,
            size=parse_decimal(wire.szi),
            entry_price=parse_decimal(wire.entry_px or "0"),
            unrealized_usd=parse_decimal(wire.unrealized_pnl),
            notional_usd=parse_decimal(wire.position_value),
            leverage=wire.leverage.value,
            is_cross=wire.leverage.type == "cross",
            margin_used_usd=parse_decimal(wire.margin_used),
            max_leverage=wire.max_leverage if isinstance(wire.max_leverage, int) else 0,
            liquidation_price=parse_decimal(wire.liquidation_px) if wire.liquidation_px is not None else None,
        )
    return AccountState(
        time_ms=state.time,
        equity_usd=parse_decimal(state.margin_summary.account_value),
        available_usd=parse_decimal(state.withdrawable),
        margin_used_usd=parse_decimal(state.margin_summary.total_margin_used),
        maintenance_margin_usd=parse_decimal(state.cross_maintenance_margin_used),
        positions=MappingProxyType({symbol: p for symbol, p in positions.items() if p.size != 0}),
    )


def role(answer: wire_account.UserRole) -> tuple[str, str | None]:
    """The role, and the lower-case address of whom an agent or a sub-account belongs to."""
    master = (answer.data.user or answer.data.master) if answer.data is not None else None
    return answer.role, master.lower() if master else None


def agents(answer: Sequence[wire_account.ExtraAgent]) -> dict[str, int]:
    """Expiry of each agent by its lower-case address."""
    return {agent.address.lower(): agent.valid_until for agent in answer}


def open_order(wire: wire_account.FrontendOrder) -> OpenOrder:
    """An order with its trigger, as the front end's listing has it."""
    return OpenOrder(
        oid=wire.oid,
        cloid=wire.cloid,
        symbol=wire.coin,
        buy=wire.side == "B",
        size=parse_decimal(wire.sz),
        original_size=parse_decimal(wire.orig_sz),
        limit_price=parse_decimal(wire.limit_px),
        reduce_only=wire.reduce_only,
        time_ms=wire.timestamp,
        trigger_price=parse_decimal(wire.trigger_px) if wire.is_trigger else None,
        is_stop=wire.order_type.startswith("Stop"),
    )


def open_orders(listed: Iterable[wire_account.FrontendOrder]) -> list[OpenOrder]:
    """All orders, the untriggered children of resting parents included."""
    found = []
    for wire in listed:
        found.append(open_order(wire))
        found.extend(open_orders(wire.children))
    return found


def order_record(answer: wire_account.OrderStatusAnswer) -> OrderRecord:
    """The venue's record of one order; a status that is new is told by its suffix, one without a family stays live."""
    if answer.order is UNSET:
        return OrderRecord(group=OrderGroup.MISSING, status=answer.status)
    record = answer.order
    group = _GROUPS.get(lifecycle(record.status), OrderGroup.LIVE)
    return OrderRecord(
        group=group, status=record.status, order=open_order(record.order), status_ms=record.status_timestamp
    )


def order_update(update: wire_account.OrderUpdate) -> OrderRecord:
    """A change of an order as its stream tells it; it has no trigger fields."""
    order = update.order
    group = _GROUPS.get(lifecycle(update.status), OrderGroup.LIVE)
    listed = OpenOrder(
        oid=order.oid,
        cloid=order.cloid if isinstance(order.cloid, str) else None,
        symbol=order.coin,
        buy=order.side == "B",
        size=parse_decimal(order.sz),
        original_size=parse_decimal(order.orig_sz if isinstance(order.orig_sz, str) else order.sz),
        limit_price=parse_decimal(order.limit_px),
        reduce_only=order.reduce_only is True,
        time_ms=order.timestamp,
    )
    return OrderRecord(group=group, status=update.status, order=listed, status_ms=update.status_timestamp)


def fill(wire: wire_account.FillWire, account: str) -> Fill:
    """One trade of ``account``; a liquidation is told by its object, not by the direction's text (API sheet 1.2).

    The object is on both sides of such a trade: where it names another user, that one was liquidated.
    """
    forced = wire.liquidation if wire.liquidation is not UNSET else None
    named = forced.liquidated_user if forced is not None else None
    return Fill(
        tid=wire.tid,
        oid=wire.oid,
        symbol=wire.coin,
        buy=wire.side == "B",
        price=parse_decimal(wire.px),
        size=parse_decimal(wire.sz),
        time_ms=wire.time,
        fee_usd=parse_decimal(wire.fee),
        closed_pnl_usd=parse_decimal(wire.closed_pnl),
        start_position=parse_decimal(wire.start_position),
        crossed=wire.crossed,
        cloid=wire.cloid if isinstance(wire.cloid, str) else None,
        direction=wire.dir,
        fee_token=wire.fee_token,
        liquidation=forced is not None and (not isinstance(named, str) or named.lower() == account),
    )


def funding(time_ms: int, delta: wire_account.FundingDelta | ws.FundingEvent) -> FundingPayment:
    """One hourly payment."""
    return FundingPayment(
        symbol=delta.coin,
        time_ms=time_ms,
        usd=parse_decimal(delta.usdc),
        size=parse_decimal(delta.szi),
        rate=parse_decimal(delta.funding_rate),
    )


def cash_flow(update: wire_account.LedgerUpdate, account: str) -> CashFlow | None:
    """Money in or out of the perpetuals account by one ledger row, ``None`` for a row that moves none there.

    Raises ``VenueError`` for a kind or a row whose amount or direction is not known here: what cannot be signed must
    not be guessed (S39). ``account`` is lower case.
    """
    delta: Mapping[str, object] = update.delta
    kind = str(delta.get("type", ""))
    if kind in _MOVES_NOTHING:
        return None
    amount = _amount(kind, delta)
    if kind in _IN:
        signed = amount
    elif kind in _OUT:
        signed = -amount - parse_decimal(str(delta.get("fee", "0")), "fee")
    elif kind == "accountClassTransfer":
        signed = amount if delta.get("toPerp") else -amount
    elif kind in ("internalTransfer", "subAccountTransfer"):
        signed = amount if str(delta.get("destination", "")).lower() == account else -amount
    else:
        signed = _sent(delta, amount, account)
    if signed == 0:
        return None
    return CashFlow(time_ms=update.time, kind=kind, usd=signed, key=f"{update.time}:{update.hash}:{kind}:{amount}")


def _amount(kind: str, delta: Mapping[str, object]) -> Decimal:
    """The row's USD amount; which field holds it differs by kind."""
    field = _AMOUNT_FIELDS.get(kind)
    if field is None:
        raise VenueError(f"the venue's ledger has a row of kind {kind!r} that is not known here; it cannot be booked")
    if field not in delta:
        raise VenueError(f"the venue's ledger has a row of kind {kind!r} without {field}; it cannot be booked")
    return parse_decimal(str(delta[field]), field)


def _sent(delta: Mapping[str, object], amount: Decimal, account: str) -> Decimal:
    """A ``send``: it moves money here only where it leaves or reaches the main dex, which is named by an empty text."""
    came = str(delta.get("destination", "")).lower() == account and delta.get("destinationDex", "") == ""
    went = str(delta.get("user", "")).lower() == account and delta.get("sourceDex", "") == ""
    fee = parse_decimal(str(delta.get("fee", "0")), "fee") if went else Decimal(0)
    return amount * (int(came) - int(went)) - fee
