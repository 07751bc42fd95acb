"""The consumer of the claim queue: takes what nobody has analysed, writes the analysis of its days, marks it.

A batch is marked after the files of its days are written: whoever dies in between leaves it to the next, who gets it
once its lease is over and writes the same again. A day's file is made from the record alone and replaced whole, under a
lock of the folder, so that of several analysts none undoes the other's work.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Final

import msgspec

from perpstrader.runtime.clock import Clock
from perpstrader.traces.analysis import DAY_MS, Analysis, analyse, day_of, start_ms, total_of
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.errors import TraceError
from perpstrader.traces.markdown import as_markdown
from perpstrader.traces.outcomes import Outcome

LEASE_MS: Final = 120_000
"""What a dead analyst held is another's after this long."""
BATCH: Final = 500
_ASK_AGAIN_S: Final = 0.05


class Analysed(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did: ``traces`` marked, the ``days`` written, those ``held`` by another analyst until its lease ends.
    """

    traces: int
    days: tuple[str, ...]
    held: int


async def run(
    store: TraceStore, folder: Path, clock: Clock, *, by: str, batch: int = BATCH,
    progress: Callable[[int], None] | None = None,
) -> Analysed:  # fmt: skip
    """Analyse all that nobody has, as ``by`` (no two at once may share it), into ``folder/<day>.md`` and ``.json``.

    Days of earlier runs whose outcomes have changed since are written again. ``progress`` hears how many traces are
    done. Raises ``TraceError`` when the folder cannot be written; what was not written is not marked.
    """
    written: dict[date, Outcome | None] = {}
    done = 0
    while True:
        claimed = await store.claim(batch, by=by, now_ms=clock.now_ms(), lease_ms=LEASE_MS)
        if not claimed:
            break
        for day in sorted({day_of(trace.accepted_ms) for trace in claimed}):
            if day not in written or await total_of(store, day) != written[day]:
                written[day] = await _write(store, folder, day, clock)
        number = f"{by}:{claimed[0].id}"
        done += (await store.mark_analyzed([trace.id for trace in claimed], number)).changed
        if progress is not None:
            progress(done)
    for day in await _outdated(store, folder):
        written[day] = await _write(store, folder, day, clock)
    held = (await store.stats()).unanalyzed
    return Analysed(traces=done, days=tuple(day.isoformat() for day in sorted(written)), held=held)


async def _write(store: TraceStore, folder: Path, day: date, clock: Clock) -> Outcome | None:
    """The day's two files, each replaced whole; read and written under the lock, so that the newer reading stays.

    Gives the day's sums as they are written.
    """
    try:
        async with _locked(folder, clock):
            analysis = await analyse(store, day)
            for suffix, content in ((".md", as_markdown(analysis).encode()), (".json", _json(analysis))):
                part = folder / f".{day}{suffix}.part"
                part.write_bytes(content)
                part.replace(folder / f"{day}{suffix}")
            return analysis.total
    except OSError as error:
        raise TraceError(f"the analysis of {day} cannot be written to {folder}: {error}; free space there") from error


def _json(analysis: Analysis) -> bytes:
    return msgspec.json.format(msgspec.json.encode(analysis), indent=2) + b"\n"


async def _outdated(store: TraceStore, folder: Path) -> list[date]:
    """The days on file whose sums are others by now: outcomes come after the day that they belong to."""
    totals = {row.key["day"]: row for row in await store.outcomes(("day",))}
    outdated = []
    for analysis in _on_file(folder):
        day = date.fromisoformat(analysis.day)
        total = totals.get(start_ms(day) // DAY_MS)
        if total is not None and msgspec.structs.replace(total, key={}) != analysis.total:
            outdated.append(day)
    return outdated


def _on_file(folder: Path) -> Iterator[Analysis]:
    """The analyses of the folder; what cannot be read as one is left alone."""
    for path in sorted(folder.glob("????-??-??.json")):
        with suppress(msgspec.MsgspecError, ValueError, OSError):
            yield msgspec.json.decode(path.read_bytes(), type=Analysis)


def _lock_file(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)


@asynccontextmanager
async def _locked(folder: Path, clock: Clock) -> AsyncIterator[None]:
    fd = _lock_file(folder)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # asked again rather than waited for, which would hold up the loop
                await clock.sleep(_ASK_AGAIN_S)
        yield
    finally:
        os.close(fd)
