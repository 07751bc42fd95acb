"""SQL over the record, without any way to change it: DuckDB on a copy in memory, shut off from files and network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from perpstrader.domain.money import plain
from perpstrader.traces.contract import MAX_LIMIT, TraceStore
from perpstrader.traces.errors import TraceError
from perpstrader.traces.export import needed
from perpstrader.traces.outcomes import COLUMNS
from perpstrader.traces.records import TraceSummary

_DAY_MS: Final = 86_400_000
_MONEY: Final = (38, 8)
_LEAST: Final = Decimal(1).scaleb(-_MONEY[1])
_SHUT: Final = (
    "SET enable_external_access = false", "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false", "SET lock_configuration = true",
)  # fmt: skip


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a question with the names of their columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


async def ask(store: TraceStore, sql: str, *, progress: Callable[[int], None] | None = None) -> Answer:
    """Answer ``sql`` over ``traces`` (one row a decision, as ``TraceSummary``; ``accepted`` is a timestamp
    in UTC, ``outcome_usd`` a decimal) and ``days`` (the sums by day and by what outcomes are told by).

    The file is only read, and the copy ends with the answer. ``progress`` hears how many rows are copied. Raises
    ``TraceError`` for what DuckDB refuses, and where it is not installed.
    """
    duckdb, pyarrow = needed("duckdb", "analytics"), needed("pyarrow", "analytics")
    connection = duckdb.connect(":memory:")
    try:
        await _copy_traces(store, connection, pyarrow, progress)
        await _copy_days(store, connection, pyarrow)
        for statement in _SHUT:
            connection.execute(statement)
        relation = connection.sql(sql)
        if relation is None:
            return Answer(columns=(), rows=())
        answer = relation.to_arrow_table()  # its values need no further package, unlike a cursor's
        columns = [[_value(value) for value in column.to_pylist()] for column in answer.columns]
        return Answer(columns=tuple(answer.column_names), rows=tuple(zip(*columns, strict=True)))
    except duckdb.Error as error:
        raise TraceError(f"DuckDB says: {error}") from error
    finally:
        connection.close()


async def _copy_traces(
    store: TraceStore, connection: Any, pyarrow: Any, progress: Callable[[int], None] | None
) -> None:
    schema = _schema(pyarrow)
    seq, copied = 0, 0
    while True:
        rows = await store.after(seq, MAX_LIMIT)
        page = pyarrow.Table.from_pylist([_row(row) for row in rows], schema=schema)
        connection.register("page", page)
        made = "INSERT INTO traces" if copied else "CREATE TABLE traces AS"
        connection.execute(f"{made} SELECT * FROM page")
        connection.unregister("page")
        copied += len(rows)
        if progress is not None:
            progress(copied)
        if len(rows) < MAX_LIMIT:
            return
        seq = rows[-1].seq


async def _copy_days(store: TraceStore, connection: Any, pyarrow: Any) -> None:
    text, number = pyarrow.string(), pyarrow.int64()
    keys = [(name, pyarrow.date32() if name == "day" else text) for name in COLUMNS]
    counts = [(name, number) for name in ("decisions", "executed", "failed", "ended", "wins")]
    money = [(name, pyarrow.decimal128(*_MONEY)) for name in ("won_usd", "lost_usd", "net_usd")]
    found = await store.outcomes(COLUMNS)
    rows = [
        {**row.key} | {name: getattr(row, name) for name, _ in counts}
        | {name: getattr(row, name).quantize(_LEAST) for name, _ in money}
        for row in found
    ]  # fmt: skip
    connection.register("page", pyarrow.Table.from_pylist(rows, schema=pyarrow.schema([*keys, *counts, *money])))
    connection.execute("CREATE TABLE days AS SELECT * FROM page")
    connection.unregister("page")


def _schema(pyarrow: Any) -> Any:
    types: Mapping[str, Any] = {
        "int": pyarrow.int64(), "int | None": pyarrow.int64(), "bool": pyarrow.bool_(),
        "float | None": pyarrow.float64(),
    }  # fmt: skip
    fields = [
        (name, pyarrow.decimal128(*_MONEY) if name == "outcome_usd" else types.get(kind, pyarrow.string()))
        for name, kind in TraceSummary.__annotations__.items()
    ]
    return pyarrow.schema([*fields, ("accepted", pyarrow.timestamp("ms"))])


def _row(summary: TraceSummary) -> dict[str, Any]:
    row = msgspec.structs.asdict(summary)
    row["kind"], row["accepted"] = summary.kind.value, summary.accepted_ms
    row["outcome_usd"] = _money(summary.outcome_usd)
    return row


def _value(value: object) -> object:
    """A whole number that DuckDB counts in 128 bits comes as a decimal."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value.as_tuple().exponent == 0 else Decimal(plain(value))


def _money(text: str | None) -> Decimal | None:
    """The amount to eight places; ``None`` for what is no amount."""
    try:
        return None if text is None else Decimal(text).quantize(_LEAST)
    except InvalidOperation:
        return None
