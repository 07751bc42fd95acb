"""The last comparisons of a run: when faults are over and nothing moves any more, local = venue, to the cent."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from perpstrader.paper.engine import Exchange
from perpstrader.runtime import Clock
from perpstrader.simulate.invariants import Witness
from perpstrader.simulate.life import Life

SETTLE_S: Final = 150
"""Time for a frozen stream to be noticed, a reconciliation, and the proof of an order that never was."""

_CENT: Final = Decimal("0.01")
_MICRO: Final = 1_000_000


async def judge_the_end(life: Life, engine: Exchange, witness: Witness, clock: Clock, deposited: int) -> None:
    """Halt, compare (S54), flatten and see that nothing is left (S05, S21), and add up the money (S35)."""
    assert life.trader is not None
    witness.halted(life.trader.keeper.state.halts)
    await life.commands.halt("the campaign ends", actor="campaign")
    await _until_equal(life, engine, clock)
    differences = await _differences(life, engine)
    witness.judge("S54", not differences, f"after {SETTLE_S} s without faults still: {'; '.join(differences)}")
    token = life.commands.prepare("flatten", {}).token
    result = await life.commands.flatten("the campaign ends", actor="campaign", token=token)
    positions = [p.coin for p in engine.account_state(witness.user).positions]
    witness.judge("S05", result.done and not positions, f"flatten said {result.text!r}, held: {positions}")
    for _ in range(SETTLE_S):
        if not engine.open_orders(witness.user) and not life.trader.execution.desk.orders.live():
            break
        await clock.sleep(1)
    await _until_equal(life, engine, clock)
    left = [f"{order.coin} {order.cloid}" for order in engine.open_orders(witness.user)]
    live = [f"{order.intent.symbol} {order.cloid}" for order in life.trader.execution.desk.orders.live()]
    witness.judge("S21", not left, f"flat, and the venue still lists {left}")
    witness.judge("S15", not live, f"flat, and the trader still counts on {live}")
    await _judge_money(life, engine, witness, deposited)


async def _until_equal(life: Life, engine: Exchange, clock: Clock) -> None:
    for _ in range(SETTLE_S):
        if not await _differences(life, engine):
            return
        await clock.sleep(1)


async def _differences(life: Life, engine: Exchange) -> list[str]:
    """What the trader has otherwise than the venue: positions, open orders, fills that are on disk."""
    assert life.trader is not None
    desk, user = life.trader.execution.desk, life.trader.execution.desk.client.account_address
    decimals = {asset.coin: asset.size_decimals for asset in engine.assets}
    theirs = {p.coin: Decimal(p.size).scaleb(-decimals[p.coin]) for p in engine.account_state(user).positions}
    ours = {symbol: holding.size for symbol, holding in desk.positions.holdings.items()}
    found = []
    if ours != theirs:
        found.append(f"positions {_told(ours)} here, {_told(theirs)} at the venue")
    listed = {order.cloid or f"oid {order.oid}" for order in engine.open_orders(user)}
    live = {order.cloid for order in desk.orders.live()}
    if listed != live:
        found.append(f"open orders {sorted(live - listed)} only here, {sorted(listed - live)} only at the venue")
    await desk.journal.flush()
    booked = {(fill.symbol, fill.tid) for fill in await life.store.read(lambda tx: tx.ledger.fills_since(0))}
    happened = {(fill.coin, fill.tid) for fill in engine.fills(user)}
    if booked != happened:
        found.append(f"fills {sorted(booked - happened)} only here, {sorted(happened - booked)} only at the venue")
    return found


async def _judge_money(life: Life, engine: Exchange, witness: Witness, deposited: int) -> None:
    """Flat: what the ledger of all lives adds up to is what the account has more or less (S35)."""
    totals = await life.store.read(lambda tx: tx.ledger.totals())
    change = Decimal(engine.account_state(witness.user).account_value - deposited) / _MICRO
    text = f"the ledger says {totals.net_usd:f} USD, the account changed by {change:f} USD"
    witness.judge("S35", abs(totals.net_usd - change) < _CENT, text)


def _told(sizes: dict[str, Decimal]) -> str:
    return ", ".join(f"{symbol} {size:f}" for symbol, size in sorted(sizes.items())) or "none"
