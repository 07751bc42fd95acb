"""The format of an archived month: Parquet, whose row groups are the slices in which rows go and come.

One row holds one row of a table of ``traces.db``; the column ``table`` says of which, the others are named as there and
empty where that table has none. First come the slices in their order, each one row group with its rows of ``payload``,
``trace`` and ``trace_bars``; then the rows of ``candle`` that those decisions saw, and of ``dictionary``, so that the
file reads alone. The file's metadata holds, under ``perpstrader``, the schema version and the columns.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from perpstrader.traces import schema
from perpstrader.traces.cold import Part, Row, Slice
from perpstrader.traces.copies import sha256_of, sync_file
from perpstrader.traces.errors import TraceError
from perpstrader.traces.export import needed

TABLES: Final = ("payload", "trace", "trace_bars", "candle", "dictionary")
_KEY: Final = b"perpstrader"
_FORMAT: Final = 1


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of itself."""

    format: int
    version: int
    month: str
    first: int
    last: int
    slices: int
    columns: dict[str, list[str]]


class ColdWriter:
    """Writes a part to a file beside its place; ``publish`` puts it there once it has read back as it was written."""

    def __init__(self, folder: Path, part: Part, columns: dict[str, list[tuple[str, str]]]) -> None:
        arrow = needed("pyarrow", "replay")
        from pyarrow import parquet

        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._part = part
        self._target = folder / part.file
        self._beside = folder / f".{part.file}.{os.getpid()}.part"
        self._names = {table: [name for name, _ in columns[table]] for table in TABLES}
        types = {"INTEGER": arrow.int64(), "REAL": arrow.float64(), "TEXT": arrow.string(), "BLOB": arrow.binary()}
        fields = {name: types[kind] for table in TABLES for name, kind in columns[table]}
        about = About(
            format=_FORMAT, version=schema.VERSION, month=part.month, first=part.first, last=part.last,
            slices=len(part.slices()), columns=self._names,
        )  # fmt: skip
        self._schema = arrow.schema([("table", arrow.string()), *fields.items()]).with_metadata(
            {_KEY: msgspec.json.encode(about)}
        )
        self._arrow = arrow
        self._hash = hashlib.sha256()
        self._rows = 0
        os.close(os.open(self._beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        self._writer = parquet.ParquetWriter(self._beside, self._schema, compression="zstd")

    def write(self, group: Mapping[str, Iterable[Row]]) -> None:
        """One row group: rows by table."""
        made = []
        for table, rows in group.items():
            for row in rows:
                made.append({"table": table, **dict(zip(self._names[table], row, strict=True))})
                self._hash.update(repr((table, tuple(row))).encode())
        self._rows += len(made)
        if made:
            self._writer.write_table(self._arrow.Table.from_pylist(made, schema=self._schema))

    def publish(self) -> str:
        """Have the file at its place, synced, after reading it back; its SHA-256. ``TraceError`` where it differs."""
        self._writer.close()
        sync_file(self._beside)
        again, count = hashlib.sha256(), 0
        with ColdFile(self._beside) as file:
            for group in range(file.groups):
                for table, rows in file.group(group).items():
                    count += len(rows)
                    for row in rows:
                        again.update(repr((table, row)).encode())
        if count != self._rows or again.digest() != self._hash.digest():
            raise TraceError(f"{self._target} does not read back as it was written; the record stays as it is")
        digest = sha256_of(self._beside)
        try:
            os.link(self._beside, self._target)  # fails where a rename would overwrite
        except FileExistsError:
            raise TraceError(f"{self._target} appeared meanwhile: another process archives the same month") from None
        self._beside.unlink()
        for folder in (self._target.parent, self._target.parent.parent):
            sync_file(folder)
        return digest

    def discard(self) -> None:
        """Leave nothing of a file that was not published."""
        self._writer.close()
        self._beside.unlink(missing_ok=True)


class ColdFile:
    """A month's file, read a row group at a time."""

    def __init__(self, path: Path) -> None:
        needed("pyarrow", "replay")
        from pyarrow import ArrowException, parquet

        try:
            self._file = parquet.ParquetFile(path)
            self.about = msgspec.json.decode(self._file.schema_arrow.metadata[_KEY], type=About)
        except (OSError, ArrowException, KeyError, TypeError, msgspec.MsgspecError) as error:
            raise TraceError(f"the archived month {path} cannot be read: {error}") from error
        if self.about.format != _FORMAT or self.about.version > schema.VERSION:
            raise TraceError(f"{path} is from a newer program: use that one to bring it back")

    def __enter__(self) -> ColdFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def groups(self) -> int:
        """How many row groups."""
        return int(self._file.num_row_groups)

    def group(self, number: int) -> dict[str, list[Row]]:
        """The rows of a row group by table, each table's in their order."""
        found: dict[str, list[Row]] = {}
        told: dict[str, Any]
        for told in self._file.read_row_group(number).to_pylist():
            names = self.about.columns[told["table"]]
            found.setdefault(told["table"], []).append(tuple(told[name] for name in names))
        return found

    def slice(self, number: int) -> tuple[Slice, list[Row]]:
        """The rows of a slice, and which bars its decisions saw."""
        rows = self.group(number)
        kept = Slice(tuple(rows.get("payload", ())), tuple(rows.get("trace", ())))
        return kept, rows.get("trace_bars", [])

    def rest(self, table: str) -> list[Row]:
        """The rows of a table that stand behind the slices."""
        return [row for n in range(self.about.slices, self.groups) for row in self.group(n).get(table, ())]
