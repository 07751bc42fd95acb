"""The decision record: every trade and every refusal, durable, findable, and explained in plain words."""

from perpstrader.traces.baseline import TraceStore
from perpstrader.traces.errors import TraceError, TraceFileError, TraceRejectedError, UnknownTraceError
from perpstrader.traces.explain import explain, explain_at, explain_silence, moment
from perpstrader.traces.records import (
    Counters,
    CycleNote,
    DeadLetter,
    Marked,
    Nearby,
    NoteCode,
    Page,
    TraceStats,
    TraceSummary,
    Verification,
)

__all__ = [
    "Counters", "CycleNote", "DeadLetter", "Marked", "Nearby", "NoteCode", "Page", "TraceError", "TraceFileError",
    "TraceRejectedError", "TraceStats", "TraceStore", "TraceSummary", "UnknownTraceError", "Verification", "explain",
    "explain_at", "explain_silence", "moment",
]  # fmt: skip
