"""Open interest and its caps (API sheet 2.6): at its cap a coin takes no order that opens something at once, and no
resting one beyond the oracle price; what rests already is cancelled when it would open something.
"""

from __future__ import annotations

from perpstrader.paper.engine.account import Account
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.orders import Order
from perpstrader.paper.engine.rejects import Reject, RejectCode
from perpstrader.paper.engine.state import EngineState


def open_interest(market: Market) -> int:
    """Lots that the accounts here hold long."""
    coin = market.asset.coin
    return sum([max(account.size(coin), 0) for account in market.holders.values()])


def at_cap(state: EngineState, market: Market) -> bool:
    """Whether the coin has a cap and its open interest at mark has reached it."""
    cap = state.open_interest_caps.get(market.asset.coin)
    if cap is None:
        return False
    coin = market.asset.coin
    short = sum([max(-account.size(coin), 0) for account in market.holders.values()])
    return max(open_interest(market), short) * market.mark_or_zero >= cap


def refusal(state: EngineState, account: Account, order: Order) -> Reject | None:
    """Why an order that is not reduce-only may not be placed now; ``None`` where nothing is capped."""
    market, held = order.market, account.size(order.coin)
    signed = order.size if order.is_buy else -order.size
    after = held + signed
    grows = max(abs(after) - abs(held), 0) if held * after >= 0 else abs(after)
    step = state.config.open_interest_step
    if step is not None and grows * market.mark_or_zero > step:
        return Reject(code=RejectCode.OI_INCREASE, asset=market.asset.index, limit=step)
    if not grows or not at_cap(state, market):
        return None
    if market.would_cross(order.is_buy, order.limit_px):
        code = RejectCode.OI_CAP_FLIP if held * after < 0 else RejectCode.OI_CAP_INCREASE
        return Reject(code=code, asset=market.asset.index)
    reference = market.oracle or market.mark_or_zero
    if order.limit_px > reference if order.is_buy else order.limit_px < reference:
        return Reject(code=RejectCode.OI_CAP_AGGRESSIVE, asset=market.asset.index)
    return None


def stops(state: EngineState, owner: Account, maker: Order, quantity: int) -> bool:
    """Whether a resting order may not fill now, because it would open something at the cap."""
    if not state.open_interest_caps:
        return False
    held = owner.size(maker.coin)
    after = held + (quantity if maker.is_buy else -quantity)
    reduces = held * after >= 0 and abs(after) <= abs(held)
    return not reduces and at_cap(state, maker.market)
