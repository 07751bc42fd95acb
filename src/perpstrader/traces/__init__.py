"""The decision record: every trade and every refusal, durable, findable, and explained in plain words."""

from perpstrader.traces.around import explain_at, explain_silence, is_answered
from perpstrader.traces.errors import TraceError, TraceFileError, TraceRejectedError, UnknownTraceError
from perpstrader.traces.explain import explain
from perpstrader.traces.life import Life, life_of
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
from perpstrader.traces.sample import sample_trace
from perpstrader.traces.store import TraceStore
from perpstrader.traces.words import moment

__all__ = [
    "Counters", "CycleNote", "DeadLetter", "Life", "Marked", "Nearby", "NoteCode", "Page", "TraceError",
    "TraceFileError", "TraceRejectedError", "TraceStats", "TraceStore", "TraceSummary", "UnknownTraceError",
    "Verification", "explain", "explain_at", "explain_silence", "is_answered", "life_of", "moment", "sample_trace",
]  # fmt: skip
