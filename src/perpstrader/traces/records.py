"""What the trace store gives besides traces: summaries, pages, notes, counts, findings. Frozen values, no I/O."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

import msgspec

from perpstrader.domain.traces import Trace, TraceKind
from perpstrader.traces.errors import TraceError

MIN_RETENTION_MS: Final = 86_400_000
"""Nothing younger than this, counted back from the newest trace, can be removed (TS-19)."""


class TraceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A trace without its payload, cheap to list; ``seq`` is the order in which the store took it.

    ``verdict`` is ``approved``, ``refused`` or empty (no signal was judged), ``reason`` the first refusal, ``error``
    the first error. ``executed`` tells that an order followed. ``bar_close_ms`` is the close of the bar that was
    decided on.
    """

    seq: int
    id: str
    sequence: int
    kind: TraceKind
    accepted_ms: int
    bar_close_ms: int | None
    symbol: str
    interval: str
    strategy: str
    regime: str
    action: str
    side: str
    verdict: str
    reason: str
    executed: bool
    completed: bool
    error: str
    confidence: float | None
    risk_score: float | None
    episode: str
    outcome_usd: str | None
    outcome_ms: int | None
    analyzed: bool
    batch: str


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a search, newest first; ``cursor`` asks for the next page and is ``None`` on the last.

    ``archived`` are the months, such as ``2025-03``, whose decisions lie in files and were not searched.
    """

    rows: tuple[TraceSummary, ...]
    cursor: str | None
    archived: tuple[str, ...] = ()


class NoteCode(enum.StrEnum):
    """Why a cycle ended without a decision."""

    NO_SIGNAL = "no_signal"
    WARM_UP = "warm_up"
    DATA_STALE = "data_stale"
    MARKET_HALTED = "market_halted"
    TRADER_HALTED = "trader_halted"
    NOT_READY = "not_ready"
    STRATEGY_FAILED = "strategy_failed"
    STRATEGY_SKIPPED = "strategy_skipped"


class CycleNote(msgspec.Struct, frozen=True):
    """One cycle that decided nothing: the bar that closed at ``bar_close_ms`` (inclusive, UTC), and why, in words.

    ``text`` adds what was seen, such as ``fast 103,912 below slow 104,020`` or ``needs 50 bars, has 31``. Keyed by
    symbol, bar and strategy.
    """

    symbol: str
    interval: str
    bar_close_ms: int
    code: NoteCode
    text: str = ""
    strategy: str = ""


class Nearby(msgspec.Struct, frozen=True, kw_only=True):
    """What is recorded of a symbol around an instant.

    ``decisions`` and ``notes`` belong to the window that starts at ``time_ms``, or, when it is empty (``exact`` is
    false), to the newest bar before it. ``before`` and ``after`` are the neighbouring decisions;
    ``first_ms``..``last_ms`` is what the record covers for the symbol.
    """

    symbol: str
    time_ms: int
    exact: bool
    decisions: tuple[Trace, ...] = ()
    notes: tuple[CycleNote, ...] = ()
    before: TraceSummary | None = None
    after: TraceSummary | None = None
    first_ms: int | None = None
    last_ms: int | None = None


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of ``store`` and ``update`` since opening: ``accepted = stored + pending + dead + dropped``, always (S60).

    ``stored`` are the acknowledged ones, ``duplicates`` those of them that were there already, ``dead`` lie in the
    dead letter, ``dropped`` could not be written at all and their callers were told. ``updates`` counts acknowledged
    later revisions.
    """

    accepted: int = 0
    stored: int = 0
    pending: int = 0
    dead: int = 0
    dropped: int = 0
    duplicates: int = 0
    updates: int = 0


class TraceStats(msgspec.Struct, frozen=True, kw_only=True):
    """Totals over the whole file, integers from zero up (TS-18), and the counters of this process.

    What lies in ``archived`` months is not in the totals.
    """

    total: int
    unanalyzed: int
    executed: int
    with_error: int
    dead_letters: int
    notes: int
    by_kind: dict[str, int]
    by_verdict: dict[str, int]
    by_reason: dict[str, int]
    by_symbol: dict[str, int]
    by_strategy: dict[str, int]
    counters: Counters
    archived: tuple[str, ...] = ()


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A trace that could not be recorded, with the reason; ``data`` is what could be kept of it, redacted JSON."""

    number: int
    id: str
    accepted_ms: int
    reason: str
    data: bytes


class Marked(NamedTuple):
    """How many were marked now, and the ids that the store does not hold; those marked before are neither (TS-07)."""

    changed: int
    unknown: tuple[str, ...]


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The finding over ``checked`` payloads; ``bad_entry`` and ``bad_id`` name the first bad row.

    Of ``archived`` months the files as a whole were checked, and that the chain goes through them.
    """

    checked: int
    bad_entry: int | None = None
    bad_id: str | None = None
    problem: str = ""
    archived: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when every row is as it was written."""
        return not self.problem


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """Ages in ms back from the newest trace, ``max_rows`` traces, ``max_bytes`` of the file; ``None``: no bound.

    ``cold_ms`` is the age from which whole months go to files. Ages are never counted from later than ``now_ms``: one
    decision with a time of years ahead makes no other one old.
    """

    payload_ms: int | None = None
    kept_payload_ms: int | None = None
    trace_ms: int | None = None
    max_rows: int | None = None
    max_bytes: int | None = None
    cold_ms: int | None = None
    now_ms: int | None = None

    def __post_init__(self) -> None:
        for name in ("payload_ms", "kept_payload_ms", "trace_ms", "cold_ms"):
            value = getattr(self, name)
            if value is not None and value < MIN_RETENTION_MS:
                raise TraceError(f"a retention of {value} ms ({name}) is below the least one, {MIN_RETENTION_MS} ms")


class Retained(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass did: payloads, traces and bars removed, bytes given back to the disk, months archived."""

    payloads: int = 0
    traces: int = 0
    bars: int = 0
    freed_bytes: int = 0
    archived: tuple[str, ...] = ()
