"""The one schema of ``traces.db``, for every implementation of the store, with its migrations and its pragmas.

``trace`` is the light summary, one row a decision; ``payload`` is the heavy part, append-only, one row a *revision*
of a decision. ``trace.entry`` points to the newest revision, ``trace.first_entry`` to the one that was decided on.

The chain runs over the payloads in the order of their commits, ``entry`` being free of gaps::

    digest(n) = sha256(digest(n - 1) || uid || data(n))        digest(0) = 32 zero bytes

so that a changed, removed, swapped or inserted revision shows at the first bad row. Pruning removes a prefix and
seals it: ``meta`` then holds the number and digest of the last removed entry, where verification starts. What the
chain cannot show is the removal of the newest decisions as a whole; for that, keep its head elsewhere.

Keys are integers in time order; text keys in random order cost four to ten times. Symbols and strategies are plain
text: a few bytes beside a payload of kilobytes, and every SQLite tool reads them. ``verdict``, ``reason`` and
``error`` are empty rather than NULL where there is none, so that partial indices can leave them out.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import apsw

from perpstrader.domain.traces import Trace
from perpstrader.domain.verdicts import Approved, Refused
from perpstrader.traces.errors import TraceFileError

APPLICATION_ID: Final = 0x50545243
"""Marks the file as a trace store, so that another database is refused instead of migrated."""

GENESIS: Final = bytes(32)
"""The digest before the first entry."""

_V1: Final = (
    """CREATE TABLE trace (
        seq INTEGER PRIMARY KEY, uid TEXT NOT NULL, sequence INTEGER NOT NULL, kind TEXT NOT NULL,
        accepted_ms INTEGER NOT NULL, bar_close_ms INTEGER, symbol TEXT NOT NULL, interval TEXT NOT NULL,
        strategy TEXT NOT NULL, regime TEXT NOT NULL, action TEXT NOT NULL, side TEXT NOT NULL,
        verdict TEXT NOT NULL, reason TEXT NOT NULL, executed INTEGER NOT NULL, completed INTEGER NOT NULL,
        error TEXT NOT NULL, confidence REAL, risk_score REAL, episode TEXT NOT NULL,
        outcome_usd TEXT, outcome_ms INTEGER,
        analyzed INTEGER NOT NULL DEFAULT 0, batch TEXT NOT NULL DEFAULT '',
        first_entry INTEGER NOT NULL, entry INTEGER NOT NULL) STRICT""",
    """CREATE TABLE payload (
        entry INTEGER PRIMARY KEY, seq INTEGER NOT NULL, codec INTEGER NOT NULL, raw_len INTEGER NOT NULL,
        data BLOB NOT NULL, digest BLOB NOT NULL) STRICT""",
    """CREATE TABLE dead_letter (
        number INTEGER PRIMARY KEY, uid TEXT NOT NULL, accepted_ms INTEGER NOT NULL, reason TEXT NOT NULL,
        data BLOB NOT NULL) STRICT""",
    """CREATE TABLE cycle_note (
        symbol TEXT NOT NULL, bar_close_ms INTEGER NOT NULL, strategy TEXT NOT NULL, interval TEXT NOT NULL,
        code TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (symbol, bar_close_ms, strategy)) STRICT, WITHOUT ROWID""",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE UNIQUE INDEX trace_uid ON trace (uid)",
    "CREATE INDEX trace_time ON trace (accepted_ms)",
    "CREATE INDEX trace_symbol ON trace (symbol, accepted_ms)",
    "CREATE INDEX trace_strategy ON trace (strategy, accepted_ms)",
    "CREATE INDEX trace_reason ON trace (reason, accepted_ms) WHERE reason <> ''",
    "CREATE INDEX trace_approved ON trace (accepted_ms) WHERE verdict = 'approved'",
    "CREATE INDEX trace_executed ON trace (accepted_ms) WHERE executed = 1",
    "CREATE INDEX trace_error ON trace (accepted_ms) WHERE error <> ''",
    "CREATE INDEX trace_unanalyzed ON trace (seq) WHERE analyzed = 0",
)

_V2: Final = (
    # no WITHOUT ROWID: the order of the rows is the order in which the dictionaries came
    "CREATE TABLE dictionary (number INTEGER NOT NULL UNIQUE, content BLOB NOT NULL) STRICT",
)

_KEY: Final = "day, symbol, strategy, regime, kind, verdict, reason"
_MICRO: Final = "coalesce(CAST(round(CAST({0}outcome_usd AS REAL) * 1000000) AS INTEGER), 0)"
_THIS_DAY: Final = (
    "day = old.accepted_ms / 86400000 AND symbol = old.symbol AND strategy = old.strategy AND regime = old.regime"
    " AND kind = old.kind AND verdict = old.verdict AND reason = old.reason"
)


def _measures(row: str) -> str:
    """What one row of ``trace`` adds to its line of ``daily``: n, executed, failed, ended, wins, net."""
    net = _MICRO.format(row)
    return (
        f"1, {row}executed, {row}error <> '', {row}outcome_usd IS NOT NULL,"
        f" {row}outcome_usd IS NOT NULL AND {net} > 0, {net}"
    )


# Derived, and kept by the file itself whoever writes: sums a day, which outlive the traces that they count.
# ``gone_*`` is what pruning took, so that ``n - gone_n`` is what the file still holds.
_V3: Final = (
    """CREATE TABLE daily (
        day INTEGER NOT NULL, symbol TEXT NOT NULL, strategy TEXT NOT NULL, regime TEXT NOT NULL, kind TEXT NOT NULL,
        verdict TEXT NOT NULL, reason TEXT NOT NULL,
        n INTEGER NOT NULL, executed INTEGER NOT NULL, failed INTEGER NOT NULL,
        ended INTEGER NOT NULL, wins INTEGER NOT NULL, net_micro_usd INTEGER NOT NULL,
        gone_n INTEGER NOT NULL DEFAULT 0, gone_executed INTEGER NOT NULL DEFAULT 0,
        gone_failed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (day, symbol, strategy, regime, kind, verdict, reason)) STRICT, WITHOUT ROWID""",
    f"""INSERT INTO daily ({_KEY}, n, executed, failed, ended, wins, net_micro_usd)
        SELECT accepted_ms / 86400000, symbol, strategy, regime, kind, verdict, reason, count(*), sum(executed),
        sum(error <> ''), sum(outcome_usd IS NOT NULL), sum(outcome_usd IS NOT NULL AND {_MICRO.format("")} > 0),
        sum({_MICRO.format("")}) FROM trace GROUP BY 1, 2, 3, 4, 5, 6, 7""",
    f"""CREATE TRIGGER daily_insert AFTER INSERT ON trace BEGIN
        INSERT INTO daily ({_KEY}, n, executed, failed, ended, wins, net_micro_usd)
        VALUES (new.accepted_ms / 86400000, new.symbol, new.strategy, new.regime, new.kind, new.verdict, new.reason,
        {_measures("new.")})
        ON CONFLICT DO UPDATE SET n = n + 1, executed = executed + excluded.executed, failed = failed + excluded.failed,
        ended = ended + excluded.ended, wins = wins + excluded.wins,
        net_micro_usd = net_micro_usd + excluded.net_micro_usd;
        END""",
    f"""CREATE TRIGGER daily_update AFTER UPDATE OF executed, error, outcome_usd ON trace
        WHEN new.executed <> old.executed OR new.error <> old.error OR new.outcome_usd IS NOT old.outcome_usd BEGIN
        UPDATE daily SET executed = executed + new.executed - old.executed,
        failed = failed + (new.error <> '') - (old.error <> ''),
        ended = ended + (new.outcome_usd IS NOT NULL) - (old.outcome_usd IS NOT NULL),
        wins = wins + (new.outcome_usd IS NOT NULL AND {_MICRO.format("new.")} > 0)
        - (old.outcome_usd IS NOT NULL AND {_MICRO.format("old.")} > 0),
        net_micro_usd = net_micro_usd + {_MICRO.format("new.")} - {_MICRO.format("old.")} WHERE {_THIS_DAY};
        END""",
    f"""CREATE TRIGGER daily_delete AFTER DELETE ON trace BEGIN
        UPDATE daily SET gone_n = gone_n + 1, gone_executed = gone_executed + old.executed,
        gone_failed = gone_failed + (old.error <> '') WHERE {_THIS_DAY};
        END""",
    "ALTER TABLE trace ADD COLUMN leased_until_ms INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE trace ADD COLUMN leased_by TEXT NOT NULL DEFAULT ''",
)

_WON: Final = "max(0, {0})"

# What was won, so that the profit factor is known; what was lost follows from the net.
_V4: Final = (
    "ALTER TABLE daily ADD COLUMN won_micro_usd INTEGER NOT NULL DEFAULT 0",
    f"""UPDATE daily SET won_micro_usd = (SELECT coalesce(sum({_WON.format(_MICRO.format(""))}), 0) FROM trace WHERE
        accepted_ms / 86400000 = daily.day AND (symbol, strategy, regime, kind, verdict, reason) =
        (daily.symbol, daily.strategy, daily.regime, daily.kind, daily.verdict, daily.reason))""",
    "DROP TRIGGER daily_insert",
    f"""CREATE TRIGGER daily_insert AFTER INSERT ON trace BEGIN
        INSERT INTO daily ({_KEY}, n, executed, failed, ended, wins, net_micro_usd, won_micro_usd)
        VALUES (new.accepted_ms / 86400000, new.symbol, new.strategy, new.regime, new.kind, new.verdict, new.reason,
        {_measures("new.")}, {_WON.format(_MICRO.format("new."))})
        ON CONFLICT DO UPDATE SET n = n + 1, executed = executed + excluded.executed, failed = failed + excluded.failed,
        ended = ended + excluded.ended, wins = wins + excluded.wins,
        net_micro_usd = net_micro_usd + excluded.net_micro_usd, won_micro_usd = won_micro_usd + excluded.won_micro_usd;
        END""",
    f"""CREATE TRIGGER daily_won AFTER UPDATE OF outcome_usd ON trace
        WHEN new.outcome_usd IS NOT old.outcome_usd BEGIN
        UPDATE daily SET won_micro_usd = won_micro_usd + {_WON.format(_MICRO.format("new."))}
        - {_WON.format(_MICRO.format("old."))} WHERE {_THIS_DAY};
        END""",
)

# Closed bars, once each (``traces.bars``); what a decision names goes with its details, whoever removes them.
_V5: Final = (
    """CREATE TABLE candle (
        symbol TEXT NOT NULL, interval TEXT NOT NULL, open_ms INTEGER NOT NULL, version INTEGER NOT NULL,
        close_ms INTEGER NOT NULL, open TEXT NOT NULL, high TEXT NOT NULL, low TEXT NOT NULL, close TEXT NOT NULL,
        volume TEXT NOT NULL, trades INTEGER NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (symbol, interval, open_ms, version)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE trace_bars (
        seq INTEGER PRIMARY KEY, symbol TEXT NOT NULL, interval TEXT NOT NULL, first_ms INTEGER NOT NULL,
        last_ms INTEGER NOT NULL, versions TEXT NOT NULL) STRICT""",
    "CREATE INDEX trace_bars_first ON trace_bars (symbol, interval, first_ms, last_ms)",
    """CREATE TRIGGER trace_bars_delete AFTER DELETE ON trace BEGIN
        DELETE FROM trace_bars WHERE seq = old.seq; END""",
    # 255: the payload was removed by retention
    """CREATE TRIGGER trace_bars_drop AFTER UPDATE OF codec ON payload WHEN new.codec = 255 BEGIN
        DELETE FROM trace_bars WHERE seq = new.seq; END""",
)

# Months that lie in files of their own (``traces.cold``): which entries of the chain, and what they must be.
_V6: Final = (
    """CREATE TABLE cold_part (
        first_entry INTEGER PRIMARY KEY, last_entry INTEGER NOT NULL, month TEXT NOT NULL, file TEXT NOT NULL,
        sha256 TEXT NOT NULL, before BLOB NOT NULL, digest BLOB NOT NULL) STRICT""",
)

_OVERALL_KEY: Final = "symbol, strategy, regime, kind, verdict, reason"
SUMS: Final = (
    "n", "executed", "failed", "ended", "wins", "net_micro_usd", "won_micro_usd", "gone_n", "gone_executed",
    "gone_failed",
)  # fmt: skip
"""What is summed, of a day and of all days."""

# The days together, kept by the file as well: what is asked about all of them does not grow with their number.
_V7: Final = (
    f"""CREATE TABLE overall (
        symbol TEXT NOT NULL, strategy TEXT NOT NULL, regime TEXT NOT NULL, kind TEXT NOT NULL, verdict TEXT NOT NULL,
        reason TEXT NOT NULL, {", ".join(f"{name} INTEGER NOT NULL" for name in SUMS)},
        PRIMARY KEY ({_OVERALL_KEY})) STRICT, WITHOUT ROWID""",
    f"""INSERT INTO overall ({_OVERALL_KEY}, {", ".join(SUMS)})
        SELECT {_OVERALL_KEY}, {", ".join(f"sum({name})" for name in SUMS)} FROM daily GROUP BY 1, 2, 3, 4, 5, 6""",
    f"""CREATE TRIGGER overall_insert AFTER INSERT ON daily BEGIN
        INSERT INTO overall ({_OVERALL_KEY}, {", ".join(SUMS)}) VALUES (new.symbol, new.strategy, new.regime, new.kind,
        new.verdict, new.reason, {", ".join(f"new.{name}" for name in SUMS)})
        ON CONFLICT DO UPDATE SET {", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)};
        END""",
    f"""CREATE TRIGGER overall_update AFTER UPDATE ON daily BEGIN
        UPDATE overall SET {", ".join(f"{name} = {name} + new.{name} - old.{name}" for name in SUMS)}
        WHERE symbol = new.symbol AND strategy = new.strategy AND regime = new.regime AND kind = new.kind
        AND verdict = new.verdict AND reason = new.reason;
        END""",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_V1, _V2, _V3, _V4, _V5, _V6, _V7)
"""Step n (from 1) leads from version n - 1 to version n; none is ever edited once released."""

VERSION: Final = len(MIGRATIONS)

CHANGES_DATA: Final = frozenset({3, 4})
"""The steps up that change what is there, where the others only add to it."""

DOWN: Final[tuple[tuple[str, ...], ...]] = (
    (),
    ("DROP TABLE dictionary",),
    (
        "DROP TRIGGER daily_insert", "DROP TRIGGER daily_update", "DROP TRIGGER daily_delete", "DROP TABLE daily",
        "ALTER TABLE trace DROP COLUMN leased_until_ms", "ALTER TABLE trace DROP COLUMN leased_by",
    ),
    (
        "DROP TRIGGER daily_won", "DROP TRIGGER daily_insert", "ALTER TABLE daily DROP COLUMN won_micro_usd", _V3[2],
    ),
    (
        "DROP TRIGGER trace_bars_delete", "DROP TRIGGER trace_bars_drop", "DROP TABLE trace_bars", "DROP TABLE candle",
        "DELETE FROM meta WHERE key = 'bars_swept'",
    ),
    ("DROP TABLE cold_part", "DELETE FROM meta WHERE key IN ('thawed_ms', 'pruned')"),
    ("DROP TRIGGER overall_insert", "DROP TRIGGER overall_update", "DROP TABLE overall"),
)  # fmt: skip
"""Step n (from 1) leads from version n back to version n - 1; ``traces.migrations`` first makes the payloads readable
for it. There is no step below 1.
"""

SUMMARY_COLUMNS: Final = (
    "uid", "sequence", "kind", "accepted_ms", "bar_close_ms", "symbol", "interval", "strategy", "regime",
    "action", "side", "verdict", "reason", "executed", "completed", "error", "confidence", "risk_score",
    "episode", "outcome_usd", "outcome_ms",
)  # fmt: skip
"""What ``summary_values`` fills, in its order."""


class SummaryValues(NamedTuple):
    """The columns of ``trace`` that follow from the trace itself, named as in ``SUMMARY_COLUMNS``."""

    uid: str
    sequence: int
    kind: str
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
    executed: int
    completed: int
    error: str
    confidence: float | None
    risk_score: float | None
    episode: str
    outcome_usd: str | None
    outcome_ms: int | None


def summary_values(trace: Trace) -> SummaryValues:
    """The summary of a trace as it reads back (redacted, well-typed); the payload is the truth, this a view of it."""
    signal, verdict = trace.signal, trace.verdict
    if signal is None and verdict is not None:
        signal = verdict.signal
    return SummaryValues(
        uid=trace.id, sequence=trace.sequence, kind=trace.kind.value, accepted_ms=trace.accepted_ms,
        bar_close_ms=None if trace.candle is None else trace.candle.close_ms,
        symbol=trace.symbol, interval=trace.interval, strategy=trace.strategy, regime=trace.regime,
        action="" if signal is None else signal.action.value, side="" if signal is None else signal.side.value,
        verdict="approved" if isinstance(verdict, Approved) else "refused" if isinstance(verdict, Refused) else "",
        reason=verdict.refusals[0].reason.value if isinstance(verdict, Refused) and verdict.refusals else "",
        executed=int(trace.led_to_order), completed=int(trace.completed), error=trace.errors[0] if trace.errors else "",
        confidence=None if signal is None else signal.confidence,
        risk_score=verdict.risk_score if isinstance(verdict, Approved) else None,
        episode=trace.episode, outcome_usd=trace.outcome_usd, outcome_ms=trace.outcome_ms,
    )  # fmt: skip


def apply_pragmas(connection: apsw.Connection, *, synchronous: str, busy_ms: int) -> None:
    """Set the five pragmas: WAL, synchronous, 64 MB cache, temporary data in memory, 256 MB mapped."""
    connection.set_busy_timeout(busy_ms)
    for pragma in (
        "journal_mode = WAL", f"synchronous = {synchronous}", "cache_size = -65536", "temp_store = MEMORY",
        "mmap_size = 268435456", "journal_size_limit = 67108864",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}").fetchall()


def prepare_file(connection: apsw.Connection, name: str, *, page_size: int = 4096, to: int = VERSION) -> None:
    """Bring the file up to version ``to``; an empty one gets ``page_size``. Comes before ``apply_pragmas``.

    Raises ``TraceFileError`` for a file that is no trace store or comes from a newer program; nothing is changed then.
    """
    if check_file(connection, name) == 0:
        # both hold for the life of the file and must precede its first page
        connection.execute(f"PRAGMA page_size = {page_size}").fetchall()
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL").fetchall()
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(check_file(connection, name) + 1, to + 1):
            for statement in MIGRATIONS[number - 1]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def check_file(connection: apsw.Connection, name: str) -> int:
    """The version of the file, 0 for an empty one; raises ``TraceFileError`` for a foreign or a newer one."""
    version = int(connection.pragma("user_version") or 0)
    application = int(connection.pragma("application_id") or 0)
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").get == 0
    if not empty and application != APPLICATION_ID:
        raise TraceFileError(f"{name} is a database of something else, not a trace store; give another path")
    if version > VERSION:
        raise TraceFileError(
            f"{name} has trace schema version {version}, this program knows up to {VERSION};"
            f" use the newer program, or bring the file down with its `perpstrader traces migrate --to {VERSION}`"
        )
    return version
