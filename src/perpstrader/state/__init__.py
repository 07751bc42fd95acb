"""state.db, what the trader must not forget: intents, ledger, signals, risk state, halts, breakers, episodes, audit."""

from perpstrader.state._codec import utc_day
from perpstrader.state.audit import AuditEntry, AuditRepository
from perpstrader.state.breakers import BreakersRepository
from perpstrader.state.database import mark_as_backup, owner_of
from perpstrader.state.episodes import Episode, EpisodesRepository
from perpstrader.state.halts import HaltRecord, HaltsRepository
from perpstrader.state.intents import IntentsRepository
from perpstrader.state.ledger import BookedFill, LedgerRepository, LedgerTotals
from perpstrader.state.meta import MetaRepository
from perpstrader.state.risk import RiskRepository
from perpstrader.state.signals import SignalsRepository
from perpstrader.state.store import StateStore, Transaction

__all__ = [
    "AuditEntry", "AuditRepository", "BookedFill", "BreakersRepository", "Episode", "EpisodesRepository", "HaltRecord",
    "HaltsRepository", "IntentsRepository", "LedgerRepository", "LedgerTotals", "MetaRepository", "RiskRepository",
    "SignalsRepository", "StateStore", "Transaction", "mark_as_backup", "owner_of", "utc_day",
]  # fmt: skip
