"""Finds positions in trouble and takes them out, through the executor, as exits."""

from perpstrader.recovery.baseline import RecoveryService
from perpstrader.recovery.contract import (
    CRITICAL_BOUND_MS,
    Action,
    Disposition,
    Evidence,
    Handled,
    Issue,
    IssueKind,
    Priority,
    Recovered,
    RecoveryError,
    RecoveryStats,
    action_named,
)
from perpstrader.recovery.contract import RecoveryService as RecoveryServiceContract
from perpstrader.recovery.rules import Case, Limits, analyse, deciding

__all__ = [
    "CRITICAL_BOUND_MS", "Action", "Case", "Disposition", "Evidence", "Handled", "Issue", "IssueKind", "Limits",
    "Priority", "Recovered", "RecoveryError", "RecoveryService", "RecoveryServiceContract", "RecoveryStats",
    "action_named", "analyse", "deciding",
]  # fmt: skip
