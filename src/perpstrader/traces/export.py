"""The record for other programs: JSON lines, Parquet or OTLP, page by page, so that memory does not grow with it."""

from __future__ import annotations

import enum
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

from perpstrader.domain.traces import Trace
from perpstrader.traces.codec import encode_whole
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.errors import TraceError
from perpstrader.traces.otlp import resource_spans
from perpstrader.traces.schema import SUMMARY_COLUMNS, summary_values
from perpstrader.traces.walk import walk

_PAGE: Final = 250
_END: Final = 2**62
_INTS: Final = frozenset({"sequence", "accepted_ms", "bar_close_ms", "outcome_ms"})
_FLAGS: Final = frozenset({"executed", "completed"})
_FLOATS: Final = frozenset({"confidence", "risk_score"})


class Format(enum.StrEnum):
    """``jsonl``: one trace a line as the store keeps it; ``parquet``: the columns of the summary and ``trace``, that
    JSON; ``otlp``: lines of resource spans.
    """

    JSONL = "jsonl"
    PARQUET = "parquet"
    OTLP = "otlp"


class _Writer(Protocol):
    def write(self, page: list[Trace]) -> None: ...

    def close(self) -> None: ...


async def export(
    store: TraceStore, path: Path, form: Format, *, since_ms: int = 0, until_ms: int = _END,
    progress: Callable[[int], None] | None = None,
) -> int:  # fmt: skip
    """Write what was accepted in an (inclusive) time to a new file, whole or not at all; the number of traces.

    The file is its owner's alone: decisions tell of the account's money. ``progress`` hears how many are written.
    Raises ``TraceError`` when ``path`` exists, cannot be written, or a package that the format needs is missing.
    """
    part = _beside(path)
    written = 0
    try:
        writer = _open(form, part)
        try:
            async for page in _pages(walk(store, since_ms, until_ms, page=_PAGE)):
                writer.write(page)
                written += len(page)
                if progress is not None:
                    progress(written)
        finally:
            writer.close()
        os.link(part, path)  # fails where a rename would overwrite
    except FileExistsError:
        raise TraceError(f"{path} appeared meanwhile; nothing is overwritten, name another file") from None
    except OSError as error:
        raise TraceError(f"{path} cannot be written: {error}; free space or name another place") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return written


def _beside(path: Path) -> Path:
    if path.exists():
        raise TraceError(f"{path} is there already; nothing is overwritten, name another file")
    return path.with_name(f".{path.name}.{os.getpid()}.part")


async def _pages(traces: AsyncIterator[Trace]) -> AsyncIterator[list[Trace]]:
    page: list[Trace] = []
    async for trace in traces:
        page.append(trace)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


def _open(form: Format, path: Path) -> _Writer:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    if form is Format.PARQUET:
        os.close(fd)
        return _Parquet(path)
    return _Lines(fd, _json_lines if form is Format.JSONL else _spans)


def _json_lines(page: list[Trace]) -> bytes:
    return b"".join(encode_whole(trace) + b"\n" for trace in page)


def _spans(page: list[Trace]) -> bytes:
    return resource_spans(page, version("perpstrader")) + b"\n"


class _Lines:
    def __init__(self, fd: int, shown: Callable[[list[Trace]], bytes]) -> None:
        self._file = os.fdopen(fd, "wb")
        self._shown = shown

    def write(self, page: list[Trace]) -> None:
        self._file.write(self._shown(page))

    def close(self) -> None:
        self._file.close()


class _Parquet:
    """One row group a page."""

    def __init__(self, path: Path) -> None:
        pyarrow = needed("pyarrow", "replay")
        from pyarrow import parquet

        self._arrow = pyarrow
        fields = [(name, _column_type(pyarrow, name)) for name in SUMMARY_COLUMNS]
        self._schema = pyarrow.schema([*fields, ("trace", pyarrow.string())])
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, page: list[Trace]) -> None:
        rows = [
            {**summary_values(trace)._asdict(), "trace": encode_whole(trace).decode()} for trace in page
        ]
        for row in rows:
            row.update({name: bool(row[name]) for name in _FLAGS})
        self._writer.write_table(self._arrow.Table.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


def _column_type(pyarrow: Any, name: str) -> Any:
    if name in _INTS:
        return pyarrow.int64()
    if name in _FLAGS:
        return pyarrow.bool_()
    return pyarrow.float64() if name in _FLOATS else pyarrow.string()


def needed(package: str, extra: str) -> Any:
    """The optional package, or a ``TraceError`` that says how it is had."""
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise TraceError(
            f"this needs the package {package}, which is not installed: pip install 'perpstrader[{extra}]'"
        ) from None
