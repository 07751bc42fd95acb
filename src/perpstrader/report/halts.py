"""When a run stood still by its own limits or an order from outside: each halt from its beginning to its end, and what
was refused meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from perpstrader.domain.wording import plural
from perpstrader.report.text import duration_text, time_text


class HaltSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One halt: ``until_ms`` is ``None`` where it was still in force at the end of the run.

    ``ended_by`` names who released it, or time. ``refused`` counts the entries that were refused while it was in force,
    for whatever reason.
    """

    kind: str
    reason: str
    actor: str
    since_ms: int
    until_ms: int | None = None
    ended_by: str = ""
    refused: int = 0

    def text(self, end_ms: int) -> str:
        """From when, until when, why, and what it cost, in one line."""
        if self.until_ms is None:
            span = f"from {time_text(self.since_ms)} UTC to the end ({duration_text(end_ms - self.since_ms)})"
        else:
            lasted = duration_text(self.until_ms - self.since_ms)
            span = f"{time_text(self.since_ms)} to {time_text(self.until_ms)} UTC ({lasted})"
        end = f"; ended by {self.ended_by}" if self.ended_by else ""
        return f"{span}: {self.reason}; {plural(self.refused, 'entry', 'entries')} refused meanwhile{end}"


def halted_ms(spans: Iterable[HaltSpan], end_ms: int) -> int:
    """How long at least one halt was in force, overlaps counted once."""
    total, covered_ms = 0, 0
    for span in sorted(spans, key=lambda span: span.since_ms):
        until_ms = end_ms if span.until_ms is None else span.until_ms
        total += max(0, until_ms - max(span.since_ms, covered_ms))
        covered_ms = max(covered_ms, until_ms)
    return total


def trading_ended(spans: Sequence[HaltSpan]) -> HaltSpan | None:
    """The first halt that nothing ended: from there on no position was opened. ``None`` where entries were free at the
    end.
    """
    return min((span for span in spans if span.until_ms is None), key=lambda span: span.since_ms, default=None)
