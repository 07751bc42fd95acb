"""Liquidation of cross accounts: to the book first, large positions in two steps, and to the liquidator when little is
left (API sheet 7.7).
"""

from __future__ import annotations

from perpstrader.paper.engine import lifecycle, margin, matching
from perpstrader.paper.engine.account import Account, Position
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.events import Fill, FillEvent, FillLiquidation, LedgerEvent, LiquidationEvent
from perpstrader.paper.engine.orders import Order, Tif
from perpstrader.paper.engine.state import EngineState

_ANY_PRICE = 10**18


def check(state: EngineState, market: Market) -> None:
    """Liquidate whoever holds this coin with an account value below the maintenance margin."""
    if not market.holders:
        return
    for account in tuple(market.holders.values()):
        if account.positions and account.value() < account.maintenance():
            _liquidate(state, account)


def _liquidate(state: EngineState, account: Account) -> None:
    before = _report(state, account, "market")
    for order in tuple(account.open_orders.values()):
        if order.oid in account.open_orders:
            lifecycle.close(state, account, order, "liquidatedCanceled")
    traded = False
    for coin in tuple(account.positions):
        position = account.positions.get(coin)
        if position is not None:
            traded = _to_book(state, account, position) or traded
    if traded:
        _publish(state, account, before)
    if account.positions and account.value() * 3 < account.maintenance() * 2:
        _backstop(state, account)


def _to_book(state: EngineState, account: Account, position: Position) -> bool:
    """Sell or buy back a position at any price the book has; above the threshold a fifth first and the rest after the
    cooldown.
    """
    market, config = position.market, state.config
    coin, lots = market.asset.coin, abs(position.size)
    if market.halted or market.best(position.size > 0) is None:
        return False
    until = account.liquidation_cooldown.get(coin)
    if until is not None and state.now_ms < until:
        return False
    if until is None and lots * market.mark_or_zero > config.partial_liquidation_above:
        lots = -(-lots // 5)
        account.liquidation_cooldown[coin] = state.now_ms + config.liquidation_cooldown_ms
    else:
        account.liquidation_cooldown.pop(coin, None)
    is_buy = position.size < 0
    order = Order(
        user=account.user,
        oid=state.next_oid(),
        market=market,
        coin=coin,
        is_buy=is_buy,
        limit_px=_ANY_PRICE if is_buy else 1,
        size=lots,
        orig_size=lots,
        reduce_only=True,
        tif=Tif.LIQUIDATION_MARKET,
        trigger=None,
        cloid=None,
        time_ms=state.now_ms,
        seq=state.next_seq(),
    )
    lifecycle.register(state, account, order)
    matching.take(state, account, order, liquidation=FillLiquidation(account.user, market.mark_or_zero, "market"))
    lifecycle.close(state, account, order, "filled" if order.size == 0 else "canceled")
    return order.filled > 0


def _backstop(state: EngineState, account: Account) -> None:
    """The liquidator takes all positions at mark and all cash, a deficit included: the account ends at exactly 0 and
    the event tells what it was.
    """
    report = _report(state, account, "backstop")
    liquidator = state.liquidator
    for coin in tuple(account.positions):
        position = account.positions[coin]
        market, size, px = position.market, position.size, position.market.mark_or_zero
        tid, oid = state.next_tid(), state.next_oid()
        for taker, signed in ((account, -size), (liquidator, size)):
            before, pnl = taker.trade(market, signed, px, 0)
            fill = Fill(
                coin=coin,
                px=px,
                size=abs(size),
                is_buy=signed > 0,
                time_ms=state.now_ms,
                start_position=before,
                dir=_backstop_direction(taker is account, before, signed),
                closed_pnl=pnl,
                oid=oid,
                cloid=None,
                crossed=taker is account,
                fee=0,
                builder_fee=0,
                tid=tid,
                action=0,
                liquidation=FillLiquidation(account.user, px, "backstop"),
            )
            taker.fills.append(fill)
            state.events.append(FillEvent(taker.user, fill))
    liquidator.cash += account.cash
    account.cash = 0
    _publish(state, account, report)


def _backstop_direction(is_user: bool, before: int, signed: int) -> str:
    if is_user:
        return "Liquidated Cross Long" if before > 0 else "Liquidated Cross Short"
    return matching.direction(before, signed)


def _report(state: EngineState, account: Account, method: str) -> LiquidationEvent:
    """What the account was just before: notional, value (negative as it is) and positions."""
    return LiquidationEvent(
        user=account.user,
        time_ms=state.now_ms,
        lid=0,
        liquidator=state.config.liquidator,
        notional=sum([margin.position_value(p.size, p.market.mark_or_zero) for p in account.positions.values()]),
        account_value=account.value(),
        positions=tuple([(coin, p.size) for coin, p in account.positions.items()]),
        method=method,
    )


def _publish(state: EngineState, account: Account, report: LiquidationEvent) -> None:
    event = LiquidationEvent(
        report.user, report.time_ms, state.next_lid(), report.liquidator, report.notional, report.account_value,
        report.positions, report.method,
    )  # fmt: skip
    entry = LedgerEvent(account.user, state.now_ms, "liquidation", 0, event)
    account.ledger.append(entry)
    account.version += 1
    state.events.extend((event, entry))
