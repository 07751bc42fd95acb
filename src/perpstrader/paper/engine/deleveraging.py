"""Positions that change hands without an order: to the liquidator, and from the best placed accounts of the other side
when somebody's loss exceeds what he had (API sheet 7.7).
"""

from __future__ import annotations

from fractions import Fraction

from perpstrader.paper.engine import lifecycle, matching
from perpstrader.paper.engine.account import Account, Position
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.events import Fill, FillEvent, FillLiquidation
from perpstrader.paper.engine.state import EngineState

WORDS = "Auto-Deleveraging"


def rank(account: Account, position: Position) -> Fraction:
    """Who is closed first: profit, as mark over entry (entry over mark for a short), times notional over account value
    (of an isolated position: its own).
    """
    mark, entry = position.notional, position.entry_notional
    profit = Fraction(mark, entry) if position.size > 0 else Fraction(entry, max(mark, 1))
    value = position.equity if position.is_isolated else account.cross_value()
    return profit * Fraction(position.notional, max(value, 1))


def queue(market: Market, *, longs: bool) -> list[Account]:
    """The holders of one side, the first to be closed first; of equals, who holds the coin longer."""
    coin = market.asset.coin
    holders = [a for a in market.holders.values() if (a.positions[coin].size > 0) is longs]
    return sorted(holders, key=lambda account: -rank(account, account.positions[coin]))


def against_accounts(state: EngineState, bankrupt: Account, position: Position) -> None:
    """Close a bankrupt position against the other side's accounts, at the mark before the last move."""
    market, coin = position.market, position.market.asset.coin
    px = market.previous_mark or market.mark_or_zero
    for winner in queue(market, longs=position.size < 0):
        if winner is bankrupt or bankrupt.positions.get(coin) is not position:
            continue
        left, theirs = position.size, winner.size(coin)
        signed = max(left, -abs(theirs)) if left < 0 else min(left, abs(theirs))
        report = FillLiquidation(bankrupt.user, market.mark_or_zero, "backstop")
        hand_over(state, bankrupt, signed, market, px, winner, words=(WORDS, WORDS), liquidation=report)
        lifecycle.follow_position(state, winner, market)


def for_outsider(state: EngineState, market: Market, lots: int) -> int:
    """Close what a bankrupt trader of the outside market held (signed ``lots``) against accounts here: how many lots
    found a counterparty.
    """
    px = market.previous_mark or market.mark_or_zero
    left = abs(lots)
    for winner in queue(market, longs=lots < 0):
        quantity = min(left, abs(winner.size(market.asset.coin)))
        if quantity == 0:
            break
        signed = quantity if lots > 0 else -quantity
        tid, oid = state.next_tid(), state.next_oid()
        _take(state, winner, market, signed, px, tid=tid, oid=oid, crossed=False, words=WORDS, liquidation=None)
        market.outside_size -= signed
        market.outside_cash += signed * px
        lifecycle.follow_position(state, winner, market)
        left -= quantity
    return abs(lots) - left


def hand_over(
    state: EngineState,
    giver: Account,
    lots: int,
    market: Market,
    px: int,
    taker: Account,
    *,
    words: tuple[str, str | None],
    liquidation: FillLiquidation,
) -> None:
    """Move ``lots`` (signed as the giver holds them) at ``px``, without a fee; ``words``: what their fills are called,
    ``None`` as any trade.
    """
    tid, oid = state.next_tid(), state.next_oid()
    for account, signed, word in ((giver, -lots, words[0]), (taker, lots, words[1])):
        _take(
            state, account, market, signed, px,
            tid=tid, oid=oid, crossed=account is giver, words=word, liquidation=liquidation,
        )  # fmt: skip


def _take(
    state: EngineState,
    account: Account,
    market: Market,
    signed: int,
    px: int,
    *,
    tid: int,
    oid: int,
    crossed: bool,
    words: str | None,
    liquidation: FillLiquidation | None,
) -> None:
    before, pnl = account.trade(market, signed, px, 0)
    account.version += 1
    fill = Fill(
        coin=market.asset.coin,
        px=px,
        size=abs(signed),
        is_buy=signed > 0,
        time_ms=state.now_ms,
        start_position=before,
        dir=words or matching.direction(before, signed),
        closed_pnl=pnl,
        oid=oid,
        cloid=None,
        crossed=crossed,
        fee=0,
        builder_fee=0,
        tid=tid,
        action=0,
        liquidation=liquidation,
    )
    account.fills.append(fill)
    state.events.append(FillEvent(account.user, fill))
