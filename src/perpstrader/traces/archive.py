"""Moving old months out of ``traces.db`` into files, and back, while other work of the same store goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import apsw
import msgspec

from perpstrader.traces import cold
from perpstrader.traces.bars import Bars
from perpstrader.traces.cold import Part
from perpstrader.traces.cold_files import TABLES, ColdFile, ColdWriter
from perpstrader.traces.copies import sha256_of
from perpstrader.traces.errors import TraceError
from perpstrader.traces.packing import KNOWN

T = TypeVar("T")


class Hands(Protocol):
    """What a store lends: reading, one transaction, the writing connection outside of one, and work on files."""

    def read(self, work: Callable[[apsw.Connection], T]) -> Awaitable[T]: ...

    def transacted(self, work: Callable[[apsw.Connection], T]) -> Awaitable[T]: ...

    def plainly(self, work: Callable[[apsw.Connection], T]) -> Awaitable[T]: ...

    def apart(self, work: Callable[[], T]) -> Awaitable[T]: ...


Told = Callable[[float], None] | None
"""Hears how much of a month is done."""


async def archive(hands: Hands, age_ms: int, *, thawed: bool = False, progress: Told = None) -> list[str]:
    """Move every whole month that ended ``age_ms`` or more before the newest decision to a file; the months.

    Months that were brought back lately stay, and all others with them, unless ``thawed`` says otherwise.
    """
    moved: list[str] = []
    if not thawed and await hands.read(cold.is_thawed):
        return moved
    while True:
        part = await hands.read(partial(cold.due, age_ms=age_ms))
        if part is None:
            return moved
        if not await _move(hands, part, progress):
            return moved  # it changed under our hands: the next call goes on
        if part.month not in moved:
            moved.append(part.month)


async def bring_back(hands: Hands, month: str, *, progress: Told = None) -> list[str]:
    """Have an archived month in the record again, and those after it, which the chain needs; which they are."""
    known = await hands.read(cold.parts)
    if month not in [part.month for part in known]:
        there = ", ".join(dict.fromkeys(part.month for part in known)) or "none"
        raise TraceError(f"{month!r} is no archived month; archived are: {there}")
    first = next(place for place, part in enumerate(known) if part.month == month)
    away = await hands.read(partial(cold.can_return, wanted=known[first:]))
    if away:
        raise TraceError(away)
    back: list[str] = []
    for part in reversed(known[first:]):
        await _return(hands, part, progress)
        if part.month not in back:
            back.append(part.month)
    return back[::-1]


async def _move(hands: Hands, part: Part, progress: Told) -> bool:
    """``False`` where a slice was changed after it was written to the file."""
    folder = await hands.read(cold.folder_of)
    written = await _write(hands, part, folder)
    gone = False
    try:
        file = await hands.apart(lambda: ColdFile(folder / part.file))
        with file:
            for number, (first, last) in enumerate(part.slices()):
                kept, _ = await hands.apart(partial(file.slice, number))
                if not await hands.transacted(partial(cold.take, part=written, first=first, last=last, kept=kept)):
                    return False
                gone = True
                _tell(progress, (number + 1) / len(part.slices()))
    finally:
        if not gone:
            await hands.apart(lambda: (folder / part.file).unlink(missing_ok=True))
    return True


async def _write(hands: Hands, part: Part, folder: Path) -> Part:
    columns = await hands.read(lambda connection: {table: cold.columns(connection, table) for table in TABLES})
    writer = await hands.apart(lambda: ColdWriter(folder, part, columns))
    try:
        for first, last in part.slices():
            kept = await hands.read(partial(cold.rows_of, first=first, last=last))
            windows = await hands.read(partial(cold.windows_of, first=first, last=last))
            group = {"payload": kept.payloads, "trace": kept.traces, "trace_bars": windows}
            await hands.apart(partial(writer.write, group))
        open_ms = [name for name, _ in columns["candle"]].index("open_ms")
        for series in await hands.read(partial(cold.series_of, part=part)):
            after_ms = -1
            while bars := await hands.read(partial(cold.bars_of, series=series, after_ms=after_ms)):
                await hands.apart(partial(writer.write, {"candle": bars}))
                after_ms = bars[-1][open_ms]
        known = await hands.read(cold.dictionaries_of)
        await hands.apart(partial(writer.write, {"dictionary": known}))
        digest = await hands.apart(writer.publish)
    except BaseException:
        await hands.apart(writer.discard)
        raise
    return msgspec.structs.replace(part, sha256=digest)


async def _return(hands: Hands, part: Part, progress: Told) -> None:
    path = await hands.read(cold.folder_of) / part.file
    if not path.is_file() or await hands.apart(lambda: sha256_of(path)) != part.sha256:
        raise TraceError(f"the archived month {part.month} is missing or was changed: {path}; nothing was brought back")
    file = await hands.apart(lambda: ColdFile(path))
    with file:
        for _, content in await hands.apart(lambda: file.rest("dictionary")):
            KNOWN.add(content)
        bars = await hands.apart(lambda: file.rest("candle"))
        names = file.about.columns
        digest = names["payload"].index("digest")
        slices = part.slices()
        for number in range(len(slices) - 1, -1, -1):
            first, last = slices[number]
            kept, windows = await hands.apart(partial(file.slice, number))
            if number:
                earlier, _ = await hands.apart(partial(file.slice, number - 1))
                before = earlier.payloads[-1][digest]
            else:
                before = part.before
            seen: dict[int, Bars] = cold.bars_seen(kept, names, windows, bars)
            left = msgspec.structs.replace(part, last=last)
            await hands.transacted(
                partial(cold.give_back, part=left, first=first, before=before, kept=kept, names=names, windows=seen)
            )
            _tell(progress, 1 - number / len(slices))
    if await hands.plainly(_is_synced):
        await hands.apart(lambda: path.unlink(missing_ok=True))


def _tell(progress: Told, fraction: float) -> None:
    if progress is not None:
        progress(fraction)


def _is_synced(connection: apsw.Connection) -> bool:
    """Whether all that was committed is in the file itself, where no power cut takes it; until then a copy stays."""
    busy, logged, done = connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()[0]
    return busy == 0 and logged == done
