"""What time alone does: slices of TWAPs, and the dead man's switch of an account (API sheet 2.4)."""

from __future__ import annotations

from perpstrader.paper.engine import lifecycle, twap
from perpstrader.paper.engine.account import DAY_MS, Account
from perpstrader.paper.engine.orders import Answer, Done, Rejected
from perpstrader.paper.engine.rejects import Reject, RejectCode
from perpstrader.paper.engine.state import EngineState


def schedule_cancel(state: EngineState, user: str, time_ms: int | None) -> Answer:
    """Set or clear (``None``) the switch; the volume gate holds for both."""
    account, config = state.accounts.get(user), state.config
    if account is None:
        return Rejected(Reject(code=RejectCode.MUST_DEPOSIT))
    if account.volume < config.schedule_cancel_min_volume:
        return Rejected(
            Reject(code=RejectCode.SCHEDULE_VOLUME, limit=config.schedule_cancel_min_volume, value=account.volume)
        )
    if time_ms is None:
        state.timers.pop(user, None)
        return Done()
    if time_ms < state.now_ms + config.schedule_cancel_min_delay_ms:
        return Rejected(Reject(code=RejectCode.SCHEDULE_TOO_EARLY))
    if _fires_today(state, account) >= config.schedule_cancel_fires_per_day:
        limit = config.schedule_cancel_fires_per_day
        return Rejected(Reject(code=RejectCode.SCHEDULE_FIRES, limit=limit, value=limit))
    state.timers[user] = time_ms
    return Done()


def _fires_today(state: EngineState, account: Account) -> int:
    day, fires = account.schedule_fires
    return fires if day == state.now_ms // DAY_MS else 0


def fire_due(state: EngineState) -> None:
    """Send the slices of TWAPs that are due, then cancel all open orders, stops included, of every account whose
    switch is.
    """
    if state.twaps:
        twap.run_due(state)
    if not state.timers:
        return
    due = [user for user, time_ms in state.timers.items() if time_ms <= state.now_ms]
    for user in due:
        account = state.accounts[user]
        del state.timers[user]
        account.schedule_fires = (state.now_ms // DAY_MS, _fires_today(state, account) + 1)
        for order in tuple(account.open_orders.values()):
            if order.oid in account.open_orders:
                lifecycle.close(state, account, order, "scheduledCancel")
