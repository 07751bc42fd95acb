"""The signal itself: may anybody act on it at all (S36)?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from perpstrader.domain import Action, Check, Reason
from perpstrader.risk.case import Case, is_positive
from perpstrader.risk.rules.checks import at_least, at_most, holds

_FIRST_BUILDER_INDEX: Final = 100_000
"""Asset ids from here on are builder-deployed perps: isolated margin, an oracle of their own."""


def check_signal(case: Case) -> Iterator[Check]:
    """Action, age, confidence, symbol and the prices that it names."""
    signal, limits = case.signal, case.limits
    yield holds(Reason.HOLD, signal.action is Action.OPEN, signal.action.value, "open")
    age_ms = case.now_ms - signal.created_ms
    yield at_most(Reason.SIGNAL_EXPIRED, age_ms, min(signal.ttl_ms, limits.max_signal_age_ms), "ms old")
    yield at_most(Reason.SIGNAL_FROM_FUTURE, -age_ms, case.execution.max_clock_skew_ms, "ms ahead")
    in_range = math.isfinite(signal.confidence) and 0 <= signal.confidence <= 1
    yield holds(Reason.CONFIDENCE_OUT_OF_RANGE, in_range, repr(signal.confidence), "0 to 1")
    if in_range:
        confidence = Decimal(repr(signal.confidence))
        yield at_least(Reason.CONFIDENCE_TOO_LOW, confidence, limits.min_confidence)
    named = {"entry": signal.entry_price, "stop": signal.stop_price, "target": signal.target_price}
    for name, number in (*named.items(), ("size hint", signal.size_hint)):
        if number is not None:
            yield holds(Reason.INVALID_PRICE, is_positive(number), f"{name} {number}", "above 0")
    yield from _check_symbol(case)


def _check_symbol(case: Case) -> Iterator[Check]:
    symbol, asset = case.signal.symbol, case.asset
    known = asset is not None and asset.name == symbol
    yield holds(Reason.UNKNOWN_SYMBOL, known, symbol, "in the venue's metadata")
    yield holds(Reason.BLOCKED_SYMBOL, symbol not in case.limits.blocked_symbols, symbol, "not blocked")
    if asset is None:
        return
    yield holds(Reason.DELISTED_SYMBOL, not asset.is_delisted, symbol, "not delisted")
    cross = not asset.only_isolated and asset.index < _FIRST_BUILDER_INDEX
    yield holds(Reason.ISOLATED_ONLY_SYMBOL, cross, symbol, "cross margin")
    least = case.limits.min_symbol_max_leverage
    yield at_least(Reason.SYMBOL_MAX_LEVERAGE, asset.max_leverage, least, "x at the venue")
