"""How long an open breaker stays open: one pure rule for every implementation (S42)."""

from __future__ import annotations

from typing import Final

JITTER: Final = 0.2
"""A period is longer by up to this share of itself, never shorter: nothing is admitted before it (CB-01)."""
_DOUBLINGS: Final = 30


def open_period_ms(period_ms: int, failed_probes: int, *, base_ms: int, cap_ms: int, draw: float) -> int:
    """The open period after ``failed_probes`` failed probes in a row, in milliseconds.

    The first one is the registered ``period_ms``, or ``base_ms`` where that is longer. Each failed probe doubles it up
    to ``cap_ms``, which never makes it shorter than the first. ``draw`` is uniform in [0, 1), once a period (CB-19).
    """
    first = max(period_ms, base_ms)
    grown = first << min(failed_probes, _DOUBLINGS)
    return round(max(first, min(cap_ms, grown)) * (1 + JITTER * draw))
