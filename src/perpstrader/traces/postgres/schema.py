"""The one schema of the shared record, with its migrations and its months.

It mirrors ``traces.schema``, with a ``bot`` in every key. ``number`` is the order of arrival over all bots, what
``seq`` is in a file; numbers are given under a lock that ends with the commit, so that whoever has seen a number has
seen all before it. ``payload`` is append-only, one row a revision, with the digest before it, so that each row of the
chain can be checked alone; ``gap`` names the entries that are rightly missing. ``bar`` holds what decisions saw
(``traces.bars``), ``trace.bars`` which versions of it, from ``trace.bars_ms`` on.

Decisions are cut into months by their acceptance, notes by their bar. Months are made ahead; what has a time that no
month was made for (a clock that was wrong) lies in the partition ``_other`` until its month comes.

Text is compared by its bytes (``COLLATE "C"``), as SQLite does. PostgreSQL stores no NUL in text: summaries show it as
``\\x00``; in the payload it stays what it is.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from perpstrader.traces.errors import TraceFileError
from perpstrader.traces.schema import SUMMARY_COLUMNS, SummaryValues

SCHEMA: Final = "perpstrader"
MIGRATE_LOCK: Final = 0x50545243_0001
"""Held while the schema is changed."""
ARRIVAL_LOCK: Final = 0x50545243_0002
"""Held from the first number of a transaction until its commit."""

MONTHS_AHEAD: Final = 2
_FIRST_MONTH: Final = (2020, 1)
_CUT: Final[dict[str, str]] = {"trace": "accepted_ms", "payload": "accepted_ms", "cycle_note": "bar_close_ms"}
"""The tables that are cut into months, and by what."""

_TYPES: Final[dict[str, str]] = {
    "sequence": "bigint", "accepted_ms": "bigint", "bar_close_ms": "bigint", "outcome_ms": "bigint",
    "executed": "boolean", "completed": "boolean", "confidence": "double precision", "risk_score": "double precision",
}  # fmt: skip
_NULLABLE: Final = frozenset({"bar_close_ms", "confidence", "risk_score", "outcome_usd", "outcome_ms"})
TEXT: Final = 'text COLLATE "C"'


def column_type(name: str) -> str:
    """The type of a summary's column, as an element of an array."""
    return _TYPES.get(name, "text")


def _column(name: str) -> str:
    return f"{name} {_TYPES.get(name, TEXT)}{'' if name in _NULLABLE else ' NOT NULL'}"


_V1: Final = (
    "CREATE SCHEMA IF NOT EXISTS perpstrader",
    f"CREATE TABLE perpstrader.meta (key {TEXT} PRIMARY KEY, value text NOT NULL)",
    f"""CREATE TABLE perpstrader.bot (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name {TEXT} NOT NULL UNIQUE, account {TEXT} NOT NULL,
        network {TEXT} NOT NULL, entry bigint NOT NULL, first_ms bigint NOT NULL, seen_ms bigint NOT NULL)""",
    "CREATE SEQUENCE perpstrader.arrival",
    f"""CREATE TABLE perpstrader.trace (
        bot integer NOT NULL, seq bigint NOT NULL, number bigint NOT NULL,
        {", ".join(_column(name) for name in SUMMARY_COLUMNS)},
        entry bigint NOT NULL, bars text, bars_ms bigint, analyzed boolean NOT NULL, batch {TEXT} NOT NULL,
        leased_until_ms bigint NOT NULL DEFAULT 0, leased_by {TEXT} NOT NULL DEFAULT '',
        PRIMARY KEY (bot, seq, accepted_ms)) PARTITION BY RANGE (accepted_ms)""",
    """CREATE TABLE perpstrader.payload (
        bot integer NOT NULL, entry bigint NOT NULL, seq bigint NOT NULL, accepted_ms bigint NOT NULL,
        codec smallint NOT NULL, raw_len integer NOT NULL, data bytea NOT NULL, digest bytea NOT NULL,
        previous bytea NOT NULL, PRIMARY KEY (bot, entry, accepted_ms)) PARTITION BY RANGE (accepted_ms)""",
    f"""CREATE TABLE perpstrader.cycle_note (
        bot integer NOT NULL, symbol {TEXT} NOT NULL, bar_close_ms bigint NOT NULL, strategy {TEXT} NOT NULL,
        interval {TEXT} NOT NULL, code {TEXT} NOT NULL, text {TEXT} NOT NULL,
        PRIMARY KEY (bot, symbol, bar_close_ms, strategy)) PARTITION BY RANGE (bar_close_ms)""",
    f"""CREATE TABLE perpstrader.bar (
        bot integer NOT NULL, symbol {TEXT} NOT NULL, interval {TEXT} NOT NULL, open_ms bigint NOT NULL,
        version integer NOT NULL, close_ms bigint NOT NULL, open text NOT NULL, high text NOT NULL, low text NOT NULL,
        close text NOT NULL, volume text NOT NULL, trades bigint NOT NULL, digest bytea NOT NULL,
        PRIMARY KEY (bot, symbol, interval, open_ms, version))""",
    "CREATE TABLE perpstrader.dictionary (number bigint PRIMARY KEY, content bytea NOT NULL)",
    f"""CREATE TABLE perpstrader.dead_letter (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, bot integer NOT NULL, entry bigint NOT NULL,
        uid text NOT NULL, accepted_ms bigint NOT NULL, reason {TEXT} NOT NULL, codec smallint NOT NULL,
        raw_len integer NOT NULL, data bytea NOT NULL, UNIQUE (bot, entry))""",
    f"""CREATE TABLE perpstrader.gap (
        bot integer NOT NULL, first_entry bigint NOT NULL, last_entry bigint NOT NULL, reason {TEXT} NOT NULL,
        PRIMARY KEY (bot, first_entry))""",
    # a payload is packed already
    "ALTER TABLE perpstrader.payload ALTER COLUMN data SET STORAGE EXTERNAL",
    "CREATE TABLE perpstrader.trace_other PARTITION OF perpstrader.trace DEFAULT",
    "CREATE TABLE perpstrader.payload_other PARTITION OF perpstrader.payload DEFAULT",
    "CREATE TABLE perpstrader.cycle_note_other PARTITION OF perpstrader.cycle_note DEFAULT",
    "CREATE INDEX trace_uid ON perpstrader.trace (uid)",
    "CREATE INDEX trace_number ON perpstrader.trace (number)",
    "CREATE INDEX trace_time ON perpstrader.trace (accepted_ms, number)",
    "CREATE INDEX trace_bot ON perpstrader.trace (bot, accepted_ms)",
    "CREATE INDEX trace_symbol ON perpstrader.trace (symbol, accepted_ms)",
    "CREATE INDEX trace_strategy ON perpstrader.trace (strategy, accepted_ms)",
    "CREATE INDEX trace_reason ON perpstrader.trace (reason, accepted_ms) WHERE reason <> ''",
    "CREATE INDEX trace_executed ON perpstrader.trace (accepted_ms) WHERE executed",
    "CREATE INDEX trace_error ON perpstrader.trace (accepted_ms) WHERE error <> ''",
    "CREATE INDEX trace_unanalyzed ON perpstrader.trace (number) WHERE NOT analyzed",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_V1,)
"""Step n (from 1) leads from version n - 1 to version n; none is ever edited once released."""

VERSION: Final = len(MIGRATIONS)


class Month(NamedTuple):
    """A month in UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, time_ms: int) -> Month:
        """The month of an instant that a date can express."""
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
        return cls(moment.year, moment.month)

    def later(self, months: int) -> Month:
        """So many months later."""
        count = self.year * 12 + self.number - 1 + months
        return Month(count // 12, count % 12 + 1)

    @property
    def start_ms(self) -> int:
        """Its first millisecond."""
        return int(datetime(self.year, self.number, 1, tzinfo=UTC).timestamp()) * 1000

    @property
    def suffix(self) -> str:
        """How its partitions are named, such as ``p2025_05``."""
        return f"p{self.year:04}_{self.number:02}"


def months_for(times_ms: list[int], now_ms: int) -> list[Month]:
    """The months that need a partition of their own: those of the times that can be right, and the next ones."""
    now = Month.of(now_ms)
    last = now.later(MONTHS_AHEAD)
    first_ms, end_ms = Month(*_FIRST_MONTH).start_ms, last.later(1).start_ms
    found = {Month.of(time_ms) for time_ms in times_ms if first_ms <= time_ms < end_ms}
    return sorted(found | {now.later(ahead) for ahead in range(MONTHS_AHEAD + 1)})


async def version_of(connection: Any, name: str) -> int:
    """The version of the schema, 0 where there is none; raises ``TraceFileError`` for a newer one."""
    if not await _has_table(connection, "meta"):
        return 0
    version = int(await connection.fetchval("SELECT value FROM perpstrader.meta WHERE key = 'version'") or 0)
    if version > VERSION:
        raise TraceFileError(
            f"the shared record {name} has schema version {version}, this program knows up to {VERSION};"
            " use the newer program"
        )
    return version


async def migrate(connection: Any, name: str) -> None:
    """Bring the schema to this program's version; whoever comes meanwhile waits and finds it done."""
    if await version_of(connection, name) == VERSION:
        return
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATE_LOCK)
        for number in range(await version_of(connection, name) + 1, VERSION + 1):
            for statement in MIGRATIONS[number - 1]:
                await connection.execute(statement)
            await connection.execute(
                "INSERT INTO perpstrader.meta (key, value) VALUES ('version', $1)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                str(number),
            )


async def make_month(connection: Any, month: Month) -> None:
    """Cut a month out of every table that is cut; what lay in ``_other`` moves there, and nothing is lost in between.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATE_LOCK)
        for table, by in _CUT.items():
            if await _has_table(connection, f"{table}_{month.suffix}"):
                continue
            part = f"perpstrader.{table}_{month.suffix}"
            start, end = month.start_ms, month.later(1).start_ms
            await connection.execute(
                f"CREATE TABLE {part} (LIKE perpstrader.{table} INCLUDING DEFAULTS INCLUDING STORAGE)"
            )
            await connection.execute(
                f"WITH moved AS (DELETE FROM perpstrader.{table}_other WHERE {by} >= {start} AND {by} < {end}"
                f" RETURNING *) INSERT INTO {part} SELECT * FROM moved"
            )
            await connection.execute(
                f"ALTER TABLE perpstrader.{table} ATTACH PARTITION {part} FOR VALUES FROM ({start}) TO ({end})"
            )


async def _has_table(connection: Any, name: str) -> bool:
    """Asked of the catalogue itself: ``to_regclass`` remembers what was not there before a lock was waited for."""
    sql = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = 'perpstrader' AND tablename = $1)"
    return bool(await connection.fetchval(sql, name))


def storable(values: SummaryValues) -> tuple[object, ...]:
    """A summary as the columns hold it."""
    return tuple(_stored(name, value) for name, value in zip(SUMMARY_COLUMNS, values, strict=True))


def _stored(name: str, value: object) -> object:
    if isinstance(value, str):
        return without_nul(value)
    if name in ("executed", "completed"):
        return bool(value)
    return None if isinstance(value, float) and value != value else value


def without_nul(text: str) -> str:
    """Text that PostgreSQL can hold."""
    return text.replace("\x00", "\\x00")
