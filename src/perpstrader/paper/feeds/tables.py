"""Reads the columns of a recorded table (Feather, Parquet, CSV, gzip CSV) and turns its numbers into exact integers."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, Final, TextIO

from perpstrader.paper.feeds.contract import FeedError

SUFFIXES: Final = (".feather", ".parquet", ".csv", ".csv.gz")
_EXACT: Final = 10**15
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Columns = dict[str, list[Any]]


def read_columns(path: Path, wanted: Sequence[Sequence[str]]) -> Columns:
    """The wanted columns, each under the first of its names; raises ``FeedError`` if one lacks or there is no row.

    A number is a float (Feather, Parquet) or a text (CSV), a time what the file has.
    """
    if not path.is_file():
        raise FeedError(f"there is no file {path}")
    columns = _read_csv(path, wanted) if path.name.endswith((".csv", ".csv.gz")) else _read_arrow(path, wanted)
    if not columns[wanted[0][0]]:
        raise FeedError(f"{path.name} is empty: it has columns but not a single row")
    return columns


def _chosen(path: Path, wanted: Sequence[Sequence[str]], present: Sequence[str]) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for names in wanted:
        found = [name for name in names if name in present]
        if not found:
            has = ", ".join(present) or "none"
            raise FeedError(f"{path.name} has no column {' or '.join(repr(n) for n in names)}; it has {has}")
        chosen[names[0]] = found[0]
    return chosen


def _read_arrow(path: Path, wanted: Sequence[Sequence[str]]) -> Columns:
    try:
        import pyarrow as pa
        from pyarrow import feather, parquet
    except ImportError as error:
        raise FeedError(f"reading {path.name} needs pyarrow: pip install 'perpstrader[replay]'") from error
    try:
        table = parquet.read_table(path) if path.suffix == ".parquet" else feather.read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise FeedError(f"{path.name} cannot be read as {path.suffix[1:]}: {reason}") from error
    chosen = _chosen(path, wanted, table.column_names)
    columns: Columns = {}
    for name, source in chosen.items():
        column = table.column(source)
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64())
        columns[name] = column.to_pylist()
    return columns


def _read_csv(path: Path, wanted: Sequence[Sequence[str]]) -> Columns:
    try:
        with _open_text(path) as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            chosen = _chosen(path, wanted, header)
            places = [header.index(source) for source in chosen.values()]
            columns: Columns = {name: [] for name in chosen}
            targets = list(columns.values())
            for number, row in enumerate(rows, start=1):
                if len(row) != len(header):
                    raise FeedError(f"{path.name}: row {number} has {len(row)} cells, the header has {len(header)}")
                for target, place in zip(targets, places, strict=True):
                    target.append(row[place])
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise FeedError(f"{path.name} cannot be read as CSV: {error}") from error
    return columns


def _open_text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def times_ms(path: Path, cells: Sequence[Any]) -> list[int]:
    """Times in milliseconds UTC, from integers in s, ms, us or ns (told apart by size) or from ISO texts (else UTC)."""
    return [_time_ms(path, number, cell) for number, cell in enumerate(cells, start=1)]


def _time_ms(path: Path, number: int, cell: Any) -> int:
    try:
        if isinstance(cell, str) and not cell.strip().lstrip("-").isdigit():
            moment = datetime.fromisoformat(cell.strip())
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            since = moment - _EPOCH
            return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000
        value = int(cell)
    except (ValueError, TypeError, OverflowError):
        raise FeedError(f"{path.name}: row {number} has {cell!r} where a time belongs") from None
    for limit, factor, divisor in ((10**11, 1_000, 1), (10**14, 1, 1), (10**17, 1, 1_000), (10**20, 1, 1_000_000)):
        if 0 < value < limit:
            return value * factor // divisor
    raise FeedError(f"{path.name}: row {number} has {cell!r} where a time belongs")


def moment_text(time_ms: int) -> str:
    """A time as a person reads it, UTC."""
    return datetime.fromtimestamp(time_ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def numbers(path: Path, column: str, cells: Sequence[Any]) -> list[float]:
    """The cells as finite floats; raises ``FeedError`` with the row of the first that is none."""
    values: list[float] = []
    for number, cell in enumerate(cells, start=1):
        try:
            value = float(cell)
        except (ValueError, TypeError):
            raise FeedError(f"{path.name}: row {number} has {column} {cell!r}, which is no number") from None
        if not math.isfinite(value):
            raise FeedError(f"{path.name}: row {number} has {column} {value}, which is not finite")
        values.append(value)
    return values


def to_units(values: Sequence[float], decimals: int, *, floor: bool = False) -> list[int]:
    """Each value times 10^decimals as an integer: equal to rounding ``Decimal(repr(value))``, half to even, or down.

    The quick way is taken only when it is proven exact: a decimal of at most 15 figures that gives the same float is
    the one that ``repr`` writes.
    """
    scale = 10**decimals
    return [_unit(value, scale, floor) for value in values]


def _unit(value: float, scale: int, floor: bool) -> int:
    quick = round(value * scale)
    if quick / scale == value and -_EXACT < quick < _EXACT:
        return quick
    return int((Decimal(repr(value)) * scale).to_integral_value(ROUND_FLOOR if floor else ROUND_HALF_EVEN))
