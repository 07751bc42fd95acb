"""What a person can do about a refusal, where there is something to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perpstrader.domain import Reason

HINTS: Final[Mapping[Reason, str]] = {
    Reason.EMERGENCY_STOP: "clear emergency_stop and EMERGENCY_STOP in every source, or resume with a reason",
    Reason.HALTED: "look at the cause, then resume with a reason",
    Reason.DAILY_LOSS: "entries start again at 00:00 UTC",
    Reason.DRAWDOWN: "look at what was lost and why, then resume with a reason",
    Reason.LOSS_STREAK: "entries start again after the cooldown",
    Reason.STALE_ACCOUNT: "the account is read again by itself; see whether the venue answers",
    Reason.STALE_PRICE: "prices come by themselves; see whether the market data stream is alive",
    Reason.NOT_ENOUGH_HISTORY: "bars are read at the start and come one by one; wait for them",
    Reason.STALE_BARS: "bars come by themselves; see whether the market data stream is alive",
    Reason.MARKET_HALTED: "wait until it trades again",
    Reason.NO_PRICE: "wait for the first prices of this symbol",
    Reason.CLOCK_SKEW: "set this machine's clock",
    Reason.LEVERAGE_UNCONFIRMED: "the leverage is set and read back before an entry; see what the venue answered",
    Reason.EQUITY_TOO_SMALL: "deposit, or lower risk.min_equity_usd",
    Reason.NOT_RECONCILED: "wait for the comparison with the venue",
    Reason.HOLD: "send open, close or reduce",
    Reason.SIGNAL_EXPIRED: "send a new signal",
    Reason.UNKNOWN_SYMBOL: "symbols are case-sensitive, as the venue names them",
    Reason.OWNED_BY: "its owner or the operator closes it first",
    Reason.POSITION_EXISTS: "close it first; positions are not added to",
    Reason.EXIT_IN_PROGRESS: "wait until it is flat",
    Reason.ENTRY_IN_FLIGHT: "wait for the outcome of the entry that is out",
    Reason.STOP_WRONG_SIDE: "a long's stop lies below entry and mark, a short's above",
    Reason.TARGET_WRONG_SIDE: "a target lies beyond the worst price that its entry may get, and beyond mark",
    Reason.SIZE_BELOW_MINIMUM: "a nearer stop, more equity or more room; a size is never rounded up",
    Reason.ENTRIES_PER_DAY: "entries start again at 00:00 UTC",
    Reason.ENTRIES_PER_SYMBOL_DAY: "entries in this symbol start again at 00:00 UTC",
    Reason.ENTRIES_PER_MINUTE: "wait a minute",
    Reason.ENTRIES_PER_SYMBOL_HOUR: "wait until the oldest of them is an hour old",
    Reason.SIGNALS_PER_MINUTE: "send fewer signals: the same wish is judged again at the next bar",
    Reason.DUPLICATE_ENTRY: "the same entry was sent a moment ago; another price, or later",
    Reason.COOLDOWN: "entries in this symbol start again by themselves; exits are never held back",
    Reason.SPREAD_TOO_WIDE: "wait for a tighter book",
    Reason.DEPTH_TOO_THIN: "wait for a deeper book, or ask for less",
    Reason.MARK_AWAY_FROM_MID: "wait until the prices agree",
    Reason.ORACLE_AWAY_FROM_MID: "wait until the prices agree",
    Reason.VOLATILITY: "wait until the market moves less",
    Reason.ADVERSE_FUNDING: "wait for another rate, or take the other side",
    Reason.CONFIDENCE_TOO_LOW: "only a surer signal is acted on; see risk.min_confidence",
    Reason.STOP_TOO_CLOSE: "set the stop farther away",
    Reason.STOP_TOO_FAR: "set the stop nearer",
    Reason.REWARD_TO_RISK: "a farther target or a nearer stop",
    Reason.BLOCKED_SYMBOL: "see risk.blocked_symbols",
    Reason.POSITION_COUNT: "close a position first",
    Reason.ISOLATED_ONLY_SYMBOL: "only cross-margined coins are traded",
}
