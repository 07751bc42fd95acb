"""What can go wrong with the decision record; a failed read is never an empty one (TS-16).

::

    PerpsTraderError
    └── TraceError                the store could not do it; it stays usable
        ├── TraceRejectedError    this one trace cannot be recorded; it is in the dead letter with the reason
        ├── UnknownTraceError     no trace has this id
        └── TraceFileError        the file cannot be used: damaged, foreign, or from a newer program
"""

from __future__ import annotations

from perpstrader.domain.errors import PerpsTraderError


class TraceError(PerpsTraderError):
    """The decision record could not be written or read; orders, fills and risk state do not depend on it (S62)."""


class TraceRejectedError(TraceError):
    """One trace that cannot be recorded as it is; it costs one dead letter and nothing else (S61)."""


class UnknownTraceError(TraceError):
    """A change was asked for a trace that the store does not hold."""


class TraceFileError(TraceError):
    """The file at the given path cannot serve as a trace store."""
