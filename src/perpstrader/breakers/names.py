"""The breakers that a trader has: the original's thresholds, each with the dependency that it guards (CBF-01)."""

from __future__ import annotations

from typing import Final

from perpstrader.breakers.contract import (
    EXECUTION,
    RECOVERY,
    RISK,
    STATE,
    TRACES,
    VENUE,
    BreakerSpec,
)

_MINUTE_MS: Final = 60_000
_RARE_MS: Final = 10 * _MINUTE_MS
"""Orders, halts and recovery actions come minutes apart: a shorter window would forget each before the next."""

SPECS: Final = (
    BreakerSpec(
        name=EXECUTION, threshold=5, period_ms=60_000, window_ms=_RARE_MS, guards="orders are taken and answered"
    ),
    BreakerSpec(
        name=RISK, threshold=3, period_ms=30_000, window_ms=_RARE_MS, guards="halts and limits are on disk in time"
    ),
    BreakerSpec(name=VENUE, threshold=10, period_ms=120_000, window_ms=120_000, guards="the venue answers requests"),
    BreakerSpec(name=STATE, threshold=5, period_ms=30_000, window_ms=_MINUTE_MS, guards="state.db takes writes"),
    BreakerSpec(
        name=RECOVERY, threshold=5, period_ms=60_000, window_ms=_RARE_MS, guards="positions are looked after",
        stops_entries=False,
    ),
    BreakerSpec(
        name=TRACES, threshold=5, period_ms=30_000, window_ms=_MINUTE_MS, guards="decisions are recorded",
        stops_entries=False,
    ),
)  # fmt: skip
