"""The schema of state.db in ordered steps; a released step is never edited, only followed by another."""

from __future__ import annotations

from typing import Final

_FIRST: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE epochs (seq INTEGER PRIMARY KEY, epoch TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE nonces (signer TEXT PRIMARY KEY, high INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE intent_counter (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL) STRICT;
INSERT INTO intent_counter VALUES (1, 0);
CREATE TABLE intents (
    number INTEGER PRIMARY KEY, purpose TEXT NOT NULL, symbol TEXT NOT NULL, strategy TEXT NOT NULL,
    signal_id TEXT NOT NULL, episode TEXT NOT NULL, created_ms INTEGER NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX intents_of_signal ON intents (strategy, signal_id) WHERE purpose = 'entry' AND signal_id <> '';
CREATE INDEX intents_of_episode ON intents (episode) WHERE episode <> '';
CREATE INDEX intents_by_time ON intents (created_ms);
CREATE TABLE orders (
    seq INTEGER PRIMARY KEY, cloid TEXT NOT NULL UNIQUE, number INTEGER NOT NULL REFERENCES intents (number),
    attempt INTEGER NOT NULL, status TEXT NOT NULL, live INTEGER NOT NULL, sent_ms INTEGER NOT NULL,
    expires_ms INTEGER, oid INTEGER, filled TEXT NOT NULL, average_price TEXT, detail TEXT NOT NULL,
    updated_ms INTEGER NOT NULL, UNIQUE (number, attempt)
) STRICT;
CREATE INDEX orders_live ON orders (seq) WHERE live = 1;
CREATE INDEX orders_by_oid ON orders (oid) WHERE oid IS NOT NULL;

CREATE TABLE signals (
    strategy TEXT NOT NULL, signal_id TEXT NOT NULL, seen_ms INTEGER NOT NULL, PRIMARY KEY (strategy, signal_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX signals_by_time ON signals (seen_ms);

CREATE TABLE fills (
    seq INTEGER PRIMARY KEY, symbol TEXT NOT NULL, tid INTEGER NOT NULL, oid INTEGER NOT NULL, cloid TEXT,
    buy INTEGER NOT NULL, price TEXT NOT NULL, size TEXT NOT NULL, time_ms INTEGER NOT NULL, fee_usd TEXT NOT NULL,
    closed_pnl_usd TEXT NOT NULL, start_position TEXT NOT NULL, crossed INTEGER NOT NULL, direction TEXT NOT NULL,
    fee_token TEXT NOT NULL, liquidation INTEGER NOT NULL, realized_usd TEXT NOT NULL, episode TEXT NOT NULL,
    UNIQUE (symbol, tid)
) STRICT;
CREATE INDEX fills_by_time ON fills (time_ms);
CREATE INDEX fills_of_oid ON fills (oid);
CREATE INDEX fills_of_cloid ON fills (cloid) WHERE cloid IS NOT NULL;
CREATE INDEX fills_of_episode ON fills (episode) WHERE episode <> '';
CREATE TABLE funding (
    symbol TEXT NOT NULL, time_ms INTEGER NOT NULL, usd TEXT NOT NULL, size TEXT NOT NULL, rate TEXT NOT NULL,
    episode TEXT NOT NULL, PRIMARY KEY (symbol, time_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX funding_by_time ON funding (time_ms);
CREATE TABLE cash_flows (
    key TEXT PRIMARY KEY, time_ms INTEGER NOT NULL, kind TEXT NOT NULL, usd TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX cash_flows_by_time ON cash_flows (time_ms);
CREATE TABLE ledger_days (
    day TEXT PRIMARY KEY, fills INTEGER NOT NULL, row_count INTEGER NOT NULL, realized_usd TEXT NOT NULL,
    fees_usd TEXT NOT NULL, closed_pnl_usd TEXT NOT NULL, funding_usd TEXT NOT NULL, cash_flows_usd TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE risk_state (
    id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, day TEXT NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE TABLE halts (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, since_ms INTEGER NOT NULL, reason TEXT NOT NULL,
    actor TEXT NOT NULL, until_ms INTEGER, flatten INTEGER NOT NULL, released_ms INTEGER, released_by TEXT,
    release_reason TEXT
) STRICT;
CREATE UNIQUE INDEX halts_in_force ON halts (kind) WHERE released_ms IS NULL;

CREATE TABLE episodes (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, symbol TEXT NOT NULL, side TEXT NOT NULL, owner TEXT NOT NULL,
    opened_ms INTEGER NOT NULL, ended_ms INTEGER, end_reason TEXT NOT NULL, entry_price TEXT, exit_price TEXT,
    peak_size TEXT NOT NULL, peak_price TEXT, stop_price TEXT, target_price TEXT, realized_usd TEXT NOT NULL,
    fees_usd TEXT NOT NULL, funding_usd TEXT NOT NULL, exit_attempts INTEGER NOT NULL,
    recovery_attempts INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX episodes_active ON episodes (symbol) WHERE ended_ms IS NULL;
CREATE INDEX episodes_ended ON episodes (ended_ms) WHERE ended_ms IS NOT NULL;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, actor TEXT NOT NULL, command TEXT NOT NULL,
    arguments TEXT NOT NULL, result TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
"""

_BREAKERS: Final = """
CREATE TABLE breakers (
    name TEXT PRIMARY KEY, state TEXT NOT NULL, since_ms INTEGER NOT NULL, until_ms INTEGER,
    failed_probes INTEGER NOT NULL, failure TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

MIGRATIONS: Final[tuple[str, ...]] = (_FIRST, _BREAKERS)
"""Step ``n``, from 1, takes a file from schema version ``n - 1`` to ``n`` in one transaction with its number."""
