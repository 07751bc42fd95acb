"""Liquidation of cross accounts and of isolated positions: to the book first, large positions in two steps; to the
liquidator when little is left; against the other side's best placed when nothing is (API sheet 7.7).
"""

from __future__ import annotations

from collections.abc import Sequence

from perpstrader.paper.engine import deleveraging, lifecycle, matching, twap
from perpstrader.paper.engine.account import Account, Position
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.events import FillLiquidation, LedgerEvent, LiquidationEvent
from perpstrader.paper.engine.orders import Order, Tif
from perpstrader.paper.engine.state import EngineState

_ANY_PRICE = 10**18


def check(state: EngineState, market: Market) -> None:
    """Liquidate whoever holds this coin below maintenance margin: the isolated position alone, or all that is cross."""
    if not market.holders:
        return
    coin = market.asset.coin
    for account in tuple(market.holders.values()):
        position = account.positions.get(coin)
        if position is None:
            continue
        if position.is_isolated:
            if position.equity < position.maintenance:
                _liquidate(state, account, [position])
        elif account.cross_value() < account.maintenance():
            _liquidate(state, account, account.cross_positions())


def _liquidate(state: EngineState, account: Account, positions: Sequence[Position]) -> None:
    isolated = positions[0].is_isolated
    coins = {position.market.asset.coin for position in positions}
    before = _report(state, account, positions, "market")
    for order in tuple(account.open_orders.values()):
        if order.oid in account.open_orders and (not isolated or order.coin in coins):
            lifecycle.close(state, account, order, "liquidatedCanceled")
    if not isolated:
        twap.stop_all(state, account)
    traded = False
    for position in positions:
        if account.positions.get(position.market.asset.coin) is position:
            traded = _to_book(state, account, position) or traded
    left = [p for p in positions if account.positions.get(p.market.asset.coin) is p]
    if traded:
        _publish(state, account, before, _deficit(state, account, positions[0]) if isolated and not left else 0)
    if not left:
        return
    value = left[0].equity if isolated else account.cross_value()
    maintenance = sum([p.maintenance for p in left])
    if value * 3 < maintenance * 2:
        _backstop(state, account, left)


def _deficit(state: EngineState, account: Account, position: Position) -> int:
    """What an isolated position ended below zero is the liquidator's loss, not the account's."""
    deficit = min(position.raw_usd, 0)
    account.cash -= deficit
    state.liquidator.cash += deficit
    return deficit


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


def _backstop(state: EngineState, account: Account, positions: Sequence[Position]) -> None:
    """The liquidator takes these positions at mark and all their money, a deficit included: cash, or the isolated
    position's margin, ends at exactly 0 and the event tells what it was.

    With a deficit, accounts on the other side are closed first, at the mark before the move.
    """
    report = _report(state, account, positions, "backstop")
    liquidator, isolated = state.liquidator, positions[0].is_isolated
    cash = account.cash
    if report.account_value < 0 and state.config.auto_deleverage:
        for position in positions:
            deleveraging.against_accounts(state, account, position)
    for position in positions:
        coin, market = position.market.asset.coin, position.market
        if account.positions.get(coin) is not position:
            continue
        mode = "Isolated" if isolated else "Cross"
        words = f"Liquidated {mode} {'Long' if position.size > 0 else 'Short'}"
        deleveraging.hand_over(
            state, account, position.size, market, market.mark_or_zero, liquidator,
            words=(words, None), liquidation=FillLiquidation(account.user, market.mark_or_zero, "backstop"),
        )  # fmt: skip
    rest = account.cash - cash if isolated else account.cash
    liquidator.cash += rest
    account.cash -= rest
    _publish(state, account, report, rest)


def _report(state: EngineState, account: Account, positions: Sequence[Position], method: str) -> LiquidationEvent:
    """What is liquidated, just before: notional, value (negative as it is) and positions."""
    isolated = positions[0].is_isolated
    return LiquidationEvent(
        user=account.user,
        time_ms=state.now_ms,
        lid=0,
        liquidator=state.config.liquidator,
        notional=sum([p.notional for p in positions]),
        account_value=positions[0].equity if isolated else account.cross_value(),
        positions=tuple([(p.market.asset.coin, p.size) for p in positions]),
        method=method,
        is_isolated=isolated,
    )


def _publish(state: EngineState, account: Account, report: LiquidationEvent, taken: int) -> None:
    event = LiquidationEvent(
        report.user, report.time_ms, state.next_lid(), report.liquidator, report.notional, report.account_value,
        report.positions, report.method, report.is_isolated, taken,
    )  # fmt: skip
    entry = LedgerEvent(account.user, state.now_ms, "liquidation", 0, event)
    account.ledger.append(entry)
    account.version += 1
    state.events.extend((event, entry))
