"""What a run counted, for its last line and for the console."""

from __future__ import annotations

import msgspec


class RunCounters(msgspec.Struct, kw_only=True):
    """Counted since the start of this process; ``refused_by_reason`` counts the first reason of each refusal."""

    bars: int = 0
    cycles: int = 0
    signals: int = 0
    approved: int = 0
    refused: int = 0
    exits: int = 0
    orders: int = 0
    fills: int = 0
    strategy_errors: int = 0
    trace_gaps: int = 0
    refused_by_reason: dict[str, int] = msgspec.field(default_factory=dict)
    signals_by_strategy: dict[str, int] = msgspec.field(default_factory=dict)

    def refuse(self, reason: str) -> None:
        """Count one refusal."""
        self.refused += 1
        self.refused_by_reason[reason] = self.refused_by_reason.get(reason, 0) + 1
