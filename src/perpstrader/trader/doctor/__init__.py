"""Is everything ready to trade? One row a check, each guarded and with a deadline, and what to do."""

from perpstrader.trader.doctor.checkup import Check, Found, Grade, Row, examine, failed, fine, poor, skipped
from perpstrader.trader.doctor.local import local_checks
from perpstrader.trader.doctor.venue import Patient, venue_checks

__all__ = [
    "Check", "Found", "Grade", "Patient", "Row", "examine", "failed", "fine", "local_checks", "poor", "skipped",
    "venue_checks",
]  # fmt: skip
