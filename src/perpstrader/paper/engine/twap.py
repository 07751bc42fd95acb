"""TWAP orders: one size in many small IOC orders, one every 30 s (API sheet 2.1).

Twice as many slices as minutes and one more: the first at once, the last at the end. Each may be up to 3 % beyond mark,
and up to three times a plain slice while it catches up with what earlier ones could not get.
"""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

from perpstrader.paper.engine import lifecycle, placing, validation
from perpstrader.paper.engine.account import Account
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.events import TwapEvent
from perpstrader.paper.engine.orders import Answer, Done, Order, Rejected, Tif, TwapView
from perpstrader.paper.engine.rejects import Reject, RejectCode
from perpstrader.paper.engine.state import EngineState

SLICE_MS: Final = 30_000
CATCH_UP: Final = 3
_PERCENT: Final = 100
SLIPPAGE_PERCENT: Final = 3
_SPREAD: Final = 0.2
"""A randomised slice is up to a fifth smaller or larger than a plain one."""


class Twap(msgspec.Struct, kw_only=True):
    """A running TWAP: ``size`` lots in all, ``executed`` of them for ``executed_notional`` micro-USD so far."""

    twap_id: int
    user: str
    coin: str
    is_buy: bool
    size: int
    reduce_only: bool
    minutes: int
    randomize: bool
    time_ms: int
    executed: int = 0
    executed_notional: int = 0
    slices_done: int = 0

    @property
    def slices(self) -> int:
        """How many there are."""
        return 2 * self.minutes + 1

    @property
    def due_ms(self) -> int:
        """When the next slice is."""
        return self.time_ms + self.slices_done * SLICE_MS

    def view(self) -> TwapView:
        """As it is now."""
        return TwapView(
            twap_id=self.twap_id, user=self.user, coin=self.coin, is_buy=self.is_buy, size=self.size,
            reduce_only=self.reduce_only, minutes=self.minutes, randomize=self.randomize, time_ms=self.time_ms,
            executed=self.executed, executed_notional=self.executed_notional,
        )  # fmt: skip


def start(
    state: EngineState,
    user: str,
    coin: str,
    size: int,
    minutes: int,
    *,
    is_buy: bool,
    reduce_only: bool,
    randomize: bool,
) -> int | Rejected:
    """Start a TWAP, its first slice at once: its id."""
    account, market = state.accounts.get(user), state.markets.get(coin)
    if account is None:
        return Rejected(Reject(code=RejectCode.MUST_DEPOSIT))
    if market is None or market.asset.is_delisted:
        return Rejected(Reject(code=RejectCode.UNKNOWN_ASSET))
    refused = _refusal(state, account, market, size, minutes, is_buy=is_buy, reduce_only=reduce_only)
    if refused is not None:
        return Rejected(refused)
    twap = Twap(
        twap_id=state.next_twap_id(), user=user, coin=coin, is_buy=is_buy, size=size, reduce_only=reduce_only,
        minutes=minutes, randomize=randomize, time_ms=state.now_ms,
    )  # fmt: skip
    state.twaps[twap.twap_id] = twap
    _tell(state, account, twap, "activated")
    run_due(state)
    return twap.twap_id


def _refusal(
    state: EngineState, account: Account, market: Market, size: int, minutes: int, *, is_buy: bool, reduce_only: bool
) -> Reject | None:
    config, index = state.config, market.asset.index
    if not config.twap_min_minutes <= minutes <= config.twap_max_minutes:
        return Reject(code=RejectCode.TWAP_DURATION, value=minutes)
    if size <= 0:
        return Reject(code=RejectCode.ZERO_SIZE, asset=index)
    if market.halted or market.mark is None:
        return Reject(code=RejectCode.HALTED, asset=index)
    slice_value = size * market.mark // (2 * minutes + 1)
    if slice_value < config.twap_min_slice:
        return Reject(code=RejectCode.MIN_TRADE_NTL, asset=index, limit=config.twap_min_slice, value=slice_value)
    held = account.size(market.asset.coin)
    if reduce_only and (held == 0 or is_buy == (held > 0)):
        return Reject(code=RejectCode.TWAP_REDUCE_ONLY)
    return None


def cancel(state: EngineState, user: str, coin: str, twap_id: int) -> Answer:
    """Stop a running TWAP of that coin."""
    twap, account = state.twaps.get(twap_id), state.accounts.get(user)
    if twap is None or account is None or twap.user != user or twap.coin != coin:
        return Rejected(Reject(code=RejectCode.TWAP_MISSING))
    _end(state, account, twap, "terminated")
    return Done()


def stop_all(state: EngineState, account: Account) -> None:
    """Stop every TWAP of an account that is liquidated."""
    for twap in [twap for twap in state.twaps.values() if twap.user == account.user]:
        _end(state, account, twap, "terminated")


def run_due(state: EngineState) -> None:
    """Send the slices that are due; of several missed ones the last alone, with what it may catch up."""
    for twap in tuple(state.twaps.values()):
        if twap.due_ms > state.now_ms:
            continue
        due = min((state.now_ms - twap.time_ms) // SLICE_MS + 1, twap.slices)
        account, market = state.accounts[twap.user], state.markets[twap.coin]
        # One that was cancelled by a slice before it, as by a liquidation, is gone.
        if twap.twap_id in state.twaps and not market.halted and market.mark is not None:
            _slice(state, account, market, twap, due)
        twap.slices_done = due
        if twap.twap_id in state.twaps and (due == twap.slices or twap.executed == twap.size):
            _end(state, account, twap, "finished")


def _slice(state: EngineState, account: Account, market: Market, twap: Twap, due: int) -> None:
    lots = _lots(twap, due)
    held = account.size(twap.coin)
    if twap.reduce_only:
        if held == 0 or twap.is_buy == (held > 0):
            _end(state, account, twap, "terminated")
            return
        lots = min(lots, abs(held))
    if lots <= 0:
        return
    bound = _PERCENT + SLIPPAGE_PERCENT if twap.is_buy else _PERCENT - SLIPPAGE_PERCENT
    order = Order(
        user=twap.user,
        oid=state.next_oid(),
        market=market,
        coin=twap.coin,
        is_buy=twap.is_buy,
        limit_px=market.asset.round_price(market.mark_or_zero * bound // _PERCENT, up=not twap.is_buy),
        size=lots,
        orig_size=lots,
        reduce_only=twap.reduce_only,
        tif=Tif.IOC,
        trigger=None,
        cloid=None,
        time_ms=state.now_ms,
        seq=state.next_seq(),
        twap_id=twap.twap_id,
    )
    if state.post_only or (not twap.reduce_only and validation.check_opening(state, account, order) is not None):
        return
    action, state.action = state.action, 0
    lifecycle.register(state, account, order)
    placing.execute(state, account, order)
    state.action = action
    twap.executed += order.filled
    twap.executed_notional += order.filled_notional


def _lots(twap: Twap, due: int) -> int:
    """What brings the executed size up to its share of the time, within three plain slices; the last takes all."""
    plain = -(-twap.size // twap.slices)
    if due == twap.slices:
        wanted = twap.size - twap.executed
    else:
        wanted = twap.size * due // twap.slices - twap.executed
        if twap.randomize:
            chance = Random(f"{twap.twap_id}:{due}")
            wanted = round(wanted * chance.uniform(1 - _SPREAD, 1 + _SPREAD))
    return max(min(wanted, CATCH_UP * plain, twap.size - twap.executed), 0)


def _end(state: EngineState, account: Account, twap: Twap, status: str) -> None:
    del state.twaps[twap.twap_id]
    _tell(state, account, twap, status)


def _tell(state: EngineState, account: Account, twap: Twap, status: str) -> None:
    event = TwapEvent(twap.user, state.now_ms, status, twap.view())
    account.version += 1
    account.twap_history.append(event)
    state.events.append(event)
