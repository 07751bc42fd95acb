"""From approved to filled and protected, exactly once: order lifecycle, stops, exits, ownership, reconciliation."""

from perpstrader.execution.account import AccountWatch, Books
from perpstrader.execution.desk import Desk, Note, NoteSink, Numbers
from perpstrader.execution.entry import EntryReport
from perpstrader.execution.execution import NUMBER_BLOCK, Execution
from perpstrader.execution.exits import ExitReport
from perpstrader.execution.flatten import FlattenReport
from perpstrader.execution.journal import Journal
from perpstrader.execution.orders import OrderTracker
from perpstrader.execution.positions import PositionBook
from perpstrader.execution.reconcile import ReconcileReport

__all__ = [
    "NUMBER_BLOCK",
    "AccountWatch",
    "Books",
    "Desk",
    "EntryReport",
    "Execution",
    "ExitReport",
    "FlattenReport",
    "Journal",
    "Note",
    "NoteSink",
    "Numbers",
    "OrderTracker",
    "PositionBook",
    "ReconcileReport",
]
